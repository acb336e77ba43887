//! The state that stages behind the model keep for a channel, such as the scores that smoothing looks back at.
//!
//! Input: what a stage leaves after a window. Output: plain values, part of the stream's progress record: one key for each stage, holding a
//! list with one item a channel (`"recent":[{…},null]`). A new stage adds one field to [`ChannelState`] and its key here; shards, the offset
//! tracker and the progress record pass the state on as it is.
//! Invariant: state under a key that this version does not know is carried along unchanged, so that an older reader loses nothing of a
//! newer one's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AlertState, ChannelTotals, LogitStatistics, OutOfDomainState, RecentScores};

/// Key of the smoothing's state.
const RECENT: &str = "recent";
/// Key of the adaptation's state.
const LOGITS: &str = "logits";
/// Key of the totals for the summary of the call.
const CALL: &str = "call";
/// Key of the state of alert rules.
const ALERTS: &str = "alerts";
/// Key of the state of the out-of-domain judgement.
const OUT_OF_DOMAIN: &str = "outOfDomain";

/// State of all stages for one channel, after one window. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChannelState {
    /// The scores that the channel's next window is smoothed with.
    pub recent: Option<Arc<RecentScores>>,
    /// What the channel's next window is adapted with.
    pub logits: Option<Arc<LogitStatistics>>,
    /// What the summary of the call is computed from.
    pub call: Option<Arc<ChannelTotals>>,
    /// The state of the alert rules.
    pub alerts: Option<Arc<AlertState>>,
    /// The windows above the model's out-of-domain threshold; `None` where the newest window that reached the model is not.
    pub out_of_domain: Option<OutOfDomainState>,
    /// State of stages that this version does not have, by key.
    pub unknown: Option<Arc<BTreeMap<String, Value>>>,
}

/// The states of a stream's channels by number; channels behind the last item have none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct ChannelStates(Vec<ChannelState>);

impl ChannelStates {
    /// The states of channels 0, 1, …; nothing at all where no channel has any.
    #[must_use]
    pub fn new(states: Vec<ChannelState>) -> Self {
        let none = ChannelState::default();
        Self(if states.iter().all(|state| *state == none) { Vec::new() } else { states })
    }

    /// The state of one channel.
    #[must_use]
    pub fn of(&self, channel: u32) -> ChannelState {
        self.0.get(channel as usize).cloned().unwrap_or_default()
    }

    /// The states of all channels that have any, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ChannelState> {
        self.0.iter()
    }

    /// The state of one channel, to be changed.
    pub fn of_mut(&mut self, channel: u32) -> &mut ChannelState {
        let channel = channel as usize;
        if self.0.len() <= channel {
            self.0.resize(channel + 1, ChannelState::default());
        }
        &mut self.0[channel]
    }
}

impl Serialize for ChannelStates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.0.iter().any(|state| state.recent.is_some()) {
            let recent: Vec<Option<&RecentScores>> =
                self.0.iter().map(|state| state.recent.as_deref()).collect();
            map.serialize_entry(RECENT, &recent)?;
        }
        if self.0.iter().any(|state| state.logits.is_some()) {
            let logits: Vec<Option<&LogitStatistics>> =
                self.0.iter().map(|state| state.logits.as_deref()).collect();
            map.serialize_entry(LOGITS, &logits)?;
        }
        if self.0.iter().any(|state| state.call.is_some()) {
            let call: Vec<Option<&ChannelTotals>> =
                self.0.iter().map(|state| state.call.as_deref()).collect();
            map.serialize_entry(CALL, &call)?;
        }
        if self.0.iter().any(|state| state.alerts.is_some()) {
            let alerts: Vec<Option<&AlertState>> =
                self.0.iter().map(|state| state.alerts.as_deref()).collect();
            map.serialize_entry(ALERTS, &alerts)?;
        }
        if self.0.iter().any(|state| state.out_of_domain.is_some()) {
            let out_of_domain: Vec<_> = self.0.iter().map(|state| state.out_of_domain).collect();
            map.serialize_entry(OUT_OF_DOMAIN, &out_of_domain)?;
        }
        let unknown = || self.0.iter().map(|state| state.unknown.as_deref());
        let keys: BTreeSet<&String> = unknown().flatten().flat_map(BTreeMap::keys).collect();
        for key in keys {
            let of_channel = |state: Option<&'_ BTreeMap<String, Value>>| state?.get(key).cloned();
            map.serialize_entry(key, &unknown().map(of_channel).collect::<Vec<Option<Value>>>())?;
        }
        map.end()
    }
}

impl TryFrom<BTreeMap<String, Value>> for ChannelStates {
    type Error = serde_json::Error;

    fn try_from(stages: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let mut states = Self::default();
        let mut unknown: Vec<BTreeMap<String, Value>> = Vec::new();
        for (key, value) in stages {
            if key == RECENT {
                let recent: Vec<Option<RecentScores>> = serde_json::from_value(value)?;
                for (channel, recent) in (0..).zip(recent) {
                    states.of_mut(channel).recent = recent.map(Arc::new);
                }
            } else if key == LOGITS {
                let logits: Vec<Option<LogitStatistics>> = serde_json::from_value(value)?;
                for (channel, logits) in (0..).zip(logits) {
                    states.of_mut(channel).logits = logits.map(Arc::new);
                }
            } else if key == CALL {
                let call: Vec<Option<ChannelTotals>> = serde_json::from_value(value)?;
                for (channel, call) in (0..).zip(call) {
                    states.of_mut(channel).call = call.map(Arc::new);
                }
            } else if key == ALERTS {
                let alerts: Vec<Option<AlertState>> = serde_json::from_value(value)?;
                for (channel, alerts) in (0..).zip(alerts) {
                    states.of_mut(channel).alerts = alerts.map(Arc::new);
                }
            } else if key == OUT_OF_DOMAIN {
                let out_of_domain: Vec<Option<OutOfDomainState>> = serde_json::from_value(value)?;
                for (channel, out_of_domain) in (0..).zip(out_of_domain) {
                    states.of_mut(channel).out_of_domain = out_of_domain;
                }
            } else if let Value::Array(items) = value {
                unknown.resize(unknown.len().max(items.len()), BTreeMap::new());
                let present = unknown.iter_mut().zip(items).filter(|(_, item)| !item.is_null());
                present.for_each(|(of_channel, item)| _ = of_channel.insert(key.clone(), item));
            }
        }
        for (channel, unknown) in (0..).zip(unknown) {
            states.of_mut(channel).unknown = Some(unknown).filter(|it| !it.is_empty()).map(Arc::new);
        }
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recent() -> RecentScores {
        let labels = ["anger".to_owned()].into();
        RecentScores { segment: Duration::from_secs(1), labels, scores: vec![0.333_333_34, 1e-7] }
    }

    #[test]
    fn json_has_one_key_a_stage_and_brings_the_same_states_back() {
        let smoothed = ChannelState { recent: Some(Arc::new(recent())), ..ChannelState::default() };
        let states = ChannelStates::new(vec![ChannelState::default(), smoothed]);
        let json = serde_json::to_string(&states).unwrap();
        assert_eq!(json, format!(r#"{{"recent":[null,{}]}}"#, serde_json::to_string(&recent()).unwrap()));
        assert_eq!(serde_json::from_str::<ChannelStates>(&json).unwrap(), states);
    }

    #[test]
    fn channels_without_state_leave_no_key() {
        assert_eq!(serde_json::to_string(&ChannelStates::new(vec![ChannelState::default()])).unwrap(), "{}");
    }

    #[test]
    fn the_state_of_unknown_stages_is_carried_along() {
        let json = r#"{"prosody":[{"mean":[0.5,1.5]},null,3]}"#;
        let mut states: ChannelStates = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&states).unwrap(), json);
        states.of_mut(1).recent = Some(Arc::new(recent()));
        let json = serde_json::to_value(&states).unwrap();
        assert_eq!(json["prosody"], serde_json::json!([{"mean": [0.5, 1.5]}, null, 3]));
        assert!(json["recent"][1].is_object() && json["recent"][0].is_null(), "{json}");
    }

    #[test]
    fn bad_state_of_a_known_stage_is_an_error() {
        assert!(serde_json::from_str::<ChannelStates>(r#"{"recent":[{"scores":"many"}]}"#).is_err());
    }
}
