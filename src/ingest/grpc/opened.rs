//! A call's stream, once its first chunk is there, and what later chunks must not change.
//!
//! In: chunks. Out: whether they belong to the stream. Holds the stream's place among those open: dropping it frees the name.

use std::sync::Arc;

use tonic::Status;

use super::refusal::{invalid, refusal};
use super::registry::Place;
use crate::audio::AudioFormat;
use crate::envelope::StreamInfo;
use crate::proto::AudioChunk;
use crate::serving::{Seat, ServedModel};
use crate::stream::{BadChunk, CollectedFile};

/// An open stream.
pub(super) struct Opened {
    pub info: Arc<StreamInfo>,
    pub model: Arc<ServedModel>,
    pub format: AudioFormat,
    /// Sequence of the last chunk let in.
    pub sequence: Option<u64>,
    /// A file that is not whole yet.
    pub file: CollectedFile,
    /// Whether its shard has been given anything.
    pub begun: bool,
    _place: Place,
    _seat: Seat,
}

impl Opened {
    /// A stream of which nothing has been let in.
    pub fn new(info: Arc<StreamInfo>, model: Arc<ServedModel>, format: AudioFormat, place: Place) -> Self {
        let file = CollectedFile::default();
        let seat = model.utilization.enter(channels(format));
        Self { info, model, format, sequence: None, file, begun: false, _place: place, _seat: seat }
    }

    /// Refuses a chunk that says it is of another stream, model or format.
    pub fn check(&self, chunk: &AudioChunk, format: Option<AudioFormat>) -> Result<(), Status> {
        if !chunk.stream_id.is_empty() && *chunk.stream_id != *self.info.stream_id {
            let (id, open) = (&chunk.stream_id, &self.info.stream_id);
            let text = format!("stream_id: {id:?} in the call of {open:?}; one call carries one stream");
            return Err(invalid("stream_id", text));
        }
        if !chunk.model.is_empty() && chunk.model != self.info.model {
            let (is, was) = (&chunk.model, &self.info.model);
            let text = format!("model: {is:?} in a stream that began with {was:?}");
            return Err(invalid("model", text));
        }
        match format.filter(|is| *is != self.format) {
            Some(is) => Err(refusal(&BadChunk::FormatChanged { was: self.format, is })),
            None => Ok(()),
        }
    }
}

/// Channels of a stream, as far as they are known: a file says later.
pub(super) fn channels(format: AudioFormat) -> usize {
    usize::from(format.channels().max(1))
}
