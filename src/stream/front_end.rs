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
use crate::audio::{AudioFormat, ChannelLayout, FileAsSamples, ResamplerPlan};
use crate::window::{Window, needed_from, time_of};

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
    pub(super) split: SplitFrame,
    /// What is missing before the position.
    pub(super) missing: MissingAudio,
    /// Whether the stream has had audio, whose first bytes may be the header of a file.
    pub(super) has_audio: bool,
    /// The open segment.
    pub(super) segment: Option<Segment>,
    /// The first pending window of each channel at the time when the open segment began or, where none is
    /// open, when the last one ended. A new segment begins with these windows or later ones, so that no
    /// window index is used twice.
    pub(super) pending: Vec<u64>,
    /// Positions at which a previous reader ended a segment because the stream was idle; this reader repeats
    /// it there.
    pub(super) idle_ends: VecDeque<u64>,
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
    pub(super) fn end_segment(&mut self, scratch: &mut Scratch, emit: &mut dyn FnMut(Window)) {
        let Some(segment) = self.segment.take() else { return };
        let end = time_of(self.position, self.source_rate_hz());
        self.pending = segment.end(&self.setup, scratch, end, emit);
    }

    /// Returns the sample rate of the stream's audio in hertz; 0 for a file that is not complete yet.
    #[must_use]
    pub fn source_rate_hz(&self) -> u32 {
        self.plan.as_ref().map_or(self.format.sample_rate_hz(), |plan| plan.source_rate_hz())
    }
}
