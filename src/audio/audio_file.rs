//! Files that are decoded block by block, so that only one block takes memory, and the bytes of a file that is not on disk.
//!
//! Input: a path, or the bytes of a file. Output: its samples, as many at a time as the caller requests. Invariants: the file is decoded twice, because its end may
//! decide what belongs to the recording: first to check and to count it, then to pass its samples on. A decoding holds no thread between two calls, and
//! dropping it gives it up.

use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use prost::bytes::Bytes;

use super::container::{self, Decoded, Passed, Recorder};
use super::file_bytes::FileBytes;
use super::files::{caught, decode_into, opened, unreadable};
use super::{DecodeLimit, FileError, FileProblem};

/// A decoding of a file that goes on block by block.
struct Decoding(Pin<Box<dyn Future<Output = Result<Decoded, FileProblem>> + Send>>);

impl Decoding {
    fn start(bytes: FileBytes, recorder: Recorder) -> Self {
        Self(Box::pin(async move { decode_into(&bytes, recorder).await }))
    }

    /// Decodes the next block; the result where there is none. It must not be called after that.
    fn step(&mut self) -> Option<Result<Decoded, FileProblem>> {
        caught(|| container::step(self.0.as_mut())).unwrap_or_else(|panicked| Some(Err(panicked)))
    }
}

/// A file that is being checked and counted.
pub struct FileCheck {
    decoding: Decoding,
    bytes: FileBytes,
    name: String,
}

/// A valid file.
#[derive(Debug)]
pub struct AudioFile {
    bytes: FileBytes,
    name: String,
    sample_rate_hz: u32,
    channels: usize,
    frames: usize,
    /// The ranges of the decoded samples that are the recording.
    kept: Arc<[Range<usize>]>,
}

/// The samples of a valid file, block by block.
pub struct FileBlocks {
    /// `None` once the file is decoded.
    decoding: Option<Decoding>,
    passed: Passed,
    name: String,
}

impl FileCheck {
    /// Begins to check the file with the bytes `bytes`; `name` stands for it in messages.
    #[must_use]
    pub fn new(bytes: Bytes, name: &str, limit: &DecodeLimit) -> Self {
        Self::of(bytes.into(), name.to_owned(), limit)
    }

    fn of(bytes: FileBytes, name: String, limit: &DecodeLimit) -> Self {
        Self { decoding: Decoding::start(bytes.clone(), Recorder::counting(limit)), bytes, name }
    }

    /// Checks all blocks that are left.
    fn complete(mut self) -> Result<AudioFile, FileError> {
        loop {
            match self.step()? {
                ControlFlow::Continue(further) => self = further,
                ControlFlow::Break(file) => return Ok(file),
            }
        }
    }

    /// Checks the next block, and returns the file once all are checked.
    ///
    /// # Errors
    /// [`FileError`] with the reason.
    pub fn step(mut self) -> Result<ControlFlow<AudioFile, Self>, FileError> {
        match self.decoding.step() {
            None => Ok(ControlFlow::Continue(self)),
            Some(Ok(Decoded { rate_hz, count, frames, kept, .. })) => {
                let Self { bytes, name, .. } = self;
                let (sample_rate_hz, channels) = (rate_hz, count);
                let kept = kept.into();
                Ok(ControlFlow::Break(AudioFile { bytes, name, sample_rate_hz, channels, frames, kept }))
            }
            Some(Err(problem)) => Err(FileError { file: self.name, problem }),
        }
    }
}

impl AudioFile {
    /// Reads, checks and counts the file at `path`, whatever its extension is.
    ///
    /// # Errors
    /// As [`super::decode_file`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Self::checked(opened(path.as_ref()), path.as_ref().display().to_string())
    }

    /// Checks and counts an open file from its position on, which may be a pipe; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`super::decode_open`].
    pub fn of_open(file: File, name: &str) -> Result<Self, FileError> {
        Self::checked(FileBytes::of_file(file).map_err(unreadable), name.to_owned())
    }

    fn checked(bytes: Result<FileBytes, FileProblem>, name: String) -> Result<Self, FileError> {
        match bytes {
            Ok(bytes) => FileCheck::of(bytes, name, &DecodeLimit::NONE).complete(),
            Err(problem) => Err(FileError { file: name, problem }),
        }
    }

    /// Checks and counts the file with the bytes `bytes`; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`FileError`] with the reason.
    pub fn new(bytes: Bytes, name: &str, limit: &DecodeLimit) -> Result<Self, FileError> {
        FileCheck::new(bytes, name, limit).complete()
    }

    /// Returns the number of bytes of the file.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes of the file, or of its part `range`.
    ///
    /// # Errors
    /// [`FileError`] where they cannot be read.
    pub fn read(&self, range: Range<usize>) -> Result<Bytes, FileError> {
        let bytes = self.bytes.behind(range.start).head(range.len());
        let failure = self.bytes.failure();
        failure.map_or(Ok(bytes), |problem| Err(FileError { file: self.name.clone(), problem }))
    }

    /// Returns the samples per second of one channel.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Returns the number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the samples per channel, at least one.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the samples of the file, which are decoded as they are requested.
    #[must_use]
    pub fn blocks(&self) -> FileBlocks {
        let passed = Passed::default();
        let recorder = Recorder::passing(self.kept.clone(), passed.clone());
        let decoding = Some(Decoding::start(self.bytes.clone(), recorder));
        FileBlocks { decoding, passed, name: self.name.clone() }
    }

    /// Passes the samples to `blocks` in order, one buffer of equal length per channel, until `blocks` returns
    /// [`ControlFlow::Break`].
    ///
    /// # Errors
    /// As [`FileBlocks::next`].
    pub fn decode(&self, blocks: &mut dyn FnMut(&[Vec<f32>]) -> ControlFlow<()>) -> Result<(), FileError> {
        let mut decoding = self.blocks();
        while let Some(block) = decoding.next(1)? {
            if blocks(&block).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl FileBlocks {
    /// Returns the next samples, one buffer of equal length per channel: at least `frames` of them, or all that are left; `None` where none are. Frames are
    /// decoded as a whole, so up to one block of the codec may come in addition.
    ///
    /// # Errors
    /// [`FileError`] where the decoder fails, although it did not when the file was checked.
    pub fn next(&mut self, frames: usize) -> Result<Option<Vec<Vec<f32>>>, FileError> {
        while self.passed.frames() < frames {
            let Some(decoding) = &mut self.decoding else { break };
            match decoding.step() {
                None => {}
                Some(Ok(_)) => self.decoding = None,
                Some(Err(problem)) => {
                    self.decoding = None;
                    return Err(FileError { file: self.name.clone(), problem });
                }
            }
        }
        let is_empty = self.passed.frames() == 0;
        Ok((!is_empty).then(|| self.passed.take()))
    }
}
