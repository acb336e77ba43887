//! A shadow's view of one stream: the same chunks through its own front end.
//!
//! In: what the stream's own front end takes. Out: the shadow's windows to its batcher, each beside the window that it is compared with.
//! Silent windows are those of the stream's own front end, and no shadow is asked about them.
//! Invariant: never waits, never refuses: whatever goes wrong here is the shadow's own loss.

use std::collections::HashMap;
use std::sync::Arc;

use super::scratch_pool::Benches;
use crate::batch::Job;
use crate::serving::{Agreement, Shadow};
use crate::serving::{Answer, JobOrigin, WindowEnvelope};
use crate::stream::StreamInfo;
use crate::stream::{BadChunk, Chunk, Resume, StreamFrontEnd};
use crate::window::Window;

/// Channel, index, partial or not.
type WindowKey = (u32, u64, bool);

/// A shadow of one stream.
#[derive(Debug)]
pub(super) struct ShadowStream {
    shadow: Shadow,
    /// Of its own, so that its windows are smoothed by themselves; after a restart they start afresh.
    info: Arc<StreamInfo>,
    front_end: StreamFrontEnd,
    /// Windows that only one of the two front ends has completed so far.
    halves: HashMap<WindowKey, Arc<Agreement>>,
}

impl ShadowStream {
    /// Begins where the stream's own front end does.
    pub fn open(
        shadow: Shadow,
        benches: &mut Benches,
        (info, resume): (&StreamInfo, Option<&Resume>),
        chunk: &Chunk,
    ) -> Result<Self, BadChunk> {
        let setup = &shadow.model.setup.for_stream(info);
        let front_end = match resume {
            Some(resume) => StreamFrontEnd::resume(setup, benches.of(&shadow.model), resume.clone(), chunk)?,
            None => StreamFrontEnd::begin(setup, chunk)?,
        };
        let info = Arc::new(StreamInfo { recent: Vec::new(), ..info.clone() });
        Ok(Self { shadow, info, front_end, halves: HashMap::new() })
    }

    /// The comparison that a window takes part in, whichever front end completes it first.
    pub fn agreement(&mut self, window: &Window) -> Arc<Agreement> {
        let key = (window.channel, window.index, window.partial);
        self.halves.remove(&key).unwrap_or_else(|| {
            let agreement = Agreement::new(&self.shadow.model);
            self.halves.insert(key, agreement.clone());
            agreement
        })
    }

    /// Takes a chunk in that the stream itself has taken.
    pub fn take(&mut self, benches: &mut Benches, chunk: &Chunk) {
        let mut windows = Vec::new();
        let taken =
            self.front_end.accept(benches.of(&self.shadow.model), chunk, &mut |window| windows.push(window));
        if let Err(bad) = taken {
            tracing::debug!(stream_id = %self.info.stream_id, "a shadow refuses a chunk: {bad}");
        }
        self.submit(windows);
    }

    /// Ends the stretch.
    pub fn end(&mut self, benches: &mut Benches) {
        let mut windows = Vec::new();
        // A file that ended early is the stream's to report.
        let _ = self.front_end.end(benches.of(&self.shadow.model), &mut |window| windows.push(window));
        self.submit(windows);
    }

    fn submit(&mut self, windows: Vec<Window>) {
        for window in windows {
            if window.silent {
                self.shadow.model.utilization.cost().spared();
                continue;
            }
            let agreement = self.agreement(&window);
            let answer = Answer::Shadow(self.shadow.topic.clone());
            let (features, envelope) = WindowEnvelope::seal(window, self.info.clone(), None, answer);
            let envelope = WindowEnvelope { agreements: vec![agreement.clone()], ..envelope };
            let job = Job::new(features, JobOrigin::Window(Box::new(envelope)));
            if self.shadow.model.jobs.try_send(job).is_err() {
                agreement.is_off("dropped");
            }
        }
    }
}
