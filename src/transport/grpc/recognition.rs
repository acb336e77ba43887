//! The service `affectd.v1.RecognitionService`: one input stream a call.
//!
//! Input: calls. Output: for each call its events, then OK, the status of a refusal, UNAVAILABLE while the daemon drains, or
//! DEADLINE_EXCEEDED at the client's deadline. Invariants: the status
//! follows the last event; a call carries one [`InputSession`], which holds all rules about streams.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::authorize::{principal_of, status_of_quota};
use super::deadline::{Responses, until_deadline};
use super::metered_body::BodyState;
use super::status::{read_error, status, status_of_session};
use crate::audio::file_header;
use crate::proto::codec::ENVELOPE_BYTES;
use crate::proto::recognition_service_server::RecognitionService;
use crate::proto::{AudioChunk, Encoding, RecognizeRequest, RecognizeResponse};
use crate::security::{Quota, paced};
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

#[tonic::async_trait]
impl RecognitionService for Recognition {
    type RecognizeStream = Responses<RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        if self.links.draining.is_cancelled() {
            return Err(status(&Refusal::Draining));
        }
        let body = request.extensions().get::<BodyState>().cloned().unwrap_or_default();
        let principal = principal_of(&request);
        let permit = principal.quota.as_ref().map(Quota::open_stream).transpose();
        let permit = permit.map_err(|error| status_of_quota(&error))?;
        let mut messages =
            Messages { body: body.clone(), is_first: true, max_chunk_bytes: self.max_chunk_bytes };
        let (metadata, _, requests) = request.into_parts();
        let requests = paced(requests, principal.quota, audio_bytes);
        let chunks = requests.map(move |request| messages.chunk_of(request)).chain(cut_off(body));
        let (session, inbox) = InputSession::new(self.links.clone(), Source::GRPC, principal.name);
        let (end, ended) = oneshot::channel();
        self.calls.spawn(async move {
            let _permit = permit;
            let outcome = session.run(chunks).await.map_err(status_of_session);
            // Fails only if the client has gone.
            let _ = end.send(outcome);
        });
        let responses = CallResponses { inbox, ended };
        let responses = futures::stream::unfold(Some(responses), next_response);
        Ok(Response::new(until_deadline(&metadata, responses)))
    }
}

fn audio_bytes(request: &RecognizeRequest) -> usize {
    request.chunk.as_ref().map_or(0, |chunk| chunk.audio.len())
}

/// Returns an error behind the messages of a call whose client has cancelled it, and nothing where the client has ended them.
fn cut_off(body: BodyState) -> impl Stream<Item = Result<AudioChunk, SessionError<Status>>> {
    let cancelled = move || Status::cancelled("the client has cancelled the call");
    futures::stream::once(async move { body.is_cut_off().then(|| Err(SessionError::Transport(cancelled()))) })
        .filter_map(std::future::ready)
}

/// The messages of one call.
struct Messages {
    body: BodyState,
    is_first: bool,
    max_chunk_bytes: usize,
}

impl Messages {
    /// Returns the chunk of a request. Behind the first chunk of a stream of samples, messages may be as large as chunks only: files need more.
    fn chunk_of(
        &mut self,
        request: Result<RecognizeRequest, Status>,
    ) -> Result<AudioChunk, SessionError<Status>> {
        let request = request.map_err(|status| read_error(status, self.max_chunk_bytes))?;
        let chunk = request.chunk.ok_or(Refusal::ChunkMissing)?;
        let declares_samples =
            chunk.format.as_ref().is_some_and(|format| format.encoding != i32::from(Encoding::File));
        let is_file = file_header(&chunk.audio).is_some() || chunk.audio.is_empty();
        if std::mem::replace(&mut self.is_first, false) && declares_samples && !is_file {
            self.body.lower_limit_to(self.max_chunk_bytes + ENVELOPE_BYTES);
        }
        Ok(chunk)
    }
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
