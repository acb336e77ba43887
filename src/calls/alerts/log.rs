//! The alerts that gRPC and HTTP return.
//!
//! Input: alerts as they are raised and cleared. Output: the same to each watcher, and the newest state of each alert. Invariants: at most `calls.keep`
//! alerts are held, none longer than `calls.keep_for` after it has changed; a watcher that is too slow misses the oldest changes and receives their
//! number. A lock guards them: it is held for a few clones of pointers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::broadcast;

use crate::calls::Options;
use crate::calls::page::page;
use crate::proto::Alert;

/// Changes that a watcher may be behind.
const WATCHED: usize = 1_024;

/// Alerts in the order of their last changes.
type Held = VecDeque<HeldAlert>;

#[derive(Debug)]
struct HeldAlert {
    /// Counts the changes.
    number: u64,
    /// When it changed last.
    since: Instant,
    /// Bytes of the alert, encoded.
    size: usize,
    alert: Arc<Alert>,
}

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
        let number = held.back().map_or(0, |last| last.number + 1);
        held.retain(|other| other.alert.alert_id != alert.alert_id);
        let (since, size) = (Instant::now(), alert.encoded_len());
        held.push_back(HeldAlert { number, since, size, alert: alert.clone() });
        let excess = held.len().saturating_sub(self.keep);
        held.drain(..excess);
        drop(held);
        // Fails only where no client watches.
        let _ = self.changes.send(alert.clone());
    }

    /// Returns at most `size` alerts, the one that changed last first: those that changed before the change with the number `before`. There are fewer
    /// where more would have over 2 MiB. The number is where the next page begins; `None` on the last one.
    #[must_use]
    pub fn page(&self, size: usize, before: Option<u64>) -> (Vec<Arc<Alert>>, Option<u64>) {
        let held = self.held();
        let newest = held.iter().rev().map(|held| (held.number, held.size, &held.alert));
        let (alerts, next) = page(newest, size, before);
        (alerts.into_iter().cloned().collect(), next)
    }

    /// Returns a receiver of the alerts that change from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<Alert>> {
        self.changes.subscribe()
    }

    /// The alerts that are still to be held.
    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.front().is_some_and(|oldest| oldest.since.elapsed() > self.keep_for) {
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
        let (newest, next) = log.page(9, None);
        let newest: Vec<(&str, &str)> =
            newest.iter().map(|alert| (alert.alert_id.as_str(), alert.state.as_str())).collect();
        assert_eq!((newest, next), (vec![("b", "cleared"), ("c", "raised")], None));
        let (first, next) = log.page(1, None);
        let (second, last) = log.page(1, next);
        assert_eq!((&*first[0].alert_id, &*second[0].alert_id, last), ("b", "c", None));
        for (alert_id, state) in changes {
            let alert = watch.try_recv().unwrap();
            assert_eq!((alert.alert_id.as_str(), alert.state.as_str()), (alert_id, state));
        }
        let forgets = AlertLog::new(&Options { keep_for: Duration::ZERO, ..Options::default() });
        forgets.add(&Arc::default());
        assert!(forgets.page(9, None).0.is_empty());
    }
}
