//! The events of one session on their way to its client.
//!
//! Input: events, which the publish stage sends. Output: the same in order, for the transport. Invariants: the session can close the inbox, which drops
//! the events in it, so a client that never reads holds no memory; the number of events that were taken shows whether the client reads.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::serving::CallReply;

#[derive(Debug)]
struct Shared {
    /// `None` once the inbox is closed. The lock is held for one operation on the queue, and only one of its two owners is active at a time.
    events: Mutex<Option<mpsc::Receiver<CallReply>>>,
    taken: AtomicU64,
}

impl Shared {
    fn with<T>(&self, run: impl FnOnce(&mut Option<mpsc::Receiver<CallReply>>) -> T) -> T {
        run(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn close(&self) {
        // Dropped outside of the lock: an event releases its credit, which wakes the session.
        drop(self.with(Option::take));
    }
}

/// The side of the transport. Dropping it notifies the session that the client has gone.
#[derive(Debug)]
pub struct ReplyInbox(Arc<Shared>);

/// The side of the session.
#[derive(Debug, Clone)]
pub(super) struct InboxControl(Arc<Shared>);

/// Returns both sides of the inbox that `events` fill.
pub(super) fn inbox(events: mpsc::Receiver<CallReply>) -> (ReplyInbox, InboxControl) {
    let shared = Arc::new(Shared { events: Mutex::new(Some(events)), taken: AtomicU64::new(0) });
    (ReplyInbox(shared.clone()), InboxControl(shared))
}

impl ReplyInbox {
    /// Returns the next event; `None` once there can be no more. Cancel safe.
    pub async fn recv(&mut self) -> Option<CallReply> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<CallReply>> {
        let polled = self.0.with(|events| match events {
            Some(events) => events.poll_recv(context),
            None => Poll::Ready(None),
        });
        if matches!(polled, Poll::Ready(Some(_))) {
            self.0.taken.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    /// Returns an event that waits; `None` where there is none.
    pub fn try_recv(&mut self) -> Option<CallReply> {
        self.0.with(|events| events.as_mut()?.try_recv().ok())
    }
}

impl Drop for ReplyInbox {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl InboxControl {
    /// Returns how many events the client has taken.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Drops the events that wait; the client receives no more.
    pub fn close(&self) {
        self.0.close();
    }
}
