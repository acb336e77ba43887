//! The channel policy: which channels of a stream are analysed, and their names.
//!
//! Input: the decoded samples of every channel.
//! Output: the samples of the analysed channels, in the same buffers.
//! Invariants: this module processes decoded samples only, never encoded bytes.

use std::fmt;

use super::{BadAudio, Planar};
use crate::options::choice;
use crate::proto;
use crate::telemetry::excerpt;

choice! {
    /// What is done with the channels of a stream.
    #[derive(Default)]
    pub enum ChannelPolicy {
        /// Each channel is analysed on its own.
        #[default]
        Split = "split",
        /// The mean of all channels is analysed, as channel 0.
        Mix = "mix",
        /// Channel 0 is analysed; the other channels are discarded.
        First = "first",
    }
}

impl ChannelPolicy {
    /// Converts the policy of a protocol message; `None` where the message leaves it to the configuration.
    ///
    /// # Errors
    /// [`BadAudio::UnknownChannelPolicy`] for a number that the protocol does not define.
    pub fn from_proto(value: i32) -> Result<Option<Self>, BadAudio> {
        use proto::ChannelPolicy as Sent;
        match Sent::try_from(value) {
            Ok(Sent::Unspecified) => Ok(None),
            Ok(Sent::Split) => Ok(Some(Self::Split)),
            Ok(Sent::Mix) => Ok(Some(Self::Mix)),
            Ok(Sent::First) => Ok(Some(Self::First)),
            Err(_) => Err(BadAudio::UnknownChannelPolicy { value }),
        }
    }

    /// Converts the policy to its value in protocol messages.
    #[must_use]
    pub fn to_proto(self) -> proto::ChannelPolicy {
        match self {
            Self::Split => proto::ChannelPolicy::Split,
            Self::Mix => proto::ChannelPolicy::Mix,
            Self::First => proto::ChannelPolicy::First,
        }
    }
}

/// The channel policy of one stream, and the names of its channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelLayout {
    /// Which channels are analysed.
    pub policy: ChannelPolicy,
    /// One name for each input channel, or no names at all.
    pub names: Vec<String>,
}

impl ChannelLayout {
    /// Returns how many of `channels` input channels are analysed.
    ///
    /// The number of channels of a file is known only after its header has been decoded; until then it is 0,
    /// which counts as one channel.
    #[must_use]
    pub fn analysed(&self, channels: u16) -> usize {
        match self.policy {
            ChannelPolicy::Split => usize::from(channels.max(1)),
            ChannelPolicy::Mix | ChannelPolicy::First => 1,
        }
    }

    /// Checks that the names fit a stream with `channels` input channels.
    ///
    /// # Errors
    /// [`BadAudio::NamesOfMix`] where names are given for mixed channels; [`BadAudio::ChannelNames`] where
    /// the number of names differs from `channels` or a name is empty.
    pub fn check(&self, channels: usize) -> Result<(), BadAudio> {
        let Self { policy, names } = self;
        if names.is_empty() {
            return Ok(());
        }
        if *policy == ChannelPolicy::Mix {
            return Err(BadAudio::NamesOfMix { names: names.clone() });
        }
        if names.len() != channels || names.iter().any(String::is_empty) {
            return Err(BadAudio::ChannelNames { names: names.clone(), channels });
        }
        Ok(())
    }

    /// Reduces `planar` to the analysed channels, in place.
    pub(crate) fn apply(&self, planar: &mut Planar) {
        match self.policy {
            ChannelPolicy::Split => {}
            ChannelPolicy::First => planar.keep_first(),
            ChannelPolicy::Mix => planar.mix(),
        }
    }
}

impl fmt::Display for ChannelLayout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.policy.name())?;
        if self.names.is_empty() {
            Ok(())
        } else {
            write!(formatter, " ({})", excerpt(&self.names.join(", ")))
        }
    }
}

/// Splits a comma-separated list of names, as used in headers and flags, and trims the spaces around each
/// name.
#[must_use]
pub fn channel_names(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

/// Returns the mean of all channels, which have the same length.
#[must_use]
pub fn mean_of_channels(channels: &[Vec<f32>]) -> Vec<f32> {
    match channels {
        [] => Vec::new(),
        [only] => only.clone(),
        [first, ..] => {
            let share = 1.0 / channels.len() as f32;
            let at = |index: usize| channels.iter().map(|channel| channel[index]).sum::<f32>() * share;
            (0..first.len()).map(at).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(policy: ChannelPolicy, names: &[&str]) -> ChannelLayout {
        ChannelLayout { policy, names: names.iter().map(|&name| name.to_owned()).collect() }
    }

    fn stereo() -> Planar {
        Planar::from_channels(vec![vec![0.5, -1.0], vec![0.25, 1.0]])
    }

    #[test]
    fn each_policy_keeps_the_analysed_channels() {
        for (policy, expected) in [
            (ChannelPolicy::Split, vec![vec![0.5, -1.0], vec![0.25, 1.0]]),
            (ChannelPolicy::Mix, vec![vec![0.375, 0.0]]),
            (ChannelPolicy::First, vec![vec![0.5, -1.0]]),
        ] {
            let mut planar = stereo();
            let layout = layout(policy, &[]);
            layout.apply(&mut planar);
            assert_eq!(planar.channels(), expected, "{policy:?}");
            assert_eq!(layout.analysed(2), expected.len(), "{policy:?}");
            assert_eq!(ChannelPolicy::from_name(policy.name()), Some(policy));
            assert_eq!(ChannelPolicy::from_proto(policy.to_proto().into()), Ok(Some(policy)));
        }
        assert_eq!(ChannelPolicy::from_proto(0), Ok(None));
        assert_eq!(ChannelPolicy::NAMES, ["split", "mix", "first"]);
    }

    #[test]
    fn the_mean_of_eight_full_scale_channels_is_full_scale() {
        let mut planar = Planar::from_channels(vec![vec![-1.0; 3]; 8]);
        layout(ChannelPolicy::Mix, &[]).apply(&mut planar);
        assert_eq!(planar.channels(), [vec![-1.0; 3]]);
    }

    #[test]
    fn the_error_for_bad_names_gives_the_allowed_ones() {
        let checked = |policy, names: &[&str], channels| {
            layout(policy, names).check(channels).map_err(|error| error.to_string())
        };
        assert_eq!(checked(ChannelPolicy::Split, &["agent", "customer"], 2), Ok(()));
        assert_eq!(checked(ChannelPolicy::First, &["agent", "customer"], 2), Ok(()));
        assert_eq!(checked(ChannelPolicy::Mix, &[], 2), Ok(()));
        for (policy, names, channels, parts) in [
            (ChannelPolicy::Split, &["agent"][..], 2, ["channel_names = [\"agent\"]", "one for each of 2"]),
            (ChannelPolicy::First, &["agent"], 2, ["channel_names", "one for each of 2"]),
            (ChannelPolicy::Split, &["agent", ""], 2, ["channel_names", "not empty"]),
            (ChannelPolicy::Mix, &["a", "b"], 2, ["channel_names", "none"]),
        ] {
            let message = checked(policy, names, channels).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        let unknown = ChannelPolicy::from_proto(9).unwrap_err().to_string();
        assert!(unknown.contains("channels = 9") && unknown.contains("CHANNEL_POLICY_MIX"), "{unknown}");
    }

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(channel_names("agent, customer"), ["agent", "customer"]);
        assert_eq!(channel_names("agent,"), ["agent", ""]);
    }
}
