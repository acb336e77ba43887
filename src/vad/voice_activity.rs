//! The silent windows of one channel.
//!
//! Input: the samples of the channel at the model's rate, without a gap.
//! Output: for each window, in order, whether it is silent.
//! Invariants: a decision depends on the samples of its window only. Samples are kept from the start of the
//! next window on, so a channel needs two bytes for each sample of a window: 96 kB for 3 s;
//! where only digital silence is silent, no samples are kept.

use std::collections::VecDeque;

use super::detector::{FRAME_SAMPLES, to_16_bits};
use super::levels::Levels;
use super::{Gate, SpeechCounter};

/// The voice activity of one channel in one segment of audio.
#[derive(Debug)]
pub struct VoiceActivity {
    /// The next window to be decided.
    next_window: u64,
    /// Absolute index of the first sample of `samples`. It lies before the next window's start until that sample
    /// has been accepted.
    start: u64,
    /// Empty where only digital silence is silent.
    samples: Vec<i16>,
    levels: Levels,
    /// Frames of speech in the whole block that begins with each window, from the next window on; `None` where it
    /// has not been counted.
    blocks: VecDeque<Option<usize>>,
}

impl VoiceActivity {
    /// Creates the state of a channel whose first sample has the absolute index `origin`. `first_window` is
    /// the first window that will be requested; it begins at or after `origin`.
    #[must_use]
    pub fn new(origin: u64, first_window: u64) -> Self {
        Self {
            next_window: first_window,
            start: origin,
            samples: Vec::new(),
            levels: Levels::new(origin),
            blocks: VecDeque::new(),
        }
    }

    /// Accepts the next samples.
    pub fn push(&mut self, gate: &Gate, samples: &[f32]) {
        if !gate.detects_speech {
            let block = gate.level_samples();
            return self.levels.push(block, self.next_window * gate.hop / block, samples);
        }
        let unused = (self.next_window * gate.hop).saturating_sub(self.start);
        let unused = usize::try_from(unused).unwrap_or(usize::MAX);
        let dropped = unused.min(self.samples.len());
        self.samples.drain(..dropped);
        let skipped = (unused - dropped).min(samples.len());
        self.reserve(gate, samples.len() - skipped);
        self.samples.extend(samples[skipped..].iter().copied().map(to_16_bits));
        self.start += (dropped + skipped) as u64;
    }

    /// Makes room for `more` samples, without the spare room that a vector adds as it grows, and without keeping
    /// the memory of an unusually large chunk.
    fn reserve(&mut self, gate: &Gate, more: usize) {
        let length = gate.length as usize;
        self.samples.shrink_to(2 * length);
        if self.samples.len() + more > self.samples.capacity() {
            self.samples.reserve_exact(more + length.saturating_sub(self.samples.len()));
        }
    }

    /// Returns whether window `index`, all of whose samples must have been accepted, is digital silence or, where speech is
    /// detected, contains too little of it. A window that is too short to classify is not silent.
    ///
    /// Every window must be requested once, in order; a partial window must be the last one.
    pub fn is_silent(&mut self, gate: &Gate, counter: &mut SpeechCounter, index: u64, partial: bool) -> bool {
        self.blocks.drain(..self.blocks.len().min((index - self.next_window) as usize));
        self.next_window = index + 1;
        if !gate.detects_speech {
            let block = gate.level_samples();
            return self.levels.are_silent(index * gate.hop / block, gate.length / block);
        }
        let from = (index * gate.hop).saturating_sub(self.start) as usize;
        let samples = self.samples.get(from..).unwrap_or_default();
        let samples = if partial { samples } else { &samples[..samples.len().min(gate.length as usize)] };
        let frames = gate.frames_in(samples.len() as u64);
        let silent = frames > 0 && !contains_speech(gate, counter, samples, &mut self.blocks);
        self.blocks.pop_front();
        silent
    }
}

/// Returns whether a window contains as many frames of speech as it needs to be not silent. Counts only the blocks
/// that decide this, and saves the counts of whole blocks in `blocks`.
fn contains_speech(
    gate: &Gate,
    counter: &mut SpeechCounter,
    window: &[i16],
    blocks: &mut VecDeque<Option<usize>>,
) -> bool {
    let needed = gate.needed(gate.frames_in(window.len() as u64));
    let (step, block_samples) = (gate.block_hops as usize, gate.block_samples() as usize);
    let whole = window.len() / block_samples;
    if blocks.len() < whole * step {
        blocks.resize(whole * step, None);
    }
    let mut speech: usize = (0..whole).filter_map(|block| blocks[block * step]).sum();
    // The newest block belongs to the largest number of later windows.
    for block in (0..whole).rev() {
        if speech >= needed {
            return true;
        }
        let count = &mut blocks[block * step];
        if count.is_none() {
            let from = block * block_samples;
            let found = counter.count(gate, &window[from..from + gate.block_frames() * FRAME_SAMPLES]);
            *count = Some(found);
            speech += found;
        }
    }
    let rest = gate.frames_in(window.len() as u64) - whole * gate.block_frames();
    if speech < needed && rest > 0 {
        let from = whole * block_samples;
        speech += counter.count(gate, &window[from..from + rest * FRAME_SAMPLES]);
    }
    speech >= needed
}
