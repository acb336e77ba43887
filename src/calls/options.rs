//! The section `[calls]` of the configuration.
//!
//! Input: values that serde reads. Output: which calls are summarised, how, and how long their summaries are held.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{AnyDuration, As, Count, Names, PositiveDuration};
use crate::stream::Summaries;

/// Calls and their summaries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Which streams a summary is made of. With `named`, those with the attribute `call_id` and those of telephony; the
    /// other streams then cost nothing more.
    pub summaries: Summaries,
    /// Time after the end of a call's last stream in which another stream of the same call may begin.
    #[serde(with = "As::<AnyDuration>")]
    pub linger: Duration,
    /// Labels that count as positive in the valence, separated by commas.
    #[serde(with = "As::<Names>")]
    pub positive: Vec<String>,
    /// Labels that count as negative in the valence, separated by commas.
    #[serde(with = "As::<Names>")]
    pub negative: Vec<String>,
    /// Shortest time in which nobody speaks that counts as non-talk.
    #[serde(with = "As::<PositiveDuration>")]
    pub non_talk_min: Duration,
    /// Summaries that are held for gRPC and HTTP.
    #[serde(with = "As::<Count<0, 1_000_000>>")]
    pub keep: usize,
    /// Longest time that a summary is held.
    #[serde(with = "As::<PositiveDuration>")]
    pub keep_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            summaries: Summaries::Named,
            linger: Duration::from_secs(5),
            positive: names(&["happiness"]),
            negative: names(&["anger", "disgust", "fear", "sadness"]),
            non_talk_min: Duration::from_secs(3),
            keep: 1_000,
            keep_for: Duration::from_secs(24 * 60 * 60),
        }
    }
}
