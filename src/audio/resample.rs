//! Resampling with a phase that comes from the absolute sample index.
//!
//! In: samples of one channel, from any index on, in chunks of any size. Out: samples at the target rate, each a
//! fixed function of the input around its place, whatever the chunks and wherever the reader began. Never sees the
//! clock; keeps no more input than the filter reaches.

use std::sync::Arc;

use super::ResamplerPlan;
use super::resampler_plan::Position;
use crate::simd::{Lanes, Simd, WithSimd};

/// Outputs that are computed side by side: one sum alone waits for each of its products.
const AT_ONCE: usize = 4;

/// The resampler of one channel.
#[derive(Debug, Clone)]
pub struct Resampler {
    plan: Arc<ResamplerPlan>,
    /// The next output, and its place: input indexes there count from the first sample in `kept`.
    next_output: u64,
    next: Position,
    /// Input that later outputs need; it starts with the zeros before the origin. Never grows beyond two filters' length,
    /// however long the chunks are.
    kept: Vec<f32>,
    finished: bool,
    lanes: Lanes,
}

impl Resampler {
    /// A resampler whose first input sample has the absolute index `origin`. What came before counts as zero.
    ///
    /// Its outputs are those with `origin ≤ n·source/target`. From the first one whose [`ResamplerPlan::inputs_of`]
    /// lie wholly at or after `origin`, they equal those of a resampler that began earlier, bit by bit.
    pub fn new(plan: Arc<ResamplerPlan>, origin: u64) -> Self {
        let next_output = plan.first_output(origin);
        let place = plan.position(next_output);
        let before = plan.reach().saturating_sub(1);
        let input = place.input.saturating_sub(origin) + before;
        let next = Position { input, phase: place.phase };
        let mut kept = Vec::with_capacity(4 * plan.reach() as usize);
        kept.resize(before as usize, 0.0);
        Self { next_output, next, kept, finished: false, lanes: Lanes::new(), plan }
    }

    /// Absolute index of the next output sample.
    pub fn next_output(&self) -> u64 {
        self.next_output
    }

    /// Takes the next input samples and appends what can be computed to `out`.
    ///
    /// # Panics
    /// After [`Self::finish`].
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        assert!(!self.finished, "a finished resampler takes no more samples");
        if self.plan.is_identity() {
            out.extend_from_slice(samples);
            self.next_output = self.next_output.wrapping_add(samples.len() as u64);
            return;
        }
        let (seam, begun) = (2 * self.plan.reach() as usize, self.kept.len());
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(&samples[..samples.len().min(seam)]);
        self.advance(&kept, out);
        if samples.len() > seam {
            // Every output that reaches into what was kept is done; the others need the new samples alone.
            self.next.input -= begun as u64;
            self.advance(samples, out);
            kept.clear();
            kept.extend_from_slice(&samples[self.forget(samples.len())..]);
        } else {
            kept.drain(..self.forget(kept.len()));
        }
        self.kept = kept;
    }

    /// Appends the last outputs to `out`, taking what comes after the input's end as zero: all `n` with
    /// `n·source/target < end`. A second call appends nothing.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.resize(kept.len() + self.plan.reach() as usize, 0.0);
        self.advance(&kept, out);
    }

    /// Computes the outputs that `inputs` hold.
    fn advance(&mut self, inputs: &[f32], out: &mut Vec<f32>) {
        let reach = self.plan.reach();
        let last = (inputs.len() as u64).checked_sub(reach + 1);
        let Some(last) = last.filter(|last| self.next.input <= *last) else { return };
        let before = out.len();
        out.reserve(self.plan.first_output(last + 1 - self.next.input) as usize + 1);
        self.next = self.lanes.run(Advance { plan: &self.plan, next: self.next, last, inputs, out });
        self.next_output = self.next_output.wrapping_add((out.len() - before) as u64);
    }

    /// How many of `length` inputs no later output needs; places count from behind them afterwards.
    fn forget(&mut self, length: usize) -> usize {
        let spent = (self.next.input + 1).saturating_sub(self.plan.reach()).min(length as u64);
        self.next.input -= spent;
        spent as usize
    }
}

/// The outputs from `next` on, as long as their place is `last` or before. Gives the place of the one behind them.
struct Advance<'a> {
    plan: &'a ResamplerPlan,
    next: Position,
    last: u64,
    inputs: &'a [f32],
    out: &'a mut Vec<f32>,
}

impl WithSimd for Advance<'_> {
    type Output = Position;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Position {
        let Self { plan, mut next, last, inputs, out } = self;
        if let Some(phases) = plan.multiple().filter(|_| next.phase == 0) {
            let first = (next.input + 1 - plan.reach()) as usize;
            let before = out.len();
            out.resize(before + (last + 1 - next.input) as usize * phases.count, 0.0);
            phases.filter(simd, &inputs[first..], &mut out[before..]);
            return Position { input: last + 1, phase: 0 };
        }
        while next.input <= last {
            let mut places = [next; AT_ONCE];
            for n in 1..AT_ONCE {
                places[n] = plan.next(places[n - 1]);
            }
            if places[AT_ONCE - 1].input <= last {
                out.extend_from_slice(&plan.filter(simd, &places, inputs));
                next = plan.next(places[AT_ONCE - 1]);
            } else {
                out.extend_from_slice(&plan.filter(simd, &[next], inputs));
                next = plan.next(next);
            }
        }
        next
    }
}

/// Resamples a whole recording: `⌈len·target/source⌉` samples.
pub fn resample(plan: &Arc<ResamplerPlan>, samples: &[f32]) -> Vec<f32> {
    let mut resampler = Resampler::new(Arc::clone(plan), 0);
    let mut out = Vec::with_capacity(plan.first_output(samples.len() as u64) as usize);
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out
}
