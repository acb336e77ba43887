//! A shadow of one stream: the same chunks through the front end of a model on trial.
//!
//! Input: the chunks that the stream's own front end accepts. Output: the shadow's windows to its batcher, each beside the window that it is
//! compared with. Silent windows are those of the stream's own front end, and shadows are not run for them.
//! Invariant: a shadow neither delays nor fails its stream; what finds no room is dropped and counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::backlog::Backlog;
use super::scratch_pool::ScratchPool;
use crate::batch::Job;
use crate::serving::{Agreement, JobOrigin, Recipient, Shadow, WindowEnvelope};
use crate::stream::{BadChunk, ChannelStates, StreamInfo};
use crate::stream::{Chunk, Resume, StreamFrontEnd};
use crate::telemetry::excerpt;
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
        scratch_pool: &mut ScratchPool,
        (info, resume): (&StreamInfo, Option<&Resume>),
        chunk: &Chunk,
    ) -> Result<Self, BadChunk> {
        let setup = &shadow.model.setup.for_stream(info);
        let front_end = match resume {
            Some(resume) => {
                StreamFrontEnd::resume(setup, scratch_pool.of(&shadow.model), resume.clone(), chunk)?
            }
            None => StreamFrontEnd::begin(setup, chunk)?,
        };
        let info = Arc::new(StreamInfo { channel_states: ChannelStates::default(), ..info.clone() });
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
    pub fn take(&mut self, scratch_pool: &mut ScratchPool, chunk: &Chunk) {
        let mut windows = Vec::new();
        let taken = self
            .front_end
            .accept(scratch_pool.of(&self.shadow.model), chunk, &mut |window| windows.push(window));
        if let Err(bad) = taken {
            tracing::debug!(stream_id = %excerpt(&self.info.stream_id), "a shadow refuses a chunk: {bad}");
        }
        self.submit(windows);
    }

    /// Begins the samples of a file, of which the stream's own front end has the chunks.
    pub fn begin_file(&mut self, scratch_pool: &mut ScratchPool, format: (u32, usize)) {
        let (scratch, mut windows) = (scratch_pool.of(&self.shadow.model), Vec::new());
        let begun = self.front_end.begin_file(scratch, format, &mut |window| windows.push(window));
        if let Err(bad) = begun {
            tracing::debug!(stream_id = %excerpt(&self.info.stream_id), "a shadow refuses a file: {bad}");
        }
        self.submit(windows);
    }

    /// Accepts the next samples of a file.
    pub fn accept_block(&mut self, scratch_pool: &mut ScratchPool, block: &[Vec<f32>]) {
        let (scratch, mut windows) = (scratch_pool.of(&self.shadow.model), Vec::new());
        self.front_end.accept_block(scratch, block, &mut |window| windows.push(window));
        self.submit(windows);
    }

    /// Ends the segment.
    pub fn end(&mut self, scratch_pool: &mut ScratchPool) {
        let mut windows = Vec::new();
        self.front_end.end(scratch_pool.of(&self.shadow.model), &mut |window| windows.push(window));
        self.submit(windows);
    }

    /// Ends the stream: its state behind the model is dropped.
    pub fn close(self, backlog: &mut Backlog) {
        backlog.submit_end(&self.shadow.model, self.info);
    }

    fn submit(&mut self, windows: Vec<Window>) {
        for window in windows {
            if window.silent {
                self.shadow.model.utilization.cost().count_skipped();
                continue;
            }
            let agreement = self.agreement(&window);
            let recipient = Recipient::Shadow(self.shadow.topic.clone());
            let (features, envelope) = WindowEnvelope::seal(window, self.info.clone(), None, recipient);
            let envelope = WindowEnvelope { agreements: vec![agreement.clone()], ..envelope };
            let job = Job::new(features, JobOrigin::Window(Box::new(envelope)));
            if self.shadow.model.jobs.try_send(job).is_err() {
                agreement.record_missing("dropped");
            }
        }
    }
}
