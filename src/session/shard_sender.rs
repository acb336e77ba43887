//! The way of one session's messages to the shard that owns its stream, and the way back.
//!
//! Input: pieces and ends of the stream. Output: messages in the shard's queue, in order. Invariant: a message with audio carries room for the
//! events that it may complete. A full queue makes the session wait, and with it the client.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Refusal;
use super::credits::EventCredits;
use crate::audio::AudioFormat;
use crate::serving::ServedModel;
use crate::shard::{ChunkSource, ShardMessage, StreamKey};
use crate::stream::{BadChunk, StreamCall};
use crate::telemetry::metrics::Source;

/// The identity of a session and the channels that lead back to it.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub source: Source,
    /// The principal of the session; empty where authentication is off.
    pub owner: Arc<str>,
    /// Unique among the sessions of all transports.
    pub number: u64,
    pub credits: EventCredits,
    /// Chunks that the shard refuses. This channel is not the one of the events, so that events in flight still reach the client.
    pub refusals: mpsc::Sender<Box<BadChunk>>,
    /// The call of the stream, where the transport knows it.
    pub call: Option<Arc<StreamCall>>,
}

/// Sends the messages of one stream to its shard.
#[derive(Debug)]
pub(super) struct ShardSender {
    shard: mpsc::Sender<ShardMessage>,
    route: Route,
    /// Whether a piece was sent.
    begun: bool,
}

impl ShardSender {
    /// Returns a sender for a stream that the shard has received nothing of.
    pub fn new(shard: mpsc::Sender<ShardMessage>, route: Route) -> Self {
        Self { shard, route, begun: false }
    }

    /// Returns the source of the session.
    pub fn source(&self) -> Source {
        self.route.source
    }

    /// Returns whether a piece was sent.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Returns the key of the stream in its shard.
    pub fn key(&self) -> StreamKey {
        StreamKey::Session(self.route.number)
    }

    /// Waits for room for `events`. Returns `None` if the client has gone.
    ///
    /// # Errors
    /// [`Refusal::Unread`] where the client takes no event for too long.
    pub async fn reserve(&self, events: usize) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        self.route.credits.reserve(events).await
    }

    /// Waits for a place of one piece in the share that `model` has of the shards' inboxes. Returns `None` if the client has gone.
    pub async fn reserve_share(&self, model: &ServedModel) -> Option<OwnedSemaphorePermit> {
        self.route.credits.acquire(&model.share, 1).await
    }

    /// Waits for the room that `model` has for a piece of a stream that is ahead of real time, whose format `ahead` is; a stream that is not needs none.
    /// Returns `None` if the client has gone.
    pub async fn reserve_ahead(
        &self,
        model: &ServedModel,
        ahead: Option<AudioFormat>,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        let Some(format) = ahead else { return Some(None) };
        let channels = model.setup.channels.analysed(format.channels());
        self.route.credits.acquire(&model.ahead, channels as u32).await.map(Some)
    }

    /// Waits for `done`. Returns `None` if the client has gone before.
    pub async fn while_connected<T>(&self, done: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = done => Some(done),
            () = self.route.credits.replies().closed() => None,
        }
    }

    /// Returns the source of the next piece. The first one opens the stream in the shard.
    pub fn chunk_source(&mut self, continues: bool, credits: OwnedSemaphorePermit) -> ChunkSource {
        ChunkSource::Session {
            source: self.route.source,
            number: self.route.number,
            first: !std::mem::replace(&mut self.begun, true),
            continues,
            replies: self.route.credits.replies().clone(),
            refusals: self.route.refusals.clone(),
            credits,
        }
    }

    /// Sends a message, waiting while the shard's queue is full.
    ///
    /// # Errors
    /// Returns [`Refusal::Draining`] if the shards have ended.
    pub async fn send(&self, message: ShardMessage) -> Result<(), Refusal> {
        self.shard.send(message).await.map_err(|_| Refusal::Draining)
    }
}
