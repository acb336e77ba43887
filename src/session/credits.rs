//! Room for the events of one session: reserved before its audio is accepted, released when the client has taken the events.
//!
//! Input: the number of events that a piece of audio may complete. Output: a permit for them, which travels with the piece and is split among its
//! windows. Invariants: the reply channel of a session has room for every event that a permit stands for, so sending an event never waits; a wait
//! for room ends where the client has gone, or takes no event for too long.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::inbox::{InboxControl, ReplyInbox, inbox};
use super::{Refusal, most_events_of_a_piece};
use crate::serving::{CallReply, ModelRegistry};

/// Events of small pieces that may be in flight beside the largest piece.
const EVENTS_BESIDE_THE_LARGEST_PIECE: usize = 64;
/// Room in the reply channel for messages that carry no credit: a failed window, for instance.
const OTHER_REPLIES: usize = 8;
/// How long a client may take no event while the daemon drains.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// How long a session waits for a client that does not take its events.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The longest time without an event that the client takes, while events wait for it.
    pub limit: Duration,
    /// Shortens the limit once it is cancelled.
    pub draining: CancellationToken,
}

/// The room for the events of one session. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct EventCredits {
    events: Arc<Semaphore>,
    total: usize,
    replies: mpsc::Sender<CallReply>,
    inbox: InboxControl,
    patience: Patience,
}

impl EventCredits {
    /// Returns the room of a new session, whatever format and model its stream will have, and the inbox that its events arrive in.
    pub fn new(registry: &ModelRegistry, patience: Patience) -> (Self, ReplyInbox) {
        let largest = registry.iter().map(|model| most_events_of_a_piece(&model.setup)).max().unwrap_or(0);
        let total = EVENTS_BESIDE_THE_LARGEST_PIECE + largest;
        let (replies, events) = mpsc::channel(total + OTHER_REPLIES);
        let (client, control) = inbox(events);
        (Self { events: Arc::new(Semaphore::new(total)), total, replies, inbox: control, patience }, client)
    }

    /// Waits for room for `events`. Returns `None` if the client has gone. Cancel safe.
    ///
    /// # Errors
    /// [`Refusal::Unread`] where events wait and the client takes none of them for too long; they are dropped.
    pub async fn reserve(&self, events: usize) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if let Ok(permit) = Arc::clone(&self.events).try_acquire_many_owned(events as u32) {
            return Ok(Some(permit));
        }
        self.while_client_reads(self.acquire(&self.events, events as u32)).await
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
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub async fn all_returned(&self) -> Result<(), Refusal> {
        let returned = async {
            tokio::select! {
                _ = self.events.acquire_many(self.total as u32) => {}
                () = self.replies.closed() => {}
            }
        };
        self.while_client_reads(returned).await
    }

    /// Waits for `done` as long as the client takes events, or has none to take.
    async fn while_client_reads<T>(&self, done: impl Future<Output = T>) -> Result<T, Refusal> {
        let mut done = pin!(done);
        let Patience { limit, draining } = &self.patience;
        loop {
            let (taken, drains) = (self.inbox.taken(), draining.is_cancelled());
            let timeout = if drains { DRAIN_PATIENCE.min(*limit) } else { *limit };
            tokio::select! {
                done = &mut done => return Ok(done),
                () = tokio::time::sleep(timeout) => {}
                () = draining.cancelled(), if !drains => continue,
            }
            let waiting = self.replies.capacity() < self.replies.max_capacity();
            if waiting && self.inbox.taken() == taken {
                self.inbox.close();
                return Err(Refusal::Unread { timeout });
            }
        }
    }

    /// Returns the sender of the session's events.
    pub fn replies(&self) -> &mpsc::Sender<CallReply> {
        &self.replies
    }
}
