//! The alerts that gRPC and HTTP return.
//!
//! Input: alerts as they are raised and cleared. Output: the same to each watcher, and the newest state of each alert. Invariants: at most `calls.keep`
//! alerts are held, none longer than `calls.keep_for` after it has changed; a watcher that is too slow misses the oldest changes and receives their
//! number. A lock guards them: it is held for a few clones of pointers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::calls::Options;
use crate::proto::Alert;

/// Changes that a watcher may be behind.
const WATCHED: usize = 1_024;

/// Alerts with the time of their last change, in order of these times.
type Held = VecDeque<(Instant, Arc<Alert>)>;

/// The alerts of calls. Clones share them.
#[derive(Debug, Clone)]
pub struct AlertLog {
    held: Arc<Mutex<Held>>,
    changes: broadcast::Sender<Arc<Alert>>,
    keep: usize,
    keep_for: Duration,
}

impl AlertLog {
    /// Returns an empty log.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let changes = broadcast::Sender::new(WATCHED);
        Self { held: Arc::default(), changes, keep: options.keep, keep_for: options.keep_for }
    }

    /// Adds an alert that was raised or cleared. It replaces its earlier state.
    pub fn add(&self, alert: &Arc<Alert>) {
        let mut held = self.held();
        held.retain(|(_, other)| other.alert_id != alert.alert_id);
        held.push_back((Instant::now(), alert.clone()));
        let excess = held.len().saturating_sub(self.keep);
        held.drain(..excess);
        drop(held);
        // Fails only where no client watches.
        let _ = self.changes.send(alert.clone());
    }

    /// Returns the alerts that are held, the one that changed last first.
    #[must_use]
    pub fn newest(&self) -> Vec<Arc<Alert>> {
        self.held().iter().rev().map(|(_, alert)| alert.clone()).collect()
    }

    /// Returns a receiver of the alerts that change from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Alert>> {
        self.changes.subscribe()
    }

    /// The alerts that are still to be held.
    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.front().is_some_and(|(since, _)| since.elapsed() > self.keep_for) {
            held.pop_front();
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_of_the_newest_alerts_is_held_and_every_change_is_watched() {
        let log = AlertLog::new(&Options { keep: 2, ..Options::default() });
        let mut watch = log.watch();
        let changes = [("a", "raised"), ("b", "raised"), ("c", "raised"), ("b", "cleared")];
        for (alert_id, state) in changes {
            let (alert_id, state) = (alert_id.to_owned(), state.to_owned());
            log.add(&Arc::new(Alert { alert_id, state, ..Alert::default() }));
        }
        let newest = log.newest();
        let newest: Vec<(&str, &str)> =
            newest.iter().map(|alert| (alert.alert_id.as_str(), alert.state.as_str())).collect();
        assert_eq!(newest, [("b", "cleared"), ("c", "raised")]);
        for (alert_id, state) in changes {
            let alert = watch.try_recv().unwrap();
            assert_eq!((alert.alert_id.as_str(), alert.state.as_str()), (alert_id, state));
        }
        assert!(
            AlertLog::new(&Options { keep_for: Duration::ZERO, ..Options::default() }).newest().is_empty()
        );
    }
}
