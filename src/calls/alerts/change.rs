//! The alert that the value of a rule raises or clears, and the state that holds it.
//!
//! Input: the states of a stream's channels, and the value of a rule at one point. Output: the changed state, and the alert. Pure.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::alert::{CLEARED, MOST_EVENTS, new_alert};
use super::machine::{Change, step};
use super::reading::Reading;
use super::rule::{ChannelChoice, Rule};
use crate::proto::Alert;
use crate::stream::{AlertState, ChannelStates, RuleState, StreamInfo};

/// Alerts of one channel that its state holds for the summary; new ones replace the oldest that are cleared.
const MOST_ALERTS: usize = 100;

/// Where a rule is evaluated, and the state that it has there.
pub(super) struct EvaluationPoint<'a> {
    pub rule: &'a Rule,
    /// The channel whose state holds that of the rule.
    pub holder: u32,
    /// The channel that the alert concerns; `None` for several.
    pub channel: Option<u32>,
    pub at: u64,
}

/// Returns the state of the rules of a channel, to be changed.
pub(super) fn alerts_of(states: &mut ChannelStates, channel: u32) -> &mut AlertState {
    Arc::make_mut(states.of_mut(channel).alerts.get_or_insert_default())
}

/// Returns the name of a channel, or its number where it has none.
pub(super) fn channel_name(stream: &StreamInfo, channel: u32) -> String {
    match stream.channel_name(channel) {
        "" => channel.to_string(),
        name => name.to_owned(),
    }
}

/// Passes a value to the state machine of its rule, and returns the alert that it raises or clears.
pub(super) fn apply(
    states: &mut ChannelStates,
    stream: &StreamInfo,
    point: &EvaluationPoint<'_>,
    reading: Option<Reading>,
) -> Option<Arc<Alert>> {
    let key = match point.channel {
        Some(channel) => format!("{channel}:{}", point.rule.name),
        None => format!("*:{}", point.rule.name),
    };
    let known = states.of(point.holder).alerts.is_some_and(|state| state.rules.contains_key(&key));
    if reading.is_none() && !known {
        return None;
    }
    let state: &mut RuleState = alerts_of(states, point.holder).rules.entry(key.clone()).or_default();
    match step(point.rule, state, reading, point.at)? {
        Change::Raise { value, start, first_evidence } => {
            let name = match (point.channel, &point.rule.channel) {
                (Some(channel), _) => channel_name(stream, channel),
                (None, ChannelChoice::Both) => "both".to_owned(),
                (None, _) => String::new(),
            };
            let mut alert = new_alert(point.rule, stream, name, first_evidence);
            (alert.value, alert.start, alert.raised_at) = (rounded(value), time(start), time(point.at));
            alert.event_ids = event_ids(states, point.channel, (start, point.at));
            let changed = published(&alert, stream);
            keep(alerts_of(states, point.holder), key, alert);
            Some(changed)
        }
        Change::Clear { value } => {
            let id = state.raised.take()?;
            let alert =
                alerts_of(states, point.holder).alerts.iter_mut().rev().find(|it| it.alert_id == id)?;
            close(alert, value, point.at);
            Some(published(alert, stream))
        }
    }
}

/// Keeps a raised alert for the summary, and its id in the state of its rule.
fn keep(holder: &mut AlertState, key: String, alert: Alert) {
    holder.rules.entry(key).or_default().raised = Some(alert.alert_id.clone());
    if holder.alerts.len() >= MOST_ALERTS
        && let Some(oldest) = holder.alerts.iter().position(|it| it.state == CLEARED)
    {
        holder.alerts.remove(oldest);
    }
    holder.alerts.push(alert);
}

/// Clears an alert.
pub(super) fn close(alert: &mut Alert, value: Option<f64>, at: u64) {
    CLEARED.clone_into(&mut alert.state);
    alert.end = time(at);
    alert.value = value.map_or(alert.value, rounded);
}

/// Returns the alert with the attributes of its stream, which the state does not hold.
pub(super) fn published(alert: &Alert, stream: &StreamInfo) -> Arc<Alert> {
    Arc::new(Alert { attributes: stream.attributes.clone(), ..alert.clone() })
}

/// Returns the ids of the newest events of the evidence in order: of one channel, or of all.
fn event_ids(states: &ChannelStates, channel: Option<u32>, (start, at): (u64, u64)) -> Vec<String> {
    let states =
        (0..).zip(states.iter()).filter(|(number, _)| channel.is_none_or(|channel| channel == *number));
    let mut windows: Vec<(u64, u32, Uuid)> = Vec::new();
    for (number, state) in states {
        let all = state.alerts.iter().flat_map(|it| &it.windows);
        let inside = all.filter(|window| window.end > start && window.end <= at);
        windows.extend(inside.map(|window| (window.end, number, window.event_id)));
    }
    windows.sort_unstable();
    let older = windows.len().saturating_sub(MOST_EVENTS);
    windows[older..].iter().map(|(_, _, id)| id.to_string()).collect()
}

/// Returns the value in millionths, so that JSON brings it back exactly.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn time(milliseconds: u64) -> Option<pbjson_types::Duration> {
    Some(Duration::from_millis(milliseconds).into())
}
