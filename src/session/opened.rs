//! A call's stream, once its first chunk is there, and what later chunks must not change.
//!
//! In: chunks. Out: whether they belong to the stream. Holds the stream's place among those open: dropping it frees the name.

use std::sync::Arc;

use tonic::Status;

use super::open_streams::Place;
use crate::audio::{AudioFormat, ChannelLayout, ChannelPolicy};
use crate::proto::AudioChunk;
use crate::serving::{Seat, ServedModel};
use crate::stream::StreamInfo;
use crate::stream::{BadChunk, CollectedFile, StreamSetup};
use crate::transport::grpc::refusal::{invalid, refusal};

/// An open stream.
pub(crate) struct Opened {
    pub info: Arc<StreamInfo>,
    pub model: Arc<ServedModel>,
    /// The model's, with what the stream says of its channels.
    pub setup: StreamSetup,
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
        let setup = model.setup.for_stream(&info);
        let seat = model.utilization.enter(setup.channels.analysed(format.channels()));
        Self { info, model, setup, format, sequence: None, file, begun: false, _place: place, _seat: seat }
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
        self.check_channels(chunk).map_err(|bad| refusal(&bad))?;
        match format.filter(|is| *is != self.format) {
            Some(is) => Err(refusal(&BadChunk::FormatChanged { was: self.format, is })),
            None => Ok(()),
        }
    }

    fn check_channels(&self, chunk: &AudioChunk) -> Result<(), BadChunk> {
        let was = &self.setup.channels;
        let policy = ChannelPolicy::from_proto(chunk.channels)?.unwrap_or(was.policy);
        let names = if chunk.channel_names.is_empty() { &was.names } else { &chunk.channel_names };
        if policy == was.policy && *names == was.names {
            return Ok(());
        }
        let is = ChannelLayout { policy, names: names.clone() };
        Err(BadChunk::ChannelsChanged { was: was.clone(), is })
    }
}
