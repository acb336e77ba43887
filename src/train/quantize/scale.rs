//! The 8-bit scale of a value.
//!
//! Input: the range of a value. Output: a [`Scale`] for the whole tensor (per-tensor, asymmetric). Invariants: 0 is
//! represented exactly, because padding and ReLU produce many zeros.

/// The range of a value, which always includes 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Range {
    /// The lowest, at most 0.
    pub low: f32,
    /// The highest, at least 0.
    pub high: f32,
}

impl Range {
    /// Extends the range by more values.
    pub fn widen(&mut self, values: &[f32]) {
        self.low = values.iter().copied().fold(self.low, f32::min);
        self.high = values.iter().copied().fold(self.high, f32::max);
    }
}

/// `real = scale * (integer - zero_point)`, integers from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// The step between consecutive integers.
    pub scale: f32,
    /// The integer that represents 0.
    pub zero_point: u8,
}

impl Scale {
    /// The scale of a mask, in which 0 and 1 are the integers 0 and 1.
    pub const MASK: Self = Self { scale: 1.0, zero_point: 0 };

    /// Returns the scale that spreads 256 integers over a range. A range that is only 0 has an arbitrary scale.
    pub fn of(range: Range) -> Self {
        let scale = (range.high - range.low) / 255.0;
        if !scale.is_normal() {
            return Self::MASK;
        }
        let zero_point = (-range.low / scale).round().clamp(0.0, 255.0) as u8;
        Self { scale, zero_point }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(scale: Scale, value: f32) -> f32 {
        let integer = (value / scale.scale + f32::from(scale.zero_point)).round().clamp(0.0, 255.0);
        (integer - f32::from(scale.zero_point)) * scale.scale
    }

    #[test]
    fn a_range_above_zero_starts_at_integer_zero() {
        let scale = Scale::of(Range { low: 0.0, high: 5.1 });
        assert_eq!(scale.zero_point, 0);
        assert!((scale.scale - 0.02).abs() < 1e-7, "{scale:?}");
    }

    #[test]
    fn zero_is_exact_and_the_error_is_at_most_one_step() {
        let scale = Scale::of(Range { low: -0.7, high: 2.3 });
        assert_eq!(round_trip(scale, 0.0), 0.0);
        for value in (0..=300).map(|n| -0.7 + n as f32 * 0.01) {
            let error = (round_trip(scale, value) - value).abs();
            assert!(error <= scale.scale, "{value} is off by {error} of {}", scale.scale);
        }
    }

    #[test]
    fn a_value_that_is_always_zero_has_a_scale() {
        assert_eq!(Scale::of(Range::default()), Scale { scale: 1.0, zero_point: 0 });
    }

    #[test]
    fn a_range_holds_zero_whatever_it_is_widened_by() {
        let mut range = Range::default();
        range.widen(&[3.0, 7.0]);
        assert_eq!(range, Range { low: 0.0, high: 7.0 });
    }
}
