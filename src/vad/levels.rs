//! Digital silence in one channel: windows whose samples barely differ.
//!
//! Input: the samples of the channel at the model's rate, without a gap.
//! Output: for each window, whether it holds nothing but digital silence.
//! Invariants: a decision depends on the samples of its window only. A channel needs eight bytes for each block that
//! windows share: 32 bytes for windows of 3 s every 1 s.

use std::collections::VecDeque;

/// The largest difference between the samples of a window of digital silence: a peak of -66 dB relative to full scale, on
/// both sides of a constant offset.
///
/// It covers zeros, the idle codes of µ-law and A-law, and dither of 16 bits. The noise of a microphone is above it.
const SILENT_RANGE: f32 = 1.0 / 1024.0;
/// The largest offset of digital silence: two steps of 8 bits, by which programs misplace the zero of unsigned samples.
const SILENT_OFFSET: f32 = 1.0 / 64.0;

/// The lowest and the highest sample of some samples.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extremes {
    lowest: f32,
    highest: f32,
}

impl Extremes {
    const NONE: Self = Self { lowest: f32::INFINITY, highest: f32::NEG_INFINITY };

    fn of(samples: &[f32]) -> Self {
        samples.iter().fold(Self::NONE, |so_far, sample| Self {
            lowest: so_far.lowest.min(*sample),
            highest: so_far.highest.max(*sample),
        })
    }

    fn with(self, other: Self) -> Self {
        Self { lowest: self.lowest.min(other.lowest), highest: self.highest.max(other.highest) }
    }
}

/// The extremes of one channel in one segment of audio, block by block. Windows begin and end with a block.
#[derive(Debug)]
pub(super) struct Levels {
    /// Absolute index of the next sample.
    position: u64,
    /// Absolute number of the first block of `blocks`.
    first: u64,
    /// The blocks from the next window on; the last one may be incomplete.
    blocks: VecDeque<Extremes>,
}

impl Levels {
    /// Creates the state of a channel whose first sample has the absolute index `origin`.
    pub(super) fn new(origin: u64) -> Self {
        Self { position: origin, first: 0, blocks: VecDeque::new() }
    }

    /// Accepts the next samples. Blocks have `block` samples, and those before the one with the number `needed` are dropped.
    pub(super) fn push(&mut self, block: u64, needed: u64, mut samples: &[f32]) {
        while !samples.is_empty() {
            let number = self.position / block;
            let left = usize::try_from(block - self.position % block).unwrap_or(usize::MAX);
            let (part, rest) = samples.split_at(left.min(samples.len()));
            self.add(number, Extremes::of(part));
            self.position += part.len() as u64;
            samples = rest;
        }
        let unused = needed.saturating_sub(self.first).min(self.blocks.len() as u64);
        self.blocks.drain(..unused as usize);
        self.first += unused;
    }

    /// Adds the extremes of a part of a block: the last one so far, or the one behind it.
    fn add(&mut self, number: u64, part: Extremes) {
        if self.blocks.is_empty() {
            self.first = number;
        }
        let is_begun = self.first + self.blocks.len() as u64 > number;
        match self.blocks.back_mut().filter(|_| is_begun) {
            Some(last) => *last = last.with(part),
            None => self.blocks.push_back(part),
        }
    }

    /// Returns whether the `count` blocks from the one with the number `from` on are digital silence: their samples exist
    /// and barely differ.
    pub(super) fn are_silent(&self, from: u64, count: u64) -> bool {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let blocks = self.blocks.iter().skip(skipped).take(usize::try_from(count).unwrap_or(usize::MAX));
        let extremes = blocks.fold(Extremes::NONE, |so_far, block| so_far.with(*block));
        let Extremes { lowest, highest } = extremes;
        (0.0..=SILENT_RANGE).contains(&(highest - lowest))
            && lowest >= -SILENT_OFFSET
            && highest <= SILENT_OFFSET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 100;

    /// Returns whether each block of `samples` is silent; they are pushed in parts of `part` samples.
    fn silent(samples: &[f32], part: usize) -> Vec<bool> {
        let mut levels = Levels::new(0);
        samples.chunks(part).for_each(|part| levels.push(BLOCK, 0, part));
        (0..samples.len() as u64 / BLOCK).map(|block| levels.are_silent(block, 1)).collect()
    }

    #[test]
    fn zeros_offsets_and_dither_are_silence_and_noise_is_not() {
        let step = 1.0 / 32_768.0;
        let alternating = |level: f32| (0..100).map(move |at| if at % 2 == 0 { level } else { -level });
        let samples: Vec<f32> = std::iter::repeat_n(0.0, 100)
            .chain(std::iter::repeat_n(-1.0 / 128.0, 100))
            .chain(alternating(16.0 * step))
            .chain(alternating(17.0 * step))
            .chain(std::iter::repeat_n(0.1, 100))
            .collect();
        for part in [1, 7, 100, 1_000] {
            assert_eq!(silent(&samples, part), [true, true, true, false, false], "parts of {part}");
        }
    }

    #[test]
    fn one_sample_makes_a_window_no_silence_and_no_samples_are_none() {
        let mut levels = Levels::new(50);
        levels.push(BLOCK, 0, &[0.0; 260]);
        levels.push(BLOCK, 1, &[0.5]);
        assert!(levels.are_silent(1, 2) && !levels.are_silent(1, 3) && !levels.are_silent(3, 9));
        assert!(!levels.are_silent(4, 1), "no samples");
        levels.push(BLOCK, 3, &[0.5; 90]);
        assert_eq!((levels.first, levels.blocks.len()), (3, 2), "earlier blocks are dropped");
    }
}
