//! The fixed part of a conversion between two sample rates: the reduced ratio and the taps of a polyphase
//! filter.
//!
//! Input: two sample rates.
//! Output: tables that all resamplers between these rates share.
//! Invariants: a plan holds no samples; all positions are computed with integers, so they are exact at any
//! distance from the start of a stream.

use std::ops::Range;

use super::kernel::Kernel;
use super::multiply_rate::PhaseTaps;
use crate::simd::{MAX_LANES, Simd, SimdRows, multiply_add};

/// Up to this number of phases, each has its own row of taps; above it, taps are interpolated between rows.
const MAX_EXACT_PHASES: u64 = 1_024;
/// Rows per input sample that are interpolated between, linearly. The error is below −110 dB. Exact rows for
/// every phase were rejected: unusual rates such as 191,999 Hz would need 60 MB each.
const INTERPOLATED_PHASES: u64 = 512;

/// The tables of one pair of sample rates.
#[derive(Debug)]
pub struct ResamplerPlan {
    source_rate_hz: u32,
    target_rate_hz: u32,
    /// `up` output samples last as long as `down` input samples; reduced to lowest terms.
    up: u64,
    down: u64,
    /// The distance from one output to the next.
    step: InputPosition,
    /// Input samples on each side that an output depends on; 0 for equal rates.
    half_width: u64,
    /// Rows per input sample. Row `p` is the filter of an output that lies `p / phases` after an input
    /// sample. Where rows are interpolated, one more row follows the last phase.
    phases: u64,
    /// `2·half_width` taps per row, a whole number of vectors, for the inputs from `half_width − 1` before an
    /// output's input position to `half_width` after it.
    taps: SimdRows,
}

/// The time of an output, expressed in input samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputPosition {
    /// The index of the last input sample at or before the output.
    pub(super) input: u64,
    /// How far the output lies after that sample, in units of `1 / up` input samples; below `up`.
    pub(super) phase: u64,
}

impl ResamplerPlan {
    /// Creates the plan for a conversion between two rates in hertz.
    ///
    /// # Panics
    /// Where a rate is 0.
    pub fn new(source_rate_hz: u32, target_rate_hz: u32) -> Self {
        assert!(source_rate_hz > 0 && target_rate_hz > 0, "sample rates must be above 0");
        let common = greatest_common_divisor(source_rate_hz, target_rate_hz);
        let (up, down) = (u64::from(target_rate_hz / common), u64::from(source_rate_hz / common));
        let step = InputPosition { input: down / up, phase: down % up };
        let same = Self {
            source_rate_hz,
            target_rate_hz,
            up,
            down,
            step,
            half_width: 0,
            phases: 1,
            taps: SimdRows::of(&[]),
        };
        if up == down {
            return same;
        }
        let kernel = Kernel::new(up as f64 / down as f64);
        let half_width = (kernel.half_width().ceil() as u64).next_multiple_of(MAX_LANES as u64 / 2);
        let exact = up <= MAX_EXACT_PHASES;
        let (phases, rows) = if exact { (up, up) } else { (INTERPOLATED_PHASES, INTERPOLATED_PHASES + 1) };
        let taps: Vec<f32> =
            (0..rows).flat_map(|row| taps(kernel, half_width, row as f64 / phases as f64)).collect();
        let taps = SimdRows::of(&taps);
        Self { half_width, phases, taps, ..same }
    }

    /// Returns the sample rate of the input, in hertz.
    pub fn source_rate_hz(&self) -> u32 {
        self.source_rate_hz
    }

    /// Returns the sample rate of the output, in hertz.
    pub fn target_rate_hz(&self) -> u32 {
        self.target_rate_hz
    }

    /// Returns whether both rates are equal, so that samples pass unchanged.
    pub fn is_identity(&self) -> bool {
        self.up == self.down
    }

    /// Returns the number of input samples on each side that an output depends on.
    pub fn half_width(&self) -> u64 {
        self.half_width
    }

    /// Returns the index of the first output at or after the input sample `input`: `⌈input·target/source⌉`.
    pub fn first_output(&self, input: u64) -> u64 {
        (u128::from(input) * u128::from(self.up)).div_ceil(u128::from(self.down)) as u64
    }

    /// Returns the indexes of the input samples that `output` depends on, without those before the start of
    /// the recording.
    pub fn inputs_of(&self, output: u64) -> Range<u64> {
        let InputPosition { input, .. } = self.position(output);
        if self.is_identity() {
            return input..input.saturating_add(1);
        }
        (input + 1).saturating_sub(self.half_width)..input.saturating_add(self.half_width + 1)
    }

    /// Returns the input position of `output`. The product needs 128 bits far into a stream.
    pub(super) fn position(&self, output: u64) -> InputPosition {
        let (numerator, up) = (u128::from(output) * u128::from(self.down), u128::from(self.up));
        InputPosition { input: (numerator / up) as u64, phase: (numerator % up) as u64 }
    }

    /// Returns the position of the output after the one at `position`, without a division.
    pub(super) fn next(&self, position: InputPosition) -> InputPosition {
        let (phase, input) = (position.phase + self.step.phase, position.input.wrapping_add(self.step.input));
        let carry = u64::from(phase >= self.up);
        InputPosition { input: input.wrapping_add(carry), phase: phase - carry * self.up }
    }

    /// Computes the outputs at `positions`, each from the `2·half_width` samples of `inputs` around it.
    ///
    /// The number of outputs per call does not change any of them.
    #[inline(always)]
    pub(super) fn filter<S: Simd, const N: usize>(
        &self,
        simd: S,
        positions: &[InputPosition; N],
        inputs: &[f32],
    ) -> [f32; N] {
        let half_width = self.half_width as usize;
        // These are loops rather than `map` calls, because the compiler spills vectors that are passed to a
        // closure here.
        let (mut around, mut rows) = ([inputs; N], [inputs; N]);
        for n in 0..N {
            let input = positions[n].input as usize;
            around[n] = &inputs[input + 1 - half_width..input + 1 + half_width];
            rows[n] = self.row(positions[n].phase * self.phases / self.up);
        }
        let mut outputs = products(simd, &rows, &around);
        if self.phases != self.up {
            for n in 0..N {
                rows[n] = self.row(positions[n].phase * self.phases / self.up + 1);
            }
            // Linear interpolation between the results of the two neighbouring rows.
            let after = products(simd, &rows, &around);
            for n in 0..N {
                let part = (positions[n].phase * self.phases % self.up) as f32 / self.up as f32;
                outputs[n] += part * (after[n] - outputs[n]);
            }
        }
        outputs
    }

    /// Returns the taps of all phases where the target rate is an integer multiple of the source rate;
    /// otherwise `None`.
    #[inline(always)]
    pub(super) fn integer_phases(&self) -> Option<PhaseTaps<'_>> {
        if self.down != 1 || self.phases != self.up {
            return None;
        }
        let taps = self.taps.slice(0..(2 * self.half_width * self.up) as usize);
        Some(PhaseTaps { taps, count: self.up as usize })
    }

    /// Returns the taps of a row.
    #[inline(always)]
    fn row(&self, row: u64) -> &[f32] {
        let length = 2 * self.half_width as usize;
        self.taps.slice(row as usize * length..(row as usize + 1) * length)
    }
}

/// Returns the dot products of `N` pairs of slices of equal length, each a whole number of vectors.
#[inline(always)]
fn products<S: Simd, const N: usize>(simd: S, taps: &[&[f32]; N], inputs: &[&[f32]; N]) -> [f32; N] {
    let vectors = taps[0].len() / S::F32_LANES;
    let mut sums = [simd.splat_f32s(0.0); N];
    let mut tap_vectors: [&[S::f32s]; N] = [&[]; N];
    let mut input_vectors = tap_vectors;
    for n in 0..N {
        // Slicing to the common length once removes the bounds check of each vector in the loop below.
        tap_vectors[n] = &S::as_simd_f32s(taps[n]).0[..vectors];
        input_vectors[n] = &S::as_simd_f32s(inputs[n]).0[..vectors];
    }
    for k in 0..vectors {
        for n in 0..N {
            sums[n] = multiply_add(simd, tap_vectors[n][k], input_vectors[n][k], sums[n]);
        }
    }
    let mut totals = [0.0; N];
    for n in 0..N {
        totals[n] = simd.reduce_sum_f32s(sums[n]);
    }
    totals
}

/// Returns the taps of an output that lies `offset` samples after an input sample.
///
/// The taps of a row are divided by their sum, so that a constant signal passes unchanged at every phase.
fn taps(kernel: Kernel, half_width: u64, offset: f64) -> impl Iterator<Item = f32> {
    let first = 1.0 - half_width as f64;
    let row: Vec<f64> = (0..2 * half_width).map(|k| kernel.at(first + k as f64 - offset)).collect();
    let sum: f64 = row.iter().sum();
    row.into_iter().map(move |tap| (tap / sum) as f32)
}

/// Euclid's algorithm.
fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_exact_far_into_a_stream() {
        let plan = ResamplerPlan::new(24_414, 16_000);
        assert_eq!((plan.up, plan.down), (8_000, 12_207));
        let far = 8_000 * 1_000_000_000;
        assert_eq!(plan.position(far), InputPosition { input: 12_207_000_000_000, phase: 0 });
        assert_eq!(plan.next(plan.position(far + 6)), plan.position(far + 7));
        assert_eq!(plan.first_output(12_207_000_000_000), far);
        assert_eq!(plan.first_output(12_207_000_000_001), far + 1);
    }

    #[test]
    fn an_output_depends_on_the_inputs_around_it() {
        let plan = ResamplerPlan::new(48_000, 16_000);
        assert_eq!(plan.half_width(), 120);
        assert_eq!(plan.inputs_of(0), 0..121);
        assert_eq!(plan.inputs_of(100), 181..421);
        let same = ResamplerPlan::new(16_000, 16_000);
        assert!(same.is_identity());
        assert_eq!((same.half_width(), same.inputs_of(7)), (0, 7..8));
    }

    #[test]
    fn unusual_rates_need_no_more_memory_than_common_ones() {
        let plan = ResamplerPlan::new(191_999, 16_000);
        assert!(plan.phases * 2 * plan.half_width < 1 << 20, "{} taps", plan.phases * 2 * plan.half_width);
    }
}
