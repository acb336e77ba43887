//! The output of a stream: its windows become jobs for its model's batcher.
//!
//! Input: windows, and room for the events of a call. Output: a job for each window that the model is run for, and before it, for a stream of a
//! partition, the report that the window is on its way. Invariant: the thread does not wait; a job without room joins the [`Backlog`].

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::backlog::Backlog;
use super::open_stream::StreamSource;
use super::report::ReportSender;
use super::shadow_stream::ShadowStream;
use crate::batch::Job;
use crate::serving::{CallRecipient, JobOrigin, Recipient, ServedModel, WindowEnvelope};
use crate::shard::PartitionReport;
use crate::stream::StreamInfo;
use crate::telemetry::metrics as meter;
use crate::window::Window;

/// The output of a stream for the windows of one chunk.
pub(super) struct WindowOutput<'a> {
    pub info: &'a Arc<StreamInfo>,
    pub stream_source: &'a StreamSource,
    pub model: &'a Arc<ServedModel>,
    pub shadows: &'a mut [ShadowStream],
    pub reports_to: &'a ReportSender,
    pub backlog: &'a mut Backlog,
    pub captured_at: Option<crate::proto::Timestamp>,
    /// The chunk's part of [`ServedModel::ahead`] or [`ServedModel::backlog`]; `None` for a stream at the pace of speech.
    pub ahead: Option<OwnedSemaphorePermit>,
}

impl WindowOutput<'_> {
    /// Submits a window to the batcher. A silent window goes no further, unless silence is published: its credit stays with the chunk's,
    /// and no later window needs its chunks, so they settle without it. Where silence is published, silent windows go through the batcher
    /// as well, which keeps them in order with the others.
    pub fn submit(&mut self, window: Window, credits: Option<&mut OwnedSemaphorePermit>) {
        let silent = window.silent;
        let analysed = self.info.analyses(window.channel);
        let published = analysed && (!silent || self.model.setup.publishes_silence());
        if silent {
            self.model.utilization.cost().count_skipped();
        }
        if !published {
            if silent {
                meter::window("silent");
            }
            return self.submit_unpublished(window);
        }
        let recipient = self.recipient(&window, credits);
        let shadows = self.shadows.iter_mut().filter(|_| !silent);
        let agreements = shadows.map(|shadow| shadow.agreement(&window)).collect();
        let (features, envelope) =
            WindowEnvelope::seal(window, self.info.clone(), self.captured_at, recipient);
        let ahead = self.room_ahead();
        let envelope = WindowEnvelope { agreements, ahead, ..envelope };
        let origin = JobOrigin::Window(Box::new(envelope));
        let job = if silent { Job::silent(origin) } else { Job::new(features, origin) };
        self.backlog.submit(self.model, job);
    }

    /// Returns the window's part of the room for streams that are ahead, or for backlogs; `None` for a stream at the pace of speech. A short chunk of a backlog
    /// has none of its own: its window takes what is free.
    fn room_ahead(&mut self) -> Option<OwnedSemaphorePermit> {
        let own = self.ahead.as_mut()?.split(1);
        match self.stream_source {
            StreamSource::Kafka { .. } => own.or_else(|| self.model.backlog.clone().try_acquire_owned().ok()),
            StreamSource::Call(_) => own,
        }
    }

    /// Submits a window that gives no event, if it counts in the summary of a call.
    fn submit_unpublished(&mut self, window: Window) {
        if window.activity.is_none() {
            return;
        }
        let ticket = self.stream_source.ticket(self.info, (window.channel, window.index), window.needed_from);
        if let Some(ticket) = &ticket {
            self.reports_to.report(PartitionReport::WindowSubmitted(ticket.clone()));
        }
        let recipient = Recipient::Unpublished(ticket);
        let (_, envelope) = WindowEnvelope::seal(window, self.info.clone(), self.captured_at, recipient);
        self.backlog.submit(self.model, Job::silent(JobOrigin::Window(Box::new(envelope))));
    }

    fn recipient(&self, window: &Window, credits: Option<&mut OwnedSemaphorePermit>) -> Recipient {
        match self.stream_source {
            StreamSource::Call(replies) => {
                let credit = credits.and_then(|credits| credits.split(1));
                let credit = credit.expect("a call acquires room for all windows of a chunk beforehand");
                Recipient::Call(CallRecipient { replies: replies.clone(), credit })
            }
            StreamSource::Kafka { .. } => {
                let at = (window.channel, window.index);
                let ticket = self.stream_source.ticket(self.info, at, window.needed_from);
                let ticket = ticket.expect("windows of Kafka have tickets");
                self.reports_to.report(PartitionReport::WindowSubmitted(ticket.clone()));
                Recipient::Partition(ticket)
            }
        }
    }
}
