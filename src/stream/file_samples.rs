//! Files in the front end of a stream: their chunks are collected, and their samples accepted once they are decoded elsewhere.
//!
//! Input: the chunks of a file, then its samples in blocks. Output: every complete window. Invariants: a file that is refused changes nothing but what its
//! chunks before the last one have; the windows do not depend on the size of the blocks.

use prost::bytes::Bytes;

use super::chunk::{BadChunk, Chunk};
use super::sequence::LastSequence;
use super::{Scratch, StreamFrontEnd};
use crate::audio::AudioFormat;
use crate::window::Window;

/// What a chunk that completes a file has changed.
#[derive(Debug)]
pub(super) struct BeforeFile {
    /// The format of the stream.
    format: AudioFormat,
    sequence: LastSequence,
    has_audio: bool,
    /// Bytes of the file.
    collected: usize,
}

impl StreamFrontEnd {
    /// Collects a chunk of a file.
    pub(super) fn collect(&mut self, chunk: &Chunk) -> Result<(), BadChunk> {
        let Self { format, sequence, has_audio, .. } = *self;
        let collected = self.file.len();
        self.file.push(&chunk.audio, self.setup.max_file_bytes)?;
        self.format = AudioFormat::FILE;
        if chunk.last {
            self.before_file = Some(BeforeFile { format, sequence, has_audio, collected });
        }
        Ok(())
    }

    /// Returns how many bytes of a file are collected.
    #[must_use]
    pub fn collected_bytes(&self) -> usize {
        self.file.len()
    }

    /// Takes the bytes of the file: those of a complete one, or those of one that ends as it is.
    ///
    /// The caller decodes the file and calls [`Self::begin_file`], then [`Self::accept_block`] for the samples, then [`Self::end`]; or
    /// [`Self::refuse_file`] where the file cannot be decoded. Until then it passes no other chunk.
    pub fn take_file(&mut self) -> Bytes {
        self.file.take()
    }

    /// Begins the samples of a file with `channels` channels at `rate_hz`.
    ///
    /// # Errors
    /// [`BadChunk::Audio`] where the names of the channels do not fit; the file must then be refused.
    pub fn begin_file(
        &mut self,
        scratch: &mut Scratch,
        (rate_hz, channels): (u32, usize),
        emit: &mut dyn FnMut(Window),
    ) -> Result<(), BadChunk> {
        self.setup.channels.check(channels)?;
        self.before_file = None;
        self.plan = Some(scratch.plan(rate_hz));
        self.repeat_idle_ends(scratch, emit);
        Ok(())
    }

    /// Accepts the next samples of the file, one buffer of equal length per channel, and passes every window that they complete to `emit`.
    pub fn accept_block(&mut self, scratch: &mut Scratch, block: &[Vec<f32>], emit: &mut dyn FnMut(Window)) {
        let mut planar = std::mem::take(&mut scratch.planar);
        planar.copy_from(block);
        self.setup.channels.apply(&mut planar);
        self.push_samples(scratch, planar.channels(), 0, emit);
        scratch.planar = planar;
    }

    /// Restores the stream as it was before the chunk that completed the file `file`, which cannot be decoded. A file that no chunk has completed is
    /// dropped.
    pub fn refuse_file(&mut self, file: Bytes) {
        match self.before_file.take() {
            Some(BeforeFile { format, sequence, has_audio, collected }) => {
                (self.format, self.sequence, self.has_audio) = (format, sequence, has_audio);
                self.file.restore(file, collected);
            }
            // The position moves beyond the chunks of the dropped file. They would otherwise count as
            // needed, and their offsets would never be committed.
            None => self.position += 1,
        }
    }
}
