//! A resampler whose phase follows from the absolute sample index.
//!
//! Input: samples of one channel, beginning at any index, in chunks of any size.
//! Output: samples at the target rate.
//! Invariants: output `n` is a fixed function of the input samples around the time `n / target_rate`,
//! whatever the chunks are and wherever the reader began. No more input is kept than the filter needs.
//!
//! A common resampler starts at phase 0 with the first sample that it receives. After a restart in the middle
//! of a stream its outputs would lie at other times, and the windows made of them would have other contents
//! under the same event ids. Here output 0 always lies at sample 0 of the stream, and a resampler that begins
//! at sample `origin` computes its first phase from that index in exact integer arithmetic.

use std::sync::Arc;

use super::ResamplerPlan;
use super::resampler_plan::InputPosition;
use crate::simd::{InstructionSet, Simd, WithSimd};

/// Outputs that are computed together: a single sum would wait for the latency of each multiply-add.
const OUTPUTS_PER_STEP: usize = 4;

/// The resampler of one channel.
#[derive(Debug, Clone)]
pub struct Resampler {
    plan: Arc<ResamplerPlan>,
    /// Absolute index of the next output.
    next_output: u64,
    /// The position of the next output among the inputs, relative to the first sample of `kept`.
    next: InputPosition,
    /// Inputs that later outputs need, preceded by zeros at the beginning. It never holds more than four half
    /// widths, however long the chunks are.
    kept: Vec<f32>,
    finished: bool,
    instructions: InstructionSet,
}

impl Resampler {
    /// Creates a resampler whose first input sample has the absolute index `origin`. Earlier samples count as
    /// zero.
    ///
    /// Its outputs are those with `origin ≤ n·source/target`. From the first output whose
    /// [`ResamplerPlan::inputs_of`] are all at or after `origin`, they equal those of a resampler that began
    /// earlier, bit by bit.
    pub fn new(plan: Arc<ResamplerPlan>, origin: u64) -> Self {
        let next_output = plan.first_output(origin);
        let position = plan.position(next_output);
        let before = plan.half_width().saturating_sub(1);
        let input = position.input.saturating_sub(origin) + before;
        let next = InputPosition { input, phase: position.phase };
        let mut kept = Vec::with_capacity(4 * plan.half_width() as usize);
        kept.resize(before as usize, 0.0);
        Self { next_output, next, kept, finished: false, instructions: InstructionSet::detect(), plan }
    }

    /// Returns the absolute index of the next output.
    pub fn next_output(&self) -> u64 {
        self.next_output
    }

    /// Accepts the next input samples and appends the outputs that they complete to `out`.
    ///
    /// # Panics
    /// After [`Self::finish`].
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        assert!(!self.finished, "a finished resampler accepts no more samples");
        if self.plan.is_identity() {
            out.extend_from_slice(samples);
            self.next_output = self.next_output.wrapping_add(samples.len() as u64);
            return;
        }
        // Outputs near the seam need both kept and new samples. Only as many new samples are copied behind
        // the kept ones as these outputs need; the rest of the chunk is filtered where it lies, instead of
        // being copied as a whole.
        let (seam, kept_before) = (2 * self.plan.half_width() as usize, self.kept.len());
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(&samples[..samples.len().min(seam)]);
        self.advance(&kept, out);
        if samples.len() > seam {
            // The outputs that need kept samples are done. The others need the new samples alone, so
            // positions now count from the first of those.
            self.next.input -= kept_before as u64;
            self.advance(samples, out);
            kept.clear();
            kept.extend_from_slice(&samples[self.release_inputs(samples.len())..]);
        } else {
            kept.drain(..self.release_inputs(kept.len()));
        }
        self.kept = kept;
    }

    /// Appends the last outputs to `out`, with zeros after the end of the input: all `n` with
    /// `n·source/target < end`. A second call appends nothing.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.resize(kept.len() + self.plan.half_width() as usize, 0.0);
        self.advance(&kept, out);
    }

    /// Computes all outputs whose inputs are in `inputs`.
    fn advance(&mut self, inputs: &[f32], out: &mut Vec<f32>) {
        let half_width = self.plan.half_width();
        let last = (inputs.len() as u64).checked_sub(half_width + 1);
        let Some(last) = last.filter(|last| self.next.input <= *last) else { return };
        let before = out.len();
        out.reserve(self.plan.first_output(last + 1 - self.next.input) as usize + 1);
        self.next = self.instructions.run(Advance { plan: &self.plan, next: self.next, last, inputs, out });
        self.next_output = self.next_output.wrapping_add((out.len() - before) as u64);
    }

    /// Returns how many of `length` inputs no later output needs, and makes positions count from the first
    /// input behind them.
    fn release_inputs(&mut self, length: usize) -> usize {
        let spent = (self.next.input + 1).saturating_sub(self.plan.half_width()).min(length as u64);
        self.next.input -= spent;
        spent as usize
    }
}

/// The outputs from `next` on whose input position is at most `last`. Returns the position of the output
/// behind them.
struct Advance<'a> {
    plan: &'a ResamplerPlan,
    next: InputPosition,
    last: u64,
    inputs: &'a [f32],
    out: &'a mut Vec<f32>,
}

impl WithSimd for Advance<'_> {
    type Output = InputPosition;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> InputPosition {
        let Self { plan, mut next, last, inputs, out } = self;
        // The filter for integer ratios computes all phases of an input at once, so it starts at phase 0
        // only.
        if let Some(phases) = plan.integer_phases().filter(|_| next.phase == 0) {
            let first = (next.input + 1 - plan.half_width()) as usize;
            let before = out.len();
            out.resize(before + (last + 1 - next.input) as usize * phases.count, 0.0);
            phases.filter(simd, &inputs[first..], &mut out[before..]);
            return InputPosition { input: last + 1, phase: 0 };
        }
        while next.input <= last {
            let mut positions = [next; OUTPUTS_PER_STEP];
            for n in 1..OUTPUTS_PER_STEP {
                positions[n] = plan.next(positions[n - 1]);
            }
            if positions[OUTPUTS_PER_STEP - 1].input <= last {
                out.extend_from_slice(&plan.filter(simd, &positions, inputs));
                next = plan.next(positions[OUTPUTS_PER_STEP - 1]);
            } else {
                out.extend_from_slice(&plan.filter(simd, &[next], inputs));
                next = plan.next(next);
            }
        }
        next
    }
}

/// Resamples one channel of a whole recording and returns `⌈len·target/source⌉` samples.
pub fn resample(plan: &Arc<ResamplerPlan>, samples: &[f32]) -> Vec<f32> {
    let mut resampler = Resampler::new(Arc::clone(plan), 0);
    let mut out = Vec::with_capacity(plan.first_output(samples.len() as u64) as usize);
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    out
}
