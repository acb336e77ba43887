//! Resampling to a whole multiple of the rate, as from 8 to 16 kHz: an output a lane, side by side.
//!
//! In: samples and the taps of each phase. Out: as many outputs for each input as there are phases. Where the inputs
//! of neighbouring outputs lie one sample apart, a tap is multiplied with many of them at once and no sum crosses lanes.
//! Each output is the sum of its products from the first tap to the last, however many are computed with it.

use crate::simd::{MAX_LANES, Simd, multiply_add};

/// Vectors of outputs that are computed at once: enough sums to hide the latency of a multiplication.
const AT_ONCE: usize = 4;

/// The taps of all phases, one row after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phases<'a> {
    pub taps: &'a [f32],
    pub count: usize,
}

impl Phases<'_> {
    /// Computes all outputs that `inputs` hold: the first ones from the first row of inputs, and so on. `out` takes them:
    /// `count` for each input that has a whole row from it on.
    #[inline(always)]
    pub fn filter<S: Simd>(self, simd: S, inputs: &[f32], out: &mut [f32]) {
        let (length, total) = (self.taps.len() / self.count, out.len() / self.count);
        let mut done = 0;
        while done < total {
            let many = total - done >= AT_ONCE * S::F32_LANES;
            let step = if many { AT_ONCE * S::F32_LANES } else { S::F32_LANES.min(total - done) };
            let inputs = &inputs[done..done + step + length - 1];
            let out = &mut out[done * self.count..(done + step) * self.count];
            for (phase, taps) in self.taps.chunks_exact(length).enumerate().step_by(2) {
                let second = self.taps.chunks_exact(length).nth(phase + 1).unwrap_or(taps);
                let pair = Pair { phase, taps: [taps, second], count: self.count };
                if many {
                    pair.filter::<S, AT_ONCE>(simd, inputs, out);
                } else if step == S::F32_LANES {
                    pair.filter::<S, 1>(simd, inputs, out);
                } else {
                    pair.filter_rest(simd, inputs, out);
                }
            }
            done += step;
        }
    }
}

/// Two phases: they share what is loaded of the inputs. The second one is the first again where there is none.
struct Pair<'a> {
    phase: usize,
    taps: [&'a [f32]; 2],
    count: usize,
}

impl Pair<'_> {
    /// `N` vectors of outputs.
    #[inline(always)]
    fn filter<S: Simd, const N: usize>(self, simd: S, inputs: &[f32], out: &mut [f32]) {
        let (mut first, mut second) = ([simd.splat_f32s(0.0); N], [simd.splat_f32s(0.0); N]);
        let taps = self.taps[0].iter().zip(self.taps[1]);
        for (inputs, taps) in inputs.windows(N * S::F32_LANES).zip(taps) {
            let taps = [simd.splat_f32s(*taps.0), simd.splat_f32s(*taps.1)];
            let (vectors, _) = S::as_simd_f32s(inputs);
            for ((vector, first), second) in vectors.iter().zip(&mut first).zip(&mut second) {
                *first = multiply_add(simd, taps[0], *vector, *first);
                *second = multiply_add(simd, taps[1], *vector, *second);
            }
        }
        self.write::<S>([&first, &second], out);
    }

    /// Less than a vector of outputs. Lanes without an input give nothing that is kept.
    #[inline(always)]
    fn filter_rest<S: Simd>(self, simd: S, inputs: &[f32], out: &mut [f32]) {
        let (mut first, mut second) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        for (k, taps) in self.taps[0].iter().zip(self.taps[1]).enumerate() {
            let vector = simd.partial_load_f32s(&inputs[k..]);
            first = multiply_add(simd, simd.splat_f32s(*taps.0), vector, first);
            second = multiply_add(simd, simd.splat_f32s(*taps.1), vector, second);
        }
        self.write::<S>([&[first], &[second]], out);
    }

    #[inline(always)]
    fn write<S: Simd>(self, sums: [&[S::f32s]; 2], out: &mut [f32]) {
        for (phase, sums) in (self.phase..self.count).zip(sums) {
            let mut lanes = [0.0; AT_ONCE * MAX_LANES];
            S::as_mut_simd_f32s(&mut lanes).0[..sums.len()].copy_from_slice(sums);
            for (outputs, sum) in out.chunks_exact_mut(self.count).zip(&lanes) {
                outputs[phase] = *sum;
            }
        }
    }
}
