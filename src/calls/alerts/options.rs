//! One `[[alert]]` of the configuration.
//!
//! Input: values that serde reads. Output: the keys of a rule as they are written. Which keys fit together is checked where a
//! [`super::Rule`] is made of them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{AnyDuration, As, Count, Number, OneOf, Optional, PositiveDuration, Text, choice};

choice! {
    /// Values of `alert.N.priority`.
    #[derive(Default)]
    pub enum Priority {
        /// To be looked at at once.
        High = "high",
        /// To be looked at in time.
        #[default]
        Low = "low",
    }
}

choice! {
    /// Values of `alert.N.kind`.
    #[derive(Hash)]
    pub enum Kind {
        /// The probability of an emotion.
        Emotion = "emotion",
        /// The mean valence.
        Valence = "valence",
        /// The share of the analysed time that has an emotion.
        Share = "share",
        /// The mean valence less that before.
        Trend = "trend",
        /// How long nobody has spoken.
        NonTalk = "non_talk",
        /// The share of the time in which two channels or more speak.
        Overlap = "overlap",
        /// How often a channel starts to speak while another one speaks.
        Interruptions = "interruptions",
    }
}

/// The rule of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertOptions {
    /// The name of the rule: part of the id of its alerts and the label of `affectd_alerts_total`. Every rule has one of its own.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = &"angry")]
    pub name: Option<String>,
    /// The priority of its alerts.
    pub priority: Priority,
    /// The channel: a name, `any` for each channel by itself, or `both` for every analysed channel at once.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = &"customer")]
    pub channel: Option<String>,
    /// What is measured.
    #[serde(with = "As::<Optional<OneOf<Kind>>>")]
    #[schemars(example = &"emotion")]
    pub kind: Option<Kind>,
    /// The label of the model, for `emotion` and `share`.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = &"anger")]
    pub emotion: Option<String>,
    /// The value above which an alert is raised.
    #[serde(with = "As::<Optional<Number>>")]
    #[schemars(example = &0.7)]
    pub above: Option<f64>,
    /// The value below which an alert is raised.
    #[serde(with = "As::<Optional<Number>>")]
    #[schemars(example = &-2.0)]
    pub below: Option<f64>,
    /// The value that clears the alert; without it, that of `above` or `below`.
    #[serde(with = "As::<Optional<Number>>")]
    #[schemars(example = &0.5)]
    pub clear: Option<f64>,
    /// How long the value must stay beyond the threshold; for `non_talk`, how long nobody speaks.
    #[serde(rename = "for", with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"5s")]
    pub hold: Option<Duration>,
    /// The time before now that the value is computed from.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"30s")]
    pub within: Option<Duration>,
    /// The rule applies only to this part at the beginning of the call.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"60s")]
    pub first: Option<Duration>,
    /// The rule applies only to this part at the end of the call, and is evaluated when the call ends.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"60s")]
    pub last: Option<Duration>,
    /// Analysed windows that a value needs at least. 3 where it is not set.
    #[serde(with = "As::<Optional<Count<1, 10_000>>>")]
    #[schemars(example = &3)]
    pub min_windows: Option<usize>,
    /// Time after an alert was cleared in which its rule raises none on the same channel.
    #[serde(with = "As::<AnyDuration>")]
    pub cool_down: Duration,
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            name: None,
            priority: Priority::default(),
            channel: None,
            kind: None,
            emotion: None,
            above: None,
            below: None,
            clear: None,
            hold: None,
            within: None,
            first: None,
            last: None,
            min_windows: None,
            cool_down: Duration::from_secs(60),
        }
    }
}
