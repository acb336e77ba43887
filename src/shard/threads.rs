//! The thread that owns the state of its streams: chunks in, jobs out, reports back.
//!
//! In: chunks of any source, bounded. Out: one job a window to the batcher (a stream without room waits in the backlog), refusals to their call, reports
//! to the partition's reader. Invariants: a stream belongs to one shard for life; no lock is taken; one bad chunk harms nobody else.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::task::Poll;

use ::metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::backlog::{Backlog, Room};
use super::block_on::Parker;
use super::open_stream::{After, OpenStream, ReportSender};
use super::scratch_pool::ScratchPool;
use crate::serving::CallReply;
use crate::serving::{ServedModel, StreamSinks};
use crate::shard::PartitionReport;
use crate::stream::{Assignment, StreamInfo};
use crate::stream::{BadChunk, Chunk, Resume};
use crate::telemetry::metrics;

/// Names an open stream within the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamKey {
    /// A gRPC call, by its number.
    Call(u64),
    /// A stream of a partition.
    Kafka(Assignment, Arc<str>),
}

/// A chunk with what it needs on its way.
#[derive(Debug)]
pub struct ChunkEnvelope {
    /// The stream, and what its events repeat; that of the first chunk counts.
    pub info: Arc<StreamInfo>,
    /// The audio.
    pub chunk: Chunk,
    /// When the sender captured it.
    pub captured_at: Option<pbjson_types::Timestamp>,
    /// Who sent it.
    pub source: Source,
    /// Where another reader left the stream, with its first chunk here.
    pub resume: Option<Box<Resume>>,
    /// The model that the stream is opened with, where it is not open yet.
    pub model: Arc<ServedModel>,
    /// The chunk's place in its model's share of the shards ([`ServedModel::share`]), released once the chunk is handled.
    pub place: Option<OwnedSemaphorePermit>,
}

/// Who sent a chunk.
#[derive(Debug)]
pub enum Source {
    /// A gRPC call.
    Call {
        /// The call's number.
        number: u64,
        /// Whether the chunk opens the stream. Another one whose stream is gone follows a refusal.
        first: bool,
        /// Whether it is a further piece of one that was counted.
        continues: bool,
        /// The way back.
        replies: mpsc::Sender<CallReply>,
        /// Where the call hears that a chunk was refused.
        refusals: mpsc::Sender<Status>,
        /// Room for the events that the chunk may complete.
        credits: OwnedSemaphorePermit,
    },
    /// A record of a partition.
    Kafka {
        /// Where it was read.
        assignment: Assignment,
        /// Its offset.
        offset: i64,
    },
}

impl Source {
    fn key(&self, info: &StreamInfo) -> StreamKey {
        match self {
            Self::Call { number, .. } => StreamKey::Call(*number),
            Self::Kafka { assignment, .. } => StreamKey::Kafka(*assignment, info.stream_id.clone()),
        }
    }
}

/// What a shard is told.
#[derive(Debug)]
pub enum ShardMessage {
    /// Take a chunk in.
    Chunk(Box<ChunkEnvelope>),
    /// End the stream's stretch: it was idle.
    EndSegment {
        /// The stream.
        key: StreamKey,
        /// Room for the events of a gRPC call.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// End the stream, giving its partial windows, and forget it.
    Close {
        /// The stream.
        key: StreamKey,
        /// Room for the events of a gRPC call.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// Forget the stream as it is.
    Forget(StreamKey),
    /// Forget every stream of a partition that was taken away.
    ForgetAssignment(Assignment),
}

impl ShardMessage {
    /// The stream that the message is for; `None` for one that does not wait for the messages before it.
    fn key(&self) -> Option<StreamKey> {
        match self {
            Self::Chunk(envelope) => Some(envelope.source.key(&envelope.info)),
            Self::EndSegment { key, .. } | Self::Close { key, .. } | Self::Forget(key) => Some(key.clone()),
            Self::ForgetAssignment(_) => None,
        }
    }
}

/// The senders to all shards.
#[derive(Debug, Clone)]
pub struct Shards(Arc<[mpsc::Sender<ShardMessage>]>);

impl Shards {
    /// The shard that owns `stream_id`.
    #[must_use]
    pub fn of(&self, stream_id: &str) -> &mpsc::Sender<ShardMessage> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream_id);
        &self.0[(hash % self.0.len() as u64) as usize]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &mpsc::Sender<ShardMessage>> {
        self.0.iter()
    }
}

/// The threads of all shards.
#[derive(Debug)]
pub struct ShardThreads {
    threads: Vec<std::thread::JoinHandle<()>>,
    ended: CancellationToken,
}

impl ShardThreads {
    /// Waits until one of them has ended; before every [`Shards`] is dropped that means a panic.
    pub async fn any_ended(&self) {
        self.ended.cancelled().await;
    }

    /// Waits for all of them.
    pub fn join(self) {
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Starts `count` shards with room for `queue` chunks each. They end when every [`Shards`] is dropped.
///
/// # Errors
/// Where the operating system has no thread to give.
pub fn start(
    count: usize,
    queue: usize,
    reports_to: &ReportSender,
    sinks: &StreamSinks,
) -> std::io::Result<(Shards, ShardThreads)> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    let ended = CancellationToken::new();
    for number in 0..count {
        let (sender, inbox) = mpsc::channel(queue);
        let shard = Shard {
            scratch_pool: ScratchPool::default(),
            streams: HashMap::new(),
            reports_to: reports_to.clone(),
            backlog: Backlog::new(sinks.clone()),
        };
        let guard = ended.clone().drop_guard();
        let thread = std::thread::Builder::new().name(format!("shard-{number}"));
        threads.push(thread.spawn(move || {
            let _guard = guard;
            shard.run(inbox);
        })?);
        senders.push(sender);
    }
    Ok((Shards(senders.into()), ShardThreads { threads, ended }))
}

/// Messages that a shard takes from its queue at once: senders that wait for room wake up together.
const AT_ONCE: usize = 32;

struct Shard {
    scratch_pool: ScratchPool,
    streams: HashMap<StreamKey, OpenStream>,
    reports_to: ReportSender,
    backlog: Backlog,
}

/// What a shard does next.
enum Next {
    /// A full queue has room.
    Room(Room),
    /// So many messages have come; none where the inbox is closed.
    Messages(usize),
}

impl Shard {
    fn run(mut self, mut inbox: mpsc::Receiver<ShardMessage>) {
        let depth = gauge!(metrics::QUEUE_DEPTH, "stage" => "shard");
        let (parker, mut waiting, mut open) = (Parker::new(), 0, true);
        let mut messages = Vec::with_capacity(AT_ONCE);
        while open || !self.backlog.is_empty() {
            let next = parker.block_on(poll_fn(|context| {
                if let Poll::Ready(room) = self.backlog.poll(context) {
                    return Poll::Ready(Next::Room(room));
                }
                if !open {
                    return Poll::Pending;
                }
                inbox.poll_recv_many(context, &mut messages, AT_ONCE).map(Next::Messages)
            }));
            match next {
                Next::Room(room) => self.use_room(room),
                Next::Messages(0) => open = false,
                Next::Messages(_) => {
                    // All shards share the gauge: each adds what has changed for itself.
                    let before = std::mem::replace(&mut waiting, inbox.len());
                    depth.increment(waiting as f64 - before as f64);
                    messages.drain(..).for_each(|message| self.receive(message));
                }
            }
        }
    }

    /// Handles a message, unless it must wait behind its stream's jobs. A call that was refused still gets the events of the audio before, so
    /// its end waits too; nothing waits for a client that has left.
    fn receive(&mut self, message: ShardMessage) {
        match message.key() {
            Some(key) if matches!(message, ShardMessage::Forget(_)) && self.has_left(&key) => {
                self.forget(&key)
            }
            Some(key) if self.backlog.waits(&key) => self.backlog.defer(&key, message),
            key => self.handle(key, message),
        }
    }

    fn has_left(&self, key: &StreamKey) -> bool {
        self.streams.get(key).is_some_and(OpenStream::has_left)
    }

    /// Uses room that has come free, and handles the messages of the stream that waited for it.
    fn use_room(&mut self, room: Room) {
        let Some(key) = self.backlog.use_room(room) else { return };
        while let Some(message) = self.backlog.next_message(&key) {
            self.handle(Some(key.clone()), message);
        }
    }

    /// Handles a message; its stream waits afterwards where a job of it found no room.
    fn handle(&mut self, key: Option<StreamKey>, message: ShardMessage) {
        match message {
            ShardMessage::Chunk(envelope) => self.take(*envelope),
            ShardMessage::EndSegment { key, credits } => {
                if let Some(stream) = self.streams.get_mut(&key) {
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
        if let Some(stream) = self.streams.remove(key) {
            stream.close(&mut self.backlog);
        }
    }

    /// Handles a chunk: opens its stream where there is none, and closes it where the chunk ends it.
    fn take(&mut self, mut envelope: ChunkEnvelope) {
        let key = envelope.source.key(&envelope.info);
        let (mut stream, may_stay) = match self.streams.remove(&key) {
            Some(stream) => (stream, true),
            None if matches!(envelope.source, Source::Call { first: false, .. }) => return,
            None => {
                let resumed = envelope.resume.is_some();
                self.forget_setups(&envelope.model);
                match OpenStream::open(&mut self.scratch_pool, &mut envelope) {
                    Ok(stream) => (stream, resumed),
                    Err(bad) => return self.refuse(&envelope, &bad),
                }
            }
        };
        let Self { scratch_pool, reports_to, backlog, .. } = self;
        match stream.take(scratch_pool, reports_to, backlog, &mut envelope) {
            Ok(After::Open) => drop(self.streams.insert(key, stream)),
            Ok(After::Ended) => stream.close(backlog),
            Err(bad) => {
                self.refuse(&envelope, &bad);
                if may_stay && matches!(envelope.source, Source::Kafka { .. }) {
                    self.streams.insert(key, stream);
                } else {
                    stream.close(&mut self.backlog);
                }
            }
        }
    }

    /// Before a stream with a new setup: scratch that no stream needs any more goes.
    fn forget_setups(&mut self, coming: &ServedModel) {
        if !self.scratch_pool.has(coming) {
            let used: HashSet<u64> = self.streams.values().flat_map(OpenStream::setup_numbers).collect();
            self.scratch_pool.keep(&used);
        }
    }

    /// Says no to a chunk: to its call, which is then over, or to the partition's reader, which writes a dead letter.
    fn refuse(&self, envelope: &ChunkEnvelope, bad: &BadChunk) {
        match &envelope.source {
            Source::Call { refusals, .. } => {
                metrics::rejected(metrics::Source::Grpc, bad.reason());
                // The first refusal ends the call; where the client has left, nobody is there to hear it.
                let _ = refusals.try_send(Status::invalid_argument(bad.to_string()));
            }
            Source::Kafka { assignment, offset } => self.reports_to.report(PartitionReport::Refused {
                assignment: *assignment,
                offset: *offset,
                stream_id: envelope.info.stream_id.clone(),
                kind: bad.reason(),
                reason: bad.to_string(),
            }),
        }
    }
}
