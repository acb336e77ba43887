//! The output of a stream: its windows become jobs for its model's batcher.
//!
//! Input: windows, and room for the events of a call. Output: a job for each window that the model is run for, and before it, for a stream of a
//! partition, the report that the window is on its way. Invariant: the thread does not wait; a job without room joins the [`Backlog`].

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::backlog::Backlog;
use super::open_stream::{ReportSender, StreamSource};
use super::shadow_stream::ShadowStream;
use crate::batch::Job;
use crate::serving::{CallRecipient, JobOrigin, Recipient, ServedModel, WindowEnvelope};
use crate::shard::PartitionReport;
use crate::stream::{StreamInfo, Ticket};
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
}

impl WindowOutput<'_> {
    /// Submits a window to the batcher. A silent window goes no further, unless silence is published: its credit stays with the chunk's,
    /// and no later window needs its chunks, so they settle without it. Where silence is published, silent windows go through the batcher
    /// as well, which keeps them in order with the others.
    pub fn submit(&mut self, window: Window, credits: Option<&mut OwnedSemaphorePermit>) {
        let silent = window.silent;
        if silent {
            self.model.utilization.cost().count_skipped();
            if !self.model.setup.publishes_silence() {
                return meter::window("silent");
            }
        }
        let recipient = self.recipient(&window, credits);
        let shadows = self.shadows.iter_mut().filter(|_| !silent);
        let agreements = shadows.map(|shadow| shadow.agreement(&window)).collect();
        let (features, envelope) =
            WindowEnvelope::seal(window, self.info.clone(), self.captured_at, recipient);
        let envelope = WindowEnvelope { agreements, ..envelope };
        let origin = JobOrigin::Window(Box::new(envelope));
        let job = if silent { Job::silent(origin) } else { Job::new(features, origin) };
        self.backlog.submit(self.model, job);
    }

    fn recipient(&self, window: &Window, credits: Option<&mut OwnedSemaphorePermit>) -> Recipient {
        match self.stream_source {
            StreamSource::Call(replies) => {
                let credit = credits.and_then(|credits| credits.split(1));
                let credit = credit.expect("a call acquires room for all windows of a chunk beforehand");
                Recipient::Call(CallRecipient { replies: replies.clone(), credit })
            }
            StreamSource::Kafka { assignment, epoch } => {
                let ticket = Ticket {
                    assignment: *assignment,
                    stream_id: self.info.stream_id.clone(),
                    epoch: *epoch,
                    channel: window.channel,
                    index: window.index,
                    needed_from: window.needed_from,
                };
                self.reports_to.report(PartitionReport::WindowSubmitted(ticket.clone()));
                Recipient::Partition(ticket)
            }
        }
    }
}
