//! The service `affectd.v1.EvaluationService`: labelled clips are analysed, then a report is computed.
//!
//! Input: the labelled clips of a call. Output: the result of each clip, in the order of the clips, then the report. Invariant: a call has only a few
//! clips in flight, because it shares the daemon's batcher with live streams.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::status::draining_evaluation;
use crate::audio::AudioFormat;
use crate::batch::ReplyOrigin;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, Evaluator, LabelledClip, Tally};
use crate::proto::evaluate_response::Response as Message;
use crate::proto::evaluation_service_server::{EvaluationService, EvaluationServiceServer};
use crate::proto::{EvaluateRequest, EvaluateResponse};
use crate::serving::UnknownModel;

/// The most bytes of a clip's message beside its audio.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// The evaluation service.
pub struct Evaluation<O> {
    evaluator: Box<EvaluatorOf<O>>,
    draining: CancellationToken,
}

/// Returns an evaluator of the default model; an error once the daemon has drained and serves no model.
type EvaluatorOf<O> = dyn Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync;

impl<O: From<ReplyOrigin> + Send + Sync + 'static> Evaluation<O> {
    /// Returns a service that requests an evaluator for each call. Calls end with UNAVAILABLE once `draining` is cancelled. The service holds a
    /// sender of the batcher's queue until it is dropped.
    #[must_use]
    pub fn new(
        evaluator: impl Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync + 'static,
        draining: CancellationToken,
    ) -> Self {
        Self { evaluator: Box::new(evaluator), draining }
    }

    /// Returns the service for a server. Clips may hold `max_file_bytes` of audio (`audio.max_file_bytes`).
    #[must_use]
    pub fn into_server(self, max_file_bytes: usize) -> EvaluationServiceServer<Self> {
        EvaluationServiceServer::new(self)
            .max_decoding_message_size(max_file_bytes.saturating_add(ENVELOPE_BYTES))
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<EvaluateResponse, Status>> + Send>>;

#[tonic::async_trait]
impl<O: From<ReplyOrigin> + Send + Sync + 'static> EvaluationService for Evaluation<O> {
    type EvaluateStream = Responses;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Responses>, Status> {
        if self.draining.is_cancelled() {
            return Err(draining_evaluation());
        }
        let evaluator = (self.evaluator)();
        let evaluator = evaluator.map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        let draining = self.draining.clone();
        // A drain ends the call at once: without the last clip there is no report, and another daemon can evaluate all of them.
        let responses =
            responses(evaluator, request.into_inner()).take_until(draining.clone().cancelled_owned());
        let end = async move { draining.is_cancelled().then(|| Err(draining_evaluation())) };
        let end = futures::stream::once(end).filter_map(futures::future::ready);
        Ok(Response::new(Box::pin(responses.chain(end))))
    }
}

/// Returns the results of the clips in their order, then the report.
fn responses<O: From<ReplyOrigin> + Send + Sync + 'static>(
    evaluator: Evaluator<O>,
    requests: Streaming<EvaluateRequest>,
) -> impl Stream<Item = Result<EvaluateResponse, Status>> + Send {
    async_stream::try_stream! {
        let contract = evaluator.contract().clone();
        let mut tally = Tally::new(contract.clone());
        let score = |request: Result<EvaluateRequest, Status>| {
            let evaluator = evaluator.clone();
            async move { evaluator.score(clip(request?)?).await.map_err(failure) }
        };
        let mut outcomes = std::pin::pin!(requests.map(score).buffered(clips_in_flight()));
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            let result = outcome.to_proto(&contract.labels);
            tally.add(outcome);
            yield EvaluateResponse { response: Some(Message::Clip(result)) };
        }
        let report = tokio::task::spawn_blocking(move || tally.report()).await;
        let report = report.map_err(|_| Status::internal("the report could not be computed"))?;
        yield EvaluateResponse { response: Some(Message::Report(report.into())) };
    }
}

/// Returns the clip of a request, or INVALID_ARGUMENT with the name of the field.
fn clip(request: EvaluateRequest) -> Result<LabelledClip, Status> {
    let missing = |field: &str| Status::invalid_argument(format!("{field}: missing"));
    let clip = request.clip.ok_or_else(|| missing("clip"))?;
    if clip.label.is_empty() {
        return Err(missing("clip.label"));
    }
    let format = clip.format.ok_or_else(|| missing("clip.format"))?;
    let format = AudioFormat::try_from(&format)
        .map_err(|error| Status::invalid_argument(format!("clip.format: {error}")))?;
    let speaker = Some(clip.speaker).filter(|speaker| !speaker.is_empty());
    Ok(LabelledClip { id: clip.id, label: clip.label, speaker, format, audio: clip.audio })
}

/// Returns the status of a clip that could not be analysed.
fn failure(error: EvaluationError) -> Status {
    match error {
        EvaluationError::Engine(crate::model::EngineError::Ended) => draining_evaluation(),
        other => Status::internal(other.to_string()),
    }
}
