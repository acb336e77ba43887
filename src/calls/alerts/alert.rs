//! The alert of a rule: its id and the fields that never change.
//!
//! Input: a rule, a stream and the first evidence. Output: an [`Alert`]. Pure.

use uuid::Uuid;

use super::rule::Rule;
use crate::proto::Alert;
use crate::stream::{ID_NAMESPACE, StreamInfo};

/// The state of an alert whose rule applies.
pub const RAISED: &str = "raised";
/// The state of an alert whose rule no longer applies.
pub const CLEARED: &str = "cleared";

/// Events that an alert names at most.
pub(super) const MOST_EVENTS: usize = 20;

/// Returns a raised alert without value, times and events. `first_evidence` is a time of the stream in milliseconds.
pub(super) fn new_alert(
    rule: &Rule,
    stream: &StreamInfo,
    channel_name: String,
    first_evidence: u64,
) -> Alert {
    let call_id = stream.call.as_ref().map_or(&stream.stream_id, |call| &call.call_id);
    // The lengths in front make the texts of any two alerts differ; no event's and no summary's text begins like this.
    let id = format!(
        "alert:{}:{}/{}:{call_id}/{}:{}/{}:{}/{}:{channel_name}/{first_evidence}",
        stream.owner.len(),
        stream.owner,
        call_id.len(),
        rule.name.len(),
        rule.name,
        stream.stream_id.len(),
        stream.stream_id,
        channel_name.len(),
    );
    Alert {
        alert_id: Uuid::new_v5(&ID_NAMESPACE, id.as_bytes()).to_string(),
        state: RAISED.to_owned(),
        rule: rule.name.to_string(),
        priority: rule.priority.name().to_owned(),
        kind: rule.kind.name().to_owned(),
        emotion: rule.emotion.clone(),
        call_id: call_id.to_string(),
        stream_id: stream.stream_id.to_string(),
        channel_name,
        threshold: rule.threshold.raise,
        ..Alert::default()
    }
}
