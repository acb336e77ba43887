//! Collects the bytes of a file that arrives in several chunks.
//!
//! Input: bytes in order.
//! Output: the complete file, or its recording.
//! Invariants: the collected bytes never exceed the limit of the caller.
//!
//! A file is decoded only when it is complete, because its header and, in some formats, its end decide what
//! its bytes mean. Until then its chunks contribute no samples, and the position of the stream does not move.
//! For Kafka this means that none of the file's records may be committed before the last one was decoded: a
//! restart reads the file again from its first record. The limit bounds the memory, and with it the amount of
//! audio that is read again.
//!
//! Both kinds of source collect with [`CollectedFile`] and decode at different places. An
//! interactive session collects and decodes before the shard, on a thread for decoding: it reserves room
//! for events while it sends the recording on second by second, so a client that reads slowly slows its own
//! stream only. A file over Kafka is collected and decoded by the front end in the shard, because its records
//! may settle only when the windows of the recording are published, and the position that settles them is the
//! front end's. A decoder in front of the shard would have to report positions for chunks that the shard never
//! received. The price is that the other streams of the shard wait while the file is decoded.

use std::time::Duration;

use prost::bytes::Bytes;

use super::BadChunk;
use crate::audio::{self, ChannelLayout, DecodeLimit, Recording};

/// The bytes of a file that is not complete yet.
#[derive(Debug, Default)]
pub struct CollectedFile(Vec<u8>);

impl CollectedFile {
    /// Returns whether no bytes have been collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of collected bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`BadChunk::FileTooLarge`] where the file would exceed `limit` bytes; the collected bytes are
    /// unchanged.
    pub fn push(&mut self, bytes: &[u8], limit: usize) -> Result<(), BadChunk> {
        if self.0.len() + bytes.len() > limit {
            return Err(BadChunk::FileTooLarge { limit });
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the collected bytes and starts over with none.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }

    /// Completes the file with `end`, decodes it and starts over with no bytes.
    ///
    /// # Errors
    /// Those of [`Self::push`], [`BadChunk::File`] where the file cannot be decoded, and [`BadChunk::Audio`]
    /// where the names of `layout` do not fit its channels. The collected bytes are then as they were before
    /// `end`.
    pub fn finish(
        &mut self,
        end: &[u8],
        limit: usize,
        layout: &ChannelLayout,
        max_duration: Duration,
    ) -> Result<Recording, BadChunk> {
        let before = self.0.len();
        self.push(end, limit)?;
        let file = self.take();
        // `file` shares its buffer with no other owner here, so the conversion back to a vector does not
        // copy.
        decode_file(file.clone(), layout, max_duration).inspect_err(|_| {
            self.0 = file.into();
            self.0.truncate(before);
        })
    }
}

/// Decodes a complete file. This takes time in proportion to the file's length, up to seconds.
///
/// # Errors
/// [`BadChunk::File`] where the file cannot be decoded, and [`BadChunk::Audio`] where the names of `layout` do not
/// fit its channels.
fn decode_file(file: Bytes, layout: &ChannelLayout, max_duration: Duration) -> Result<Recording, BadChunk> {
    let limit = DecodeLimit::samples(audio::MAX_CLIENT_SAMPLES).with_duration(max_duration);
    let recording = audio::decode_bytes_within(file, None, &limit)?;
    layout.check(recording.channels.len())?;
    Ok(recording)
}
