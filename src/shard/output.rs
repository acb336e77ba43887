//! The way out of a stream: its windows to the batcher, each with the place that its event goes to.
//!
//! In: windows, and room for their events. Out: a job for each that the model is asked about, and for Kafka first the report that it is
//! on its way. Waits for nothing but room in the batcher's queue.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::open_stream::{Outlets, Owner};
use super::shadow_stream::ShadowStream;
use crate::batch::Job;
use crate::serving::ServedModel;
use crate::serving::{Answer, CallAnswer, JobOrigin, WindowEnvelope};
use crate::shard::Report;
use crate::stream::{StreamInfo, Ticket};
use crate::telemetry::metrics as meter;
use crate::window::Window;

/// The way out of a stream for one chunk's windows.
pub(super) struct Exit<'a> {
    pub info: &'a Arc<StreamInfo>,
    pub owner: &'a Owner,
    pub model: &'a ServedModel,
    pub shadows: &'a mut [ShadowStream],
    pub outlets: &'a Outlets,
    pub captured_at: Option<pbjson_types::Timestamp>,
}

impl Exit<'_> {
    /// Hands a window to the batcher, waiting while it is full. A silent one goes no further: its credit stays with the chunk's, and no
    /// later window needs its chunks, so they settle without it. Where silence is published it goes through the batcher as well, so that
    /// it overtakes nothing.
    pub fn submit(&mut self, window: Window, credits: Option<&mut OwnedSemaphorePermit>) {
        let silent = window.silent;
        if silent {
            self.model.utilization.cost().spared();
            if !self.model.setup.publishes_silence() {
                return meter::window("silent");
            }
        }
        let answer = match self.owner {
            Owner::Call(replies) => {
                let credit = credits.and_then(|credits| credits.split(1));
                let credit = credit.expect("whoever lets audio in takes room for all its windows first");
                Answer::Call(CallAnswer { replies: replies.clone(), credit })
            }
            Owner::Kafka { assignment, incarnation } => {
                let ticket = Ticket {
                    assignment: *assignment,
                    stream_id: self.info.stream_id.clone(),
                    incarnation: *incarnation,
                    channel: window.channel,
                    index: window.index,
                    needed_from: window.needed_from,
                };
                self.outlets.report(Report::Emitted(ticket.clone()));
                Answer::Kafka(ticket)
            }
        };
        let shadows = self.shadows.iter_mut().filter(|_| !silent);
        let agreements = shadows.map(|shadow| shadow.agreement(&window)).collect();
        let (features, envelope) = WindowEnvelope::seal(window, self.info.clone(), self.captured_at, answer);
        let envelope = WindowEnvelope { agreements, ..envelope };
        let origin = JobOrigin::Window(Box::new(envelope));
        let job = if silent { Job::silent(origin) } else { Job::new(features, origin) };
        // Fails only once the batcher has gone, at the end of a drain: nothing settles, so nothing is lost.
        let _ = self.model.jobs.blocking_send(job);
    }
}
