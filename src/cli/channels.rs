//! The channel flags `--channels` and `--channel-names`.
//!
//! Input: arguments. Output: the channel policy and names that a stream requests.

use crate::audio::{ChannelPolicy, channel_names};
use crate::client::ChannelRequest;

/// The channel options, which apply to every recording of the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChannelArgs {
    /// split: each channel separately; mix: the mean of all channels; first: only channel 0 [default: audio.channels of the analysing process]
    #[arg(long, value_name = "POLICY", value_parser = clap::builder::PossibleValuesParser::new(ChannelPolicy::NAMES))]
    pub channels: Option<String>,
    /// Names of the channels, separated by commas, which events carry, such as agent,customer
    #[arg(long, value_name = "NAMES")]
    pub channel_names: Option<String>,
}

impl ChannelArgs {
    /// Returns the channel request of each stream.
    #[must_use]
    pub fn request(&self) -> ChannelRequest {
        ChannelRequest {
            policy: self.channels.as_deref().and_then(ChannelPolicy::from_name),
            names: self.channel_names.as_deref().map_or_else(Vec::new, channel_names),
        }
    }
}
