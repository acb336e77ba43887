//! Room for the events of one session: reserved before its audio is accepted, released when the client has taken the events.
//!
//! Input: the number of events that a piece of audio may complete. Output: a permit for them, which travels with the piece and is split among its
//! windows. Invariant: the reply channel of a session has room for every event that a permit stands for, so sending an event never waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::most_events_of_a_piece;
use crate::serving::{CallReply, ModelRegistry};

/// Events of small pieces that may be in flight beside the largest piece.
const EVENTS_BESIDE_THE_LARGEST_PIECE: usize = 64;
/// Room in the reply channel for messages that carry no credit: a failed window, for instance.
const OTHER_REPLIES: usize = 8;

/// The room for the events of one session. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct EventCredits {
    events: Arc<Semaphore>,
    total: usize,
    replies: mpsc::Sender<CallReply>,
}

impl EventCredits {
    /// Returns the room of a new session, whatever format and model its stream will have, and the channel that its events arrive on.
    pub fn new(registry: &ModelRegistry) -> (Self, mpsc::Receiver<CallReply>) {
        let largest = registry.iter().map(|model| most_events_of_a_piece(&model.setup)).max().unwrap_or(0);
        let total = EVENTS_BESIDE_THE_LARGEST_PIECE + largest;
        let (replies, inbox) = mpsc::channel(total + OTHER_REPLIES);
        (Self { events: Arc::new(Semaphore::new(total)), total, replies }, inbox)
    }

    /// Waits for room for `events`. Returns `None` if the client has gone. Cancel safe.
    pub async fn reserve(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        self.acquire(&self.events, events as u32).await
    }

    /// Waits for `permits` of any room that a piece needs. Returns `None` if the client has gone. Cancel safe.
    pub async fn acquire(&self, room: &Arc<Semaphore>, permits: u32) -> Option<OwnedSemaphorePermit> {
        // Most pieces find room at once, and then need not register with the reply channel.
        if let Ok(permit) = Arc::clone(room).try_acquire_many_owned(permits) {
            return Some(permit);
        }
        tokio::select! {
            permit = Arc::clone(room).acquire_many_owned(permits) => permit.ok(),
            () = self.replies.closed() => None,
        }
    }

    /// Waits until nothing is in flight: every piece was accepted or refused, and the client has taken every event; or until it has gone.
    pub async fn all_returned(&self) {
        tokio::select! {
            _ = self.events.acquire_many(self.total as u32) => {}
            () = self.replies.closed() => {}
        }
    }

    /// Returns the sender of the session's events.
    pub fn replies(&self) -> &mpsc::Sender<CallReply> {
        &self.replies
    }
}
