//! The messages of one partition on their way to the shards.
//!
//! Input: chunks and ends of segments, in the order of their records. Output: the same at the shards, in that order. Invariants: never waits; a chunk has its
//! permit of its model's share of the shards; a chunk of a backlog is sent while the model has room for backlogs, so that its windows delay those of streams at
//! the pace of speech by a few batches only; a chunk of a file waits while the budget of memory has no room for it and what holds the memory comes free by
//! itself. While one message has no room, nothing behind it is sent.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::error::TrySendError;

use crate::audio::AudioFormat;
use crate::serving::{ClientFile, ServedModel};
use crate::shard::{ChunkEnvelope, ShardMessage, Shards};
use crate::stream::MemoryBudget;

/// The age beyond which a record is part of a backlog.
const BACKLOG_AGE: Duration = Duration::from_secs(2);

/// A message that waits for room.
struct Waiting {
    stream_id: Arc<str>,
    message: ShardMessage,
    /// The windows that a chunk of a backlog completes for certain; `None` for any other message.
    backlog: Option<u32>,
    /// Whether a chunk is one of a file.
    is_file: bool,
}

/// Messages in the order in which they are sent.
pub(super) struct Outbox {
    messages: VecDeque<Waiting>,
    memory: MemoryBudget,
    /// Streams whose file is not complete. Their shards may not have reported the format yet.
    files: HashSet<Arc<str>>,
}

impl Outbox {
    /// Returns an outbox without messages, whose files use `memory`.
    pub fn new(memory: MemoryBudget) -> Self {
        Self { messages: VecDeque::new(), memory, files: HashSet::new() }
    }

    /// Appends a message that needs room in the inbox of its shard only.
    pub fn push(&mut self, stream_id: Arc<str>, message: ShardMessage) {
        if matches!(message, ShardMessage::EndSegment { .. } | ShardMessage::Forget(_)) {
            self.files.remove(&stream_id);
        }
        self.messages.push_back(Waiting { stream_id, message, backlog: None, is_file: false });
    }

    /// Appends a chunk with `audio_ms` of audio in the stream's `format`, whose record was written at `timestamp` (ms since 1970, 0 where it is not known).
    pub fn push_chunk(
        &mut self,
        envelope: ChunkEnvelope,
        format: Option<AudioFormat>,
        audio_ms: u64,
        timestamp: i64,
    ) {
        let stream_id = envelope.info.stream_id.clone();
        let is_old = age_of(timestamp).is_some_and(|age| age > BACKLOG_AGE);
        let backlog = is_old.then(|| windows_of(&envelope.model, format, audio_ms));
        let is_file = format.map_or_else(|| self.files.contains(&stream_id), |format| format.is_file());
        if is_file && envelope.chunk.last {
            self.files.remove(&stream_id);
        } else if is_file {
            self.files.insert(stream_id.clone());
        }
        let message = ShardMessage::Chunk(Box::new(envelope));
        self.messages.push_back(Waiting { stream_id, message, backlog, is_file });
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Sends what there is room for, and returns whether that is all.
    pub fn send(&mut self, shards: &Shards) -> bool {
        while let Some(mut waiting) = self.messages.pop_front() {
            let Waiting { stream_id, message, backlog, is_file } = &mut waiting;
            if let ShardMessage::Chunk(envelope) = message
                && !((!*is_file || find_memory(envelope, &self.memory))
                    && find_room(envelope, *backlog)
                    && find_share(envelope))
            {
                self.messages.push_front(waiting);
                return false;
            }
            let shard = shards.of(stream_id);
            if let Err(TrySendError::Full(message)) = shard.try_send(waiting.message) {
                self.messages.push_front(Waiting { message, ..waiting });
                return false;
            }
        }
        true
    }
}

/// Takes a place in the share that the chunk's model has of the shards: chunks of a slow model leave the shards to others. Those behind it in the partition
/// wait, as they are read in order.
fn find_share(envelope: &mut ChunkEnvelope) -> bool {
    if envelope.share.is_none() {
        envelope.share = envelope.model.share.clone().try_acquire_owned().ok();
    }
    envelope.share.is_some()
}

/// Reserves the memory of a chunk of a file, and for the last one that of its decoding. Returns false where the chunk must wait. Where only files that wait for
/// their next records hold the memory, it would wait for ever: it is sent without, and its shard refuses it.
fn find_memory(envelope: &mut ChunkEnvelope, memory: &MemoryBudget) -> bool {
    if envelope.memory.is_some() {
        return true;
    }
    let decoding = if envelope.chunk.last { ClientFile::DECODING_BYTES } else { 0 };
    let mut reservation = memory.reservation();
    reservation.set_incomplete(!envelope.chunk.last);
    if reservation.set(envelope.chunk.audio.len() + decoding).is_ok() {
        envelope.memory = Some(reservation);
        return true;
    }
    !memory.comes_free()
}

/// Takes room for the windows that a chunk of a backlog completes, as far as there is some. A chunk that completes none by itself only needs that there is
/// some: its stream's next window takes room in the shard.
fn find_room(envelope: &mut ChunkEnvelope, backlog: Option<u32>) -> bool {
    let Some(windows) = backlog.filter(|_| envelope.ahead.is_none()) else { return true };
    let room = &envelope.model.backlog;
    let free = u32::try_from(room.available_permits()).unwrap_or(u32::MAX);
    if free > 0 {
        // A shard may have taken room meanwhile: the chunk then waits for the next turn.
        envelope.ahead = room.clone().try_acquire_many_owned(windows.min(free)).ok();
    }
    envelope.ahead.is_some()
}

/// Returns the windows that `audio_ms` of audio complete for certain, in all channels.
fn windows_of(model: &ServedModel, format: Option<AudioFormat>, audio_ms: u64) -> u32 {
    let hop_ms = model.setup.geometry.span().hop.as_millis().max(1);
    let channels = format.map_or(1, |format| u128::from(format.channels()));
    u32::try_from(u128::from(audio_ms) / hop_ms * channels).unwrap_or(u32::MAX)
}

/// Returns how old a record is; `None` where its timestamp is not known or lies in the future.
fn age_of(timestamp: i64) -> Option<Duration> {
    let written = UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp).ok().filter(|at| *at > 0)?);
    SystemTime::now().duration_since(written).ok()
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, mpsc};

    use super::*;
    use crate::audio::Encoding;
    use crate::model::ModelSource;
    use crate::serving::Utilization;
    use crate::shard::ChunkSource;
    use crate::stream::{Assignment, Chunk, StreamInfo, StreamSetup};
    use crate::{audio, window};

    /// More than any test sends.
    const SHARD_QUEUE: usize = 64;

    /// A model with room for `backlog` windows of backlogs.
    fn model(backlog: usize) -> Arc<ServedModel> {
        let contract = ModelSource::BuiltIn.contract().unwrap();
        let setup = StreamSetup::new(&contract, &window::Options::default(), &audio::Options::default());
        let room = |permits| Arc::new(Semaphore::new(permits));
        Arc::new(ServedModel {
            contract: Arc::new(contract),
            setup: setup.unwrap(),
            setup_number: 1,
            jobs: mpsc::channel(1).0,
            share: room(SHARD_QUEUE),
            ahead: room(1),
            backlog: room(backlog),
            is_only: true,
            utilization: Utilization::new(Arc::default(), 1, Duration::from_secs(1)),
            shadows: Vec::new(),
        })
    }

    /// The memory for files.
    const MEMORY: usize = 1 << 20;

    fn outbox() -> Outbox {
        Outbox::new(MemoryBudget::new(MEMORY))
    }

    /// Appends a chunk of a file with this many bytes.
    fn push_file(outbox: &mut Outbox, model: &Arc<ServedModel>, bytes: usize, last: bool) {
        let mut envelope = envelope(model);
        envelope.chunk.audio = vec![0; bytes].into();
        envelope.chunk.last = last;
        outbox.push_chunk(envelope, Some(AudioFormat::FILE), 0, 0);
    }

    fn format() -> Option<AudioFormat> {
        AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok()
    }

    /// Appends a chunk of a record that is as old.
    fn push(outbox: &mut Outbox, model: &Arc<ServedModel>, audio_ms: u64, age: Duration) {
        let written = SystemTime::now() - age;
        let timestamp = written.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        outbox.push_chunk(envelope(model), format(), audio_ms, timestamp);
    }

    fn envelope(model: &Arc<ServedModel>) -> ChunkEnvelope {
        ChunkEnvelope {
            info: Arc::new(StreamInfo::default()),
            declared: None,
            chunk: Chunk::default(),
            captured_at: None,
            source: ChunkSource::Kafka { assignment: Assignment { partition: 0, number: 1 }, offset: 0 },
            resume: None,
            model: model.clone(),
            share: None,
            ahead: None,
            memory: None,
        }
    }

    const OLD: Duration = Duration::from_secs(60);
    const NEW: Duration = Duration::ZERO;

    #[test]
    fn chunks_of_a_backlog_wait_while_its_room_is_full_and_others_pass() {
        let (inbox, mut sent) = mpsc::channel(SHARD_QUEUE);
        let (shards, model) = (Shards::from(vec![inbox]), model(4));
        let (mut old, mut new) = (outbox(), outbox());
        let hop_ms = model.setup.geometry.span().hop.as_millis() as u64;
        for _ in 0..3 {
            push(&mut old, &model, 3 * hop_ms, OLD);
            push(&mut new, &model, 3 * hop_ms, NEW);
        }
        assert!(new.send(&shards), "records at the pace of speech need no such room");
        assert_eq!(sent.len(), 3);
        assert!(!old.send(&shards));
        assert_eq!(sent.len(), 5, "the second chunk has what room was left");
        assert_eq!(model.backlog.available_permits(), 0);
        while sent.try_recv().is_ok() {}
        assert!(old.send(&shards) && old.is_empty());
    }

    #[test]
    fn short_chunks_of_a_backlog_hold_no_room_and_wait_while_there_is_none() {
        let (inbox, mut sent) = mpsc::channel(SHARD_QUEUE);
        let (shards, model) = (Shards::from(vec![inbox]), model(1));
        let mut outbox = outbox();
        (0..10).for_each(|_| push(&mut outbox, &model, 100, OLD));
        assert!(outbox.send(&shards), "no chunk completes a window by itself");
        let window = model.backlog.clone().try_acquire_owned().unwrap();
        push(&mut outbox, &model, 100, OLD);
        assert!(!outbox.send(&shards));
        drop(window);
        assert!(outbox.send(&shards));
        while sent.try_recv().is_ok() {}
    }

    #[test]
    fn chunks_of_files_wait_for_memory_that_comes_free_by_itself() {
        let (inbox, mut sent) = mpsc::channel(SHARD_QUEUE);
        let (shards, model, mut outbox) = (Shards::from(vec![inbox]), model(1), outbox());
        let mut upload = outbox.memory.reservation();
        upload.set(MEMORY - 1_000).unwrap();
        push_file(&mut outbox, &model, 600, false);
        assert!(outbox.send(&shards));
        push_file(&mut outbox, &model, 600, false);
        push(&mut outbox, &model, 100, NEW);
        assert!(!outbox.send(&shards), "an upload holds the memory");
        drop(upload);
        assert!(outbox.send(&shards));
        let mut memory = || match sent.try_recv().unwrap() {
            ShardMessage::Chunk(envelope) => envelope.memory,
            other => panic!("{other:?}"),
        };
        let held = [memory(), memory()];
        assert_eq!(held.each_ref().map(|memory| memory.as_ref().unwrap().bytes()), [600, 600]);
        assert!(memory().is_none(), "samples");
        // Only the incomplete file holds memory now: its shard refuses what finds no room.
        push_file(&mut outbox, &model, MEMORY, false);
        assert!(outbox.send(&shards));
        assert!(memory().is_none());
        // The last chunk takes the memory of the decoding too.
        push_file(&mut outbox, &model, 10, true);
        assert!(outbox.send(&shards));
        assert_eq!(memory().unwrap().bytes(), 10 + ClientFile::DECODING_BYTES);
    }

    #[test]
    fn a_record_without_a_timestamp_or_from_the_future_is_no_backlog() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        assert_eq!((age_of(0), age_of(-1), age_of(now + 60_000)), (None, None, None));
        assert!(age_of(now - 3_000).unwrap() > BACKLOG_AGE);
    }
}
