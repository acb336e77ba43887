//! Integer weights and biases, with one scale per output channel.
//!
//! Input: float constants and the axis of the output channels. Output: 8-bit weights, 32-bit biases, and their scales.
//! Invariants: quantization is symmetric, 0 is the integer 0, as ONNX Runtime's fast kernels require.

/// The largest absolute value of an integer weight. CPUs without VNNI add two products of an unsigned activation (0 to 255)
/// and a weight in 16 bits, which saturate: 2 · 255 · 64 = 32,640 is below 32,767.
const HIGHEST: f32 = 64.0;
/// The largest absolute value of an integer bias: half of the 32-bit range, which leaves the other half for the sum over a
/// kernel.
const HIGHEST_BIAS: f32 = (1 << 30) as f32;

/// The position of the output channels in a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channels {
    /// The number of channels.
    pub count: usize,
    /// The number of elements from one channel to the next.
    pub stride: usize,
}

impl Channels {
    /// Returns the channels of a constant with shape `dims` along `axis`.
    pub fn of(dims: &[i64], axis: usize) -> Self {
        let stride = dims[axis + 1..].iter().map(|&size| size as usize).product();
        Self { count: dims[axis] as usize, stride }
    }

    /// Returns the channel of an element.
    fn at(self, element: usize) -> usize {
        element / self.stride % self.count
    }
}

/// Returns the scale of each channel. `biases` may be empty; `input_scale` is the scale of the layer's input.
pub(super) fn scales(weights: &[f32], channels: Channels, biases: &[f32], input_scale: f32) -> Vec<f32> {
    let mut highest = vec![0.0_f32; channels.count];
    for (element, weight) in weights.iter().enumerate() {
        let highest = &mut highest[channels.at(element)];
        *highest = highest.max(weight.abs());
    }
    let steps = highest.iter().map(|highest| highest / HIGHEST).enumerate();
    // The scale of a bias is the scale of the weights times that of the input. Very small weights would give a scale at
    // which the bias overflows, so the scale has a minimum.
    let least =
        |channel: usize| biases.get(channel).map_or(0.0, |it| it.abs() / (input_scale * HIGHEST_BIAS));
    let step = |(channel, step): (usize, f32)| step.max(least(channel));
    steps.map(step).map(|step| if step.is_normal() { step } else { 1.0 }).collect()
}

/// Quantizes weights with the scale of their channel.
pub(super) fn integers(weights: &[f32], channels: Channels, scales: &[f32]) -> Vec<i8> {
    let integer = |(element, weight): (usize, &f32)| {
        (weight / scales[channels.at(element)]).round().clamp(-HIGHEST, HIGHEST) as i8
    };
    weights.iter().enumerate().map(integer).collect()
}

/// Quantizes biases with scales of weight times input.
pub(super) fn bias_integers(biases: &[f32], scales: &[f32]) -> Vec<i32> {
    biases.iter().zip(scales).map(|(bias, scale)| (bias / scale).round() as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels of very different sizes, one of them dead.
    fn weights(dims: [i64; 3], axis: usize) -> (Vec<f32>, Channels) {
        let channels = Channels::of(&dims, axis);
        let size = dims.iter().product::<i64>() as usize;
        let weight =
            |element: usize| (element as f32 * 1.7).sin() * 10_f32.powi(channels.at(element) as i32 - 2);
        let dead = |element: usize| channels.at(element) == 1;
        ((0..size).map(|it| if dead(it) { 0.0 } else { weight(it) }).collect(), channels)
    }

    #[test]
    fn the_error_of_a_weight_is_at_most_half_a_step_of_its_channel() {
        for axis in 0..3 {
            let (weights, channels) = weights([4, 3, 5], axis);
            let scales = scales(&weights, channels, &[], 1.0);
            assert_eq!(scales.len(), [4, 3, 5][axis]);
            let integers = integers(&weights, channels, &scales);
            for (element, (weight, integer)) in weights.iter().zip(integers).enumerate() {
                let scale = scales[element / channels.stride % channels.count];
                let error = (f32::from(integer) * scale - weight).abs();
                assert!(
                    error <= scale * 0.500_01,
                    "axis {axis}, element {element}: {weight} is off by {error}"
                );
            }
        }
    }

    #[test]
    fn two_products_of_the_largest_weight_do_not_saturate_16_bits() {
        let channels = Channels::of(&[2, 2], 0);
        let scales = scales(&[0.5, -1.0, 3.0, 2.0], channels, &[], 1.0);
        assert_eq!(integers(&[0.5, -1.0, 3.0, 2.0], channels, &scales), [32, -64, 64, 43]);
        assert!(2 * 255 * HIGHEST as i32 <= i32::from(i16::MAX));
    }

    #[test]
    fn a_large_bias_over_tiny_weights_does_not_overflow() {
        let channels = Channels::of(&[1, 2], 0);
        let input_scale = 1e-3;
        let scales = scales(&[1e-12, -1e-12], channels, &[5.0], input_scale);
        let bias_scale = scales[0] * input_scale;
        let bias = bias_integers(&[5.0], &[bias_scale])[0];
        assert!((bias as f32 * bias_scale - 5.0).abs() < 1e-4, "{bias} steps of {bias_scale}");
    }
}
