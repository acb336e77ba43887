//! What is fixed between two sample rates: the ratio and the filter's taps for each phase.
//!
//! In: two rates. Out: tables that all resamplers between these rates share. Never holds samples.

use std::ops::Range;

use super::kernel::Kernel;
use super::multiply_rate::Phases;
use crate::simd::{LaneRows, MAX_LANES, Simd, multiply_add};

/// Up to so many phases each has its own row of taps; beyond, rows are interpolated.
const MAX_EXACT_PHASES: u64 = 1_024;
/// Rows per input sample that are interpolated between. The error of a straight line between two of them is below
/// −110 dB; exact rows could take 60 MB for a rate that somebody makes up.
const INTERPOLATED_PHASES: u64 = 512;

/// The tables of one pair of sample rates.
#[derive(Debug)]
pub struct ResamplerPlan {
    source_rate_hz: u32,
    target_rate_hz: u32,
    /// Output samples in `down` input samples; both reduced.
    up: u64,
    down: u64,
    /// From one output to the next.
    step: Position,
    reach: u64,
    /// Rows per input sample. Row `p` is the filter for an output `p / phases` after an input sample; there is one row
    /// more than phases where rows are interpolated.
    phases: u64,
    /// `2·reach` taps a row, a whole number of vectors, for the input samples from `reach − 1` before to `reach` after.
    taps: LaneRows,
}

/// Where an output lies among the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The last input sample at or before the output.
    pub(super) input: u64,
    /// How far behind it the output lies, in `1 / up` of an input sample; below `up`.
    pub(super) phase: u64,
}

impl ResamplerPlan {
    /// The plan from one rate to another.
    ///
    /// # Panics
    /// When a rate is 0.
    pub fn new(source_rate_hz: u32, target_rate_hz: u32) -> Self {
        assert!(source_rate_hz > 0 && target_rate_hz > 0, "a sample rate is above 0");
        let common = greatest_common_divisor(source_rate_hz, target_rate_hz);
        let (up, down) = (u64::from(target_rate_hz / common), u64::from(source_rate_hz / common));
        let step = Position { input: down / up, phase: down % up };
        let same = Self {
            source_rate_hz,
            target_rate_hz,
            up,
            down,
            step,
            reach: 0,
            phases: 1,
            taps: LaneRows::of(&[]),
        };
        if up == down {
            return same;
        }
        let kernel = Kernel::new(up as f64 / down as f64);
        let reach = (kernel.half_width().ceil() as u64).next_multiple_of(MAX_LANES as u64 / 2);
        let exact = up <= MAX_EXACT_PHASES;
        let (phases, rows) = if exact { (up, up) } else { (INTERPOLATED_PHASES, INTERPOLATED_PHASES + 1) };
        let taps: Vec<f32> =
            (0..rows).flat_map(|row| taps(kernel, reach, row as f64 / phases as f64)).collect();
        let taps = LaneRows::of(&taps);
        Self { reach, phases, taps, ..same }
    }

    /// Sample rate of the input.
    pub fn source_rate_hz(&self) -> u32 {
        self.source_rate_hz
    }

    /// Sample rate of the output.
    pub fn target_rate_hz(&self) -> u32 {
        self.target_rate_hz
    }

    /// Whether both rates are equal: samples pass as they are.
    pub fn is_identity(&self) -> bool {
        self.up == self.down
    }

    /// Input samples on each side of its place that an output depends on.
    pub fn reach(&self) -> u64 {
        self.reach
    }

    /// The first output at or after the input sample `input`: `⌈input·target/source⌉`.
    pub fn first_output(&self, input: u64) -> u64 {
        (u128::from(input) * u128::from(self.up)).div_ceil(u128::from(self.down)) as u64
    }

    /// The input samples that `output` depends on; those before the recording's start are left out.
    pub fn inputs_of(&self, output: u64) -> Range<u64> {
        let Position { input, .. } = self.position(output);
        if self.is_identity() {
            return input..input.saturating_add(1);
        }
        (input + 1).saturating_sub(self.reach)..input.saturating_add(self.reach + 1)
    }

    pub(super) fn position(&self, output: u64) -> Position {
        let (place, up) = (u128::from(output) * u128::from(self.down), u128::from(self.up));
        Position { input: (place / up) as u64, phase: (place % up) as u64 }
    }

    /// The place one output after `position`.
    pub(super) fn next(&self, position: Position) -> Position {
        let (phase, input) = (position.phase + self.step.phase, position.input.wrapping_add(self.step.input));
        let past = u64::from(phase >= self.up);
        Position { input: input.wrapping_add(past), phase: phase - past * self.up }
    }

    /// The outputs at `places`, each from the `2·reach` of `inputs` around it. How many are taken at once changes none.
    #[inline(always)]
    pub(super) fn filter<S: Simd, const N: usize>(
        &self,
        simd: S,
        places: &[Position; N],
        inputs: &[f32],
    ) -> [f32; N] {
        let reach = self.reach as usize;
        // Loops, not maps: what is passed to a closure here would leave the registers.
        let (mut around, mut rows) = ([inputs; N], [inputs; N]);
        for n in 0..N {
            let input = places[n].input as usize;
            around[n] = &inputs[input + 1 - reach..input + 1 + reach];
            rows[n] = self.row(places[n].phase * self.phases / self.up);
        }
        let mut outputs = products(simd, &rows, &around);
        if self.phases != self.up {
            for n in 0..N {
                rows[n] = self.row(places[n].phase * self.phases / self.up + 1);
            }
            let after = products(simd, &rows, &around);
            for n in 0..N {
                let part = (places[n].phase * self.phases % self.up) as f32 / self.up as f32;
                outputs[n] += part * (after[n] - outputs[n]);
            }
        }
        outputs
    }

    /// The rows of all phases where the rate is multiplied by a whole number; else nothing.
    #[inline(always)]
    pub(super) fn multiple(&self) -> Option<Phases<'_>> {
        if self.down != 1 || self.phases != self.up {
            return None;
        }
        let taps = self.taps.slice(0..(2 * self.reach * self.up) as usize);
        Some(Phases { taps, count: self.up as usize })
    }

    #[inline(always)]
    fn row(&self, row: u64) -> &[f32] {
        let length = 2 * self.reach as usize;
        self.taps.slice(row as usize * length..(row as usize + 1) * length)
    }
}

/// The sums of the products of `N` pairs of slices of equal length, each a whole number of vectors.
#[inline(always)]
fn products<S: Simd, const N: usize>(simd: S, taps: &[&[f32]; N], inputs: &[&[f32]; N]) -> [f32; N] {
    let vectors = taps[0].len() / S::F32_LANES;
    let mut sums = [simd.splat_f32s(0.0); N];
    let mut tap_vectors: [&[S::f32s]; N] = [&[]; N];
    let mut input_vectors = tap_vectors;
    for n in 0..N {
        // Said once, so that no vector is checked by itself.
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

/// The taps of an output that lies `offset` samples after an input sample, scaled so that a constant passes unchanged.
fn taps(kernel: Kernel, reach: u64, offset: f64) -> impl Iterator<Item = f32> {
    let first = 1.0 - reach as f64;
    let row: Vec<f64> = (0..2 * reach).map(|k| kernel.at(first + k as f64 - offset)).collect();
    let sum: f64 = row.iter().sum();
    row.into_iter().map(move |tap| (tap / sum) as f32)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_exact_far_into_a_stream() {
        let plan = ResamplerPlan::new(24_414, 16_000);
        assert_eq!((plan.up, plan.down), (8_000, 12_207));
        let far = 8_000 * 1_000_000_000;
        assert_eq!(plan.position(far), Position { input: 12_207_000_000_000, phase: 0 });
        assert_eq!(plan.next(plan.position(far + 6)), plan.position(far + 7));
        assert_eq!(plan.first_output(12_207_000_000_000), far);
        assert_eq!(plan.first_output(12_207_000_000_001), far + 1);
    }

    #[test]
    fn an_output_depends_on_its_neighbourhood() {
        let plan = ResamplerPlan::new(48_000, 16_000);
        assert_eq!(plan.reach(), 120);
        assert_eq!(plan.inputs_of(0), 0..121);
        assert_eq!(plan.inputs_of(100), 181..421);
        let same = ResamplerPlan::new(16_000, 16_000);
        assert!(same.is_identity());
        assert_eq!((same.reach(), same.inputs_of(7)), (0, 7..8));
    }

    #[test]
    fn made_up_rates_take_no_more_memory_than_real_ones() {
        let plan = ResamplerPlan::new(191_999, 16_000);
        assert!(plan.phases * 2 * plan.reach < 1 << 20, "{} taps", plan.phases * 2 * plan.reach);
    }
}
