//! What the reader of a partition and the metrics receive of an open stream.
//!
//! Input: the outcome of a chunk, or the end of a segment. Output: reports to the reader, counters and warnings.

use std::time::Duration;

use super::open_stream::{OpenStream, StreamSource};
use super::report::{ChunkAccepted, PartitionReport, ReportSender};
use super::{ChunkEnvelope, ChunkSource};
use crate::stream::{BadChunk, ChunkOutcome, EpochPosition};
use crate::telemetry::excerpt;
use crate::telemetry::metrics as meter;
use crate::window::time_of;

impl OpenStream {
    /// Counts and reports an accepted chunk; `is_end` states whether it ends the stream.
    pub(super) fn report_chunk(
        &mut self,
        reports_to: &ReportSender,
        (envelope, outcome, spent): (&ChunkEnvelope, &ChunkOutcome, Duration),
        before: Option<EpochPosition>,
        is_end: bool,
    ) {
        self.begun = true;
        let whole = !matches!(envelope.source, ChunkSource::Session { continues: true, .. });
        self.count(outcome, whole, spent);
        if is_end && self.info.call.is_some() {
            self.end_ticket = self.summary_ticket(reports_to);
        }
        if let ChunkSource::Kafka { offset, .. } = envelope.source {
            if let Some(file) = outcome.file_header {
                let stream_id = &self.info.stream_id;
                tracing::warn!(stream_id = %excerpt(stream_id), "a stream of raw samples begins with the header of a {file} file");
            }
            self.report_accepted(reports_to, offset, before, is_end);
        }
    }

    /// Reports the end of a segment of a Kafka stream to the reader.
    pub(super) fn report_segment_ended(&self, reports_to: &ReportSender) {
        if let (StreamSource::Kafka { assignment, .. }, Some(position)) =
            (&self.stream_source, self.position())
        {
            let (assignment, stream_id) = (*assignment, self.info.stream_id.clone());
            reports_to.report(PartitionReport::SegmentEnded { assignment, stream_id, position });
        }
    }

    /// Logs and counts a file that ended before it was complete. Each of its chunks was accepted, so none becomes a dead letter. (Sessions collect
    /// their files themselves.)
    pub(super) fn report_bad_end(&self, bad: &BadChunk) {
        tracing::warn!(stream_id = %excerpt(&self.info.stream_id), "no chunk for audio.idle_timeout: dropped a file that is not complete: {bad}");
        meter::rejected(self.source, bad.reason());
    }

    /// Reports an accepted chunk of a Kafka stream to the reader.
    fn report_accepted(
        &self,
        reports_to: &ReportSender,
        offset: i64,
        before: Option<EpochPosition>,
        is_end: bool,
    ) {
        let (StreamSource::Kafka { assignment, .. }, Some(now)) = (&self.stream_source, self.position())
        else {
            return;
        };
        let format = self.front_end.format();
        // The chunks of a file are needed until the file is complete and the position has moved past it.
        let end = now.position.position + u64::from(format.is_file());
        reports_to.report(PartitionReport::ChunkAccepted(Box::new(ChunkAccepted {
            assignment: *assignment,
            stream_id: self.info.stream_id.clone(),
            offset,
            end: (now.epoch, end),
            before,
            after: Some(now).filter(|_| !is_end),
            info: self.info.clone(),
            format,
        })));
    }

    /// Counts the audio of a chunk, and the chunk itself unless it is a further piece of one (`whole` is false).
    fn count(&self, outcome: &ChunkOutcome, whole: bool, spent: Duration) {
        if outcome.duplicate {
            return meter::rejected(self.source, "duplicate");
        }
        if outcome.missing_chunks > 0 {
            meter::rejected(self.source, "missing");
        }
        if whole {
            self.meter.chunk();
        }
        self.meter.audio(time_of(outcome.samples, self.front_end.source_rate_hz().max(1)), spent);
    }
}
