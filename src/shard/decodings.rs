//! The files of partitions that are being decoded.
//!
//! Input: complete files. Output: their formats, then their samples piece by piece, each once the windows of the piece before have found room. Invariants:
//! the thread never waits for a file; a file that is forgotten is given up at once.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::StreamKey;
use super::file_stream::FileEnd;
use crate::audio::{ChannelLayout, FileError};
use crate::serving::{ClientFile, Decoders};
use crate::stream::{BadChunk, MemoryBudget};

/// The samples of a piece, one buffer of equal length per channel.
type Piece = Vec<Vec<f32>>;

/// The result of a step of a decoding.
pub(super) enum Decoded {
    /// It was checked.
    Opened(Result<ClientFile, BadChunk>),
    /// A piece was decoded, or there is none behind the last one. The permit is the piece's room among the windows of backlogs.
    Piece(ClientFile, Result<Option<Piece>, FileError>, Option<OwnedSemaphorePermit>),
}

/// The result of a step of a file.
pub(super) struct Step {
    key: StreamKey,
    number: u64,
    /// `None` where the file was forgotten.
    decoded: Option<Decoded>,
}

/// A file that is being decoded.
struct Decoding {
    number: u64,
    bytes: Bytes,
    end: FileEnd,
    /// The file between two steps.
    resting: Option<ClientFile>,
    given_up: CancellationToken,
    _give_up: DropGuard,
}

/// The files of a shard.
pub(super) struct Decodings {
    decoders: Decoders,
    files: HashMap<StreamKey, Decoding>,
    steps: FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>,
    /// Files so far.
    count: u64,
}

impl Decodings {
    pub fn new(decoders: Decoders) -> Self {
        Self { decoders, files: HashMap::new(), steps: FuturesUnordered::new(), count: 0 }
    }

    /// Returns the budget of memory.
    pub fn budget(&self) -> &MemoryBudget {
        self.decoders.budget()
    }

    /// Returns whether no file is being decoded.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Begins to check a complete file of a stream whose channels must fit `layout`.
    pub fn open(&mut self, key: StreamKey, bytes: Bytes, layout: ChannelLayout, end: FileEnd) {
        self.count += 1;
        let given_up = CancellationToken::new();
        let _give_up = given_up.clone().drop_guard();
        let (decoders, file) = (self.decoders.clone(), bytes.clone());
        let decoding = Decoding { number: self.count, bytes, end, resting: None, given_up, _give_up };
        self.files.insert(key.clone(), decoding);
        self.begin(&key, async move { Decoded::Opened(ClientFile::open(&decoders, file, &layout).await) });
    }

    /// Keeps a file whose last piece is not on its way yet.
    pub fn rest(&mut self, key: &StreamKey, file: ClientFile) {
        if let Some(decoding) = self.files.get_mut(key) {
            decoding.resting = Some(file);
        }
    }

    /// Requests the next piece of a file that rests, as soon as `room` has a place for each channel that `layout` analyses, as for a stream that is ahead
    /// of real time. Does nothing for any other stream.
    pub fn next(&mut self, key: &StreamKey, room: &Arc<Semaphore>, layout: &ChannelLayout) {
        let resting = self.files.get_mut(key).and_then(|decoding| decoding.resting.take());
        let Some(mut file) = resting else { return };
        let permits = layout.analysed(file.channels() as u16) as u32;
        let room = room.clone();
        self.begin(key, async move {
            // Never closed.
            let permit = room.acquire_many_owned(permits).await.ok();
            let piece = file.next().await;
            Decoded::Piece(file, piece, permit)
        });
    }

    /// Returns whether a file rests.
    pub fn is_resting(&self, key: &StreamKey) -> bool {
        self.files.get(key).is_some_and(|decoding| decoding.resting.is_some())
    }

    /// Returns the next step that has ended.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        // Shards without files pay nothing for them.
        if self.steps.is_empty() {
            return Poll::Pending;
        }
        match self.steps.poll_next_unpin(context) {
            Poll::Ready(Some(step)) => Poll::Ready(step),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Returns the stream of a step and what its file has come to; `None` where the file was forgotten.
    pub fn current(&self, step: Step) -> Option<(StreamKey, Decoded)> {
        let Step { key, number, decoded } = step;
        let is_current = self.files.get(&key).is_some_and(|decoding| decoding.number == number);
        decoded.filter(|_| is_current).map(|decoded| (key, decoded))
    }

    /// Ends a decoding. Returns the bytes of the file and what follows its last sample; `None` where no file of the stream is being decoded.
    pub fn take(&mut self, key: &StreamKey) -> Option<(Bytes, FileEnd)> {
        self.files.remove(key).map(|Decoding { bytes, end, .. }| (bytes, end))
    }

    /// Gives all files up, and returns their streams.
    pub fn give_up(&mut self) -> Vec<StreamKey> {
        self.files.drain().map(|(key, _)| key).collect()
    }

    /// Begins a step of a file.
    fn begin(&mut self, key: &StreamKey, step: impl Future<Output = Decoded> + Send + 'static) {
        let Some(Decoding { number, given_up, .. }) = self.files.get(key) else { return };
        let (key, number, given_up) = (key.clone(), *number, given_up.clone());
        self.steps.push(Box::pin(async move {
            let decoded = given_up.run_until_cancelled_owned(step).await;
            Step { key, number, decoded }
        }));
    }
}
