//! An open stream with the recipient of its windows.
//!
//! Input: the chunks of one stream, in order. Output: its windows through their [`WindowOutput`], in order, and for Kafka a report of the stream's
//! position after each chunk. Invariants: a refused chunk changes nothing; no later chunk changes the stream's model, format or channels.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::backlog::Backlog;
use super::file_stream::FileState;
use super::output::WindowOutput;
use super::report::ReportSender;
use super::scratch_pool::ScratchPool;
use super::shadow_stream::ShadowStream;
use super::{ChunkEnvelope, ChunkSource};
use crate::serving::{AdmissionPermit, CallReply, ServedModel};
use crate::stream::RESUMED;
use crate::stream::{Assignment, EndReason, EpochPosition, StreamCall, StreamInfo, Ticket};
use crate::stream::{BadChunk, Chunk, ChunkOutcome, StreamFrontEnd};
use crate::telemetry::metrics as meter;
use crate::telemetry::metrics::GaugeGuard;

/// What follows a chunk.
#[derive(Debug, PartialEq)]
pub(crate) enum After {
    /// The stream stays open.
    Open,
    /// The stream has ended.
    Ended,
    /// The chunk has completed a file, which must be decoded. The position is the one before the chunk.
    Decode(Box<(ChunkOutcome, Option<EpochPosition>)>),
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
    pub(super) info: Arc<StreamInfo>,
    pub(super) stream_source: StreamSource,
    /// Whether an earlier chunk was accepted, here or by the reader that left the stream.
    pub(super) begun: bool,
    /// When the last chunk with audio was captured. The last windows of a segment carry this time.
    captured_at: Option<crate::proto::Timestamp>,
    /// Settles once the summary of the stream's call is delivered.
    pub(super) end_ticket: Option<Ticket>,
    /// The source as metrics label it.
    pub(super) source: meter::Source,
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
            return Ok(After::Decode(Box::new((outcome, before))));
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

    /// Whether the client of the stream's call has left.
    pub fn has_left(&self) -> bool {
        matches!(&self.stream_source, StreamSource::Call(replies) if replies.is_closed())
    }

    /// Closes the stream after a chunk that was refused: its call ends with an error.
    pub fn close_refused(self, backlog: &mut Backlog) {
        if let Some(call) = &self.info.call {
            call.end(EndReason::Error);
        }
        self.close(backlog);
    }

    /// Closes the stream: the stages behind the model drop its state once its last window has passed.
    pub fn close(mut self, backlog: &mut Backlog) {
        self.end_summary(backlog);
        backlog.submit_end(&self.model, self.info);
        self.shadows.into_iter().for_each(|shadow| shadow.close(backlog));
    }

    /// Returns the position of a Kafka stream; `None` for a session's.
    pub(super) fn position(&self) -> Option<EpochPosition> {
        match self.stream_source {
            StreamSource::Call(_) => None,
            StreamSource::Kafka { epoch, .. } => {
                Some(EpochPosition { epoch, position: self.front_end.position() })
            }
        }
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
