//! One input stream from its first chunk to its end, for transports that keep a connection: gRPC today, WebSocket or TCP alike.
//!
//! Input: the messages of one connection as a [`Stream`]. Output: pieces for the shards; events on the channel that [`InputSession::new`] returns;
//! at the end the outcome. Invariants: no audio is accepted before there is room for its events, so a client that does not read slows its own
//! stream only; the outcome follows the last event; the stream's id is free again before the outcome is returned.
//!
//! Kafka does not use this type, because a partition carries many streams and never waits for one of them. It shares what lies below:
//! [`Refusal`], [`crate::stream::Declared`], [`crate::stream::LastSequence`], [`crate::stream::CollectedFile`] and the arithmetic of `pieces`.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ReplyInbox;
use super::credits::{EventCredits, Patience};
use super::opened_stream::OpenedStream;
use super::shard_sender::Route;
use super::{OpenStreams, Refusal};
use crate::proto::AudioChunk;
use crate::serving::{Decoders, ModelRegistry, RegistryReceiver};
use crate::shard::Shards;
use crate::stream::{BadChunk, EndReason, InputBounds, StreamCall};
use crate::telemetry::metrics::{self, Source};

/// What the sessions of all transports are connected to.
#[derive(Debug)]
pub struct SessionLinks {
    /// The shards that receive the audio.
    pub shards: Shards,
    /// The models that a stream may request.
    pub registries: RegistryReceiver,
    /// The ids of open streams.
    pub streams: OpenStreams,
    /// The threads that decode files, with the budget of memory.
    pub decoders: Decoders,
    /// The bounds of what a stream declares.
    pub bounds: InputBounds,
    /// Cancelled when the daemon drains.
    pub draining: CancellationToken,
    /// How long a call may take until its first chunk (`limits.first_chunk_timeout`).
    pub first_chunk_timeout: Duration,
    /// How long a stream may be silent, or its client take no event, before the stream ends (`audio.idle_timeout`).
    pub idle_timeout: Duration,
    /// Sessions that a drain ended because their clients take no events.
    pub unread_at_drain: AtomicUsize,
    /// How many times as fast as speech a stream may be sent before it waits for the others (`limits.max_pace`).
    pub max_pace: u32,
    /// The share of the models' time that open streams may take, in percent (`limits.max_utilization_percent`).
    pub max_utilization_percent: usize,
}

/// How a session failed.
#[derive(Debug)]
pub enum SessionError<E> {
    /// Its input was refused.
    Refused(Refusal),
    /// The transport could not read the next message.
    Transport(E),
}

impl<E> From<Refusal> for SessionError<E> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How reading ended.
enum End {
    /// The client closed its side, or a chunk was the last one.
    Closed,
    /// The daemon drains.
    Drained,
    /// The client has gone.
    Gone,
}

/// One input stream and the channels back to its client.
pub struct InputSession {
    links: Arc<SessionLinks>,
    /// The models as they were when the session began.
    registry: Arc<ModelRegistry>,
    route: Route,
    refused: mpsc::Receiver<Box<BadChunk>>,
    /// Boxed, because the future of a session holds the session more than once.
    stream: Option<Box<OpenedStream>>,
}

impl InputSession {
    /// Returns a session of the principal `owner` without a stream, and the inbox that its events arrive in. A transport drops the inbox when the
    /// client has gone.
    #[must_use]
    pub fn new(links: Arc<SessionLinks>, source: Source, owner: Arc<str>) -> (Self, ReplyInbox) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let registry = links.registries.borrow().clone();
        let patience = Patience { limit: links.idle_timeout, draining: links.draining.clone() };
        let (credits, inbox) = EventCredits::new(&registry, patience);
        let (refusals, refused) = mpsc::channel(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let route = Route { source, owner, number, credits, refusals, call: None };
        (Self { links, registry, route, refused, stream: None }, inbox)
    }

    /// Returns the same session with the call of its stream, whose counters the transport keeps.
    #[must_use]
    pub fn with_call(mut self, call: Arc<StreamCall>) -> Self {
        self.route.call = Some(call);
        self
    }

    /// Reads `chunks` to the end of the stream and returns when the client has taken every event.
    ///
    /// Cancelling the future leaves the stream's state in its shard until the shards end: cancel it only when the daemon stops.
    ///
    /// # Errors
    /// Returns why the input was refused, [`Refusal::Draining`] if a drain ended the stream, or the transport's error.
    pub async fn run<E>(
        mut self,
        chunks: impl Stream<Item = Result<AudioChunk, SessionError<E>>>,
    ) -> Result<(), SessionError<E>> {
        let ended = self.read(pin!(chunks)).await;
        self.note_end(match &ended {
            Ok(End::Gone) => EndReason::Disconnected,
            Ok(End::Closed) => EndReason::Completed,
            Ok(End::Drained) => EndReason::Drained,
            Err(SessionError::Transport(_)) => EndReason::Disconnected,
            // A client that is silent has gone without an end.
            Err(SessionError::Refused(Refusal::Idle { .. })) => EndReason::Disconnected,
            Err(SessionError::Refused(_)) => EndReason::Error,
        });
        let mut outcome = match ended {
            Ok(End::Gone) => {
                self.forget().await;
                Ok(())
            }
            Ok(End::Closed) => Box::pin(self.close()).await.map_err(SessionError::from),
            Ok(End::Drained) => {
                Box::pin(self.close()).await.and(Err(Refusal::Draining)).map_err(SessionError::from)
            }
            Err(error) => Err(error),
        };
        if matches!(&outcome, Err(error) if !error.is_drain()) {
            self.note_end(EndReason::Error);
            self.forget().await;
        }
        if let Err(unread) = self.route.credits.all_returned().await {
            outcome = Err(unread.into());
        }
        // A refusal of the shard precedes whatever else ended the session.
        if let Ok(bad) = self.refused.try_recv() {
            outcome = Err(Refusal::from(*bad).into());
        }
        if let Err(SessionError::Refused(refusal)) = &outcome {
            self.count(refusal);
        }
        outcome
    }

    /// Notes how the stream ends, for the summary of its call.
    fn note_end(&self, reason: EndReason) {
        if let Some(call) = self.stream.as_deref().and_then(OpenedStream::call) {
            call.end(reason);
        }
    }

    async fn read<E>(
        &mut self,
        mut chunks: Pin<&mut impl Stream<Item = Result<AudioChunk, SessionError<E>>>>,
    ) -> Result<End, SessionError<E>> {
        let (draining, replies) = (self.links.draining.clone(), self.route.credits.replies().clone());
        let (first_timeout, idle_timeout) = (self.links.first_chunk_timeout, self.links.idle_timeout);
        // Made once: a future made for each chunk would enter and leave the waiters' lists, which all sessions share, each time.
        let (mut drained, mut gone) = (pin!(draining.cancelled()), pin!(replies.closed()));
        let mut idle = pin!(tokio::time::sleep(first_timeout));
        loop {
            let next = tokio::select! {
                biased;
                () = &mut drained => return Ok(End::Drained),
                () = &mut gone => return Ok(End::Gone),
                Some(bad) = self.refused.recv() => return Err(Refusal::from(*bad).into()),
                next = chunks.next() => next,
                () = &mut idle => return Err(Box::pin(self.end_idle()).await.into()),
            };
            let Some(chunk) = next else { return Ok(End::Closed) };
            let chunk = chunk?;
            // Boxed, so that a session that waits does not hold the space of this future.
            if Box::pin(self.accept(chunk)).await? {
                return Ok(End::Closed);
            }
            idle.as_mut().reset(Instant::now() + idle_timeout);
        }
    }

    /// Accepts a chunk; the first one opens the stream. Returns whether it was the last one.
    async fn accept(&mut self, mut chunk: AudioChunk) -> Result<bool, Refusal> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let opened = OpenedStream::open(&self.links, &self.registry, &self.route, &mut chunk)?;
                self.stream.insert(Box::new(opened))
            }
        };
        stream.accept(chunk).await
    }

    /// Ends the segment of a silent stream, whose last windows are analysed, and returns why the session ends.
    async fn end_idle(&mut self) -> Refusal {
        let Some(stream) = &mut self.stream else {
            return Refusal::FirstChunk { timeout: self.links.first_chunk_timeout };
        };
        match stream.end_segment().await {
            Ok(()) => Refusal::Idle { timeout: self.links.idle_timeout },
            Err(refusal) => refusal,
        }
    }

    fn count(&self, refusal: &Refusal) {
        if let Some(reason) = refusal.reason() {
            metrics::rejected(self.route.source, reason);
        }
        if matches!(refusal, Refusal::Unread { .. }) && self.links.draining.is_cancelled() {
            self.links.unread_at_drain.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn close(&mut self) -> Result<(), Refusal> {
        match &mut self.stream {
            Some(stream) => stream.close().await,
            None => Ok(()),
        }
    }

    async fn forget(&self) {
        if let Some(stream) = &self.stream {
            stream.forget().await;
        }
    }
}

impl<E> SessionError<E> {
    fn is_drain(&self) -> bool {
        matches!(self, Self::Refused(Refusal::Draining))
    }
}
