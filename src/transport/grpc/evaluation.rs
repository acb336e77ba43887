//! The gRPC service `affectd.v1.EvaluationService`.
//!
//! Input: the labelled clips of a call. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: evaluations share the daemon's batcher with live streams; the number of clips in flight per call is
//! bounded, so that neither starves the other.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::authorize::{principal_of, status_of_quota};
use super::deadline::{Responses, until_deadline};
use super::status::{draining_evaluation, exhausted};
use crate::audio::AudioFormat;
use crate::batch::ReplyOrigin;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, Evaluator, LabelledClip, Options, Tally};
use crate::proto::codec::ENVELOPE_BYTES;
use crate::proto::evaluate_response::Response as ResponseKind;
use crate::proto::evaluation_service_server::{EvaluationService, EvaluationServiceServer};
use crate::proto::{EvaluateRequest, EvaluateResponse};
use crate::security::{Quota, paced};
use crate::serving::UnknownModel;
use crate::stream::InputBounds;

/// Responses that may wait for the client.
const RESULTS: usize = 16;

/// The implementation of the evaluation service.
pub struct Evaluation<O> {
    evaluator: Box<EvaluatorOf<O>>,
    draining: CancellationToken,
    limits: EvaluationLimits,
    /// One permit for each evaluation.
    running: Arc<Semaphore>,
}

/// The limits of evaluations.
#[derive(Debug, Clone)]
pub struct EvaluationLimits {
    /// `[evaluation]`
    pub options: Options,
    /// How long a call may take until its first clip (`limits.first_chunk_timeout`).
    pub first_clip_timeout: Duration,
    /// How long a call may take until its next clip, and until it reads a result (`audio.idle_timeout`).
    pub idle_timeout: Duration,
}

/// Returns an evaluator of the default model, or an error once the daemon has drained and no model is loaded.
type EvaluatorOf<O> = dyn Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync;

impl<O: From<ReplyOrigin> + Send + Sync + 'static> Evaluation<O> {
    /// Creates the service. `evaluator` is called once for each call. Calls end with `UNAVAILABLE` once `draining` is
    /// cancelled. The service holds a sender of the batcher's queue, so the queue closes only after the service is dropped.
    #[must_use]
    pub fn new(
        evaluator: impl Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync + 'static,
        draining: CancellationToken,
        limits: EvaluationLimits,
    ) -> Self {
        let running = Arc::new(Semaphore::new(limits.options.max_concurrent));
        Self { evaluator: Box::new(evaluator), draining, limits, running }
    }

    /// Wraps the service for a tonic server; a clip may have up to `max_file_bytes` of audio.
    #[must_use]
    pub fn into_server(self, max_file_bytes: usize) -> EvaluationServiceServer<Self> {
        EvaluationServiceServer::new(self)
            .max_decoding_message_size(max_file_bytes.saturating_add(ENVELOPE_BYTES))
    }
}

/// The requests of a call, at the pace that its principal may send.
type Requests = Pin<Box<dyn Stream<Item = Result<EvaluateRequest, Status>> + Send>>;

#[tonic::async_trait]
impl<O: From<ReplyOrigin> + Send + Sync + 'static> EvaluationService for Evaluation<O> {
    type EvaluateStream = Responses<EvaluateResponse>;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        if self.draining.is_cancelled() {
            return Err(draining_evaluation());
        }
        let Ok(running) = self.running.clone().try_acquire_owned() else {
            return Err(too_many(self.limits.options.max_concurrent));
        };
        let evaluator =
            (self.evaluator)().map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        let (sender, responses) = mpsc::channel(RESULTS);
        let call = Call { evaluator, limits: self.limits.clone(), responses: sender };
        let principal = principal_of(&request);
        let permit = principal.quota.as_ref().map(Quota::begin_evaluation).transpose();
        let permit = permit.map_err(|error| status_of_quota(&error))?;
        let (metadata, _, clips) = request.into_parts();
        let requests: Requests = Box::pin(paced(clips, principal.quota, audio_bytes));
        let draining = self.draining.clone();
        tokio::spawn(async move {
            let _permits = (running, permit);
            call.run(requests, draining).await;
        });
        Ok(Response::new(until_deadline(&metadata, ReceiverStream::new(responses))))
    }
}

fn audio_bytes(request: &EvaluateRequest) -> usize {
    request.clip.as_ref().map_or(0, |clip| clip.audio.len())
}

/// One evaluation.
struct Call<O> {
    evaluator: Evaluator<O>,
    limits: EvaluationLimits,
    responses: mpsc::Sender<Result<EvaluateResponse, Status>>,
}

impl<O: From<ReplyOrigin> + Send + Sync + 'static> Call<O> {
    /// Evaluates until the report is sent, the client has gone, or the daemon drains. A drain does not wait for the remaining clips: no report has been
    /// sent yet, so the client can repeat the evaluation elsewhere.
    async fn run(self, requests: Requests, draining: CancellationToken) {
        let responses = self.responses.clone();
        let outcome = tokio::select! {
            biased;
            () = responses.closed() => return,
            () = draining.cancelled() => Err(draining_evaluation()),
            outcome = self.evaluate(requests) => outcome,
        };
        if let Err(status) = outcome {
            // Fails only where the client has gone or does not read.
            let _ = responses.send_timeout(Err(status), self.limits.idle_timeout).await;
        }
    }

    async fn evaluate(&self, requests: Requests) -> Result<(), Status> {
        let contract = self.evaluator.contract().clone();
        let mut tally = Tally::new(contract.clone());
        let score = |request: Result<EvaluateRequest, Status>| {
            let evaluator = self.evaluator.clone();
            async move { evaluator.score(clip(request?, evaluator.bounds())?).await.map_err(failed) }
        };
        let requests = self.requests(requests);
        let mut outcomes = std::pin::pin!(requests.map(score).buffered(clips_in_flight()));
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            if tally.clips() >= self.limits.options.max_clips as u64 {
                return Err(too_large(self.limits.options.max_clips));
            }
            let result = outcome.to_proto(&contract.labels);
            tally.add(outcome);
            self.send(ResponseKind::Clip(result)).await?;
        }
        let responses = self.responses.clone();
        let report = tokio::task::spawn_blocking(move || tally.report_unless(&|| responses.is_closed()));
        let report = report.await.map_err(|_| Status::internal("the report could not be computed"))?;
        self.send(ResponseKind::Report(report.into())).await
    }

    /// Returns the requests of the call, which must not pause for too long.
    fn requests(&self, requests: Requests) -> impl Stream<Item = Result<EvaluateRequest, Status>> {
        let EvaluationLimits { first_clip_timeout, idle_timeout, .. } = self.limits;
        let state = Some((requests, first_clip_timeout, "limits.first_chunk_timeout"));
        futures::stream::unfold(state, move |state| async move {
            let (mut requests, timeout, key) = state?;
            match tokio::time::timeout(timeout, requests.next()).await {
                Ok(None) => None,
                Ok(Some(request)) => Some((request, Some((requests, idle_timeout, "audio.idle_timeout")))),
                Err(_) => Some((Err(timed_out(&format!("no clip for {timeout:?} ({key})"))), None)),
            }
        })
    }

    /// Sends a response, unless the client does not read for too long.
    async fn send(&self, response: ResponseKind) -> Result<(), Status> {
        let timeout = self.limits.idle_timeout;
        let response = Ok(EvaluateResponse { response: Some(response) });
        let sent = self.responses.send_timeout(response, timeout).await;
        sent.map_err(|_| timed_out(&format!("no result was read for {timeout:?} (audio.idle_timeout)")))
    }
}

fn timed_out(reason: &str) -> Status {
    Status::deadline_exceeded(reason)
}

fn too_many(limit: usize) -> Status {
    exhausted(format!(
        "{limit} evaluations run already, the most that are allowed (evaluation.max_concurrent)"
    ))
}

fn too_large(limit: usize) -> Status {
    Status::invalid_argument(format!(
        "clip: more than {limit} clips, the most that are allowed (evaluation.max_clips)"
    ))
}

/// Returns the clip of a request, or `INVALID_ARGUMENT` with the name of the invalid field.
fn clip(request: EvaluateRequest, bounds: InputBounds) -> Result<LabelledClip, Status> {
    let missing = |field: &str| Status::invalid_argument(format!("{field}: missing"));
    let clip = request.clip.ok_or_else(|| missing("clip"))?;
    if clip.label.is_empty() {
        return Err(missing("clip.label"));
    }
    for (field, text) in [("clip.id", &clip.id), ("clip.label", &clip.label), ("clip.speaker", &clip.speaker)]
    {
        bounds.check_id(field, text).map_err(|out| Status::invalid_argument(out.to_string()))?;
    }
    let format = clip.format.ok_or_else(|| missing("clip.format"))?;
    let format = AudioFormat::try_from(&format)
        .map_err(|error| Status::invalid_argument(format!("clip.format: {error}")))?;
    let speaker = Some(clip.speaker).filter(|speaker| !speaker.is_empty());
    Ok(LabelledClip { id: clip.id, label: clip.label, speaker, format, audio: clip.audio })
}

fn failed(error: EvaluationError) -> Status {
    match error {
        EvaluationError::Memory(_) => exhausted(error.to_string()),
        EvaluationError::Engine(crate::model::EngineError::Ended) => draining_evaluation(),
        other => Status::internal(other.to_string()),
    }
}
