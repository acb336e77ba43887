//! The summaries that gRPC and HTTP return.
//!
//! Input: summaries as calls end. Output: the same by id, newest first, and as they come. Invariants: at most `calls.keep` summaries are held,
//! none longer than `calls.keep_for`. A lock guards them: readers are requests of people, a few a second, and hold it for a few clones of
//! pointers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::broadcast;

use super::alerts::AlertLog;
use super::page::page;
use super::{CallKey, Options};
use crate::proto::CallSummary;

/// Summaries that a watcher may be behind.
const WATCHED: usize = 256;

/// The summaries of ended calls. Clones share them.
#[derive(Debug, Clone)]
pub struct CallStore {
    held: Arc<Mutex<VecDeque<Held>>>,
    ended: broadcast::Sender<Arc<CallSummary>>,
    alerts: AlertLog,
    keep: usize,
    keep_for: Duration,
}

#[derive(Debug)]
struct Held {
    /// Counts the summaries.
    number: u64,
    since: Instant,
    /// Bytes of the summary, encoded.
    size: usize,
    key: CallKey,
    summary: Arc<CallSummary>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The newest first.
    pub calls: Vec<Arc<CallSummary>>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<u64>,
}

impl CallStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let (ended, _) = broadcast::channel(WATCHED);
        let (keep, keep_for) = (options.keep, options.keep_for);
        Self { held: Arc::default(), ended, alerts: AlertLog::new(options), keep, keep_for }
    }

    /// Adds the summary of a call that has ended. It replaces an earlier one of the same call.
    pub fn add(&self, key: CallKey, summary: &Arc<CallSummary>) {
        let mut held = self.held();
        held.retain(|other| other.key != key);
        let number = held.back().map_or(0, |last| last.number + 1);
        let (since, size) = (Instant::now(), summary.encoded_len());
        held.push_back(Held { number, since, size, key, summary: summary.clone() });
        let excess = held.len().saturating_sub(self.keep);
        held.drain(..excess);
        drop(held);
        // Fails only where no client watches.
        let _ = self.ended.send(summary.clone());
    }

    /// Returns the summary of the call that `id` names: by the call's id, its qualified name, or the id of the summary. Where several principals have
    /// a call of this id, the one of the principal `reader` comes first, then the newest.
    #[must_use]
    pub fn get(&self, id: &str, reader: &str) -> Option<Arc<CallSummary>> {
        let held = self.held();
        let by_call = || held.iter().rev().filter(move |held| &*held.key.call_id == id);
        let own = by_call().find(|held| &*held.key.owner == reader).or_else(|| by_call().next());
        let named = |held: &&Held| held.summary.summary_id == id || held.key.qualified() == id;
        own.or_else(|| held.iter().rev().find(named)).map(|held| held.summary.clone())
    }

    /// Returns at most `size` summaries, the newest first: those older than the one with the number `before`. There are fewer where more would have
    /// over 2 MiB.
    #[must_use]
    pub fn page(&self, size: usize, before: Option<u64>) -> Page {
        let held = self.held();
        let newest = held.iter().rev().map(|held| (held.number, held.size, &held.summary));
        let (calls, next) = page(newest, size, before);
        Page { calls: calls.into_iter().cloned().collect(), next }
    }

    /// Returns the alerts of calls, also of those that have not ended.
    #[must_use]
    pub fn alerts(&self) -> &AlertLog {
        &self.alerts
    }

    /// Returns a receiver of the summaries of calls that end from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<CallSummary>> {
        self.ended.subscribe()
    }

    /// The summaries that are still to be held.
    fn held(&self) -> MutexGuard<'_, VecDeque<Held>> {
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

    fn key(owner: &str, call_id: &str) -> CallKey {
        CallKey { owner: owner.into(), call_id: call_id.into() }
    }

    fn summary(call_id: &str, summary_id: &str) -> Arc<CallSummary> {
        let (call_id, summary_id) = (call_id.to_owned(), summary_id.to_owned());
        Arc::new(CallSummary { call_id, summary_id, ..CallSummary::default() })
    }

    fn store(keep: usize, keep_for: Duration) -> CallStore {
        let store = CallStore::new(&Options { keep, keep_for, ..Options::default() });
        for call_id in ["a", "b", "c", "b"] {
            store.add(key("", call_id), &summary(call_id, call_id));
        }
        store
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.calls.iter().map(|call| call.call_id.as_str()).collect()
    }

    #[test]
    fn the_newest_summaries_are_held_and_listed_page_by_page() {
        let store = store(2, Duration::from_secs(60));
        let first = store.page(1, None);
        let second = store.page(1, first.next);
        assert_eq!((ids(&first), ids(&second), second.next), (vec!["b"], vec!["c"], None));
        assert!(store.get("a", "").is_none() && store.get("c", "").is_some());
    }

    #[test]
    fn calls_of_two_principals_with_one_id_are_held_apart() {
        let store = CallStore::new(&Options::default());
        for owner in ["token/a", "token/b"] {
            store.add(key(owner, "call"), &summary("call", owner));
        }
        let found = |id: &str, reader: &str| store.get(id, reader).map(|found| found.summary_id.clone());
        for (id, reader, expected) in [
            ("call", "token/a", "token/a"),
            ("call", "token/b", "token/b"),
            ("call", "token/c", "token/b"),
            ("call (token/a)", "token/c", "token/a"),
            ("token/a", "", "token/a"),
        ] {
            assert_eq!(found(id, reader).as_deref(), Some(expected), "{id} for {reader}");
        }
        assert_eq!((found("call (token/c)", ""), store.page(9, None).calls.len()), (None, 2));
    }

    #[test]
    fn a_page_of_large_summaries_is_one_that_grpc_clients_accept() {
        let store = CallStore::new(&Options::default());
        for number in 0..8 {
            let id = number.to_string();
            let attributes = [("note".to_owned(), "x".repeat(500_000))].into();
            let summary = CallSummary { call_id: id.clone(), attributes, ..CallSummary::default() };
            store.add(key("", &id), &Arc::new(summary));
        }
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let page = store.page(1_000, next);
            let size: usize = page.calls.iter().map(|call| call.encoded_len()).sum();
            assert!(page.calls.len() > 1 && size < 4_000_000, "{size}");
            found.extend(ids(&page).into_iter().map(str::to_owned));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found.concat(), "76543210");
    }

    #[test]
    fn a_summary_is_held_no_longer_than_configured() {
        assert_eq!(store(9, Duration::ZERO).page(9, None).calls.len(), 0);
    }
}
