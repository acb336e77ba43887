//! A decoded file: its format, its samples where they are stored, and which of the decoded samples are the recording.
//!
//! Input: ranges of samples as they are decoded, and the numbers of samples to remove from either end.
//! Output: the ranges that are the recording, and its length.
//! Invariants: the ranges are in order, and the length is their sum.

use std::ops::Range;

/// A decoded file.
#[derive(Debug, Default)]
pub(in crate::audio) struct Decoded {
    /// Samples per second of one channel; zero where nothing was appended.
    pub(in crate::audio) rate_hz: u32,
    /// The number of channels.
    pub(in crate::audio) count: usize,
    /// The samples of each channel where they are stored, else empty buffers.
    pub(in crate::audio) channels: Vec<Vec<f32>>,
    /// The samples per channel: the sum of `kept`.
    pub(in crate::audio) frames: usize,
    /// The ranges of the appended samples per channel that are the recording, in order; none is empty.
    pub(in crate::audio) kept: Vec<Range<usize>>,
}

impl Decoded {
    /// Returns the index within the recording of an appended sample; `None` where it was removed.
    pub(super) fn index_of(&self, appended: usize) -> Option<usize> {
        let number = self.kept.iter().position(|kept| kept.contains(&appended))?;
        let before: usize = self.kept[..number].iter().map(Range::len).sum();
        Some(before + appended - self.kept[number].start)
    }

    /// Adds the range of a block.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        self.frames += range.len();
        match self.kept.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None if range.is_empty() => {}
            None => self.kept.push(range),
        }
    }

    /// Removes `start` samples from the beginning and `end` samples from the end of the ranges.
    pub(super) fn trim(&mut self, mut start: usize, mut end: usize) {
        self.frames = self.frames.saturating_sub(end).saturating_sub(start);
        while let Some(last) = self.kept.last_mut().filter(|_| end > 0) {
            let removed = end.min(last.len());
            last.end -= removed;
            end -= removed;
            self.kept.pop_if(|last| last.start == last.end);
        }
        while let Some(first) = self.kept.first_mut().filter(|_| start > 0) {
            let removed = start.min(first.len());
            first.start += removed;
            start -= removed;
            if first.start == first.end {
                self.kept.remove(0);
            }
        }
    }
}
