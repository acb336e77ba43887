//! A file of a client while it is decoded, piece by piece.
//!
//! Input: the bytes of a complete file. Output: its format once it is checked, then its samples, as the caller asks for them. Invariants: the samples of the
//! file never lie in memory as a whole, but a piece of them; the decoding rests, without a thread, until the next piece is requested.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;

use super::Decoders;
use crate::audio::{AudioFile, AudioFormat, BadAudio, ChannelLayout, Encoding};
use crate::audio::{FileBlocks, FileCheck, FileError, FileProblem};
use crate::stream::BadChunk;

/// The most samples of a piece over all channels, but for the last block of the codec.
const PIECE_SAMPLES: usize = 1 << 17;
/// How long a file holds a thread before the others take their turn.
const STEP: Duration = Duration::from_millis(20);

/// A file that was checked, and whose samples are decoded as they are requested. Dropping it gives it up.
pub struct ClientFile {
    decoders: Decoders,
    sample_rate_hz: u32,
    channels: usize,
    /// Absent while a step is under way, and after an error.
    blocks: Option<FileBlocks>,
}

impl ClientFile {
    /// The memory that a file takes beside its bytes while it is decoded: about that of a piece.
    pub const DECODING_BYTES: usize = PIECE_SAMPLES * size_of::<f32>();

    /// Checks a file: it is decoded once, and its samples are dropped. Dropping the future gives the file up.
    ///
    /// # Errors
    /// [`BadChunk::File`] where the file cannot be decoded, and [`BadChunk::Audio`] where the names of `layout` do not fit its channels.
    pub async fn open(decoders: &Decoders, file: Bytes, layout: &ChannelLayout) -> Result<Self, BadChunk> {
        let mut check = FileCheck::new(file, "file", &decoders.limit());
        let file = loop {
            match decoders.run(|| check_for(check, STEP)).await.unwrap_or_else(|| Err(panicked()))? {
                ControlFlow::Continue(further) => check = further,
                ControlFlow::Break(file) => break file,
            }
        };
        layout.check(file.channels())?;
        let (sample_rate_hz, channels) = (file.sample_rate_hz(), file.channels());
        let blocks = Some(file.blocks());
        Ok(Self { decoders: decoders.clone(), sample_rate_hz, channels, blocks })
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

    /// Returns the format of a chunk that holds samples of the file.
    ///
    /// # Errors
    /// None for a file that was checked.
    pub fn format(&self) -> Result<AudioFormat, BadAudio> {
        AudioFormat::new(Encoding::PcmF32Le, self.sample_rate_hz, self.channels as u32)
    }

    /// Decodes about one second, and returns it as one buffer of equal length per channel; `None` behind the last sample. Cancelling the future gives the
    /// file up.
    ///
    /// # Errors
    /// Where the decoder fails, although it did not when the file was checked.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<f32>>>, FileError> {
        let frames = (self.sample_rate_hz as usize).min(PIECE_SAMPLES / self.channels.max(1));
        let Some(mut blocks) = self.blocks.take() else { return Ok(None) };
        let step = move || (blocks.next(frames), blocks);
        let (piece, blocks) = self.decoders.run(step).await.ok_or_else(panicked)?;
        self.blocks = piece.as_ref().is_ok_and(Option::is_some).then_some(blocks);
        piece
    }
}

/// Goes on with the check of a file for a while.
fn check_for(
    mut check: FileCheck,
    duration: Duration,
) -> Result<ControlFlow<AudioFile, FileCheck>, FileError> {
    let started = Instant::now();
    while started.elapsed() < duration {
        match check.step()? {
            ControlFlow::Continue(further) => check = further,
            file @ ControlFlow::Break(_) => return Ok(file),
        }
    }
    Ok(ControlFlow::Continue(check))
}

fn panicked() -> FileError {
    let problem = FileProblem::Malformed { reason: "the decoder panicked".to_owned() };
    FileError { file: "file".to_owned(), problem }
}
