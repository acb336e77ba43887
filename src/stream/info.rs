//! What every event of a stream repeats.
//!
//! Input: the stream's first chunk, or its progress record. Output: plain values, shared by all windows of the stream.

use std::collections::HashMap;
use std::sync::Arc;

use super::ChannelStates;
use crate::audio::ChannelPolicy;

/// What every event of a stream repeats.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// Names the stream.
    pub stream_id: Arc<str>,
    /// Echoed as they came with the stream's first chunk.
    pub attributes: HashMap<String, String>,
    /// The model that the stream asked for; empty for the default one.
    pub model: String,
    /// What is done with its channels; `None` until the configuration has been asked.
    pub channels: Option<ChannelPolicy>,
    /// One for each channel, or none.
    pub channel_names: Vec<String>,
    /// The state that stages behind the model had for each channel when another reader left the stream.
    pub channel_states: ChannelStates,
}

impl StreamInfo {
    /// The name of a channel that is analysed; empty where it has none.
    #[must_use]
    pub fn channel_name(&self, channel: u32) -> &str {
        self.channel_names.get(channel as usize).map_or("", String::as_str)
    }
}
