//! The flags that say what is done with the channels of recordings.
//!
//! In: arguments. Out: what a stream asks for. Never looks at a recording.

use crate::audio::{ChannelPolicy, channel_names};
use crate::client::ChannelRequest;

/// `--channels` and `--channel-names`, for every recording of the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChannelArgs {
    /// split: each channel on its own; mix: their mean; first: channel 0 alone [default: audio.channels of whoever analyses]
    #[arg(long, value_name = "POLICY", value_parser = clap::builder::PossibleValuesParser::new(ChannelPolicy::NAMES))]
    pub channels: Option<String>,
    /// Names of the channels with commas between, echoed in events, such as agent,customer
    #[arg(long, value_name = "NAMES")]
    pub channel_names: Option<String>,
}

impl ChannelArgs {
    /// What streams ask for.
    #[must_use]
    pub fn request(&self) -> ChannelRequest {
        ChannelRequest {
            policy: self.channels.as_deref().and_then(ChannelPolicy::from_name),
            names: self.channel_names.as_deref().map_or_else(Vec::new, channel_names),
        }
    }
}
