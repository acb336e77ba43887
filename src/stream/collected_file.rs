//! The bytes of a file that came in several chunks, until it is whole.
//!
//! In: bytes in order. Out: the file, or its recording. Never grows past the limit.

use prost::bytes::Bytes;

use super::BadChunk;
use crate::audio::{self, ChannelLayout, Recording};

/// A file that is not whole yet.
#[derive(Debug, Default)]
pub struct CollectedFile(Vec<u8>);

impl CollectedFile {
    /// Whether nothing of a file is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`BadChunk::FileTooLarge`] where the file would have more than `limit` bytes; it is then as it was.
    pub fn push(&mut self, bytes: &[u8], limit: usize) -> Result<(), BadChunk> {
        if self.0.len() + bytes.len() > limit {
            return Err(BadChunk::FileTooLarge { limit });
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// The file, which is not kept.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }

    /// The recording of the file with `end` behind it. The file is gone afterwards.
    ///
    /// # Errors
    /// As [`Self::push`], [`BadChunk::File`] where it cannot be read, or names that are not those of its channels; the file is
    /// then as it was before `end`.
    pub fn finish(
        &mut self,
        end: &[u8],
        limit: usize,
        layout: &ChannelLayout,
    ) -> Result<Recording, BadChunk> {
        let before = self.0.len();
        self.push(end, limit)?;
        let file = self.take();
        let decoded = audio::decode_bytes(file.clone(), None).map_err(BadChunk::from);
        let named = decoded.and_then(|recording| {
            layout.check(recording.channels.len())?;
            Ok(recording)
        });
        named.inspect_err(|_| {
            self.0 = file.into();
            self.0.truncate(before);
        })
    }
}
