//! What can be wrong with audio that a client sent: the client's fault, never ours.

use super::{CHANNELS, Encoding, SAMPLE_RATES_HZ};

/// Audio that cannot be taken. Each message names the field, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadAudio {
    /// The encoding was not given.
    #[error("format.encoding is unspecified: allowed are {}", Encoding::PROTOCOL_NAMES)]
    UnspecifiedEncoding,
    /// The encoding's number is none of the protocol's.
    #[error("format.encoding = {value}: unknown, allowed are {}", Encoding::PROTOCOL_NAMES)]
    UnknownEncoding {
        /// The number that was sent.
        value: i32,
    },
    /// The sample rate is outside what is taken.
    #[error(
        "format.sample_rate_hz = {value}: allowed is {} to {}",
        SAMPLE_RATES_HZ.start(),
        SAMPLE_RATES_HZ.end()
    )]
    SampleRate {
        /// The rate that was sent.
        value: u32,
    },
    /// No channel, or too many.
    #[error("format.channels = {value}: allowed is {} to {}", CHANNELS.start(), CHANNELS.end())]
    Channels {
        /// The number of channels that was sent.
        value: u32,
    },
    /// The number of the channel policy is none of the protocol's.
    #[error(
        "channels = {value}: unknown, allowed are CHANNEL_POLICY_SPLIT, CHANNEL_POLICY_MIX, CHANNEL_POLICY_FIRST"
    )]
    UnknownChannelPolicy {
        /// The number that was sent.
        value: i32,
    },
    /// Not one name for each channel.
    #[error(
        "channel_names = {names:?}: allowed is one for each of {channels} channels, not empty, or none at all"
    )]
    ChannelNames {
        /// The names that were sent.
        names: Vec<String>,
        /// The stream's channels.
        channels: usize,
    },
    /// All channels become one, which has no name.
    #[error("channel_names = {names:?}: allowed is none where channels = mix, which makes all channels one")]
    NamesOfMix {
        /// The names that were sent.
        names: Vec<String>,
    },
    /// The header `content-type` cannot be read as an audio format.
    #[error("content-type = {value:?}: {reason}")]
    ContentType {
        /// The header as it was sent.
        value: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// The bytes end in the middle of a sample frame.
    #[error("odd byte count: audio holds {bytes} bytes, allowed is a multiple of {frame_bytes}")]
    OddByteCount {
        /// Bytes that were sent.
        bytes: usize,
        /// Bytes of one sample of every channel.
        frame_bytes: usize,
    },
    /// A sample is NaN, infinite, or so far beyond full scale that its energy would be infinite.
    #[error(
        "audio sample {index} of channel {channel} is {value}: allowed are numbers, full scale being -1 to 1"
    )]
    NotASample {
        /// The sample's index in its channel, from the start of these bytes.
        index: usize,
        /// The channel, from 0.
        channel: usize,
        /// What stands there.
        value: f32,
    },
}
