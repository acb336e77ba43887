//! Collects the bytes of a file that arrives in several chunks.
//!
//! Input: bytes in order.
//! Output: the complete file.
//! Invariants: the collected bytes never exceed the limit of the caller.
//!
//! A file is decoded only when it is complete, because its header and, in some formats, its end decide what
//! its bytes mean. Until then its chunks contribute no samples, and the position of the stream does not move.
//! For Kafka this means that none of the file's records may be committed before the windows of the file are
//! published: a restart reads the file again from its first record. The limit bounds the memory, and with it the amount of
//! audio that is read again.
//!
//! Both kinds of source collect with [`CollectedFile`] and decode elsewhere, piece by piece, on threads for decoding. An
//! interactive session passes the pieces on to its shard like chunks of samples: it reserves room for events before each, so a
//! client that reads slowly slows its own stream only. A file over Kafka is collected by the front end in the shard,
//! because its records may settle only when the windows of the recording are published, and the position that
//! settles them is the front end's. The shard requests the next piece once the windows of the last one have
//! found room, and handles its other streams meanwhile.

use prost::bytes::Bytes;

use super::BadChunk;

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

    /// Takes back the first `length` bytes of a file that was taken.
    pub fn restore(&mut self, file: Bytes, length: usize) {
        // The file has no other owner by now, so the conversion does not copy.
        self.0 = file.into();
        self.0.truncate(length);
    }
}
