//! Whether the daemon takes work: starting, ready, draining, by named conditions.
//!
//! In: what the stages say of themselves. Out: [`ReadinessStatus`] for whoever asks, and a channel for whoever follows
//! it. Never decides by itself that the daemon is ready.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::watch;

/// A handle that many share; the last word about each condition counts.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<ReadinessStatus>);

/// What is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessStatus {
    /// Whether the daemon is on its way out. Never turns back.
    pub draining: bool,
    /// By name: `None` where it holds, else why not.
    pub conditions: BTreeMap<&'static str, Option<String>>,
}

impl Readiness {
    /// Starting: none of the conditions holds yet.
    pub fn starting(conditions: &[&'static str]) -> Self {
        let unmet = |&name| (name, Some("starting".to_owned()));
        let status = ReadinessStatus { draining: false, conditions: conditions.iter().map(unmet).collect() };
        Self(watch::Sender::new(status))
    }

    /// The condition holds.
    pub fn met(&self, condition: &'static str) {
        self.set(condition, None);
    }

    /// The condition does not hold, or no longer.
    pub fn unmet(&self, condition: &'static str, reason: impl Into<String>) {
        self.set(condition, Some(reason.into()));
    }

    fn set(&self, condition: &'static str, reason: Option<String>) {
        self.0.send_if_modified(|status| {
            let before = status.conditions.insert(condition, reason.clone());
            before != Some(reason)
        });
    }

    /// No new work from here on.
    pub fn drain(&self) {
        self.0.send_modify(|status| status.draining = true);
    }

    /// What is known now.
    pub fn status(&self) -> ReadinessStatus {
        self.0.borrow().clone()
    }

    /// Follows every change, for instance to pass it on to gRPC's health service.
    pub fn subscribe(&self) -> watch::Receiver<ReadinessStatus> {
        self.0.subscribe()
    }
}

impl ReadinessStatus {
    /// Whether new work is taken.
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
