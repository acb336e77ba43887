//! A sample frame whose bytes are split over two chunks.
//!
//! Input: the chunks of a stream of raw samples, in order.
//! Output: whole sample frames, and the bytes that are left over.
//! Invariants: fewer bytes are left over than a frame has; no byte is lost between two chunks that follow each
//! other. Pure.
//!
//! The bytes are part of the stream's position, and so of its progress on Kafka: the chunk that brought them may
//! settle like any other, because a reader that continues behind it begins with the same bytes. The rejected
//! alternative was to keep that chunk unsettled until the frame is complete. A stream whose first chunk has an
//! odd length and whose other chunks have even ones never comes back to a whole frame, so none of its offsets
//! would ever be committed.

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Chunk;
use crate::audio::{AudioFormat, BadAudio};

/// The bytes of a sample frame that a chunk began and did not complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFrame {
    /// Index of the frame, in source samples of one channel.
    pub sample: u64,
    /// The first bytes of the frame; empty where the last chunk ended with a whole frame.
    pub bytes: Vec<u8>,
}

impl SplitFrame {
    /// Returns whether the last chunk ended with a whole frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the whole frames of `chunk` after the bytes that are left over, and what is left over then.
    /// `position` is the sample at which the chunk begins if it declares none.
    ///
    /// A chunk that declares another `first_sample` than that of the split frame does not continue it: the bytes
    /// between are missing, and the incomplete frame is dropped.
    ///
    /// # Errors
    /// [`BadAudio::EndsInsideFrame`] where the chunk is the last one and leaves bytes over.
    ///
    /// # Panics
    /// Where `format` is a file.
    pub fn join(&self, format: AudioFormat, position: u64, chunk: &Chunk) -> Result<(Bytes, Self), BadAudio> {
        let frame_bytes = format.frame_bytes().expect("a stream of raw samples");
        let continued = chunk.first_sample.is_none_or(|first| first == self.sample);
        let mut audio = if continued && !self.is_empty() {
            [&self.bytes[..], &chunk.audio].concat().into()
        } else {
            chunk.audio.clone()
        };
        let rest = audio.split_off(audio.len() - audio.len() % frame_bytes);
        let begin = chunk.first_sample.unwrap_or(position);
        let left =
            Self { sample: begin.saturating_add((audio.len() / frame_bytes) as u64), bytes: rest.to_vec() };
        if chunk.last {
            left.check_end(format)?;
        }
        // Positions without left-over bytes are equal, wherever the chunk ended.
        Ok((audio, if left.is_empty() { Self::default() } else { left }))
    }

    /// Checks that a stream may end here.
    ///
    /// # Errors
    /// [`BadAudio::EndsInsideFrame`] where bytes are left over.
    pub fn check_end(&self, format: AudioFormat) -> Result<(), BadAudio> {
        match (self.bytes.len(), format.frame_bytes()) {
            (0, _) | (_, None) => Ok(()),
            (bytes, Some(frame_bytes)) => Err(BadAudio::EndsInsideFrame { bytes, frame_bytes }),
        }
    }
}
