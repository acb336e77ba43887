//! What every event of a stream repeats, and the check that later chunks do not change it.
//!
//! Input: the stream's first chunk, or its progress record. Output: plain values, shared by all windows of the stream. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BadChunk, ChannelStates, StreamCall};
use crate::audio::{BadAudio, ChannelLayout, ChannelPolicy};
use crate::proto::{AudioChunk, Timestamp};

/// What every event of a stream repeats.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// The id of the stream.
    pub stream_id: Arc<str>,
    /// The principal that sends the stream; empty where authentication is off, and for Kafka.
    pub owner: Arc<str>,
    /// The attributes of the stream's first chunk.
    pub attributes: HashMap<String, String>,
    /// The model that the stream requested; empty for the default one.
    pub model: String,
    /// The channel policy; `None` until the configured one has been filled in.
    pub channels: Option<ChannelPolicy>,
    /// One name for each channel, or none.
    pub channel_names: Vec<String>,
    /// The state that stages behind the model had for each channel when another reader left the stream.
    pub channel_states: ChannelStates,
    /// The call that the stream is part of; `None` where no summary is made of it.
    pub call: Option<Arc<StreamCall>>,
    /// When the stream began, in milliseconds since 1970, as its source knows it.
    pub started_at: Option<i64>,
}

/// What a chunk declares of its stream. An empty model, no policy and no names mean "as before".
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// The requested model.
    pub model: &'a str,
    /// The channel policy.
    pub channels: Option<ChannelPolicy>,
    /// The names of the channels.
    pub channel_names: &'a [String],
}

impl StreamInfo {
    /// Moves what a message declares of its stream out of the message.
    ///
    /// # Errors
    /// Returns an error for a channel policy that the protocol does not define.
    pub fn from_message(stream_id: Arc<str>, message: &mut AudioChunk) -> Result<Self, BadAudio> {
        Ok(Self {
            stream_id,
            attributes: std::mem::take(&mut message.attributes),
            channels: ChannelPolicy::from_proto(message.channels)?,
            model: std::mem::take(&mut message.model),
            channel_names: std::mem::take(&mut message.channel_names),
            started_at: message.captured_at.as_ref().map(Timestamp::milliseconds),
            ..Self::default()
        })
    }

    /// Returns the name of an analysed channel; empty where it has none.
    #[must_use]
    pub fn channel_name(&self, channel: u32) -> &str {
        self.channel_names.get(channel as usize).map_or("", String::as_str)
    }

    /// Returns whether the model analyses a channel.
    #[must_use]
    pub fn analyses(&self, channel: u32) -> bool {
        self.call.as_ref().is_none_or(|call| call.analyses(self.channel_name(channel)))
    }

    /// Returns what a chunk with this information declares.
    #[must_use]
    pub fn declared(&self) -> Declared<'_> {
        Declared { model: &self.model, channels: self.channels, channel_names: &self.channel_names }
    }
}

impl Declared<'_> {
    /// Checks that a later chunk declares nothing that differs from its stream, which requested `model` and has the channels of `layout`.
    ///
    /// # Errors
    /// Returns [`BadChunk::ModelChanged`] or [`BadChunk::ChannelsChanged`].
    pub fn check(&self, model: &str, layout: &ChannelLayout) -> Result<(), BadChunk> {
        if !self.model.is_empty() && self.model != model {
            return Err(BadChunk::ModelChanged { was: model.to_owned(), is: self.model.to_owned() });
        }
        let policy = self.channels.unwrap_or(layout.policy);
        let names = if self.channel_names.is_empty() { &layout.names } else { self.channel_names };
        if policy == layout.policy && *names == layout.names {
            return Ok(());
        }
        let is = ChannelLayout { policy, names: names.to_vec() };
        Err(BadChunk::ChannelsChanged { was: layout.clone(), is })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_chunk_declares_the_same_or_nothing() {
        let names = ["agent".to_owned(), "customer".to_owned()];
        let layout = ChannelLayout { policy: ChannelPolicy::Split, names: names.to_vec() };
        let nothing = Declared { model: "", channels: None, channel_names: &[] };
        let same = Declared { model: "a", channels: Some(ChannelPolicy::Split), channel_names: &names };
        let refused = |declared: Declared<'_>| declared.check("a", &layout).map_err(|bad| bad.reason());
        assert_eq!((refused(nothing), refused(same)), (Ok(()), Ok(())));
        assert_eq!(refused(Declared { model: "b", ..same }), Err("model"));
        assert_eq!(
            refused(Declared { channels: Some(ChannelPolicy::First), ..nothing }),
            Err("channels_changed")
        );
        assert_eq!(refused(Declared { channel_names: &names[..1], ..nothing }), Err("channels_changed"));
        let text = Declared { model: "b", ..nothing }.check("a", &layout).unwrap_err().to_string();
        assert_eq!(text, "model: \"b\" in a stream that began with \"a\"");
    }
}
