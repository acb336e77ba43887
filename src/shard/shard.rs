//! A shard: the open streams that one thread owns.
//!
//! Input: messages, in order for each stream. Output: one job a window to the batcher of the stream's model, refused chunks to their session, and reports
//! to the reader of a partition. A stream whose job finds no room waits in the backlog, and the shard continues with its other streams. Invariants: no
//! lock is taken; a refused chunk changes no stream.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::task::{Context, Poll};

use ::metrics::gauge;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::backlog::{Backlog, Room};
use super::block_on::Parker;
use super::decodings::{Decodings, Step};
use super::file_stream::{FileEnd, LastChunk};
use super::open_stream::{After, OpenStream};
use super::report::ReportSender;
use super::scratch_pool::ScratchPool;
use super::{ChunkEnvelope, ChunkSource, PartitionReport, ShardMessage, StreamKey};
use crate::serving::{Decoders, ServedModel, StreamSinks};
use crate::stream::{BadChunk, Chunk};
use crate::telemetry::metrics;

/// Messages that a shard receives at once, so that the senders that wait for room wake up together.
const AT_ONCE: usize = 32;

/// A shard without its thread.
pub struct Shard {
    pub(super) scratch_pool: ScratchPool,
    pub(super) streams: HashMap<StreamKey, OpenStream>,
    pub(super) reports_to: ReportSender,
    pub(super) backlog: Backlog,
    pub(super) decodings: Decodings,
}

/// What a shard does next.
pub(super) enum Next {
    /// A full queue has room.
    Room(Room),
    /// A step of a decoding has ended.
    Decoded(Step),
    /// So many messages have come; none where the inbox is closed.
    Messages(usize),
}

impl Shard {
    /// Returns a shard without streams, which reports to the reader of each partition and reserves room in `sinks`. `decoders` decode the files of
    /// partitions.
    #[must_use]
    pub fn new(reports_to: ReportSender, sinks: StreamSinks, decoders: Decoders) -> Self {
        let (scratch_pool, streams) = (ScratchPool::default(), HashMap::new());
        let (backlog, decodings) = (Backlog::new(sinks), Decodings::new(decoders));
        Self { scratch_pool, streams, reports_to, backlog, decodings }
    }

    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<ShardMessage>) {
        let depth = gauge!(metrics::QUEUE_DEPTH, "stage" => "shard");
        let (parker, mut waiting, mut open) = (Parker::new(), 0, true);
        let mut messages = Vec::with_capacity(AT_ONCE);
        while open || !self.backlog.is_empty() {
            let next = parker.block_on(poll_fn(|context| {
                if let Poll::Ready(next) = self.poll_own(context) {
                    return Poll::Ready(next);
                }
                if !open {
                    return Poll::Pending;
                }
                inbox.poll_recv_many(context, &mut messages, AT_ONCE).map(Next::Messages)
            }));
            match next {
                Next::Room(room) => self.use_room(room),
                Next::Decoded(step) => self.use_decoded(step),
                Next::Messages(0) => {
                    open = false;
                    // No reader is left that could settle their records: they are read again.
                    self.decodings.give_up().iter().for_each(|key| self.forget(key));
                }
                Next::Messages(_) => {
                    // All shards share the gauge: each adds what has changed for itself.
                    let before = std::mem::replace(&mut waiting, inbox.len());
                    depth.increment(waiting as f64 - before as f64);
                    messages.drain(..).for_each(|message| self.receive(message));
                }
            }
        }
    }

    /// Returns what else is to be done than to receive messages.
    pub(super) fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Poll::Ready(room) = self.backlog.poll(context) {
            return Poll::Ready(Next::Room(room));
        }
        self.decodings.poll(context).map(Next::Decoded)
    }

    /// Handles a message, unless it must wait behind its stream's jobs. A call that was refused still gets the events of the audio before, so
    /// its end waits too; nothing waits for a client that has left.
    pub fn receive(&mut self, message: ShardMessage) {
        match message.key() {
            Some(key) if matches!(message, ShardMessage::Forget(_)) && self.has_left(&key) => {
                self.forget(&key);
                self.backlog.park(&key);
            }
            Some(key) if self.backlog.waits(&key) => self.backlog.defer(&key, message),
            key => self.handle(key, message),
        }
    }

    fn has_left(&self, key: &StreamKey) -> bool {
        self.streams.get(key).is_some_and(OpenStream::has_left)
    }

    /// Uses room that has come free, and handles the messages of the stream that waited for it.
    pub(super) fn use_room(&mut self, room: Room) {
        let Some(key) = self.backlog.use_room(room) else { return };
        self.request_piece(&key);
        self.handle_deferred(&key);
    }

    /// Handles the messages of a stream that waits no longer.
    pub(super) fn handle_deferred(&mut self, key: &StreamKey) {
        while let Some(message) = self.backlog.next_message(key) {
            self.handle(Some(key.clone()), message);
        }
    }

    /// Handles a message; its stream waits afterwards where a job of it found no room.
    fn handle(&mut self, key: Option<StreamKey>, message: ShardMessage) {
        match message {
            ShardMessage::Chunk(envelope) => self.accept(*envelope),
            ShardMessage::EndSegment { key, credits } => {
                let collected = self.streams.get(&key).map_or(0, |stream| stream.front_end.collected_bytes());
                if collected > 0 {
                    // It is decoded as it is.
                    self.decode(key, FileEnd::Segment);
                } else if let Some(stream) = self.streams.get_mut(&key) {
                    let Self { scratch_pool, reports_to, backlog, .. } = self;
                    stream.end_segment(scratch_pool, reports_to, backlog, credits);
                }
            }
            ShardMessage::Close { key, credits } => {
                if let Some(mut stream) = self.streams.remove(&key) {
                    let Self { scratch_pool, reports_to, backlog, .. } = self;
                    stream.end_segment(scratch_pool, reports_to, backlog, credits);
                    stream.close(backlog);
                }
            }
            ShardMessage::Forget(key) => {
                if let Some(stream) = self.streams.remove(&key) {
                    stream.close(&mut self.backlog);
                }
            }
            ShardMessage::ForgetAssignment(gone) => {
                let is_gone = |key: &StreamKey| matches!(key, StreamKey::Kafka(at, _) if *at == gone);
                let waiting = self.backlog.waiting(is_gone);
                let open = self.streams.keys().filter(|key| is_gone(key)).cloned();
                open.chain(waiting).collect::<HashSet<_>>().iter().for_each(|key| self.forget(key));
            }
        }
        if let Some(key) = key {
            self.backlog.park(&key);
        }
    }

    /// Forgets a stream at once: its pending jobs and messages are dropped, and so is its state behind the model.
    fn forget(&mut self, key: &StreamKey) {
        self.backlog.forget(key);
        self.decodings.take(key);
        if let Some(stream) = self.streams.remove(key) {
            stream.close(&mut self.backlog);
        }
    }

    /// Accepts a chunk: opens its stream where there is none, and closes it where the chunk ends it.
    fn accept(&mut self, mut envelope: ChunkEnvelope) {
        let key = envelope.source.key(&envelope.info);
        let (mut stream, may_stay) = match self.streams.remove(&key) {
            Some(stream) => (stream, true),
            None if matches!(envelope.source, ChunkSource::Session { first: false, .. }) => return,
            None => {
                let resumed = envelope.resume.as_ref().is_some_and(|resume| resume.has_begun());
                self.forget_setups(&envelope.model);
                match OpenStream::open(&mut self.scratch_pool, &mut envelope) {
                    Ok(stream) => {
                        stream.begin_summary(&mut self.backlog);
                        (stream, resumed)
                    }
                    Err(bad) => return self.refuse(&envelope, bad),
                }
            }
        };
        let accepted = self.reserve_memory(&stream, &mut envelope).and_then(|()| {
            let Self { scratch_pool, reports_to, backlog, .. } = self;
            stream.accept(scratch_pool, reports_to, backlog, &mut envelope)
        });
        match accepted {
            Ok(After::Open) => drop(self.streams.insert(key, stream)),
            Ok(After::Ended) => stream.close(&mut self.backlog),
            Ok(After::Decode(completed)) => {
                let (outcome, before) = *completed;
                self.streams.insert(key.clone(), stream);
                // What the chunk holds of the shards is free for others while the file is decoded.
                let chunk = Chunk { audio: Bytes::new(), ..envelope.chunk };
                let envelope = ChunkEnvelope { chunk, share: None, ahead: None, ..envelope };
                let last = LastChunk { envelope, outcome, before, may_stay };
                self.decode(key, FileEnd::Chunk(Box::new(last)));
            }
            Err(bad) => {
                self.refuse(&envelope, bad);
                if may_stay && matches!(envelope.source, ChunkSource::Kafka { .. }) {
                    self.streams.insert(key, stream);
                } else {
                    stream.close_refused(&mut self.backlog);
                }
            }
        }
    }

    /// Reserves memory for a chunk of a file, where the reader has not: it did not know that the chunk is one of a file, or there was no room, and none would
    /// have come free.
    fn reserve_memory(&self, stream: &OpenStream, envelope: &mut ChunkEnvelope) -> Result<(), BadChunk> {
        if stream.collects_file() && envelope.memory.is_none() {
            let mut memory = self.decodings.budget().reservation();
            memory.set_incomplete(!envelope.chunk.last);
            memory.set(envelope.chunk.audio.len())?;
            envelope.memory = Some(memory);
        }
        Ok(())
    }

    /// Drops the scratch that no open stream needs, before a stream with a new setup opens.
    fn forget_setups(&mut self, coming: &ServedModel) {
        if !self.scratch_pool.has(coming) {
            let used: HashSet<u64> = self.streams.values().flat_map(OpenStream::setup_numbers).collect();
            self.scratch_pool.keep(&used);
        }
    }

    /// Reports a refused chunk: to its session, which then ends, or to the reader of its partition, which writes a dead letter.
    pub(super) fn refuse(&self, envelope: &ChunkEnvelope, bad: BadChunk) {
        match &envelope.source {
            ChunkSource::Session { refusals, .. } => {
                // The first refusal ends the session. If the session has ended already, no component needs the reason.
                let _ = refusals.try_send(Box::new(bad));
            }
            ChunkSource::Kafka { assignment, offset } => self.reports_to.report(PartitionReport::Refused {
                assignment: *assignment,
                offset: *offset,
                stream_id: envelope.info.stream_id.clone(),
                kind: bad.reason(),
                reason: bad.to_string(),
            }),
        }
    }
}
