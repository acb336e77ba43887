//! The threads that own the state of open streams.
//!
//! Input: chunks of any source, in bounded queues. Output: one job a window to the batcher of the stream's model (waiting while it is full), refused
//! chunks to their session, and reports to the reader of a partition. Invariants: a stream belongs to one shard from its first chunk to its end; no
//! lock is taken; a refused chunk changes no stream.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::task::Poll;

use ::metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

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

/// The key of an open stream within the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamKey {
    /// The stream of a session, by the session's number.
    Session(u64),
    /// A stream of an assigned partition, by its id.
    Kafka(Assignment, Arc<str>),
}

/// A chunk with its stream, its model and its source.
#[derive(Debug)]
pub struct ChunkEnvelope {
    /// The stream that the chunk opens if it is not open yet; of an open one only the id counts.
    pub info: Arc<StreamInfo>,
    /// What the chunk itself declares of its stream, to be compared with the open stream; `None` if its session has done so.
    pub declared: Option<Arc<StreamInfo>>,
    /// The audio.
    pub chunk: Chunk,
    /// When the sender captured the audio.
    pub captured_at: Option<pbjson_types::Timestamp>,
    /// The source of the chunk.
    pub source: ChunkSource,
    /// The position at which another reader left the stream, on the stream's first chunk here.
    pub resume: Option<Box<Resume>>,
    /// The model of the stream that the chunk opens.
    pub model: Arc<ServedModel>,
    /// The chunk's place in its model's share of the shards ([`ServedModel::share`]), released once the chunk is handled.
    pub share: Option<OwnedSemaphorePermit>,
}

/// The source of a chunk.
#[derive(Debug)]
pub enum ChunkSource {
    /// A session of an interactive transport.
    Session {
        /// The source as metrics label it.
        source: metrics::Source,
        /// The number of the session.
        number: u64,
        /// Whether the chunk opens the stream. A later chunk whose stream is not open follows a refused one and is dropped.
        first: bool,
        /// Whether the chunk is a further piece of one that was counted.
        continues: bool,
        /// The channel of the session's events.
        replies: mpsc::Sender<CallReply>,
        /// The channel on which the session receives why a chunk was refused.
        refusals: mpsc::Sender<BadChunk>,
        /// Room for the events that the chunk may complete.
        credits: OwnedSemaphorePermit,
    },
    /// A record of a partition.
    Kafka {
        /// The assignment that the record was read in.
        assignment: Assignment,
        /// The offset of the record.
        offset: i64,
    },
}

impl ChunkSource {
    fn key(&self, info: &StreamInfo) -> StreamKey {
        match self {
            Self::Session { number, .. } => StreamKey::Session(*number),
            Self::Kafka { assignment, .. } => StreamKey::Kafka(*assignment, info.stream_id.clone()),
        }
    }
}

/// A message to a shard.
#[derive(Debug)]
pub enum ShardMessage {
    /// Accept a chunk.
    Chunk(Box<ChunkEnvelope>),
    /// End the segment of an idle stream. The stream stays open.
    EndSegment {
        /// The stream.
        key: StreamKey,
        /// Room for the last events of the segment; `None` for Kafka.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// End the stream: analyse its partial windows, then drop its state.
    Close {
        /// The stream.
        key: StreamKey,
        /// Room for the last events of the stream; `None` for Kafka.
        credits: Option<OwnedSemaphorePermit>,
    },
    /// Drop the state of the stream without analysing what is left.
    Forget(StreamKey),
    /// Drop the state of every stream of a partition that was revoked.
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
    /// Returns the queue of the shard that owns `stream_id`.
    #[must_use]
    pub fn of(&self, stream_id: &str) -> &mpsc::Sender<ShardMessage> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(stream_id);
        &self.0[(hash % self.0.len() as u64) as usize]
    }

    /// Returns the queues of all shards.
    pub fn iter(&self) -> impl Iterator<Item = &mpsc::Sender<ShardMessage>> {
        self.0.iter()
    }
}

impl From<Vec<mpsc::Sender<ShardMessage>>> for Shards {
    /// Returns the senders to shards that the caller runs.
    fn from(senders: Vec<mpsc::Sender<ShardMessage>>) -> Self {
        Self(senders.into())
    }
}

/// The threads of all shards.
#[derive(Debug)]
pub struct ShardThreads {
    threads: Vec<std::thread::JoinHandle<()>>,
    ended: CancellationToken,
}

impl ShardThreads {
    /// Waits until a thread has ended. Before every [`Shards`] is dropped, that means that it panicked.
    pub async fn any_ended(&self) {
        self.ended.cancelled().await;
    }

    /// Waits until all threads have ended.
    pub fn join(self) {
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Starts `count` shards whose queues hold `queue` messages each. They end when every [`Shards`] is dropped.
///
/// # Errors
/// Returns an error if the operating system refuses a thread.
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
        let shard = Shard::new(reports_to.clone(), sinks.clone());
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

/// Messages that a shard receives at once, so that the senders that wait for room wake up together.
const AT_ONCE: usize = 32;

/// A shard without its thread.
pub struct Shard {
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
    /// Returns a shard without streams, which reports to the reader of each partition and reserves room in `sinks`.
    #[must_use]
    pub fn new(reports_to: ReportSender, sinks: StreamSinks) -> Self {
        let (scratch_pool, streams) = (ScratchPool::default(), HashMap::new());
        Self { scratch_pool, streams, reports_to, backlog: Backlog::new(sinks) }
    }

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
    pub fn receive(&mut self, message: ShardMessage) {
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
            ShardMessage::Chunk(envelope) => self.accept(*envelope),
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

    /// Accepts a chunk: opens its stream where there is none, and closes it where the chunk ends it.
    fn accept(&mut self, mut envelope: ChunkEnvelope) {
        let key = envelope.source.key(&envelope.info);
        let (mut stream, may_stay) = match self.streams.remove(&key) {
            Some(stream) => (stream, true),
            None if matches!(envelope.source, ChunkSource::Session { first: false, .. }) => return,
            None => {
                let resumed = envelope.resume.is_some();
                self.forget_setups(&envelope.model);
                match OpenStream::open(&mut self.scratch_pool, &mut envelope) {
                    Ok(stream) => (stream, resumed),
                    Err(bad) => return self.refuse(&envelope, bad),
                }
            }
        };
        let Self { scratch_pool, reports_to, backlog, .. } = self;
        match stream.accept(scratch_pool, reports_to, backlog, &mut envelope) {
            Ok(After::Open) => drop(self.streams.insert(key, stream)),
            Ok(After::Ended) => stream.close(backlog),
            Err(bad) => {
                self.refuse(&envelope, bad);
                if may_stay && matches!(envelope.source, ChunkSource::Kafka { .. }) {
                    self.streams.insert(key, stream);
                } else {
                    stream.close(&mut self.backlog);
                }
            }
        }
    }

    /// Drops the scratch that no open stream needs, before a stream with a new setup opens.
    fn forget_setups(&mut self, coming: &ServedModel) {
        if !self.scratch_pool.has(coming) {
            let used: HashSet<u64> = self.streams.values().flat_map(OpenStream::setup_numbers).collect();
            self.scratch_pool.keep(&used);
        }
    }

    /// Reports a refused chunk: to its session, which then ends, or to the reader of its partition, which writes a dead letter.
    fn refuse(&self, envelope: &ChunkEnvelope, bad: BadChunk) {
        match &envelope.source {
            ChunkSource::Session { refusals, .. } => {
                // The first refusal ends the session. If the session has ended already, no component needs the reason.
                let _ = refusals.try_send(bad);
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
