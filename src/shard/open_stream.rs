//! An open stream with the recipient of its windows.
//!
//! Input: the chunks of one stream, in order. Output: its windows through their [`WindowOutput`], in order, and for Kafka a report of the stream's
//! position after each chunk. Invariants: a refused chunk changes nothing; no later chunk changes the stream's model, format or channels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::backlog::Backlog;
use super::file_stream::FileState;
use super::output::WindowOutput;
use super::scratch_pool::ScratchPool;
use super::shadow_stream::ShadowStream;
use super::{ChunkEnvelope, ChunkSource};
use crate::batch::Job;
use crate::serving::{AdmissionPermit, CallMarker, CallReply, JobOrigin, ServedModel, StreamEnd};
use crate::shard::{ChunkAccepted, PartitionReport};
use crate::stream::RESUMED;
use crate::stream::{Assignment, EpochPosition, SUMMARY_CHANNEL, StreamCall, StreamInfo, Ticket};
use crate::stream::{BadChunk, Chunk, ChunkOutcome, StreamFrontEnd};
use crate::telemetry::excerpt;
use crate::telemetry::metrics as meter;
use crate::telemetry::metrics::GaugeGuard;
use crate::window::time_of;

/// Channel and index of the ticket that settles with the summary of a stream's call. No window has this channel.
const SUMMARY: (u32, u64) = (SUMMARY_CHANNEL, 0);

/// The channel to the reader of the partitions.
#[derive(Debug, Clone)]
pub struct ReportSender {
    /// What happened to the chunks of Kafka streams. The reader receives at all times, so a full channel empties soon.
    pub reports: crossbeam_channel::Sender<PartitionReport>,
}

impl ReportSender {
    /// Sends a report to the reader. A daemon without Kafka has no reader, and the report is dropped.
    pub fn report(&self, report: PartitionReport) {
        let _ = self.reports.send(report);
    }
}

/// What follows a chunk.
#[derive(Debug, PartialEq)]
pub(crate) enum After {
    /// The stream stays open.
    Open,
    /// The stream has ended.
    Ended,
    /// The chunk has completed a file, which must be decoded. The position is the one before the chunk.
    Decode(ChunkOutcome, Option<EpochPosition>),
}

/// The state of an open stream.
pub(crate) struct OpenStream {
    pub(super) front_end: StreamFrontEnd,
    /// The model, and with it the batcher, that receives every window of the stream.
    pub(super) model: Arc<ServedModel>,
    /// The same stream for the shadow models.
    pub(super) shadows: Vec<ShadowStream>,
    /// The file of a partition's stream.
    pub(super) file: FileState,
    info: Arc<StreamInfo>,
    stream_source: StreamSource,
    /// Whether an earlier chunk was accepted, here or by the reader that left the stream.
    begun: bool,
    /// When the last chunk with audio was captured. The last windows of a segment carry this time.
    captured_at: Option<crate::proto::Timestamp>,
    /// Settles once the summary of the stream's call is delivered.
    end_ticket: Option<Ticket>,
    /// The source as metrics label it.
    source: meter::Source,
    pub(super) meter: meter::ChunkMeter,
    _active: GaugeGuard,
    /// The admission permit of a Kafka stream. A session holds its own, which it acquires before it accepts audio.
    _permit: Option<AdmissionPermit>,
}

/// The recipient of a stream's windows.
#[derive(Debug, Clone)]
pub(super) enum StreamSource {
    Call(mpsc::Sender<CallReply>),
    Kafka { assignment: Assignment, epoch: i64 },
}

impl StreamSource {
    /// Returns the ticket of a window, given by its channel and its index; `None` for the stream of a session.
    pub(super) fn ticket(
        &self,
        info: &StreamInfo,
        (channel, index): (u32, u64),
        needed_from: u64,
    ) -> Option<Ticket> {
        let Self::Kafka { assignment, epoch } = self else { return None };
        let stream_id = info.stream_id.clone();
        Some(Ticket { assignment: *assignment, stream_id, epoch: *epoch, channel, index, needed_from })
    }
}

impl OpenStream {
    /// Opens the stream of a first chunk, at the position where another reader left it if the envelope holds one. The chunk itself must then be
    /// passed to [`Self::accept`].
    pub fn open(scratch_pool: &mut ScratchPool, envelope: &mut ChunkEnvelope) -> Result<Self, BadChunk> {
        let model = envelope.model.clone();
        let info = resolved(envelope);
        let (setup, chunk) = (&model.setup.for_stream(&info), &envelope.chunk);
        let resume = envelope.resume.take();
        let begun = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        let (stream_source, source) = match &envelope.source {
            ChunkSource::Session { replies, source, .. } => (StreamSource::Call(replies.clone()), *source),
            ChunkSource::Kafka { assignment, offset } => {
                let epoch = if begun { RESUMED } else { *offset };
                (StreamSource::Kafka { assignment: *assignment, epoch }, meter::Source::KAFKA)
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
        let channels = setup.channels.analysed(front_end.format().channels());
        let permit = match stream_source {
            StreamSource::Call(_) => None,
            StreamSource::Kafka { .. } => Some(model.utilization.enter(channels)),
        };
        Ok(Self {
            front_end,
            model,
            shadows,
            file: FileState::default(),
            info,
            stream_source,
            begun,
            captured_at: None,
            end_ticket: None,
            source,
            meter: meter::ChunkMeter::new(source),
            _active: meter::stream_open(),
            _permit: permit,
        })
    }

    /// Returns the numbers of the setups whose scratch the stream needs.
    pub fn setup_numbers(&self) -> impl Iterator<Item = u64> {
        let shadows = self.model.shadows.iter().map(|shadow| shadow.model.setup_number);
        std::iter::once(self.model.setup_number).chain(shadows)
    }

    /// Accepts a chunk; the last one ends the stream.
    pub fn accept(
        &mut self,
        scratch_pool: &mut ScratchPool,
        reports_to: &ReportSender,
        backlog: &mut Backlog,
        envelope: &mut ChunkEnvelope,
    ) -> Result<After, BadChunk> {
        let started = Instant::now();
        let before = self.position().filter(|_| self.begun);
        self.check_declared(envelope)?;
        let mut credits = match &mut envelope.source {
            ChunkSource::Session { credits, .. } => Some(credits),
            ChunkSource::Kafka { .. } => None,
        };
        let chunk = &envelope.chunk;
        let captured_before = std::mem::replace(&mut self.captured_at, envelope.captured_at);
        let scratch = scratch_pool.of(&self.model);
        let (front_end, mut output) = self.parts((reports_to, backlog), envelope.ahead.take());
        let accepted =
            front_end.accept(scratch, chunk, &mut |window| output.submit(window, credits.as_deref_mut()));
        let ahead = output.ahead.take();
        let is_new = accepted.as_ref().is_ok_and(|outcome| !outcome.duplicate);
        if !is_new || chunk.audio.is_empty() {
            self.captured_at = captured_before;
        }
        let outcome = accepted?;
        if is_new && self.collects_file() {
            self.file.hold(envelope.memory.take(), outcome.completes_file);
        }
        if outcome.completes_file {
            return Ok(After::Decode(outcome, before));
        }
        let is_end = chunk.last && is_new;
        if is_end {
            let (front_end, mut output) = self.parts((reports_to, backlog), ahead);
            front_end.end(scratch, &mut |window| output.submit(window, credits.as_deref_mut()));
        }
        self.feed_shadows(scratch_pool, chunk, is_end);
        self.report_chunk(reports_to, (envelope, &outcome, started.elapsed()), before, is_end);
        Ok(if is_end { After::Ended } else { After::Open })
    }

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

    /// Returns the front end, and the output of its windows. `ahead` is their part of the room for streams that are ahead, or for backlogs.
    pub(super) fn parts<'a>(
        &'a mut self,
        (reports_to, backlog): (&'a ReportSender, &'a mut Backlog),
        ahead: Option<OwnedSemaphorePermit>,
    ) -> (&'a mut StreamFrontEnd, WindowOutput<'a>) {
        let Self { front_end, model, shadows, info, stream_source, captured_at, .. } = self;
        let captured_at = *captured_at;
        let output =
            WindowOutput { info, stream_source, model, shadows, reports_to, backlog, captured_at, ahead };
        (front_end, output)
    }

    /// Returns whether the stream is one of a file.
    pub fn collects_file(&self) -> bool {
        self.front_end.format().is_file()
    }

    /// Passes an accepted chunk to the shadow models.
    fn feed_shadows(&mut self, scratch_pool: &mut ScratchPool, chunk: &Chunk, is_end: bool) {
        let collects_file = self.collects_file();
        for shadow in &mut self.shadows {
            // The samples of a file are passed on when it is decoded.
            if !collects_file {
                shadow.take(scratch_pool, chunk);
            }
            if is_end {
                shadow.end(scratch_pool);
            }
        }
    }

    /// Refuses a chunk that declares another model or other channels than the stream has. A duplicate is dropped whatever it declares.
    fn check_declared(&self, envelope: &ChunkEnvelope) -> Result<(), BadChunk> {
        match &envelope.declared {
            Some(chunk) if !self.front_end.is_duplicate(&envelope.chunk) => {
                chunk.declared().check(&self.info.model, self.front_end.channels())
            }
            _ => Ok(()),
        }
    }

    /// Ends the segment: its partial windows are analysed. The stream stays open at its position.
    pub fn end_segment(
        &mut self,
        scratch_pool: &mut ScratchPool,
        reports_to: &ReportSender,
        backlog: &mut Backlog,
        mut credits: Option<OwnedSemaphorePermit>,
    ) {
        let scratch = scratch_pool.of(&self.model);
        let (front_end, mut output) = self.parts((reports_to, backlog), None);
        front_end.end(scratch, &mut |window| output.submit(window, credits.as_mut()));
        self.shadows.iter_mut().for_each(|shadow| shadow.end(scratch_pool));
        self.report_segment_ended(reports_to);
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

    /// Whether the client of the stream's call has left.
    pub fn has_left(&self) -> bool {
        matches!(&self.stream_source, StreamSource::Call(replies) if replies.is_closed())
    }

    /// Reports the ticket of the stream's summary, so that the chunk that ends the stream is read again until the summary is delivered.
    fn summary_ticket(&self, reports_to: &ReportSender) -> Option<Ticket> {
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
            let (samples, rate) = (self.front_end.position().position, self.front_end.source_rate_hz());
            let duration = time_of(samples, rate.max(1));
            self.mark(backlog, Some(StreamEnd { duration, ticket }));
        }
    }

    fn mark(&self, backlog: &mut Backlog, end: Option<StreamEnd>) {
        if self.info.call.is_some() {
            let marker = CallMarker { stream: self.info.clone(), end };
            backlog.submit(&self.model, Job::silent(JobOrigin::CallStream(Box::new(marker))));
        }
    }

    /// Closes the stream: the stages behind the model drop its state once its last window has passed.
    pub fn close(mut self, backlog: &mut Backlog) {
        self.end_summary(backlog);
        backlog.submit_end(&self.model, self.info);
        self.shadows.into_iter().for_each(|shadow| shadow.close(backlog));
    }

    /// Logs and counts a file that ended before it was complete. Each of its chunks was accepted, so none becomes a dead letter. (Sessions collect
    /// their files themselves.)
    pub(super) fn report_bad_end(&self, bad: &BadChunk) {
        tracing::warn!(stream_id = %excerpt(&self.info.stream_id), "no chunk for audio.idle_timeout: dropped a file that is not complete: {bad}");
        meter::rejected(self.source, bad.reason());
    }

    /// Returns the position of a Kafka stream; `None` for a session's.
    fn position(&self) -> Option<EpochPosition> {
        match self.stream_source {
            StreamSource::Call(_) => None,
            StreamSource::Kafka { epoch, .. } => {
                Some(EpochPosition { epoch, position: self.front_end.position() })
            }
        }
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

/// Returns what the stream's events repeat, with the configured channel policy if the stream requests none, and with its call.
fn resolved(envelope: &ChunkEnvelope) -> Arc<StreamInfo> {
    let (info, model) = (&envelope.info, &envelope.model);
    let call = match &envelope.source {
        ChunkSource::Kafka { .. } if info.call.is_none() && model.setup.summaries.include(info) => {
            Some(Arc::new(StreamCall::new(info, meter::Source::KAFKA.name())))
        }
        _ => info.call.clone(),
    };
    if info.channels.is_some() && info.call.is_none() && call.is_none() {
        return info.clone();
    }
    let channels = info.channels.or(Some(model.setup.channels.policy));
    let started_at =
        info.started_at.or(envelope.captured_at.as_ref().map(crate::proto::Timestamp::milliseconds));
    Arc::new(StreamInfo { channels, call, started_at, ..StreamInfo::clone(info) })
}
