//! The service `affectd.v1.RecognitionService`: one input stream a call.
//!
//! Input: calls. Output: for each call its events, then OK, the status of a refusal, or UNAVAILABLE while the daemon drains. Invariants: the status
//! follows the last event; a call carries one [`InputSession`], which holds all rules about streams.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::status::{read_error, status, status_of_session};
use crate::proto::recognition_service_server::RecognitionService;
use crate::proto::{AudioChunk, RecognizeRequest, RecognizeResponse};
use crate::serving::CallReply;
use crate::session::{InputSession, Refusal, ReplyInbox, SessionError, SessionLinks};
use crate::telemetry::metrics::Source;

/// The recognition service.
#[derive(Debug)]
pub struct Recognition {
    links: Arc<SessionLinks>,
    /// The tasks of all calls.
    calls: TaskTracker,
    max_chunk_bytes: usize,
}

impl Recognition {
    /// Returns a service whose calls are sessions on `links` and run as tasks of `calls`. `max_chunk_bytes` is named in the refusal of a larger
    /// message (`audio.max_chunk_bytes`).
    #[must_use]
    pub fn new(links: Arc<SessionLinks>, calls: TaskTracker, max_chunk_bytes: usize) -> Self {
        Self { links, calls, max_chunk_bytes }
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<RecognizeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RecognitionService for Recognition {
    type RecognizeStream = Responses;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Responses>, Status> {
        if self.links.draining.is_cancelled() {
            return Err(status(&Refusal::Draining));
        }
        let max_chunk_bytes = self.max_chunk_bytes;
        let chunks = request.into_inner().map(move |request| chunk_of(request, max_chunk_bytes));
        let (session, inbox) = InputSession::new(self.links.clone(), Source::GRPC);
        let (end, ended) = oneshot::channel();
        self.calls.spawn(async move {
            let outcome = session.run(chunks).await.map_err(status_of_session);
            // Fails only if the client has gone.
            let _ = end.send(outcome);
        });
        let responses = CallResponses { inbox, ended };
        Ok(Response::new(Box::pin(futures::stream::unfold(Some(responses), next_response))))
    }
}

/// Returns the chunk of a request.
fn chunk_of(
    request: Result<RecognizeRequest, Status>,
    max_chunk_bytes: usize,
) -> Result<AudioChunk, SessionError<Status>> {
    let request = request.map_err(|status| read_error(status, max_chunk_bytes))?;
    Ok(request.chunk.ok_or(Refusal::ChunkMissing)?)
}

/// The two channels from a session to the response of its call.
struct CallResponses {
    inbox: ReplyInbox,
    ended: oneshot::Receiver<Result<(), Status>>,
}

/// Returns the next event, or the status after the last one.
async fn next_response(
    responses: Option<CallResponses>,
) -> Option<(Result<RecognizeResponse, Status>, Option<CallResponses>)> {
    let mut responses = responses?;
    let ended = tokio::select! {
        biased;
        Some(reply) = responses.inbox.recv() => return response(reply, responses),
        ended = &mut responses.ended => ended,
    };
    // The session has ended, so the client has taken every event. What may be left is the failure of a window.
    if let Some(reply) = responses.inbox.try_recv() {
        return response(reply, responses);
    }
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(status)) => Some((Err(status), None)),
        Err(_) => Some((Err(Status::internal("the task of the call ended early")), None)),
    }
}

/// Turns a reply into a response. Dropping the credit of an event releases its room to the session.
fn response(
    reply: CallReply,
    responses: CallResponses,
) -> Option<(Result<RecognizeResponse, Status>, Option<CallResponses>)> {
    match reply {
        CallReply::Event(event, credit) => {
            drop(credit);
            let response = RecognizeResponse { event: Some(Arc::unwrap_or_clone(event)) };
            Some((Ok(response), Some(responses)))
        }
        CallReply::Failed { index, source } => {
            Some((Err(Status::internal(format!("window {index}: {source}"))), None))
        }
    }
}
