//! The front end of one stream: from chunks to windows, and the position at which the next chunk begins.
//!
//! Input: chunks, in the order in which they arrived.
//! Output: every complete window, and the partial one at the end of a segment.
//! Invariants: positions are absolute source samples of one channel; the windows are the same for any
//! division of the audio into chunks; a chunk that is refused changes nothing. The front end has no clock:
//! the caller decides when a stream is idle.

use std::collections::VecDeque;
use std::sync::Arc;

use super::chunk::{BadChunk, Chunk, ChunkOutcome, FURTHEST_SAMPLE};
use super::collected_file::CollectedFile;
use super::file_samples::BeforeFile;
use super::position::{MissingAudio, Resume, StreamPosition};
use super::segment::Segment;
use super::sequence::{LastSequence, SequenceCheck};
use super::split_frame::SplitFrame;
use super::{Scratch, StreamSetup};
use crate::audio::{self, AudioFormat, ChannelLayout, FileAsSamples, ResamplerPlan};
use crate::window::{Window, needed_from};
use crate::window::{time_of, whole_samples};

/// The state of one stream.
#[derive(Debug)]
pub struct StreamFrontEnd {
    pub(super) setup: StreamSetup,
    pub(super) format: AudioFormat,
    /// `None` until the sample rate is known: at the first samples, or when a file has been decoded.
    pub(super) plan: Option<Arc<ResamplerPlan>>,
    /// Index of the source sample at which the next chunk begins.
    pub(super) position: u64,
    pub(super) sequence: LastSequence,
    /// The bytes of a sample frame that the last chunk left incomplete.
    split: SplitFrame,
    /// What is missing before the position.
    missing: MissingAudio,
    /// Whether the stream has had audio, whose first bytes may be the header of a file.
    pub(super) has_audio: bool,
    /// The open segment.
    segment: Option<Segment>,
    /// The first pending window of each channel at the time when the open segment began or, where none is
    /// open, when the last one ended. A new segment begins with these windows or later ones, so that no
    /// window index is used twice.
    pending: Vec<u64>,
    /// Positions at which a previous reader ended a segment because the stream was idle; this reader repeats
    /// it there.
    idle_ends: VecDeque<u64>,
    /// The bytes of a file that is not complete yet.
    pub(super) file: CollectedFile,
    /// The stream before the chunk that completed its file, until the file is decoded.
    pub(super) before_file: Option<BeforeFile>,
}

impl StreamFrontEnd {
    /// Creates the state of a stream whose first chunk is `chunk`. The chunk itself must be passed to
    /// [`Self::accept`] afterwards.
    ///
    /// # Errors
    /// [`BadChunk::FormatMissing`] without a format; [`BadChunk::Audio`] where the names of the setup do not
    /// fit the channels.
    pub fn begin(setup: &StreamSetup, chunk: &Chunk) -> Result<Self, BadChunk> {
        let format = chunk.format.ok_or(BadChunk::FormatMissing)?;
        if !format.is_file() {
            setup.channels.check(usize::from(format.channels()))?;
        }
        Ok(Self::at(setup, format, chunk.first_sample.unwrap_or(0)))
    }

    /// Creates the state of a stream at `position`, without a segment.
    fn at(setup: &StreamSetup, format: AudioFormat, position: u64) -> Self {
        Self {
            setup: setup.clone(),
            format,
            plan: None,
            position,
            sequence: LastSequence::default(),
            split: SplitFrame::default(),
            missing: MissingAudio::default(),
            has_audio: false,
            segment: None,
            pending: Vec::new(),
            idle_ends: VecDeque::new(),
            file: CollectedFile::default(),
            before_file: None,
        }
    }

    /// Creates the state of a stream that another reader left. `chunk` must be the one that begins at the
    /// position of `resume`; it must be passed to [`Self::accept`] afterwards.
    ///
    /// Where that reader cut windows of another length or hop, their indexes do not apply here, and a new
    /// segment begins.
    ///
    /// # Errors
    /// Those of [`Self::begin`] where the stream had no audio yet.
    pub fn resume(
        setup: &StreamSetup,
        scratch: &mut Scratch,
        resume: Resume,
        chunk: &Chunk,
    ) -> Result<Self, BadChunk> {
        let mut stream = match resume.at {
            None => {
                let mut stream = Self::begin(setup, chunk)?;
                let published = resume.published.filter(|published| published.span == setup.geometry.span());
                stream.pending = published.map_or_else(Vec::new, |published| published.next_windows);
                stream
            }
            Some(at) => {
                let mut stream = Self::at(setup, at.format, at.position);
                stream.sequence = LastSequence(at.sequence);
                stream.split = at.split;
                stream.missing = at.missing;
                stream.has_audio = true;
                if at.span == setup.geometry.span() {
                    stream.pending = at.next_windows;
                    if let Some(first_window) = at.first_window {
                        stream.open_segment(scratch, first_window);
                    }
                }
                stream
            }
        };
        stream.idle_ends = resume.idle_ends;
        Ok(stream)
    }

    /// Returns the position of the stream.
    #[must_use]
    pub fn position(&self) -> StreamPosition {
        let next_windows: Vec<u64> = match &self.segment {
            Some(segment) => segment.next_windows(),
            None => self.pending.clone(),
        };
        let lowest = next_windows.iter().min().zip(self.plan.as_ref());
        let needed = lowest.map_or(0, |(next, plan)| needed_from(&self.setup.geometry, plan, *next));
        StreamPosition {
            position: self.position,
            sequence: self.sequence.0,
            split: self.split.clone(),
            missing: self.missing,
            first_window: self.segment.as_ref().map(|segment| segment.first_window),
            open: self.segment.is_some() || !self.file.is_empty(),
            needed_from: if self.segment.is_some() { needed } else { self.position },
            next_windows,
            span: self.setup.geometry.span(),
        }
    }

    /// Returns whether [`Self::accept`] would drop the chunk as a duplicate.
    #[must_use]
    pub fn is_duplicate(&self, chunk: &Chunk) -> bool {
        self.sequence.check(chunk.sequence) == SequenceCheck::Duplicate
    }

    /// Returns the channel policy and the channel names of the stream.
    #[must_use]
    pub fn channels(&self) -> &ChannelLayout {
        &self.setup.channels
    }

    /// Returns the format of the stream.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Accepts a chunk and passes every window that it completes to `emit`. After a chunk that is `last`,
    /// [`Self::end`] must be called. Where the chunk completes a file, the file must be decoded before: see [`Self::take_file`].
    ///
    /// # Errors
    /// See [`BadChunk`]. The stream is then unchanged.
    pub fn accept(
        &mut self,
        scratch: &mut Scratch,
        chunk: &Chunk,
        emit: &mut dyn FnMut(Window),
    ) -> Result<ChunkOutcome, BadChunk> {
        // All checks precede every change, so that a refused chunk leaves the stream as it was.
        let SequenceCheck::New { missing: missing_chunks } = self.sequence.check(chunk.sequence) else {
            return Ok(ChunkOutcome { duplicate: true, ..ChunkOutcome::default() });
        };
        self.setup.check_format(self.format, chunk.format)?;
        if let Some(value) = chunk.first_sample.filter(|value| *value > FURTHEST_SAMPLE) {
            return Err(BadChunk::FirstSample { value });
        }
        let file_header = match self.format.is_file() || self.has_audio {
            true => None,
            false => self.setup.file_header(&chunk.audio)?,
        };
        let is_file = self.format.is_file()
            || (file_header.is_some() && self.setup.file_as_samples == FileAsSamples::Decode);
        let samples = match is_file {
            true => self.collect(chunk).map(|()| 0),
            false => self.accept_samples(scratch, chunk, emit),
        }?;
        self.has_audio |= !chunk.audio.is_empty();
        self.sequence.accept(chunk.sequence);
        // The end of a stream whose file was decoded as it was when the stream fell silent completes no other one.
        let is_decoded = self.file.is_empty() && self.plan.is_some();
        let completes_file = is_file && chunk.last && !is_decoded;
        Ok(ChunkOutcome { duplicate: false, missing_chunks, samples, file_header, completes_file })
    }

    /// Ends the segment and passes its partial windows to `emit`. The stream may continue: positions and window indexes go on. The bytes of a file that
    /// was not taken stay collected.
    pub fn end(&mut self, scratch: &mut Scratch, emit: &mut dyn FnMut(Window)) {
        self.end_segment(scratch, emit);
    }

    /// Ends the open segment, if any, at the current position.
    fn end_segment(&mut self, scratch: &mut Scratch, emit: &mut dyn FnMut(Window)) {
        let Some(segment) = self.segment.take() else { return };
        let end = time_of(self.position, self.source_rate_hz());
        self.pending = segment.end(&self.setup, scratch, end, emit);
    }

    /// Returns the sample rate of the stream's audio in hertz; 0 for a file that is not complete yet.
    #[must_use]
    pub fn source_rate_hz(&self) -> u32 {
        self.plan.as_ref().map_or(self.format.sample_rate_hz(), |plan| plan.source_rate_hz())
    }

    /// Decodes a chunk of raw samples and returns how many samples of one channel it has.
    fn accept_samples(
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
    fn open_segment(&mut self, scratch: &mut Scratch, first_window: u64) {
        let plan = self.plan.get_or_insert_with(|| scratch.plan(self.format.sample_rate_hz())).clone();
        self.segment = Some(Segment::open(&self.setup, plan, self.position, first_window, &self.pending));
    }
}
