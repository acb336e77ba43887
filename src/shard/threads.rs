//! The threads that own the state of open streams.
//!
//! Input: chunks of any source, in bounded queues. Output: one job a window to the batcher of the stream's model (waiting while it is full), refused
//! chunks to their session, and reports to the reader of a partition. Invariants: a stream belongs to one shard from its first chunk to its end; no
//! lock is taken; a refused chunk changes no stream.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use ::metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::open_stream::{After, OpenStream, ReportSender};
use super::scratch_pool::ScratchPool;
use crate::serving::CallReply;
use crate::serving::ServedModel;
use crate::shard::Report;
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

/// The queues of all shards. Clones share them.
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
) -> std::io::Result<(Shards, ShardThreads)> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    let ended = CancellationToken::new();
    for number in 0..count {
        let (sender, inbox) = mpsc::channel(queue);
        let shard = Shard::new(reports_to.clone());
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
}

impl Shard {
    /// Returns a shard without streams, which reports to the reader of each partition.
    #[must_use]
    pub fn new(reports_to: ReportSender) -> Self {
        Self { scratch_pool: ScratchPool::default(), streams: HashMap::new(), reports_to }
    }

    fn run(mut self, mut inbox: mpsc::Receiver<ShardMessage>) {
        let depth = gauge!(metrics::QUEUE_DEPTH, "stage" => "shard");
        let mut waiting = 0;
        let mut messages = Vec::with_capacity(AT_ONCE);
        while inbox.blocking_recv_many(&mut messages, AT_ONCE) > 0 {
            // All shards share the gauge, so each adds the change of its own queue.
            let before = std::mem::replace(&mut waiting, inbox.len());
            depth.increment(waiting as f64 - before as f64);
            messages.drain(..).for_each(|message| self.handle(message));
        }
    }

    /// Handles one message. Waits while a batcher's queue is full.
    pub fn handle(&mut self, message: ShardMessage) {
        match message {
            ShardMessage::Chunk(envelope) => self.accept(*envelope),
            ShardMessage::EndSegment { key, credits } => {
                if let Some(stream) = self.streams.get_mut(&key) {
                    stream.end_segment(&mut self.scratch_pool, &self.reports_to, credits);
                }
            }
            ShardMessage::Close { key, credits } => {
                if let Some(mut stream) = self.streams.remove(&key) {
                    stream.end_segment(&mut self.scratch_pool, &self.reports_to, credits);
                }
            }
            ShardMessage::Forget(key) => drop(self.streams.remove(&key)),
            ShardMessage::ForgetAssignment(gone) => {
                self.streams.retain(|key, _| !matches!(key, StreamKey::Kafka(at, _) if *at == gone));
            }
        }
    }

    /// Accepts a chunk. Opens its stream if it is not open, and drops the stream's state if the chunk ends it.
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
        match stream.accept(&mut self.scratch_pool, &self.reports_to, &mut envelope) {
            Ok(After::Open) => drop(self.streams.insert(key, stream)),
            Ok(After::Ended) => {}
            Err(bad) => {
                self.refuse(&envelope, bad);
                if may_stay && matches!(envelope.source, ChunkSource::Kafka { .. }) {
                    self.streams.insert(key, stream);
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
            ChunkSource::Kafka { assignment, offset } => self.reports_to.report(Report::Refused {
                assignment: *assignment,
                offset: *offset,
                stream_id: envelope.info.stream_id.clone(),
                kind: bad.reason(),
                reason: bad.to_string(),
            }),
        }
    }
}
