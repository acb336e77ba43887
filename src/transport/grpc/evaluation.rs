//! The service `affectd.v1.EvaluationService`: clips in, progress and a report out.
//!
//! In: labelled clips of a call. Out: each clip's result in their order, then the report. Shares the daemon's batcher
//! with live streams and never has more than a few clips of a call under way, so neither starves the other.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::audio::AudioFormat;
use crate::batch::ClipOrigin;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, Evaluator, LabelledClip, Tally};
use crate::proto::evaluate_response::Response as Answer;
use crate::proto::evaluation_service_server::{EvaluationService, EvaluationServiceServer};
use crate::proto::{EvaluateRequest, EvaluateResponse};
use crate::serving::UnknownModel;

/// What a clip's message holds besides its audio, at most.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// The service.
pub struct Evaluation<O> {
    evaluator: Box<EvaluatorOf<O>>,
    draining: CancellationToken,
}

/// Gives an evaluator of the default model, which none is once the daemon has drained.
type EvaluatorOf<O> = dyn Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync;

impl<O: From<ClipOrigin> + Send + Sync + 'static> Evaluation<O> {
    /// A service on the daemon's batchers, with an evaluator for each call; calls end with UNAVAILABLE once `draining` is cancelled. Drop the service to
    /// close the batcher's queue.
    #[must_use]
    pub fn new(
        evaluator: impl Fn() -> Result<Evaluator<O>, UnknownModel> + Send + Sync + 'static,
        draining: CancellationToken,
    ) -> Self {
        Self { evaluator: Box::new(evaluator), draining }
    }

    /// Ready for a server; clips may have `max_file_bytes` of audio.
    #[must_use]
    pub fn into_server(self, max_file_bytes: usize) -> EvaluationServiceServer<Self> {
        EvaluationServiceServer::new(self)
            .max_decoding_message_size(max_file_bytes.saturating_add(ENVELOPE_BYTES))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<EvaluateResponse, Status>> + Send>>;

#[tonic::async_trait]
impl<O: From<ClipOrigin> + Send + Sync + 'static> EvaluationService for Evaluation<O> {
    type EvaluateStream = Answers;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        if self.draining.is_cancelled() {
            return Err(draining());
        }
        let stopped = self.draining.clone().cancelled_owned();
        let evaluator =
            (self.evaluator)().map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        let answers = answers(evaluator, request.into_inner());
        // Drain: whoever evaluates has no report yet, and can ask again elsewhere.
        let answers = answers.take_until(stopped);
        let draining_token = self.draining.clone();
        let ending =
            futures::stream::once(async move { draining_token.is_cancelled().then(|| Err(draining())) });
        Ok(Response::new(Box::pin(answers.chain(ending.filter_map(futures::future::ready)))))
    }
}

fn answers<O: From<ClipOrigin> + Send + Sync + 'static>(
    evaluator: Evaluator<O>,
    requests: Streaming<EvaluateRequest>,
) -> impl Stream<Item = Result<EvaluateResponse, Status>> + Send {
    async_stream::try_stream! {
        let contract = evaluator.contract().clone();
        let mut tally = Tally::new(contract.clone());
        let score = |request: Result<EvaluateRequest, Status>| {
            let evaluator = evaluator.clone();
            async move { evaluator.score(clip(request?)?).await.map_err(failed) }
        };
        let mut outcomes = std::pin::pin!(requests.map(score).buffered(clips_in_flight()));
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            let result = outcome.to_proto(&contract.labels);
            tally.add(outcome);
            yield EvaluateResponse { response: Some(Answer::Clip(result)) };
        }
        let report = tokio::task::spawn_blocking(move || tally.report()).await;
        let report = report.map_err(|_| Status::internal("the report could not be computed"))?;
        yield EvaluateResponse { response: Some(Answer::Report(report.into())) };
    }
}

/// The clip of a request, or INVALID_ARGUMENT naming the field.
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

fn failed(error: EvaluationError) -> Status {
    match error {
        EvaluationError::Engine(crate::model::EngineError::Ended) => draining(),
        other => Status::internal(other.to_string()),
    }
}

fn draining() -> Status {
    Status::unavailable("affectd is shutting down: evaluate again when it is back")
}
