//! What identifies a call: its id, and the principal that its streams belong to.
//!
//! Input: a stream. Output: a key. Pure. Invariant: streams of two principals are never part of one call.

use std::sync::Arc;

use crate::stream::StreamInfo;

/// Identifies a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The principal that sends the streams; empty where authentication is off, for Kafka, and for telephony with secrets of its own.
    pub owner: Arc<str>,
    /// The id of the call.
    pub call_id: Arc<str>,
}

impl CallKey {
    /// Returns the key of the call that a stream is part of; of the stream's id where it is part of none.
    #[must_use]
    pub fn of(stream: &StreamInfo) -> Self {
        let call_id =
            stream.call.as_ref().map_or_else(|| stream.stream_id.clone(), |call| call.call_id.clone());
        Self { owner: stream.owner.clone(), call_id }
    }

    /// Returns a name that also differs where two principals have a call of one id.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.owner.is_empty() {
            self.call_id.to_string()
        } else {
            format!("{} ({})", self.call_id, self.owner)
        }
    }
}
