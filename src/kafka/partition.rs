//! One assigned partition: records in, chunks for the shards out, and its books.
//!
//! In: records and reports. Out: messages in the outbox, in order, and records to be dead letters. Never talks to a broker.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;

use super::offset_tracker::{Idle, OffsetTracker};
use super::progress::Entry;
use super::record::RawRecord;
use crate::serving::RegistryReceiver;
use crate::shard::PartitionReport;
use crate::shard::{ChunkEnvelope, ShardMessage, Shards, Source, StreamKey};
use crate::stream::Resume;
use crate::stream::{Assignment, DeadLetterTicket};
use crate::telemetry::metrics;

/// A record that is to become a dead letter.
#[derive(Debug)]
pub struct DeadLetter {
    /// As it was read.
    pub record: RawRecord,
    /// Why it was refused.
    pub reason: String,
    /// What its acknowledgement settles.
    pub ticket: DeadLetterTicket,
}

/// A partition while it is assigned.
pub struct Partition {
    assignment: Assignment,
    /// Its books.
    pub tracker: OffsetTracker,
    /// Messages that their shard had no room for, and those behind them.
    outbox: VecDeque<(Arc<str>, ShardMessage)>,
    /// Records whose shard has not answered.
    in_doubt: HashMap<i64, RawRecord>,
    /// When each stream was last heard of, by the clock.
    heard: HashMap<Arc<str>, Instant>,
    /// Whether the partition was read to its end.
    pub at_end: bool,
    /// Whether it is about to be given up: nothing more is read.
    pub leaving: bool,
    /// A commit that was tried and not acknowledged; it comes first.
    pub pending_commit: Option<i64>,
    idle_timeout: Duration,
    /// Models to choose from.
    registries: RegistryReceiver,
}

impl Partition {
    /// A partition whose group has committed `committed`, with the streams left open there.
    #[must_use]
    pub fn new(
        assignment: Assignment,
        (start, committed): (i64, Option<i64>),
        left: &HashMap<Arc<str>, Entry>,
        (idle_timeout, registries): (Duration, RegistryReceiver),
    ) -> Self {
        Self {
            assignment,
            tracker: OffsetTracker::open(start, committed, left),
            outbox: VecDeque::new(),
            in_doubt: HashMap::new(),
            heard: HashMap::new(),
            at_end: false,
            leaving: false,
            pending_commit: None,
            idle_timeout,
            registries,
        }
    }

    /// The assignment.
    #[must_use]
    pub fn assignment(&self) -> Assignment {
        self.assignment
    }

    /// Takes a record in. Gives it back as a dead letter where it is no chunk.
    pub fn take(&mut self, record: RawRecord, offset: i64, timestamp: i64) -> Option<DeadLetter> {
        self.at_end = false;
        let audio = match record.parse() {
            Ok(audio) => audio,
            Err(bad) => return Some(self.refuse(record, offset, timestamp, bad.to_string())),
        };
        let stream_id = audio.info.stream_id.clone();
        let mut resume = self.tracker.resume(&stream_id);
        let goes_on = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        let info = self.tracker.info(&stream_id).filter(|_| goes_on).cloned().unwrap_or(audio.info);
        let found = self.registries.borrow().find(&info.model);
        let model = match found {
            Ok(model) => model,
            Err(unknown) => return Some(self.refuse(record, offset, timestamp, unknown.to_string())),
        };
        if self.tracker.was_idle(&stream_id, timestamp, self.idle_ms()) {
            resume.iter_mut().for_each(end_where_it_stands);
            self.end_segment(&stream_id);
        }
        self.tracker.read(offset, Some(&stream_id), timestamp);
        self.in_doubt.insert(offset, record);
        self.heard.insert(stream_id.clone(), Instant::now());
        let envelope = ChunkEnvelope {
            info,
            model,
            chunk: audio.chunk,
            captured_at: audio.captured_at,
            source: Source::Kafka { assignment: self.assignment, offset },
            resume: resume.map(Box::new),
            place: None,
        };
        self.outbox.push_back((stream_id, ShardMessage::Chunk(Box::new(envelope))));
        None
    }

    /// A record that reaches no stream.
    fn refuse(&mut self, record: RawRecord, offset: i64, timestamp: i64, reason: String) -> DeadLetter {
        metrics::rejected(metrics::Source::Kafka, "record");
        self.tracker.read(offset, None, timestamp);
        let ticket = DeadLetterTicket { assignment: self.assignment, offset, stream_id: None };
        DeadLetter { record, reason, ticket }
    }

    /// Sends what the shards have room for. Says whether all is sent.
    pub fn send(&mut self, shards: &Shards) -> bool {
        while let Some((stream_id, mut message)) = self.outbox.pop_front() {
            if let ShardMessage::Chunk(envelope) = &mut message
                && envelope.place.is_none()
            {
                // Chunks of a slow model leave the shards to others. Those behind it in the partition wait, as they are read in order.
                envelope.place = envelope.model.share.clone().try_acquire_owned().ok();
                if envelope.place.is_none() {
                    self.outbox.push_front((stream_id, message));
                    return false;
                }
            }
            if let Err(TrySendError::Full(message)) = shards.of(&stream_id).try_send(message) {
                self.outbox.push_front((stream_id, message));
                return false;
            }
        }
        true
    }

    /// Takes a report in. Gives a refused record back as a dead letter.
    pub fn hear(&mut self, report: PartitionReport) -> Option<DeadLetter> {
        match report {
            PartitionReport::WindowSubmitted(ticket) => self.tracker.emitted(ticket),
            PartitionReport::Delivered { ticket, state } => self.tracker.delivered(&ticket, state),
            PartitionReport::SegmentEnded { stream_id, standing, .. } => {
                self.tracker.segment_ended(&stream_id, standing)
            }
            PartitionReport::DeadLetterDelivered(ticket) => {
                self.tracker.dead_letter_delivered(ticket.stream_id.as_deref(), ticket.offset);
            }
            PartitionReport::ChunkAccepted(taken) => {
                self.in_doubt.remove(&taken.offset);
                if taken.after.is_none() {
                    self.heard.remove(&taken.stream_id);
                }
                self.tracker.taken(*taken);
            }
            PartitionReport::Refused { assignment, offset, stream_id, reason, .. } => {
                self.tracker.refused(&stream_id, offset);
                let record = self.in_doubt.remove(&offset)?;
                let ticket = DeadLetterTicket { assignment, offset, stream_id: Some(stream_id) };
                return Some(DeadLetter { record, reason, ticket });
            }
            PartitionReport::Failed(_) => {}
        }
        None
    }

    /// Ends the stretches that the partition's own time has left behind. Gives the streams that only the clock can judge, and does:
    /// silent for long at the partition's end.
    pub fn end_idle(&mut self) -> Vec<Arc<str>> {
        let (mut passed, mut silent) = (Vec::new(), Vec::new());
        // Behind a chunk that waits for its shard there may be records that were fetched and not read.
        let all_read = self.at_end && self.outbox.is_empty();
        for (stream_id, idle) in self.tracker.open_segments(self.idle_ms()) {
            let long_silent = || self.heard.get(stream_id).is_some_and(|at| at.elapsed() > self.idle_timeout);
            match idle {
                Idle::ByPartitionTime => passed.push(stream_id.clone()),
                Idle::PerhapsByWallTime if all_read && long_silent() => silent.push(stream_id.clone()),
                Idle::PerhapsByWallTime => {}
            }
        }
        for stream_id in passed {
            self.end_segment(&stream_id);
        }
        silent
    }

    /// Ends a stream's stretch.
    pub fn end_segment(&mut self, stream_id: &Arc<str>) {
        self.heard.remove(stream_id);
        let key = StreamKey::Kafka(self.assignment, stream_id.clone());
        self.outbox.push_back((stream_id.clone(), ShardMessage::EndSegment { key, credits: None }));
    }

    /// Whether everything that was read is answered for.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && self.tracker.is_quiet()
    }

    fn idle_ms(&self) -> i64 {
        i64::try_from(self.idle_timeout.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The stretch that another reader left open ends before the stream's next chunk.
fn end_where_it_stands(resume: &mut Resume) {
    if let Some(at) = &resume.at {
        resume.idle_ends.push_front(at.position);
    }
}
