//! Files that arrive as streams: the bytes collected so far, and their decoding.
//!
//! Input: the bytes of a file, chunk by chunk and in order. Output: the file, or its recording. Invariants: a collected file never grows past the
//! limit; a chunk that is refused leaves it as it was.
//!
//! Both kinds of source collect with [`CollectedFile`] and decode with [`decode_file`], at different places. An interactive session collects and
//! decodes before the shard, on a thread for blocking work: it reserves room for events second by second while it sends the recording on, so a
//! client that reads slowly slows its own call. A file over Kafka is collected and decoded by the front end in the shard. Its chunks may settle only
//! when the recording's windows are published, and the position that settles them is the front end's; a decoder in front of the shard would have to
//! report a position for chunks that the shard never received. The price is that the shard's other streams wait while the file is decoded.

use prost::bytes::Bytes;

use super::BadChunk;
use crate::audio::{self, ChannelLayout, Recording};

/// The bytes of a file that is not complete yet.
#[derive(Debug, Default)]
pub struct CollectedFile(Vec<u8>);

impl CollectedFile {
    /// Returns whether no bytes have been collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// Returns [`BadChunk::FileTooLarge`] if the file would exceed `limit` bytes; it then stays as it was.
    pub fn push(&mut self, bytes: &[u8], limit: usize) -> Result<(), BadChunk> {
        if self.0.len() + bytes.len() > limit {
            return Err(BadChunk::FileTooLarge { limit });
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the collected bytes and leaves nothing behind.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }

    /// Appends `end`, decodes the file and leaves nothing behind.
    ///
    /// # Errors
    /// Returns the errors of [`Self::push`] and [`decode_file`]. The file is then as it was before the call, since the chunk with `end` is refused.
    pub fn finish(
        &mut self,
        end: &[u8],
        limit: usize,
        channels: &ChannelLayout,
    ) -> Result<Recording, BadChunk> {
        let before = self.0.len();
        self.push(end, limit)?;
        let file = self.take();
        decode_file(file.clone(), channels).inspect_err(|_| {
            self.0 = file.into();
            self.0.truncate(before);
        })
    }
}

/// Decodes a complete file. Takes time in proportion to its length, up to seconds.
///
/// # Errors
/// Returns [`BadChunk::File`] for a file that cannot be read, and [`BadChunk::Audio`] if the names in `channels` do not fit its channels.
pub fn decode_file(file: Bytes, channels: &ChannelLayout) -> Result<Recording, BadChunk> {
    let recording = audio::decode_bytes(file, None)?;
    channels.check(recording.channels.len())?;
    Ok(recording)
}
