//! An open stream with its owner: its windows become jobs, its progress reports.
//!
//! In: the chunks of one stream. Out: its windows through their [`WindowOutput`], in order, and for Kafka where the stream stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::backlog::Backlog;
use super::output::WindowOutput;
use super::scratch_pool::ScratchPool;
use super::shadow_stream::ShadowStream;
use super::{ChunkEnvelope, Source};
use crate::serving::CallReply;
use crate::serving::{AdmissionPermit, ServedModel};
use crate::shard::{ChunkAccepted, PartitionReport};
use crate::stream::RESUMED;
use crate::stream::{Assignment, EpochPosition, StreamInfo};
use crate::stream::{BadChunk, Outcome, StreamFrontEnd};
use crate::telemetry::metrics as meter;
use crate::telemetry::metrics::GaugeGuard;
use crate::window::time_of;

/// Where results go.
#[derive(Debug, Clone)]
pub struct ReportSender {
    /// What becomes of Kafka's chunks, to the partitions' reader; it never stops listening while there is one.
    pub reports: crossbeam_channel::Sender<PartitionReport>,
}

impl ReportSender {
    /// Tells the partitions' reader. Without one nobody misses it.
    pub fn report(&self, report: PartitionReport) {
        let _ = self.reports.send(report);
    }
}

/// Whether a stream goes on after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Open,
    Ended,
}

/// A stream in a shard's care.
pub(crate) struct OpenStream {
    front_end: StreamFrontEnd,
    /// The model, and with it the batcher, that every window of the stream goes to.
    model: Arc<ServedModel>,
    /// Models on trial beside it.
    shadows: Vec<ShadowStream>,
    info: Arc<StreamInfo>,
    owner: Owner,
    /// Whether an earlier chunk was taken in, here or by the reader that left the stream.
    begun: bool,
    /// When the last chunk with audio was captured: a stretch that ends, ends with it.
    captured_at: Option<pbjson_types::Timestamp>,
    meter: meter::ChunkMeter,
    _active: GaugeGuard,
    /// Counts the stream among those that keep the model busy; calls do so themselves, when they are let in.
    _permit: Option<AdmissionPermit>,
}

/// Whom the windows are for.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    Call(mpsc::Sender<CallReply>),
    Kafka { assignment: Assignment, epoch: i64 },
}

impl Owner {
    fn source(&self) -> meter::Source {
        match self {
            Self::Call(_) => meter::Source::Grpc,
            Self::Kafka { .. } => meter::Source::Kafka,
        }
    }
}

impl OpenStream {
    /// Opens the stream of a first chunk, where another reader left it if the envelope says so.
    pub fn open(scratch_pool: &mut ScratchPool, envelope: &mut ChunkEnvelope) -> Result<Self, BadChunk> {
        let model = envelope.model.clone();
        let info = resolved(&envelope.info, &model);
        let (setup, chunk) = (&model.setup.for_stream(&info), &envelope.chunk);
        let resume = envelope.resume.take();
        let begun = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        let owner = match &envelope.source {
            Source::Call { replies, .. } => Owner::Call(replies.clone()),
            Source::Kafka { assignment, offset } => {
                Owner::Kafka { assignment: *assignment, epoch: if begun { RESUMED } else { *offset } }
            }
        };
        let shadows = model.shadows.iter().cloned();
        let shadows =
            shadows.map(|shadow| ShadowStream::open(shadow, scratch_pool, (&info, resume.as_deref()), chunk));
        let shadows = shadows.collect::<Result<_, _>>()?;
        let front_end = match resume {
            Some(resume) => StreamFrontEnd::resume(setup, scratch_pool.of(&model), *resume, chunk)?,
            None => StreamFrontEnd::begin(setup, chunk)?,
        };
        let (channels, captured_at) = (setup.channels.analysed(front_end.format().channels()), None);
        let seat = match owner {
            Owner::Call(_) => None,
            Owner::Kafka { .. } => Some(model.utilization.enter(channels)),
        };
        let active = meter::stream_open();
        let meter = meter::ChunkMeter::new(owner.source());
        Ok(Self {
            front_end,
            model,
            shadows,
            info,
            owner,
            begun,
            captured_at,
            meter,
            _active: active,
            _permit: seat,
        })
    }

    /// The setups whose scratch the stream needs.
    pub fn setup_numbers(&self) -> impl Iterator<Item = u64> {
        let shadows = self.model.shadows.iter().map(|shadow| shadow.model.setup_number);
        std::iter::once(self.model.setup_number).chain(shadows)
    }

    /// Takes a chunk in; the last one ends the stream.
    pub fn take(
        &mut self,
        scratch_pool: &mut ScratchPool,
        reports_to: &ReportSender,
        backlog: &mut Backlog,
        envelope: &mut ChunkEnvelope,
    ) -> Result<After, BadChunk> {
        let started = Instant::now();
        let before = self.standing().filter(|_| self.begun);
        let chunk = &envelope.chunk;
        let mut credits = match &mut envelope.source {
            Source::Call { credits, .. } => Some(credits),
            Source::Kafka { .. } => None,
        };
        let (model, captured_at) = (&self.model, envelope.captured_at);
        let shadows = &mut self.shadows;
        let mut exit = WindowOutput {
            info: &self.info,
            owner: &self.owner,
            model,
            shadows,
            reports_to,
            backlog,
            captured_at,
        };
        let bench = scratch_pool.of(&self.model);
        let outcome =
            self.front_end.accept(bench, chunk, &mut |window| exit.submit(window, credits.as_deref_mut()))?;
        if !chunk.audio.is_empty() && !outcome.duplicate {
            self.captured_at = envelope.captured_at;
        }
        let after = if chunk.last && !outcome.duplicate { After::Ended } else { After::Open };
        if after == After::Ended {
            exit.captured_at = self.captured_at;
            self.front_end.end(bench, &mut |window| exit.submit(window, credits.as_deref_mut()))?;
        }
        for shadow in &mut self.shadows {
            shadow.take(scratch_pool, chunk);
            if after == After::Ended {
                shadow.end(scratch_pool);
            }
        }
        self.begun = true;
        let whole = !matches!(envelope.source, Source::Call { continues: true, .. });
        self.count(&outcome, whole, started.elapsed());
        if let Source::Kafka { offset, .. } = envelope.source {
            self.report_taken(reports_to, offset, before, after);
        }
        Ok(after)
    }

    /// Ends the stretch, giving its partial windows; the stream goes on where it stands.
    pub fn end_segment(
        &mut self,
        scratch_pool: &mut ScratchPool,
        reports_to: &ReportSender,
        backlog: &mut Backlog,
        mut credits: Option<OwnedSemaphorePermit>,
    ) {
        let (model, captured_at) = (&self.model, self.captured_at);
        let shadows = &mut self.shadows;
        let mut exit = WindowOutput {
            info: &self.info,
            owner: &self.owner,
            model,
            shadows,
            reports_to,
            backlog,
            captured_at,
        };
        let bench = scratch_pool.of(&self.model);
        let ended = self.front_end.end(bench, &mut |window| exit.submit(window, credits.as_mut()));
        self.shadows.iter_mut().for_each(|shadow| shadow.end(scratch_pool));
        if let Err(bad) = ended {
            self.say_bad_end(&bad);
        }
        if let (Owner::Kafka { assignment, .. }, Some(standing)) = (&self.owner, self.standing()) {
            let (assignment, stream_id) = (*assignment, self.info.stream_id.clone());
            reports_to.report(PartitionReport::SegmentEnded { assignment, stream_id, standing });
        }
    }

    /// Whether the client of the stream's call has left.
    pub fn has_left(&self) -> bool {
        matches!(&self.owner, Owner::Call(replies) if replies.is_closed())
    }

    /// Closes the stream: the stages behind the model drop its state once its last window has passed.
    pub fn close(self, backlog: &mut Backlog) {
        backlog.submit_end(&self.model, self.info);
        self.shadows.into_iter().for_each(|shadow| shadow.close(backlog));
    }

    /// A file that its sender never finished cannot be read. Its chunks were fine one by one, so none is to blame. (Calls collect
    /// their files themselves.)
    fn say_bad_end(&self, bad: &BadChunk) {
        tracing::warn!(stream_id = %self.info.stream_id, "dropped a file that ended early: {bad}");
        meter::rejected(self.owner.source(), bad.reason());
    }

    /// Where a Kafka stream stands.
    fn standing(&self) -> Option<EpochPosition> {
        match self.owner {
            Owner::Call(_) => None,
            Owner::Kafka { epoch, .. } => Some(EpochPosition { epoch, place: self.front_end.place() }),
        }
    }

    fn report_taken(
        &self,
        reports_to: &ReportSender,
        offset: i64,
        before: Option<EpochPosition>,
        after: After,
    ) {
        let (Owner::Kafka { assignment, .. }, Some(now)) = (&self.owner, self.standing()) else { return };
        let format = self.front_end.format();
        // A file's chunks are needed until it is whole and the position has moved behind it.
        let end = now.place.position + u64::from(format.is_file());
        reports_to.report(PartitionReport::ChunkAccepted(Box::new(ChunkAccepted {
            assignment: *assignment,
            stream_id: self.info.stream_id.clone(),
            offset,
            end: (now.epoch, end),
            before,
            after: Some(now).filter(|_| after == After::Open),
            info: self.info.clone(),
            format,
        })));
    }

    /// Counts a chunk, where `whole` says that it is more than a further piece of one, and its audio.
    fn count(&self, outcome: &Outcome, whole: bool, spent: Duration) {
        let source = self.owner.source();
        if outcome.duplicate {
            return meter::rejected(source, "duplicate");
        }
        if outcome.missing_chunks > 0 {
            meter::rejected(source, "missing");
        }
        if whole {
            self.meter.chunk();
        }
        self.meter.audio(time_of(outcome.samples, self.front_end.source_rate_hz().max(1)), spent);
    }
}

/// What a stream's events repeat, with the configured policy where it asks for none.
fn resolved(info: &Arc<StreamInfo>, model: &ServedModel) -> Arc<StreamInfo> {
    match info.channels {
        Some(_) => info.clone(),
        None => {
            Arc::new(StreamInfo { channels: Some(model.setup.channels.policy), ..StreamInfo::clone(info) })
        }
    }
}
