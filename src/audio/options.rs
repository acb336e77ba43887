//! The section `[audio]` of the configuration.
//!
//! Input: values that serde reads. Output: the limits of incoming audio, each within its range.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ChannelPolicy;
use crate::options::{AnyDuration, As, Count, PositiveDuration, choice};

choice! {
    /// What is done with the header of an audio file in a stream that is declared as raw samples.
    #[derive(Default)]
    pub enum FileAsSamples {
        /// A warning names the stream, and the bytes are read as samples.
        #[default]
        Warn = "warn",
        /// The chunk is refused.
        Refuse = "refuse",
        /// The stream is read as a file.
        Decode = "decode",
    }
}

const GIBIBYTE: usize = 1 << 30;

/// Limits of incoming audio, and what is done with its channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Time without a chunk after which a stream ends.
    #[serde(with = "As::<PositiveDuration>")]
    pub idle_timeout: Duration,
    /// Longest gap between the samples of two chunks that is filled with silence; a longer one begins a new segment.
    #[serde(with = "As::<AnyDuration>")]
    pub max_gap: Duration,
    /// What is done with the channels of a stream that does not request a policy itself: analyse each channel on its
    /// own, their mean, or the first one alone.
    pub channels: ChannelPolicy,
    /// Largest chunk of raw samples, in bytes.
    #[serde(with = "As::<Count<1, GIBIBYTE>>")]
    pub max_chunk_bytes: usize,
    /// Largest audio file in bytes, whether it arrives whole or spread over chunks.
    #[serde(with = "As::<Count<1, GIBIBYTE>>")]
    pub max_file_bytes: usize,
    /// Longest duration of the audio in a file.
    #[serde(with = "As::<PositiveDuration>")]
    pub max_file_duration: Duration,
    /// What is done with a stream that is declared as raw samples and begins with the header of a WAV, FLAC, Ogg or MP3
    /// file: a warning, a refusal, or decoding as a file.
    pub file_as_samples: FileAsSamples,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            max_gap: Duration::from_secs(1),
            channels: ChannelPolicy::Split,
            max_chunk_bytes: 1 << 20,
            max_file_bytes: 64 << 20,
            max_file_duration: Duration::from_secs(3600),
            file_as_samples: FileAsSamples::Warn,
        }
    }
}
