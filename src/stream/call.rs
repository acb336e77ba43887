//! The call that a stream is part of.
//!
//! Input: the attributes of the stream, and what its transport counts. Output: plain values and counters that the stream's session and the
//! summary share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::StreamInfo;
use crate::options::choice;

/// The attribute that names the call of a stream.
const CALL_ID: &str = "call_id";

choice! {
    /// Values of `calls.summaries`.
    #[derive(Default)]
    pub enum Summaries {
        /// No summaries are made.
        #[default]
        Off = "off",
        /// Streams with the attribute `call_id` and those of telephony.
        Named = "named",
        /// All streams.
        All = "all",
    }
}

impl Summaries {
    /// Returns whether a summary is made of a stream.
    #[must_use]
    pub fn include(self, info: &StreamInfo) -> bool {
        match self {
            Self::Off => false,
            Self::Named => info.call.is_some() || info.attributes.contains_key(CALL_ID),
            Self::All => true,
        }
    }
}

choice! {
    /// How a stream ended.
    #[derive(Default)]
    pub enum EndReason {
        /// Its sender ended it.
        #[default]
        Completed = "completed",
        /// Its connection closed before its end.
        Disconnected = "disconnected",
        /// The daemon stopped.
        Drained = "drained",
        /// Its input was refused.
        Error = "error",
    }
}

/// The call of one stream. The session of the stream and the summary share it.
#[derive(Debug)]
pub struct StreamCall {
    /// The id of the call: the attribute `call_id`, or the stream's id.
    pub call_id: Arc<str>,
    /// The source of the stream, as metrics label it.
    pub source: &'static str,
    /// Whether the transport counts what is missing of the stream, because it decides where its audio begins.
    pub counted_by_transport: bool,
    /// Names of the channels that the model analyses; all where it is empty.
    pub analysed: Vec<String>,
    /// Audio that was dropped or never arrived, in milliseconds.
    pub lost_ms: AtomicU64,
    /// Chunks that came too late.
    pub late: AtomicU64,
    /// Places where audio is missing.
    pub holes: AtomicU64,
    /// The channels that are left out of the summary, one bit each.
    absent: AtomicU64,
    end_reason: AtomicU8,
}

impl StreamCall {
    /// Returns the call of a stream with these attributes.
    #[must_use]
    pub fn new(info: &StreamInfo, source: &'static str) -> Self {
        let call_id = info.attributes.get(CALL_ID).filter(|id| !id.is_empty());
        let call_id = call_id.map_or_else(|| info.stream_id.clone(), |id| id.as_str().into());
        Self { counted_by_transport: false, ..Self::named(call_id, source) }
    }

    /// Returns the call `call_id` of a transport that decides where audio begins.
    #[must_use]
    pub fn named(call_id: Arc<str>, source: &'static str) -> Self {
        Self {
            call_id,
            source,
            counted_by_transport: true,
            analysed: Vec::new(),
            lost_ms: AtomicU64::new(0),
            late: AtomicU64::new(0),
            holes: AtomicU64::new(0),
            absent: AtomicU64::new(0),
            end_reason: AtomicU8::new(0),
        }
    }

    /// Returns the same call where the model analyses the channels with these names only; all where there are none.
    #[must_use]
    pub fn analysing(mut self, names: &[String]) -> Self {
        self.analysed = names.to_vec();
        self
    }

    /// Notes how the stream ends, unless it is noted already. An error replaces a regular end: what the client has sent last may be refused behind it.
    pub fn end(&self, reason: EndReason) {
        let (number, regular) = (reason as u8 + 1, EndReason::Completed as u8 + 1);
        let noted = self.end_reason.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        if noted == Err(regular) && reason == EndReason::Error {
            let _ = self.end_reason.compare_exchange(regular, number, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns how the stream ended.
    #[must_use]
    pub fn end_reason(&self) -> EndReason {
        match self.end_reason.load(Ordering::Relaxed) {
            2 => EndReason::Disconnected,
            3 => EndReason::Drained,
            4 => EndReason::Error,
            _ => EndReason::Completed,
        }
    }

    /// Notes the channels that never were part of the stream, although it was opened with them. They are left out of the summary.
    pub fn set_absent(&self, channels: &[u32]) {
        let bits = channels
            .iter()
            .filter(|channel| **channel < u64::BITS)
            .fold(0, |bits, channel| bits | 1 << channel);
        self.absent.store(bits, Ordering::Relaxed);
    }

    /// Returns whether a channel never was part of the stream.
    #[must_use]
    pub fn is_absent(&self, channel: u32) -> bool {
        channel < u64::BITS && self.absent.load(Ordering::Relaxed) & 1 << channel != 0
    }

    /// Returns whether the model analyses the channel with this name, without regard to case.
    #[must_use]
    pub fn analyses(&self, channel_name: &str) -> bool {
        self.analysed.is_empty() || self.analysed.iter().any(|name| name.eq_ignore_ascii_case(channel_name))
    }
}
