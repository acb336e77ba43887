//! The readiness of the daemon: starting, ready or draining, by named conditions.
//!
//! Input: the conditions that the stages report. Output: the present [`ReadinessStatus`], and a channel of its changes. Invariant: the daemon is ready
//! only while every condition holds and no drain has begun.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::watch;

/// A handle to the readiness. Clones share it; the last report of each condition counts.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<ReadinessStatus>);

/// The readiness at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessStatus {
    /// Whether a drain has begun. Never becomes false again.
    pub draining: bool,
    /// The conditions by name: `None` for one that holds, or else the reason why it does not.
    pub conditions: BTreeMap<&'static str, Option<String>>,
}

impl Readiness {
    /// Returns the readiness of a daemon that starts: none of the conditions holds yet.
    pub fn starting(conditions: &[&'static str]) -> Self {
        let unmet = |&name| (name, Some("starting".to_owned()));
        let status = ReadinessStatus { draining: false, conditions: conditions.iter().map(unmet).collect() };
        Self(watch::Sender::new(status))
    }

    /// Reports that a condition holds.
    pub fn met(&self, condition: &'static str) {
        self.set(condition, None);
    }

    /// Reports that a condition does not hold, or no longer holds.
    pub fn unmet(&self, condition: &'static str, reason: impl Into<String>) {
        self.set(condition, Some(reason.into()));
    }

    fn set(&self, condition: &'static str, reason: Option<String>) {
        self.0.send_if_modified(|status| {
            let before = status.conditions.insert(condition, reason.clone());
            before != Some(reason)
        });
    }

    /// Reports that a drain has begun: no new work is accepted.
    pub fn drain(&self) {
        self.0.send_modify(|status| status.draining = true);
    }

    /// Returns the present status.
    pub fn status(&self) -> ReadinessStatus {
        self.0.borrow().clone()
    }

    /// Returns a receiver of every change.
    pub fn subscribe(&self) -> watch::Receiver<ReadinessStatus> {
        self.0.subscribe()
    }
}

impl ReadinessStatus {
    /// Returns whether new work is accepted.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.conditions.values().all(Option::is_none)
    }
}

impl fmt::Display for ReadinessStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.draining {
            return out.write_str("draining");
        }
        if self.is_ready() {
            return out.write_str("ready");
        }
        let unmet = self.conditions.iter().filter_map(|(name, reason)| Some((name, reason.as_ref()?)));
        let reasons: Vec<String> = unmet.map(|(name, reason)| format!("{name}: {reason}")).collect();
        write!(out, "not ready: {}", reasons.join("; "))
    }
}
