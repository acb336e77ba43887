//! What the first chunk of a stream declares: its model, its format and what the events repeat.
//!
//! Input: the first message of a stream. Output: an [`Opening`], or a refusal. Invariant: nothing is reserved or sent here.

use std::sync::Arc;

use super::Refusal;
use super::shard_sender::Route;
use crate::audio::AudioFormat;
use crate::proto::AudioChunk;
use crate::serving::{ModelRegistry, ServedModel};
use crate::stream::{BadChunk, InputBounds, StreamCall, StreamInfo, StreamSetup};

/// What opens a stream: the requested model, and what the events repeat.
pub(super) struct Opening {
    pub info: Arc<StreamInfo>,
    pub model: Arc<ServedModel>,
    pub setup: StreamSetup,
    pub format: AudioFormat,
    /// Channels that the model analyses.
    pub analysed: usize,
}

impl Opening {
    /// Reads the declarations of a first chunk and moves them out of it. A stream without an id gets a random one.
    pub fn new(
        registry: &ModelRegistry,
        (bounds, route): (&InputBounds, &Route),
        message: &mut AudioChunk,
    ) -> Result<Self, Refusal> {
        let format = format_of(message)?.ok_or(BadChunk::FormatMissing)?;
        let stream_id: Arc<str> = match message.stream_id.as_str() {
            "" => uuid::Uuid::new_v4().to_string().into(),
            named => named.into(),
        };
        let mut info = StreamInfo::from_message(stream_id, message).map_err(BadChunk::from)?;
        info.owner = route.owner.clone();
        bounds.check(&info).map_err(BadChunk::from)?;
        let model = registry.find(&info.model)?;
        info.call.clone_from(&route.call);
        if model.setup.summaries.include(&info) {
            let call = || Arc::new(StreamCall::new(&info, route.source.name()));
            info.call = Some(route.call.clone().unwrap_or_else(call));
            info.started_at = info.started_at.or_else(now);
        } else {
            info.call = None;
        }
        let setup = model.setup.for_stream(&info);
        let analysed = setup.channels.analysed(format.channels());
        Ok(Self { info: Arc::new(info), model, setup, format, analysed })
    }

    /// Refuses a stream that the models could not keep up with.
    pub fn check_utilization(&self, registry: &ModelRegistry, max_percent: usize) -> Result<(), Refusal> {
        let percent = registry.utilization_with(&self.model, self.analysed) * 100.0;
        if percent > max_percent as f64 { Err(Refusal::Busy(max_percent)) } else { Ok(()) }
    }
}

/// Returns the time in milliseconds since 1970.
fn now() -> Option<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// Returns the format that a message declares, where it does.
pub(super) fn format_of(message: &AudioChunk) -> Result<Option<AudioFormat>, BadChunk> {
    Ok(message.format.as_ref().map(AudioFormat::try_from).transpose()?)
}
