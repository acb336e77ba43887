//! How long the streams of one partition are silent by wall time.
//!
//! Input: when records were read, and what the brokers report of the partition's end. Output: which streams are silent for longer than the idle timeout.
//! Pure but for the instants that it receives. Invariant: a stream is silent only up to the moment for which the brokers confirmed that nothing of it is
//! left to read; without an answer, no stream is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::partition_end::PartitionEnd;

/// A stream is over after this multiple of the idle timeout.
pub(super) const OVER_AFTER: u32 = 4;

/// The silence of the streams of one partition.
#[derive(Debug)]
pub(super) struct Silence {
    idle_timeout: Duration,
    /// When the partition was assigned: streams that were not read since are silent since then.
    opened: Instant,
    /// When the last record of each stream was read.
    last_read: HashMap<Arc<str>, LastRead>,
    /// The last report of the partition's end that was not replaced.
    end: Option<ReportedEnd>,
    /// Whether librdkafka has reported the end since the last record.
    at_end: bool,
}

#[derive(Debug, Clone, Copy)]
struct LastRead {
    at: Instant,
    /// Whether the segment has ended since.
    segment_ended: bool,
}

#[derive(Debug)]
struct ReportedEnd {
    end: PartitionEnd,
    /// The request since which all answers are the same and no record has arrived.
    unchanged_since: Instant,
}

impl Silence {
    pub fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, opened: Instant::now(), last_read: HashMap::new(), end: None, at_end: false }
    }

    /// Notes that a record arrived, of whatever stream.
    pub fn record_arrived(&mut self) {
        self.at_end = false;
    }

    /// Notes that a record of a stream was read.
    pub fn stream_read(&mut self, stream_id: &Arc<str>, now: Instant) {
        self.last_read.insert(stream_id.clone(), LastRead { at: now, segment_ended: false });
    }

    /// Notes that the segment of a stream has ended.
    pub fn segment_ended(&mut self, stream_id: &Arc<str>) {
        self.last_read.get_mut(stream_id).iter_mut().for_each(|read| read.segment_ended = true);
    }

    /// Forgets a stream that has ended.
    pub fn forget(&mut self, stream_id: &Arc<str>) {
        self.last_read.remove(stream_id);
    }

    /// Notes that the partition was read to its end, for now.
    pub fn end_reached(&mut self) {
        self.at_end = true;
    }

    /// Notes a report of the partition's end, which was read up to `next_offset`.
    ///
    /// An end that is not reached yet is kept: where records arrive as fast as they are read, the newest end is always ahead, and no stream would ever be
    /// found silent.
    pub fn end_reported(&mut self, end: PartitionEnd, next_offset: i64) {
        let unchanged_since = match &self.end {
            Some(before) if before.end.offset == end.offset && self.at_end => before.unchanged_since,
            Some(before) if before.end.offset > next_offset && !self.at_end => return,
            _ => end.requested_at,
        };
        self.end = Some(ReportedEnd { end, unchanged_since });
    }

    /// Returns whether all records are read that the partition held at the last report.
    ///
    /// The end may lie behind markers of transactions, which are never read. It is then reached when nothing but the same answer came for the idle timeout.
    pub fn is_end_read(&self, next_offset: i64) -> bool {
        self.end.as_ref().is_some_and(|reported| {
            let ReportedEnd { end, unchanged_since } = reported;
            let unchanged_for = end.requested_at.saturating_duration_since(*unchanged_since);
            end.offset <= next_offset || (self.at_end && unchanged_for > self.idle_timeout)
        })
    }

    /// Returns whether another report of the end would help: there is none, or its end is read.
    pub fn needs_end(&self, next_offset: i64) -> bool {
        self.end.is_none() || self.at_end || self.is_end_read(next_offset)
    }

    /// Returns whether nothing was read of a stream for the idle timeout before `now`.
    pub fn may_be_silent(&self, stream_id: &Arc<str>, now: Instant) -> bool {
        self.silent_at(stream_id, now)
    }

    /// Returns whether a stream was silent for the idle timeout at the last report of the end.
    pub fn is_silent(&self, stream_id: &Arc<str>) -> bool {
        self.end.as_ref().is_some_and(|reported| self.silent_at(stream_id, reported.end.requested_at))
    }

    fn silent_at(&self, stream_id: &Arc<str>, at: Instant) -> bool {
        let read = self.last_read.get(stream_id).filter(|read| !read.segment_ended);
        read.is_some_and(|read| self.silence(read.at, at) > self.idle_timeout)
    }

    /// Returns whether a stream without an open segment may have been silent at `now` for so long that it is over.
    pub fn may_be_over(&self, stream_id: &Arc<str>, now: Instant) -> bool {
        let read = self.last_read.get(stream_id).map_or(self.opened, |read| read.at);
        self.silence(read, now) > self.idle_timeout * OVER_AFTER
    }

    /// Returns whether a stream without an open segment was over at the last report of the end.
    pub fn is_over(&self, stream_id: &Arc<str>) -> bool {
        self.end.as_ref().is_some_and(|reported| self.may_be_over(stream_id, reported.end.requested_at))
    }

    /// The silence begins anew when the brokers answer again after an outage, since the senders could write nothing meanwhile.
    fn silence(&self, read: Instant, at: Instant) -> Duration {
        let answering_since = self.end.as_ref().and_then(|reported| reported.end.answering_since);
        at.saturating_duration_since(answering_since.map_or(read, |since| since.max(read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn seconds(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn fixture() -> (Silence, Arc<str>, Instant) {
        let (mut silence, stream_id, start) = (Silence::new(IDLE), Arc::from("call"), Instant::now());
        silence.stream_read(&stream_id, start);
        (silence, stream_id, start)
    }

    fn end(requested_at: Instant, offset: i64) -> PartitionEnd {
        PartitionEnd { requested_at, offset, answering_since: None }
    }

    #[test]
    fn without_an_answer_no_stream_is_silent() {
        let (mut silence, stream_id, start) = fixture();
        silence.end_reached();
        assert!(silence.may_be_silent(&stream_id, seconds(start, 31)));
        assert!(!silence.is_end_read(10) && !silence.is_silent(&stream_id));
        // An answer to a request from before the timeout.
        silence.end_reported(end(seconds(start, 29), 10), 10);
        assert!(silence.is_end_read(10) && !silence.is_silent(&stream_id));
        silence.end_reported(end(seconds(start, 31), 10), 10);
        assert!(silence.is_end_read(10) && silence.is_silent(&stream_id));
    }

    #[test]
    fn records_that_are_left_to_read_may_be_of_the_stream() {
        let (mut silence, stream_id, start) = fixture();
        silence.end_reported(end(seconds(start, 31), 12), 10);
        assert!(!silence.is_end_read(11));
        silence.end_reported(end(seconds(start, 32), 99), 11);
        assert!(silence.is_end_read(12), "the end that is not reached yet is kept");
        assert!(silence.is_silent(&stream_id));
    }

    #[test]
    fn markers_at_the_end_are_no_records() {
        let (mut silence, stream_id, start) = fixture();
        silence.end_reached();
        silence.end_reported(end(seconds(start, 31), 11), 10);
        silence.end_reported(end(seconds(start, 60), 11), 10);
        assert!(!silence.is_end_read(10));
        silence.end_reported(end(seconds(start, 62), 11), 10);
        assert!(silence.is_end_read(10) && silence.is_silent(&stream_id));
        silence.record_arrived();
        assert!(!silence.is_end_read(10));
    }

    #[test]
    fn the_silence_begins_anew_after_an_outage() {
        let (mut silence, stream_id, start) = fixture();
        let answering_since = Some(seconds(start, 100));
        silence.end_reported(PartitionEnd { answering_since, ..end(seconds(start, 101), 10) }, 10);
        assert!(!silence.is_silent(&stream_id));
        silence.end_reported(PartitionEnd { answering_since, ..end(seconds(start, 131), 10) }, 10);
        assert!(silence.is_silent(&stream_id));
    }
}
