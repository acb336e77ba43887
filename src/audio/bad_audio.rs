//! Errors of audio data that a client sent.
//!
//! Each of them is caused by the input and is answered to the sender; none of them is a fault of the daemon.

use super::{CHANNELS, Encoding, SAMPLE_RATES_HZ};
use crate::telemetry::{excerpt, excerpt_of_list};

/// Audio that is refused. Each message names the field, its value and the allowed values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadAudio {
    /// The encoding is missing.
    #[error("format.encoding is unspecified: allowed are {}", Encoding::PROTOCOL_NAMES)]
    UnspecifiedEncoding,
    /// The protocol defines no encoding with this number.
    #[error("format.encoding = {value}: unknown, allowed are {}", Encoding::PROTOCOL_NAMES)]
    UnknownEncoding {
        /// The number that was sent.
        value: i32,
    },
    /// The sample rate is outside [`SAMPLE_RATES_HZ`].
    #[error(
        "format.sample_rate_hz = {value}: allowed is {} to {}",
        SAMPLE_RATES_HZ.start(),
        SAMPLE_RATES_HZ.end()
    )]
    SampleRate {
        /// The rate that was sent.
        value: u32,
    },
    /// The number of channels is outside [`CHANNELS`].
    #[error("format.channels = {value}: allowed is {} to {}", CHANNELS.start(), CHANNELS.end())]
    Channels {
        /// The number of channels that was sent.
        value: u32,
    },
    /// The protocol defines no channel policy with this number.
    #[error(
        "channels = {value}: unknown, allowed are CHANNEL_POLICY_SPLIT, CHANNEL_POLICY_MIX, CHANNEL_POLICY_FIRST"
    )]
    UnknownChannelPolicy {
        /// The number that was sent.
        value: i32,
    },
    /// The number of names differs from the number of channels, or a name is empty.
    #[error(
        "channel_names = {}: allowed is one for each of {channels} channels, not empty, or none at all",
        excerpt_of_list(names)
    )]
    ChannelNames {
        /// The names that were sent.
        names: Vec<String>,
        /// Number of channels of the stream.
        channels: usize,
    },
    /// Names were sent for a stream whose channels are mixed into one, which has no name.
    #[error(
        "channel_names = {}: allowed is none where channels = mix, which makes all channels one",
        excerpt_of_list(names)
    )]
    NamesOfMix {
        /// The names that were sent.
        names: Vec<String>,
    },
    /// The header `content-type` is not a supported audio format.
    #[error("content-type = {:?}: {reason}", excerpt(value))]
    ContentType {
        /// The header as it was sent.
        value: String,
        /// Which part is wrong, and what is allowed.
        reason: String,
    },
    /// The bytes end in the middle of a sample frame.
    #[error("odd byte count: audio holds {bytes} bytes, allowed is a multiple of {frame_bytes}")]
    OddByteCount {
        /// Number of bytes that were sent.
        bytes: usize,
        /// Bytes of one sample frame: one sample of every channel.
        frame_bytes: usize,
    },
    /// The stream ends in the middle of a sample frame.
    #[error(
        "odd byte count: the stream ends {bytes} bytes into a sample frame, allowed is an end after {frame_bytes} bytes"
    )]
    EndsInsideFrame {
        /// Bytes of the incomplete frame.
        bytes: usize,
        /// Bytes of one sample frame: one sample of every channel.
        frame_bytes: usize,
    },
    /// A sample is NaN, infinite, or so far beyond full scale that its energy would overflow.
    #[error(
        "audio sample {index} of channel {channel} is {value}: allowed are finite values near full scale, which is -1 to 1"
    )]
    NotASample {
        /// Index of the sample within its channel, counted from the start of these bytes.
        index: usize,
        /// The channel, from 0.
        channel: usize,
        /// The value of the sample.
        value: f32,
    },
}
