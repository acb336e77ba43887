//! The position of a stream that has begun, as the progress topic has it.
//!
//! Input: the position and what the first chunk declared. Output: a serialisable value, and from it the position and the declarations again. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audio::{AudioFormat, ChannelPolicy};
use crate::stream::{
    ChannelState, ChannelStates, EpochPosition, MissingAudio, RESUMED, SplitFrame, StreamInfo, StreamPosition,
};
use crate::window::WindowSpan;

/// A stream that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamState {
    /// The stream's format.
    pub format: AudioFormat,
    /// The sample at which its next chunk begins.
    pub position: u64,
    /// Sequence of the last chunk accepted.
    pub sequence: Option<u64>,
    /// The bytes of a sample frame that the last chunk left incomplete.
    #[serde(default, skip_serializing_if = "SplitFrame::is_empty")]
    pub split: SplitFrame,
    /// What is missing before the position. Records of older versions have none.
    #[serde(default, skip_serializing_if = "MissingAudio::is_none")]
    pub missing: MissingAudio,
    /// First window of the open segment; `None` after an idle end.
    pub first_window: Option<u64>,
    /// The lowest window of each channel that is not acknowledged.
    pub next_windows: Vec<u64>,
    /// Length and hop of the windows that those numbers count.
    pub span: WindowSpan,
    /// Echoed in the stream's events.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub attributes: HashMap<String, String>,
    /// The model that the stream asked for; empty for the default one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// What is done with its channels. Records of older versions have none; their channels were split.
    #[serde(default)]
    pub channels: ChannelPolicy,
    /// Names of its channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_names: Vec<String>,
    /// The state of the stages behind the model before the next window of each channel, one key a stage.
    #[serde(flatten)]
    pub channel_states: ChannelStates,
}

/// Acknowledged windows by epoch of the stream, channel and index, each with the state of the stages behind the model after it.
pub(super) type AcknowledgedWindows = BTreeMap<(i64, u32, u64), ChannelState>;

/// Returns the last window of each channel of an epoch before the given ones, with the states after it.
pub(super) fn last_windows(epoch: i64, next_windows: &[u64], states: &ChannelStates) -> AcknowledgedWindows {
    let last =
        |(channel, next): (u32, &u64)| Some(((epoch, channel, next.checked_sub(1)?), states.of(channel)));
    (0..).zip(next_windows).filter_map(last).collect()
}

impl StreamState {
    /// Returns the state of a stream at a position.
    #[must_use]
    pub fn new(at: &EpochPosition, info: &StreamInfo, format: AudioFormat) -> Self {
        let StreamPosition { position, sequence, split, missing, first_window, next_windows, span, .. } =
            at.position.clone();
        let StreamInfo { attributes, model, channels, channel_names, .. } = info.clone();
        let channels = channels.unwrap_or_default();
        Self {
            format,
            position,
            sequence,
            split,
            missing,
            first_window,
            next_windows,
            span,
            attributes,
            model,
            channels,
            channel_names,
            channel_states: ChannelStates::default(),
        }
    }

    /// Returns the last window of each channel before the next one, which all are acknowledged.
    pub(super) fn acknowledged_windows(&self) -> AcknowledgedWindows {
        last_windows(RESUMED, &self.next_windows, &self.channel_states)
    }

    /// Returns the position for the offset tracker. Nothing before it is needed, or the commit would lie below it.
    #[must_use]
    pub fn position(&self) -> EpochPosition {
        let position = StreamPosition {
            position: self.position,
            sequence: self.sequence,
            split: self.split.clone(),
            missing: self.missing,
            first_window: self.first_window,
            open: self.first_window.is_some(),
            needed_from: self.position,
            next_windows: self.next_windows.clone(),
            span: self.span,
        };
        EpochPosition { epoch: RESUMED, position }
    }

    /// Returns what the stream's events repeat.
    #[must_use]
    pub fn info(&self, stream_id: &Arc<str>) -> Arc<StreamInfo> {
        let Self { attributes, model, channels, channel_names, channel_states, .. } = self.clone();
        let (stream_id, channels) = (stream_id.clone(), Some(channels));
        Arc::new(StreamInfo {
            stream_id,
            attributes,
            model,
            channels,
            channel_names,
            channel_states,
            ..StreamInfo::default()
        })
    }
}
