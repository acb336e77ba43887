//! One assigned partition: records become chunks for the shards, reports settle their offsets.
//!
//! Input: records in the order of their offsets, and reports on them. Output: messages in the outbox, in order; records that become dead letters; what
//! is due to be committed. Invariants: never waits and never calls a broker; while a message waits for its shard, nothing behind it is sent.
//!
//! A stream that falls silent ends. Where the records of the partition show the silence, the end follows from them alone and a replay repeats it
//! (`partition_clock`). Where no later record comes, only the clock shows the silence (`silence`). Such an end is written to the progress topic
//! before it takes effect, with the position at which it happened, so that a replay ends the stream there too. Meanwhile the partition is not read on: a
//! chunk that arrived in between would move the stream past that position.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit_metadata::{CommitMetadata, Committed};
use super::dead_letters::DeadLetter;
use super::offset_tracker::{Idle, OffsetTracker};
use super::outbox::Outbox;
use super::partition_end::PartitionEnd;
use super::progress::ProgressEntry;
use super::record::{AudioRecord, RawRecord};
use super::silence::Silence;
use super::turns::audio_ms;
use crate::serving::{RegistryReceiver, ServedModel};
use crate::session::Refusal;
use crate::shard::PartitionReport;
use crate::shard::{ChunkEnvelope, ChunkSource, ShardMessage, Shards, StreamKey};
use crate::stream::{Assignment, DeadLetterTicket};
use crate::stream::{BadChunk, MemoryBudget, Resume, StreamInfo, check_captured_at};
use crate::telemetry::metrics;

/// A partition while it is assigned.
pub struct Partition {
    pub(super) assignment: Assignment,
    pub(super) tracker: OffsetTracker,
    /// Messages that there was no room for, and those behind them.
    pub(super) outbox: Outbox,
    /// Records that their shard has not reported on.
    at_shard: HashMap<i64, RawRecord>,
    /// How long its streams are silent by wall time.
    pub(super) silence: Silence,
    /// Whether it is about to be released: nothing more is read.
    pub(super) leaving: bool,
    /// Whether streams are about to end by wall time: nothing is read until they have.
    pub(super) ending_by_wall_time: bool,
    /// Streams that the commit under way closes: nothing is read until it is acknowledged.
    pub(super) closing: Vec<Arc<str>>,
    /// The offset of a commit that is under way or was not acknowledged. No other is tried before it.
    pub(super) pending_commit: Option<i64>,
    /// The name under which this assignment commits.
    pub(super) writer: String,
    /// The metadata of the last acknowledged commit.
    pub(super) committed: CommitMetadata,
    /// Streams whose progress records are void. They are deleted after the first commit.
    pub(super) void: Vec<Arc<str>>,
    pub(super) transactional: bool,
    /// Whether events or dead letters wait for the next transaction.
    pub(super) has_published: bool,
    registries: RegistryReceiver,
}

/// What is known of a partition when it is assigned.
#[derive(Debug, Clone, Default)]
pub struct PartitionStart {
    /// The first offset to read.
    pub offset: i64,
    /// What the group has committed.
    pub committed: Committed,
    /// The name under which this assignment commits and writes progress; see [`CommitMetadata::writer`].
    pub writer: String,
    /// The streams that another reader left open there.
    pub open_streams: HashMap<Arc<str>, ProgressEntry>,
    /// Streams whose progress records are void.
    pub void: Vec<Arc<str>>,
    /// Whether events are published by the commit that settles them.
    pub transactional: bool,
}

impl Partition {
    /// Opens a partition. Streams choose from `registries` and end when they are silent for `idle_timeout`; their files use `memory`.
    #[must_use]
    pub fn new(
        assignment: Assignment,
        start: PartitionStart,
        idle_timeout: Duration,
        registries: RegistryReceiver,
        memory: &MemoryBudget,
    ) -> Self {
        let PartitionStart { offset, committed, writer, open_streams, void, transactional } = start;
        Self {
            assignment,
            tracker: OffsetTracker::open(offset, committed.offset, &open_streams, idle_timeout),
            outbox: Outbox::new(memory.clone()),
            at_shard: HashMap::new(),
            silence: Silence::new(idle_timeout),
            leaving: false,
            ending_by_wall_time: false,
            closing: Vec::new(),
            pending_commit: None,
            writer,
            committed: committed.metadata,
            void,
            transactional,
            has_published: false,
            registries,
        }
    }

    /// Returns the assignment.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        self.assignment
    }

    /// Returns the lowest offset that is not settled.
    #[must_use]
    pub fn lowest_unsettled(&self) -> i64 {
        self.tracker.lowest_unsettled()
    }

    /// Reads no more: the partition is about to be released.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Returns whether it is about to be released.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Returns whether records may be read now.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.leaving && !self.ending_by_wall_time && self.closing.is_empty()
    }

    /// Notes that the partition was read to its end.
    pub fn end_reached(&mut self) {
        self.silence.end_reached();
    }

    /// Notes what the brokers reported of the partition's end.
    pub fn end_reported(&mut self, end: PartitionEnd) {
        self.silence.end_reported(end, self.tracker.next_offset());
    }

    /// Returns whether the end of the partition must be requested, because streams are silent for so long at `now` that they may end by wall time.
    #[must_use]
    pub fn needs_end(&self, now: Instant) -> bool {
        self.is_readable()
            && self.silence.needs_end(self.tracker.next_offset())
            && (self.perhaps_idle().any(|stream_id| self.silence.may_be_silent(stream_id, now))
                || self.tracker.without_segment().any(|stream_id| self.silence.may_be_over(stream_id, now)))
    }

    /// The streams with an open segment whose silence the records do not show.
    pub(super) fn perhaps_idle(&self) -> impl Iterator<Item = &Arc<str>> {
        let segments = self.tracker.open_segments();
        segments.filter(|(_, idle)| *idle == Idle::PerhapsByWallTime).map(|(stream_id, _)| stream_id)
    }

    /// Takes a record and returns how much audio it has, in ms: exactly where its format is known, estimated otherwise.
    ///
    /// # Errors
    /// The record as a dead letter, where it holds no chunk.
    pub fn take(&mut self, record: RawRecord, offset: i64, timestamp: i64) -> Result<u64, Box<DeadLetter>> {
        self.silence.record_arrived();
        let audio = match record.parse() {
            Ok(audio) => audio,
            Err(bad) => return Err(self.refuse(record, offset, timestamp, bad.to_string())),
        };
        let stream_id = audio.info.stream_id.clone();
        let (mut resume, info) = self.resume(&audio.info, offset);
        let model = match self.model_for(&info, &audio) {
            Ok(model) => model,
            Err(refusal) => return Err(self.refuse(record, offset, timestamp, refusal.to_string())),
        };
        if self.tracker.was_idle(&stream_id, timestamp) {
            resume.iter_mut().for_each(end_at_position);
            self.end_segment(&stream_id);
        }
        let span = model.setup.geometry.span();
        self.tracker.record_read(offset, Some((&stream_id, span)), timestamp);
        self.at_shard.insert(offset, record);
        self.silence.stream_read(&stream_id, Instant::now());
        let format = audio.chunk.format.or_else(|| self.tracker.format(&stream_id));
        let audio_ms = audio_ms(format, audio.chunk.audio.len());
        let envelope = ChunkEnvelope {
            info,
            declared: Some(audio.info),
            model,
            chunk: audio.chunk,
            captured_at: audio.captured_at,
            source: ChunkSource::Kafka { assignment: self.assignment, offset },
            resume: resume.map(Box::new),
            share: None,
            ahead: None,
            memory: None,
        };
        self.outbox.push_chunk(envelope, format, audio_ms, timestamp);
        Ok(audio_ms)
    }

    /// Returns where the stream of a record goes on, if an earlier reader has read it, and what its events repeat.
    fn resume(&self, declared: &Arc<StreamInfo>, offset: i64) -> (Option<Resume>, Arc<StreamInfo>) {
        let stream_id = &declared.stream_id;
        let mut resume = self.tracker.resume(stream_id);
        let goes_on = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        // A resumed stream keeps the information of its progress record. What this record declares is compared with it in the shard.
        let mut info = self.tracker.info(stream_id).filter(|_| goes_on).unwrap_or(declared).clone();
        if let Some(later) = self.tracker.later_epoch(stream_id, offset) {
            let channel_states = later.channel_states.clone();
            info = Arc::new(StreamInfo { channel_states, ..StreamInfo::clone(&info) });
            resume.get_or_insert_default().published = Some(later.published());
        }
        let idle_ends = self.tracker.later_idle_ends(stream_id, offset);
        if !idle_ends.is_empty() {
            resume.get_or_insert_default().idle_ends.extend(idle_ends);
        }
        (resume, info)
    }

    /// Returns the model of a stream, or why its record reaches no stream: a field out of bounds, or a model that is not served.
    fn model_for(&self, stream: &StreamInfo, record: &AudioRecord) -> Result<Arc<ServedModel>, Refusal> {
        let model = self.registries.borrow().find(&stream.model)?;
        let declared = model.setup.bounds.check(&record.info);
        declared.and_then(|()| check_captured_at(record.captured_at.as_ref())).map_err(BadChunk::from)?;
        Ok(model)
    }

    /// Returns a record that reaches no stream as a dead letter.
    fn refuse(&mut self, record: RawRecord, offset: i64, timestamp: i64, reason: String) -> Box<DeadLetter> {
        metrics::rejected(metrics::Source::KAFKA, "record");
        self.tracker.record_read(offset, None, timestamp);
        let ticket = DeadLetterTicket { assignment: self.assignment, offset, stream_id: None };
        Box::new(DeadLetter { record, reason, ticket })
    }

    /// Sends what the shards and the model have room for, and returns whether that is all.
    pub fn send(&mut self, shards: &Shards) -> bool {
        self.outbox.send(shards)
    }

    /// Handles a report, and returns a record that a shard refused as a dead letter.
    pub fn handle_report(&mut self, report: PartitionReport) -> Option<DeadLetter> {
        match report {
            PartitionReport::WindowSubmitted(ticket) => self.tracker.window_submitted(ticket),
            PartitionReport::Delivered { ticket, state } => {
                self.has_published = true;
                self.tracker.window_delivered(&ticket, state);
            }
            PartitionReport::SegmentEnded { stream_id, position, .. } => {
                self.tracker.segment_ended(&stream_id, position)
            }
            PartitionReport::DeadLetterDelivered(ticket) => {
                self.has_published = true;
                self.tracker.dead_letter_delivered(ticket.stream_id.as_deref(), ticket.offset);
            }
            PartitionReport::ChunkAccepted(accepted) => {
                self.at_shard.remove(&accepted.offset);
                if accepted.after.is_none() {
                    self.silence.forget(&accepted.stream_id);
                }
                self.tracker.chunk_accepted(*accepted);
            }
            PartitionReport::Refused { assignment, offset, stream_id, reason, .. } => {
                self.tracker.chunk_refused(&stream_id, offset);
                let record = self.at_shard.remove(&offset)?;
                let ticket = DeadLetterTicket { assignment, offset, stream_id: Some(stream_id) };
                return Some(DeadLetter { record, reason, ticket });
            }
            PartitionReport::Failed(_) => {}
        }
        None
    }

    /// Ends the segments of streams that the timestamps of later records have passed by the timeout.
    pub fn end_idle_by_partition_time(&mut self) {
        let segments = self.tracker.open_segments();
        let passed = segments.filter(|(_, idle)| *idle == Idle::ByPartitionTime);
        let passed: Vec<Arc<str>> = passed.map(|(stream_id, _)| stream_id.clone()).collect();
        passed.iter().for_each(|stream_id| self.end_segment(stream_id));
    }

    /// Ends a stream's segment, behind all chunks that were read.
    pub(super) fn end_segment(&mut self, stream_id: &Arc<str>) {
        self.silence.segment_ended(stream_id);
        let key = StreamKey::Kafka(self.assignment, stream_id.clone());
        self.outbox.push(stream_id.clone(), ShardMessage::EndSegment { key, credits: None });
    }

    /// Returns whether no report is outstanding and nothing waits for a shard.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.tracker.is_drained()
    }
}

/// Ends the segment that another reader left open before the stream's next chunk.
fn end_at_position(resume: &mut Resume) {
    if let Some(at) = &resume.at {
        resume.idle_ends.push_front(at.position);
    }
}
