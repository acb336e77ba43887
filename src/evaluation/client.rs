//! Evaluation on a daemon, over gRPC.
//!
//! In: the server's address and clips on disk. Out: each clip's result in the order of the clips, then the report. Files
//! are sent as they are; the server decodes them. Only where a line stands between are samples sent.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tonic::transport::Endpoint;

use super::{EvaluationError, LabelledClip, Perturbation, Report, datasets};
use crate::proto;
use crate::proto::evaluate_response::Response as Answer;
use crate::proto::evaluation_service_client::EvaluationServiceClient;

/// Files read ahead of the one that is being sent.
const READ_AHEAD: usize = 4;

/// Has the daemon at `url` evaluate its model on `clips` as a line leaves them, telling `each` of every clip.
///
/// Dropping the future ends the call.
///
/// # Errors
/// A file that cannot be read, a server that is not there or ends the call.
pub async fn evaluate(
    url: &str,
    (clips, line): (Vec<datasets::Clip>, Arc<Perturbation>),
    mut each: impl FnMut(&proto::ClipResult),
) -> Result<Report, EvaluationError> {
    let mut client = connect(url).await?;
    let (unread, mut unreadable) = oneshot::channel();
    let server = |status: tonic::Status| EvaluationError::Server {
        url: url.to_owned(),
        code: status.code(),
        message: status.message().to_owned(),
    };
    let answers = client.evaluate(requests(clips, line, unread)).await.map_err(server);
    let report = async {
        let mut answers = answers?.into_inner();
        while let Some(answer) = answers.message().await.map_err(server)? {
            match answer.response {
                Some(Answer::Clip(result)) => each(&result),
                Some(Answer::Report(report)) => return Ok(Report::from(report)),
                None => {}
            }
        }
        Err(EvaluationError::NoReport { url: url.to_owned() })
    }
    .await;
    // A file that could not be read cut the clips short: the report is not of all of them.
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
        // The outer error says no more than "transport error".
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        EvaluationError::Connect { url: url.to_owned(), reason: cause }
    })?;
    Ok(EvaluationServiceClient::new(channel))
}

/// The clips as messages, read when they are needed; ends at the first that cannot be read and leaves why.
fn requests(
    clips: Vec<datasets::Clip>,
    line: Arc<Perturbation>,
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
        futures::future::ready(clip.ok().map(|clip| request(line.carry(clip))))
    })
}
