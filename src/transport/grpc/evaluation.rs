//! The gRPC service `affectd.v1.EvaluationService`.
//!
//! Input: the labelled clips of a call. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: evaluations share the daemon's batcher with live streams; the number of clips in flight per call is
//! bounded, so that neither starves the other.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::status::{draining_evaluation, is_undecodable, undecodable};
use crate::audio::AudioFormat;
use crate::batch::ReplyOrigin;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, Evaluator, LabelledClip, Tally};
use crate::proto::evaluate_response::Response as ResponseKind;
use crate::proto::evaluation_service_server::{EvaluationService, EvaluationServiceServer};
use crate::proto::{EvaluateRequest, EvaluateResponse};
use crate::serving::UnknownModel;
use crate::stream::InputBounds;

/// The maximum size, in bytes, of the fields of a clip's message besides its audio.
const MESSAGE_OVERHEAD_BYTES: usize = 64 * 1024;

/// The implementation of the evaluation service.
pub struct Evaluation<O> {
    evaluator: Box<EvaluatorOf<O>>,
    draining: CancellationToken,
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
    ) -> Self {
        Self { evaluator: Box::new(evaluator), draining }
    }

    /// Wraps the service for a tonic server; a clip may have up to `max_file_bytes` of audio.
    #[must_use]
    pub fn into_server(self, max_file_bytes: usize) -> EvaluationServiceServer<Self> {
        EvaluationServiceServer::new(self)
            .max_decoding_message_size(max_file_bytes.saturating_add(MESSAGE_OVERHEAD_BYTES))
    }
}

type ResponseStream = Pin<Box<dyn Stream<Item = Result<EvaluateResponse, Status>> + Send>>;

#[tonic::async_trait]
impl<O: From<ReplyOrigin> + Send + Sync + 'static> EvaluationService for Evaluation<O> {
    type EvaluateStream = ResponseStream;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        if self.draining.is_cancelled() {
            return Err(draining_evaluation());
        }
        let stopped = self.draining.clone().cancelled_owned();
        let evaluator =
            (self.evaluator)().map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        let responses = responses(evaluator, request.into_inner());
        // A drain ends the call without waiting for the remaining clips: no report has been sent yet, so the client can
        // repeat the evaluation elsewhere.
        let responses = responses.take_until(stopped);
        let draining_token = self.draining.clone();
        let ending = futures::stream::once(async move {
            draining_token.is_cancelled().then(|| Err(draining_evaluation()))
        });
        Ok(Response::new(Box::pin(responses.chain(ending.filter_map(futures::future::ready)))))
    }
}

fn responses<O: From<ReplyOrigin> + Send + Sync + 'static>(
    evaluator: Evaluator<O>,
    requests: Streaming<EvaluateRequest>,
) -> impl Stream<Item = Result<EvaluateResponse, Status>> + Send {
    async_stream::try_stream! {
        let contract = evaluator.contract().clone();
        let mut tally = Tally::new(contract.clone());
        let score = |request: Result<EvaluateRequest, Status>| {
            let evaluator = evaluator.clone();
            async move {
                let request = request.map_err(read_error)?;
                evaluator.score(clip(request, evaluator.bounds())?).await.map_err(failed)
            }
        };
        let mut outcomes = std::pin::pin!(requests.map(score).buffered(clips_in_flight()));
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            let result = outcome.to_proto(&contract.labels);
            tally.add(outcome);
            yield EvaluateResponse { response: Some(ResponseKind::Clip(result)) };
        }
        let report = tokio::task::spawn_blocking(move || tally.report()).await;
        let report = report.map_err(|_| Status::internal("the report could not be computed"))?;
        yield EvaluateResponse { response: Some(ResponseKind::Report(report.into())) };
    }
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

/// Returns the status of a request that could not be read.
fn read_error(status: Status) -> Status {
    if is_undecodable(&status) { undecodable(&status) } else { status }
}

fn failed(error: EvaluationError) -> Status {
    match error {
        EvaluationError::Engine(crate::model::EngineError::Ended) => draining_evaluation(),
        other => Status::internal(other.to_string()),
    }
}
