//! A queue that was found full, and who waits for room in it.
//!
//! Input: waiters in order. Output: room for the first of them, once there is some. The wait keeps its place among those of other shards
//! while the shard handles other messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_util::sync::ReusableBoxFuture;

use super::StreamKey;
use crate::stream::StreamInfo;

/// What waits for room.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The first pending job of a stream.
    Stream(StreamKey),
    /// The end marker of a stream that has no pending job.
    End(Arc<StreamInfo>),
}

/// The result of a wait: an error where the queue is closed.
type Reserved<T> = Result<mpsc::OwnedPermit<T>, mpsc::error::SendError<()>>;

/// A full queue of `T`.
pub(super) struct FullQueue<T> {
    queue: mpsc::Sender<T>,
    room: ReusableBoxFuture<'static, Reserved<T>>,
    waiters: VecDeque<Waiter>,
}

impl<T: Send + 'static> FullQueue<T> {
    /// Begins to wait for room in `queue`.
    pub fn new(queue: &mpsc::Sender<T>, first: Waiter) -> Self {
        let room = ReusableBoxFuture::new(queue.clone().reserve_owned());
        Self { queue: queue.clone(), room, waiters: VecDeque::from([first]) }
    }

    /// Whether this is `queue`.
    pub fn is(&self, queue: &mpsc::Sender<T>) -> bool {
        self.queue.same_channel(queue)
    }

    /// Appends a waiter.
    pub fn push(&mut self, waiter: Waiter) {
        self.waiters.push_back(waiter);
    }

    /// Removes a stream that no longer waits.
    pub fn remove(&mut self, key: &StreamKey) {
        self.waiters.retain(|waiter| !matches!(waiter, Waiter::Stream(other) if other == key));
    }

    /// Whether nothing waits any more.
    pub fn is_done(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Returns room for the first waiter; `None` for room in a queue that is closed.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Waiter, Option<mpsc::OwnedPermit<T>>)> {
        if self.waiters.is_empty() {
            return Poll::Pending;
        }
        let Poll::Ready(room) = self.room.poll(context) else { return Poll::Pending };
        self.room.set(self.queue.clone().reserve_owned());
        let waiter = self.waiters.pop_front().expect("it is not empty");
        Poll::Ready((waiter, room.ok()))
    }
}
