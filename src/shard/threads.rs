//! The threads of the shards, and which of them owns a stream.
//!
//! Input: the number of shards and the size of their queues. Output: the senders to all shards. Invariant: a stream belongs to one shard from its first
//! chunk to its end, chosen by the hash of its id.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ShardMessage;
use super::report::ReportSender;
use super::shard::Shard;
use crate::serving::{Decoders, StreamSinks};

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

/// Starts `count` shards whose queues hold `queue` messages each, and whose files `decoders` decode. They end when every [`Shards`] is dropped.
///
/// # Errors
/// Returns an error if the operating system refuses a thread.
pub fn start(
    count: usize,
    queue: usize,
    reports_to: &ReportSender,
    sinks: &StreamSinks,
    decoders: &Decoders,
) -> std::io::Result<(Shards, ShardThreads)> {
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    let ended = CancellationToken::new();
    for number in 0..count {
        let (sender, inbox) = mpsc::channel(queue);
        let shard = Shard::new(reports_to.clone(), sinks.clone(), decoders.clone());
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
