//! Resampling to an integer multiple of the rate, for example from 8 to 16 kHz, with one output per SIMD
//! lane.
//!
//! Input: samples and the taps of each phase.
//! Output: as many outputs per input as there are phases.
//! Invariants: each output is the sum of its products from the first tap to the last, however many outputs
//! are computed together.
//!
//! With an integer ratio, the inputs of neighbouring outputs of a phase lie exactly one sample apart. One tap
//! can then be multiplied with a vector of inputs, and no sum crosses lanes. The general filter of
//! [`super::ResamplerPlan`] puts the taps of one output into the lanes instead, and has to add the lanes up
//! once for each output.

use crate::simd::{MAX_LANES, Simd, multiply_add};

/// Vectors of outputs that are computed together: enough independent sums to hide the latency of a
/// multiply-add.
const VECTORS_PER_STEP: usize = 4;

/// The taps of a polyphase filter, one row per phase, and the number of phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhaseTaps<'a> {
    pub taps: &'a [f32],
    pub count: usize,
}

impl PhaseTaps<'_> {
    /// Computes all outputs whose inputs are in `inputs` and writes them to `out`.
    ///
    /// The first `count` outputs come from the row of inputs that begins at `inputs[0]`, the next ones from
    /// the row one input later, and so on. `out` has room for `count` outputs per row.
    #[inline(always)]
    pub fn filter<S: Simd>(self, simd: S, inputs: &[f32], out: &mut [f32]) {
        let (taps_per_phase, rows) = (self.taps.len() / self.count, out.len() / self.count);
        let mut done = 0;
        while done < rows {
            let full = rows - done >= VECTORS_PER_STEP * S::F32_LANES;
            let step = if full { VECTORS_PER_STEP * S::F32_LANES } else { S::F32_LANES.min(rows - done) };
            let inputs = &inputs[done..done + step + taps_per_phase - 1];
            let out = &mut out[done * self.count..(done + step) * self.count];
            for (phase, taps) in self.taps.chunks_exact(taps_per_phase).enumerate().step_by(2) {
                let second = self.taps.chunks_exact(taps_per_phase).nth(phase + 1).unwrap_or(taps);
                let pair = PhasePair { phase, taps: [taps, second], count: self.count };
                if full {
                    pair.filter::<S, VECTORS_PER_STEP>(simd, inputs, out);
                } else if step == S::F32_LANES {
                    pair.filter::<S, 1>(simd, inputs, out);
                } else {
                    pair.filter_partial(simd, inputs, out);
                }
            }
            done += step;
        }
    }
}

/// Two phases that are filtered together, because they use the same inputs: each vector is loaded once for
/// both. For the last phase of an odd number the second one repeats the first.
struct PhasePair<'a> {
    phase: usize,
    taps: [&'a [f32]; 2],
    count: usize,
}

impl PhasePair<'_> {
    /// Computes `N` vectors of outputs of both phases.
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

    /// Computes less than a vector of outputs. Lanes beyond the end of `inputs` hold values that are not
    /// written to `out`.
    #[inline(always)]
    fn filter_partial<S: Simd>(self, simd: S, inputs: &[f32], out: &mut [f32]) {
        let (mut first, mut second) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        for (k, taps) in self.taps[0].iter().zip(self.taps[1]).enumerate() {
            let vector = simd.partial_load_f32s(&inputs[k..]);
            first = multiply_add(simd, simd.splat_f32s(*taps.0), vector, first);
            second = multiply_add(simd, simd.splat_f32s(*taps.1), vector, second);
        }
        self.write::<S>([&[first], &[second]], out);
    }

    /// Writes the sums of both phases to their positions in the interleaved outputs.
    #[inline(always)]
    fn write<S: Simd>(self, sums: [&[S::f32s]; 2], out: &mut [f32]) {
        for (phase, sums) in (self.phase..self.count).zip(sums) {
            let mut lanes = [0.0; VECTORS_PER_STEP * MAX_LANES];
            S::as_mut_simd_f32s(&mut lanes).0[..sums.len()].copy_from_slice(sums);
            for (outputs, sum) in out.chunks_exact_mut(self.count).zip(&lanes) {
                outputs[phase] = *sum;
            }
        }
    }
}
