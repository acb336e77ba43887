//! One stream: chunks in, windows out, and where the next chunk begins.
//!
//! In: chunks as they arrived, in order. Out: each complete window, and the partial one at an end.
//! Invariants: positions are absolute source samples of one channel; any chunking of the same audio gives the same windows;
//! bad input changes nothing. Never looks at a clock: whoever owns the stream decides when it is idle.

use std::collections::VecDeque;
use std::sync::Arc;

use super::chunk::{BadChunk, Chunk, FURTHEST_SAMPLE, Outcome};
use super::collected_file::CollectedFile;
use super::position::{Place, Resume};
use super::segment::Stretch;
use super::sequence::{LastSequence, SequenceCheck};
use super::{StreamSetup, Workbench};
use crate::audio::{self, AudioFormat, ChannelLayout, Planar, Recording, ResamplerPlan};
use crate::window::{Window, needed_from};
use crate::window::{time_of, whole_samples};

/// The state of one stream.
#[derive(Debug)]
pub struct StreamFrontEnd {
    setup: StreamSetup,
    format: AudioFormat,
    /// `None` until a file says what rate it has.
    plan: Option<Arc<ResamplerPlan>>,
    position: u64,
    sequence: LastSequence,
    stretch: Option<Stretch>,
    /// The next window of each channel when the stretch began or, where none is open, when the last one ended; stretches begin
    /// no earlier.
    owed: Vec<u64>,
    idle_ends: VecDeque<u64>,
    file: CollectedFile,
}

impl StreamFrontEnd {
    /// A stream whose first chunk is `chunk` (which must still be given to [`Self::accept`]).
    ///
    /// # Errors
    /// [`BadChunk::FormatMissing`], or names that are not those of its channels.
    pub fn begin(setup: &StreamSetup, chunk: &Chunk) -> Result<Self, BadChunk> {
        let format = chunk.format.ok_or(BadChunk::FormatMissing)?;
        if !format.is_file() {
            setup.channels.check(usize::from(format.channels()))?;
        }
        Ok(Self::at(setup, format, chunk.first_sample.unwrap_or(0)))
    }

    fn at(setup: &StreamSetup, format: AudioFormat, position: u64) -> Self {
        Self {
            setup: setup.clone(),
            format,
            plan: None,
            position,
            sequence: LastSequence::default(),
            stretch: None,
            owed: Vec::new(),
            idle_ends: VecDeque::new(),
            file: CollectedFile::default(),
        }
    }

    /// A stream that another reader left. Its next chunk, `chunk`, must be the one that begins there. Where that reader cut other
    /// windows, a new stretch begins.
    ///
    /// # Errors
    /// [`BadChunk::FormatMissing`] where the stream had not begun.
    pub fn resume(
        setup: &StreamSetup,
        bench: &mut Workbench,
        resume: Resume,
        chunk: &Chunk,
    ) -> Result<Self, BadChunk> {
        let mut stream = match resume.at {
            None => Self::begin(setup, chunk)?,
            Some(at) => {
                let mut stream = Self::at(setup, at.format, at.position);
                stream.sequence = LastSequence(at.sequence);
                if at.span == setup.geometry.span() {
                    stream.owed = at.next_windows;
                    if let Some(first_window) = at.first_window {
                        stream.open_stretch(bench, first_window);
                    }
                }
                stream
            }
        };
        stream.idle_ends = resume.idle_ends;
        Ok(stream)
    }

    /// Where the stream stands.
    #[must_use]
    pub fn place(&self) -> Place {
        let next_windows: Vec<u64> = match &self.stretch {
            Some(stretch) => stretch.next_windows(),
            None => self.owed.clone(),
        };
        let lowest = next_windows.iter().min().zip(self.plan.as_ref());
        let needed = lowest.map_or(0, |(next, plan)| needed_from(&self.setup.geometry, plan, *next));
        Place {
            position: self.position,
            sequence: self.sequence.0,
            first_window: self.stretch.as_ref().map(|stretch| stretch.first_window),
            open: self.stretch.is_some() || !self.file.is_empty(),
            needed_from: if self.stretch.is_some() { needed } else { self.position },
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

    /// The stream's format.
    #[must_use]
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Takes a chunk in and gives every window that it completes to `emit`. A chunk that is `last` must be followed by [`Self::end`].
    ///
    /// # Errors
    /// See [`BadChunk`]; the stream is then as it was.
    pub fn accept(
        &mut self,
        bench: &mut Workbench,
        chunk: &Chunk,
        emit: &mut dyn FnMut(Window),
    ) -> Result<Outcome, BadChunk> {
        let SequenceCheck::New { missing: missing_chunks } = self.sequence.check(chunk.sequence) else {
            return Ok(Outcome { duplicate: true, ..Outcome::default() });
        };
        BadChunk::check_format(self.format, chunk.format)?;
        if let Some(value) = chunk.first_sample.filter(|value| *value > FURTHEST_SAMPLE) {
            return Err(BadChunk::FirstSample { value });
        }
        let samples = if self.format.is_file() {
            self.take_file(bench, chunk, emit)?
        } else {
            self.take_samples(bench, chunk, emit)?
        };
        self.sequence.accept(chunk.sequence);
        Ok(Outcome { duplicate: false, missing_chunks, samples })
    }

    /// Ends the stretch: gives its partial window, where there is one. Positions and indexes go on.
    ///
    /// # Errors
    /// Where a file that was not whole yet cannot be read; its bytes are dropped.
    pub fn end(&mut self, bench: &mut Workbench, emit: &mut dyn FnMut(Window)) -> Result<(), BadChunk> {
        let mut file = Ok(());
        if !self.file.is_empty() {
            match self.file.finish(&[], self.setup.max_file_bytes, &self.setup.channels) {
                Ok(recording) => drop(self.take_recording(bench, recording, emit)),
                Err(error) => {
                    self.file = CollectedFile::default();
                    // Past the file's chunks, so that nobody waits for them.
                    self.position += 1;
                    file = Err(error);
                }
            }
        }
        self.end_segment(bench, emit);
        file
    }

    fn end_segment(&mut self, bench: &mut Workbench, emit: &mut dyn FnMut(Window)) {
        let Some(stretch) = self.stretch.take() else { return };
        let end = time_of(self.position, self.source_rate_hz());
        self.owed = stretch.end(&self.setup, bench, end, emit);
    }

    /// The sample rate of the stream's own audio; 0 for a file that is not whole yet.
    #[must_use]
    pub fn source_rate_hz(&self) -> u32 {
        self.plan.as_ref().map_or(self.format.sample_rate_hz(), |plan| plan.source_rate_hz())
    }

    fn take_samples(
        &mut self,
        bench: &mut Workbench,
        chunk: &Chunk,
        emit: &mut dyn FnMut(Window),
    ) -> Result<u64, BadChunk> {
        let (bytes, limit) = (chunk.audio.len(), self.setup.max_chunk_bytes);
        if bytes > limit {
            return Err(BadChunk::ChunkTooLarge { bytes, limit });
        }
        let mut planar = std::mem::take(&mut bench.planar);
        let decoded = audio::decode(self.format, &chunk.audio, &mut planar);
        if decoded.is_ok() {
            self.setup.channels.apply(&mut planar);
            self.place_samples(bench, chunk.first_sample, planar.channels(), emit);
        }
        let samples = planar.frames() as u64;
        bench.planar = planar;
        Ok(decoded.map(|()| samples)?)
    }

    /// Collects the file's bytes; decodes it when the last ones are there.
    fn take_file(
        &mut self,
        bench: &mut Workbench,
        chunk: &Chunk,
        emit: &mut dyn FnMut(Window),
    ) -> Result<u64, BadChunk> {
        let limit = self.setup.max_file_bytes;
        if !chunk.last {
            self.file.push(&chunk.audio, limit)?;
            return Ok(0);
        }
        let recording = self.file.finish(&chunk.audio, limit, &self.setup.channels)?;
        Ok(self.take_recording(bench, recording, emit))
    }

    fn take_recording(
        &mut self,
        bench: &mut Workbench,
        recording: Recording,
        emit: &mut dyn FnMut(Window),
    ) -> u64 {
        self.plan = Some(bench.plan(recording.sample_rate_hz));
        let mut planar = Planar::from_channels(recording.channels);
        self.setup.channels.apply(&mut planar);
        self.place_samples(bench, None, planar.channels(), emit);
        planar.frames() as u64
    }

    /// Puts a chunk's samples where they belong: an overlap is cut off, a short gap becomes silence, a long one ends the stretch.
    fn place_samples(
        &mut self,
        bench: &mut Workbench,
        first_sample: Option<u64>,
        planar: &[Vec<f32>],
        emit: &mut dyn FnMut(Window),
    ) {
        while self.idle_ends.front().is_some_and(|end| *end <= self.position) {
            self.idle_ends.pop_front();
            self.end_segment(bench, emit);
        }
        let begin = first_sample.unwrap_or(self.position);
        let gap = begin.saturating_sub(self.position);
        if gap > whole_samples(self.setup.max_gap, self.source_rate_hz())
            || (gap > 0 && self.stretch.is_none())
        {
            self.end_segment(bench, emit);
            self.position = begin;
        } else if gap > 0 {
            let silence = vec![vec![0.0; gap as usize]; planar.len()];
            self.feed(bench, &silence, 0, emit);
        }
        let overlap = self.position.saturating_sub(begin) as usize;
        self.feed(bench, planar, overlap, emit);
    }

    /// Feeds the samples from `skip` on, a hop at a time and channel by channel, so that little is held at once.
    fn feed(
        &mut self,
        bench: &mut Workbench,
        planar: &[Vec<f32>],
        skip: usize,
        emit: &mut dyn FnMut(Window),
    ) {
        let length = planar.first().map_or(0, Vec::len);
        if skip >= length {
            return;
        }
        if self.stretch.is_none() {
            let rate =
                self.plan.get_or_insert_with(|| bench.plan(self.format.sample_rate_hz())).source_rate_hz();
            let first_window = self.setup.geometry.first_window_from(self.position, rate);
            self.owed.resize(planar.len(), 0);
            for owed in &mut self.owed {
                *owed = first_window.max(*owed);
            }
            self.open_stretch(bench, first_window);
        }
        let step = self.setup.geometry.hop as usize;
        for from in (skip..length).step_by(step) {
            let to = length.min(from + step);
            let stretch = self.stretch.as_mut().expect("opened above");
            stretch.push(&self.setup, bench, planar, from..to, emit);
            self.position += (to - from) as u64;
        }
    }

    /// Opens a stretch at the position, where each channel owes `self.owed`.
    fn open_stretch(&mut self, bench: &mut Workbench, first_window: u64) {
        let plan = self.plan.get_or_insert_with(|| bench.plan(self.format.sample_rate_hz())).clone();
        self.stretch = Some(Stretch::open(&self.setup, plan, self.position, first_window, &self.owed));
    }
}
