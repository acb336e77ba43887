//! The beginning and the end of a stream for the summary of its call.
//!
//! Input: an open stream. Output: markers that pass through the model's queue, so that they keep their place among the windows, and for Kafka a ticket that
//! settles with the summary.

use super::backlog::Backlog;
use super::open_stream::{OpenStream, StreamSource};
use super::report::{PartitionReport, ReportSender};
use crate::batch::Job;
use crate::serving::{CallMarker, JobOrigin, StreamEnd};
use crate::stream::{MissingAudio, SUMMARY_CHANNEL, Ticket};
use crate::window::time_of;

/// Channel and index of the ticket that settles with the summary of a stream's call. No window has this channel.
const SUMMARY: (u32, u64) = (SUMMARY_CHANNEL, 0);

impl OpenStream {
    /// Reports the ticket of the stream's summary, so that the chunk that ends the stream is read again until the summary is delivered.
    pub(super) fn summary_ticket(&self, reports_to: &ReportSender) -> Option<Ticket> {
        let last_sample = self.front_end.position().position.saturating_sub(1);
        let ticket = self.stream_source.ticket(&self.info, SUMMARY, last_sample)?;
        reports_to.report(PartitionReport::WindowSubmitted(ticket.clone()));
        Some(ticket)
    }

    /// Marks the beginning of the stream for the summary of its call, before its first window.
    pub fn begin_summary(&self, backlog: &mut Backlog) {
        self.mark(backlog, None);
    }

    /// Ends the stream for the summary of its call. A stream of a partition that is only closed goes on elsewhere.
    pub fn end_summary(&mut self, backlog: &mut Backlog) {
        let ticket = self.end_ticket.take();
        if ticket.is_some() || matches!(self.stream_source, StreamSource::Call(_)) {
            // A stream whose first chunk was refused has no audio, wherever the chunk would have been.
            let (samples, missing) = match self.begun {
                true => (self.front_end.position().position, self.missing()),
                false => (0, MissingAudio::default()),
            };
            let time = |samples| time_of(samples, self.front_end.source_rate_hz().max(1));
            let (duration, lost, holes) = (time(samples), time(missing.samples), missing.holes);
            self.mark(backlog, Some(StreamEnd { duration, holes, lost, ticket }));
        }
    }

    /// Returns what is missing between the chunks of the stream, unless its transport counts that.
    fn missing(&self) -> MissingAudio {
        let counted = self.info.call.as_ref().is_some_and(|call| call.counted_by_transport);
        if counted { MissingAudio::default() } else { self.front_end.position().missing }
    }

    fn mark(&self, backlog: &mut Backlog, end: Option<StreamEnd>) {
        if self.info.call.is_some() {
            let marker = CallMarker { stream: self.info.clone(), end };
            backlog.submit(&self.model, Job::silent(JobOrigin::CallStream(Box::new(marker))));
        }
    }
}
