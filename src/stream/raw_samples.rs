//! Samples in the front end of a stream: a chunk is decoded, put at its position and passed to the open segment.
//!
//! Input: chunks of raw samples, or the decoded blocks of a file. Output: every complete window. Invariant: a position is that of a source sample of one
//! channel, and no sample is used twice.

use super::chunk::{BadChunk, Chunk};
use super::segment::Segment;
use super::{Scratch, StreamFrontEnd};
use crate::audio;
use crate::window::{Window, whole_samples};

impl StreamFrontEnd {
    /// Decodes a chunk of raw samples and returns how many samples of one channel it has.
    pub(super) fn accept_samples(
        &mut self,
        scratch: &mut Scratch,
        chunk: &Chunk,
        emit: &mut dyn FnMut(Window),
    ) -> Result<u64, BadChunk> {
        let (bytes, limit) = (chunk.audio.len(), self.setup.max_chunk_bytes);
        if bytes > limit {
            return Err(BadChunk::ChunkTooLarge { bytes, limit });
        }
        let (audio, split) = self.split.join(self.format, self.position, chunk)?;
        let mut planar = std::mem::take(&mut scratch.planar);
        let decoded = audio::decode(self.format, &audio, &mut planar);
        if decoded.is_ok() {
            self.split = split;
            self.setup.channels.apply(&mut planar);
            self.align_samples(scratch, chunk.first_sample, planar.channels(), emit);
        }
        let samples = planar.frames() as u64;
        scratch.planar = planar;
        Ok(decoded.map(|()| samples)?)
    }

    /// Inserts the samples of a chunk at their position: an overlap with earlier samples is cut off, a gap of
    /// up to `max_gap` is filled with silence, and a longer one ends the segment. Without an open segment,
    /// the position moves over any gap.
    ///
    /// Without `first_sample` a chunk follows the previous one directly.
    fn align_samples(
        &mut self,
        scratch: &mut Scratch,
        first_sample: Option<u64>,
        planar: &[Vec<f32>],
        emit: &mut dyn FnMut(Window),
    ) {
        self.repeat_idle_ends(scratch, emit);
        let begin = first_sample.unwrap_or(self.position);
        let gap = begin.saturating_sub(self.position);
        self.missing.add(gap);
        if gap > whole_samples(self.setup.max_gap, self.source_rate_hz())
            || (gap > 0 && self.segment.is_none())
        {
            self.end_segment(scratch, emit);
            self.position = begin;
        } else if gap > 0 {
            let silence = vec![vec![0.0; gap as usize]; planar.len()];
            self.push_samples(scratch, &silence, 0, emit);
        }
        let overlap = self.position.saturating_sub(begin) as usize;
        self.push_samples(scratch, planar, overlap, emit);
    }

    /// Ends the segment where a previous reader has. An idle end belongs to a position, not to a time: it is repeated before the first
    /// chunk that begins at or after it.
    pub(super) fn repeat_idle_ends(&mut self, scratch: &mut Scratch, emit: &mut dyn FnMut(Window)) {
        while self.idle_ends.front().is_some_and(|end| *end <= self.position) {
            self.idle_ends.pop_front();
            self.end_segment(scratch, emit);
        }
    }

    /// Passes the samples from `skip` on to the segment, and opens one where none is open.
    ///
    /// The samples are passed one hop at a time, so that a long chunk or file is resampled in small parts and
    /// each channel's windows leave before the next part is computed.
    pub(super) fn push_samples(
        &mut self,
        scratch: &mut Scratch,
        planar: &[Vec<f32>],
        skip: usize,
        emit: &mut dyn FnMut(Window),
    ) {
        let length = planar.first().map_or(0, Vec::len);
        if skip >= length {
            return;
        }
        if self.segment.is_none() {
            let rate =
                self.plan.get_or_insert_with(|| scratch.plan(self.format.sample_rate_hz())).source_rate_hz();
            let first_window = self.setup.geometry.first_window_from(self.position, rate);
            self.pending.resize(planar.len(), 0);
            for pending in &mut self.pending {
                *pending = first_window.max(*pending);
            }
            self.open_segment(scratch, first_window);
        }
        let step = self.setup.geometry.hop as usize;
        for from in (skip..length).step_by(step) {
            let to = length.min(from + step);
            let segment = self.segment.as_mut().expect("opened above");
            segment.push(&self.setup, scratch, planar, from..to, emit);
            self.position += (to - from) as u64;
        }
    }

    /// Opens a segment at the current position, in which each channel begins with its window in
    /// `self.pending`.
    pub(super) fn open_segment(&mut self, scratch: &mut Scratch, first_window: u64) {
        let plan = self.plan.get_or_insert_with(|| scratch.plan(self.format.sample_rate_hz())).clone();
        self.segment = Some(Segment::open(&self.setup, plan, self.position, first_window, &self.pending));
    }
}
