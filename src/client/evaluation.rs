//! The client of the evaluation service: evaluates the model of a running daemon over gRPC.
//!
//! Input: a connection and clips on disk. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: files are sent undecoded and the server decodes them; only perturbed clips are sent as samples.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::oneshot;

use super::connection::described;
use super::restricted::RestrictedResults;
use super::{Channel, GrpcServer};
use crate::datasets;
use crate::evaluation::{EvaluationError, EvaluationPlan, LabelledClip, Perturbation, Report};
use crate::proto;
use crate::proto::evaluate_response::Response as ResponseKind;
use crate::proto::evaluation_service_client::EvaluationServiceClient;

/// The number of files that are read ahead of the one that is being sent.
const READ_AHEAD: usize = 4;

/// Why an evaluation on a daemon ends without a report.
#[derive(Debug, thiserror::Error)]
pub enum RemoteEvaluationError {
    /// A clip cannot be read.
    #[error(transparent)]
    Clip(#[from] EvaluationError),
    /// The server ended the call with an error.
    #[error("evaluate on {url}: {code}: {message}")]
    Server {
        /// The server's URL.
        url: String,
        /// The status code.
        code: tonic::Code,
        /// The status message.
        message: String,
    },
    /// The server ended the call without a report.
    #[error("evaluate on {url}: the server sent no report")]
    NoReport {
        /// The server's URL.
        url: String,
    },
}

/// Evaluates the model of the daemon at `server`, which `channel` is connected to, as `plan` describes, and calls `each` with
/// every clip's result. Restricted answers are computed here from the probabilities of all labels.
///
/// Dropping the future cancels the call.
///
/// # Errors
/// Returns an error where a file cannot be read, and where the server is unreachable or ends the call.
pub async fn evaluate(
    server: &GrpcServer,
    channel: Channel,
    plan: EvaluationPlan,
    mut each: impl FnMut(&proto::ClipResult),
) -> Result<Report, RemoteEvaluationError> {
    let (mut client, url) = (EvaluationServiceClient::new(channel), server.to_string());
    let EvaluationPlan { clips, perturbation, answers } = plan;
    let speakers = clips.iter().map(|clip| clip.speaker.clone()).collect();
    let mut restricted = RestrictedResults::new(answers, speakers);
    let (unread, mut unreadable) = oneshot::channel();
    let failed = |status: tonic::Status| RemoteEvaluationError::Server {
        url: url.clone(),
        code: status.code(),
        message: described(&status),
    };
    let responses = client.evaluate(requests(clips, perturbation, unread)).await.map_err(failed);
    let report = async {
        let mut responses = responses?.into_inner();
        while let Some(response) = responses.message().await.map_err(failed)? {
            match response.response {
                Some(ResponseKind::Clip(mut result)) => {
                    restricted.restrict(&mut result);
                    each(&result);
                }
                Some(ResponseKind::Report(report)) => return Ok(restricted.report(report.into())),
                None => {}
            }
        }
        Err(RemoteEvaluationError::NoReport { url: url.clone() })
    }
    .await;
    // An unreadable file ends the request stream early. The server then reports on the clips before it; that report is
    // discarded, because it does not cover all clips.
    match unreadable.try_recv() {
        Ok(error) => Err(error.into()),
        Err(_) => report,
    }
}

/// Returns the request stream, which reads clips on demand. It ends at the first clip that cannot be read, and sends the
/// error to `unread`.
fn requests(
    clips: Vec<datasets::Clip>,
    perturbation: Arc<Perturbation>,
    unread: oneshot::Sender<EvaluationError>,
) -> impl Stream<Item = proto::EvaluateRequest> + Send + 'static {
    let request = |clip: LabelledClip| proto::EvaluateRequest {
        clip: Some(proto::LabelledClip {
            id: clip.id,
            label: clip.label,
            speaker: clip.speaker.unwrap_or_default(),
            format: clip.format.to_proto(),
            audio: clip.audio,
        }),
    };
    let read = futures::stream::iter(clips).map(LabelledClip::read).buffered(READ_AHEAD);
    read.scan(Some(unread), move |unread, clip| {
        let clip = clip.map_err(|error| unread.take().map(|unread| unread.send(error)));
        futures::future::ready(clip.ok().map(|clip| request(perturbation.apply(clip))))
    })
}
