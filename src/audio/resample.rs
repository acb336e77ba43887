//! Resampling with a phase that comes from the absolute sample index.
//!
//! In: samples of one channel, from any index on, in chunks of any size. Out: samples at the target rate, each a
//! fixed function of the input around its place, whatever the chunks and wherever the reader began. Never sees the
//! clock; keeps no more input than the filter reaches.

use std::sync::Arc;

use super::ResamplerPlan;
use super::resampler_plan::Position;

/// The resampler of one channel.
#[derive(Debug, Clone)]
pub struct Resampler {
    plan: Arc<ResamplerPlan>,
    /// The next output, and its place: input indexes there count from the first sample in `kept`.
    next_output: u64,
    next: Position,
    /// Input that later outputs need; it starts with the zeros before the origin.
    kept: Vec<f32>,
    finished: bool,
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
        Self { next_output, next, kept: vec![0.0; before as usize], finished: false, plan }
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
        self.kept.extend_from_slice(samples);
        self.advance(out);
    }

    /// Appends the last outputs to `out`, taking what comes after the input's end as zero: all `n` with
    /// `n·source/target < end`. A second call appends nothing.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let reach = if self.finished { 0 } else { self.plan.reach() as usize };
        self.finished = true;
        self.kept.resize(self.kept.len() + reach, 0.0);
        self.advance(out);
    }

    fn advance(&mut self, out: &mut Vec<f32>) {
        let reach = self.plan.reach() as usize;
        let mut input = self.next.input as usize;
        while input + reach < self.kept.len() {
            let around = &self.kept[input + 1 - reach..input + 1 + reach];
            out.push(self.plan.filter(self.next.phase, around));
            self.next = self.plan.next(self.next);
            self.next_output = self.next_output.wrapping_add(1);
            input = self.next.input as usize;
        }
        let spent = (input + 1).saturating_sub(reach).min(self.kept.len());
        self.kept.drain(..spent);
        self.next.input -= spent as u64;
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
