//! The client of the evaluation service: evaluates the model of a running daemon over gRPC.
//!
//! Input: the server's URL and clips on disk. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: files are sent undecoded and the server decodes them; only perturbed clips are sent as samples.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tonic::transport::Endpoint;

use crate::datasets;
use crate::evaluation::{EvaluationError, LabelledClip, Perturbation, Report};
use crate::proto;
use crate::proto::evaluate_response::Response as ResponseKind;
use crate::proto::evaluation_service_client::EvaluationServiceClient;

/// The number of files that are read ahead of the one that is being sent.
const READ_AHEAD: usize = 4;

/// Evaluates the model of the daemon at `url` on `clips` after `perturbation`, and calls `each` with every clip's result.
///
/// Dropping the future cancels the call.
///
/// # Errors
/// Returns an error where a file cannot be read, and where the server is unreachable or ends the call.
pub async fn evaluate(
    url: &str,
    clips: Vec<datasets::Clip>,
    perturbation: Arc<Perturbation>,
    mut each: impl FnMut(&proto::ClipResult),
) -> Result<Report, EvaluationError> {
    let mut client = connect(url).await?;
    let (unread, mut unreadable) = oneshot::channel();
    let server = |status: tonic::Status| EvaluationError::Server {
        url: url.to_owned(),
        code: status.code(),
        message: status.message().to_owned(),
    };
    let responses = client.evaluate(requests(clips, perturbation, unread)).await.map_err(server);
    let report = async {
        let mut responses = responses?.into_inner();
        while let Some(response) = responses.message().await.map_err(server)? {
            match response.response {
                Some(ResponseKind::Clip(result)) => each(&result),
                Some(ResponseKind::Report(report)) => return Ok(Report::from(report)),
                None => {}
            }
        }
        Err(EvaluationError::NoReport { url: url.to_owned() })
    }
    .await;
    // An unreadable file ends the request stream early. The server then reports on the clips before it; that report is
    // discarded, because it does not cover all clips.
    match unreadable.try_recv() {
        Ok(error) => Err(error),
        Err(_) => report,
    }
}

async fn connect(url: &str) -> Result<EvaluationServiceClient<tonic::transport::Channel>, EvaluationError> {
    let wrong = || EvaluationError::Url { url: url.to_owned() };
    let (scheme, authority) = url.split_once("://").ok_or_else(wrong)?;
    if !matches!(scheme, "grpc" | "http") || authority.is_empty() {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| wrong())?;
    let channel = endpoint.connect().await.map_err(|error| {
        // The text of the outer error is only "transport error".
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        EvaluationError::Connect { url: url.to_owned(), reason: cause }
    })?;
    Ok(EvaluationServiceClient::new(channel))
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
