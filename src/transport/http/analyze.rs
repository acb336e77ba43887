//! `POST /v1/analyze`: a recording in, its events out, for clients without gRPC.
//!
//! Input: the bytes of a file, or raw samples that `content-type` describes; the query names stream, model and channels. Output: one JSON object with all
//! events, or one JSON line per event as it is published where the client accepts `application/x-ndjson`. Invariants: the request is one
//! [`InputSession`], with the limits and the errors of a gRPC call; an error before the first event becomes the status, a later one the last line.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::State;
use crate::audio::{AudioFormat, ChannelPolicy, channel_names};
use crate::model::EngineError;
use crate::proto::{AudioChunk, EmotionEvent};
use crate::security::{Principal, Quota, QuotaExceeded, paced};
use crate::serving::CallReply;
use crate::session::{InputSession, Refusal, RefusalClass, ReplyInbox, SessionError, SessionLinks};
use crate::telemetry::metrics::Source;

/// The media type of one JSON value per line.
const NDJSON: &str = "application/x-ndjson";
/// The keys of the query.
const KEYS: [&str; 4] = ["stream_id", "model", "channels", "channel_names"];
/// The largest piece of a body that becomes one chunk, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Where requests enter the daemon. HTTP is served before the daemon has started and after it has drained; the slot is empty then, because its content keeps
/// the shards running. Clones are the same slot.
#[derive(Debug, Clone, Default)]
pub struct SessionSlot(Arc<RwLock<Option<HttpSessions>>>);

impl SessionSlot {
    /// Lets requests enter.
    pub fn open(&self, sessions: HttpSessions) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(sessions);
    }

    /// Lets no further request enter.
    pub fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(in crate::transport) fn get(&self) -> Option<HttpSessions> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the sessions of HTTP requests are connected to.
#[derive(Debug, Clone)]
pub struct HttpSessions {
    /// The links that all transports share.
    pub links: Arc<SessionLinks>,
    /// The tasks of all calls.
    pub calls: TaskTracker,
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
enum AnalyzeError {
    #[error("the query key {0:?} is unknown: allowed are stream_id, model, channels and channel_names")]
    Key(String),
    #[error("channels = {0:?}: allowed are split, mix and first")]
    Channels(String),
    #[error("{0}")]
    ContentType(String),
    #[error("affectd is not ready: {0}")]
    NotReady(String),
    #[error("the body could not be read: {0}")]
    Body(String),
    #[error("{}", .0.text_without_position())]
    Refused(Refusal),
    #[error("{0}")]
    Quota(#[from] QuotaExceeded),
    #[error("window {index}: {source}")]
    Engine { index: u64, source: EngineError },
    #[error("the task of the request ended early")]
    Ended,
}

impl AnalyzeError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Key(_) | Self::Channels(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Engine { .. } | Self::Ended => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Quota(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(refusal) => match (refusal.class(), refusal.reason()) {
                (RefusalClass::InvalidInput, Some("file_too_large" | "chunk_too_large")) => {
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                (RefusalClass::InvalidInput, _) => StatusCode::BAD_REQUEST,
                (RefusalClass::AlreadyOpen, _) => StatusCode::CONFLICT,
                (RefusalClass::TimedOut, _) => StatusCode::REQUEST_TIMEOUT,
                (RefusalClass::LimitReached, _) => StatusCode::TOO_MANY_REQUESTS,
                (RefusalClass::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    fn to_json(&self) -> Value {
        json!({ "error": { "status": self.status().as_u16(), "message": self.to_string() } })
    }
}

impl IntoResponse for AnalyzeError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self.to_json())).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let wait = match &self {
                Self::Quota(exceeded) => exceeded.retry_after.as_secs_f64().ceil() as u64,
                _ => 1,
            };
            response.headers_mut().insert(header::RETRY_AFTER, wait.max(1).into());
        }
        response
    }
}

/// Handles a request.
pub(super) async fn analyze(
    Shared(state): Shared<State>,
    Extension(principal): Extension<Principal>,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let lines = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|it| it.contains(NDJSON)));
    let first = match first_chunk(query.0, &headers) {
        Ok(first) => first,
        Err(error) => return error.into_response(),
    };
    let Some(sessions) = state.sessions.get() else {
        return AnalyzeError::NotReady(state.readiness.status().to_string()).into_response();
    };
    let mut events = match Events::start(&sessions, principal, first, body) {
        Ok(events) => events,
        Err(error) => return error.into_response(),
    };
    if lines {
        return events.into_lines().await;
    }
    let mut all: Vec<Arc<EmotionEvent>> = Vec::new();
    loop {
        match events.next().await {
            Ok(Some(event)) => all.push(event),
            Ok(None) => {
                let all: Vec<&EmotionEvent> = all.iter().map(Arc::as_ref).collect();
                return Json(json!({ "events": all })).into_response();
            }
            Err(error) => return error.into_response(),
        }
    }
}

/// Returns the chunk that opens the stream; it has no audio.
fn first_chunk(mut query: HashMap<String, String>, headers: &HeaderMap) -> Result<AudioChunk, AnalyzeError> {
    let mut value = |key: &str| query.remove(key).unwrap_or_default();
    let [stream_id, model, channels, names] = KEYS.map(&mut value);
    if let Some(key) = query.into_keys().next() {
        return Err(AnalyzeError::Key(key));
    }
    let channels = match channels.as_str() {
        "" => 0,
        name => ChannelPolicy::from_name(name).ok_or(AnalyzeError::Channels(channels))?.to_proto().into(),
    };
    Ok(AudioChunk {
        stream_id,
        model,
        channels,
        channel_names: if names.is_empty() { Vec::new() } else { channel_names(&names) },
        format: format(headers)?.to_proto(),
        ..AudioChunk::default()
    })
}

/// Returns the format of the body. A body that does not say that it is audio is a file: `curl --data-binary` declares a form.
fn format(headers: &HeaderMap) -> Result<AudioFormat, AnalyzeError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("audio/") {
        return Ok(AudioFormat::FILE);
    }
    AudioFormat::from_content_type(kind).map_err(|error| AnalyzeError::ContentType(error.to_string()))
}

/// The events of one request, and then its outcome.
struct Events {
    inbox: ReplyInbox,
    ended: oneshot::Receiver<Result<(), SessionError<axum::Error>>>,
}

impl Events {
    /// Starts the session of a request.
    fn start(
        sessions: &HttpSessions,
        principal: Principal,
        first: AudioChunk,
        body: Body,
    ) -> Result<Self, AnalyzeError> {
        let permit = principal.quota.as_ref().map(Quota::open_stream).transpose()?;
        let chunks = paced(chunks(first, body), principal.quota, |chunk| chunk.audio.len());
        let (session, inbox) = InputSession::new(sessions.links.clone(), Source::HTTP, principal.name);
        let (end, ended) = oneshot::channel();
        sessions.calls.spawn(async move {
            let _permit = permit;
            // Fails only if the client has gone.
            let _ = end.send(session.run(chunks).await);
        });
        Ok(Self { inbox, ended })
    }

    /// Waits for the next event; `None` after the last one.
    async fn next(&mut self) -> Result<Option<Arc<EmotionEvent>>, AnalyzeError> {
        let ended = tokio::select! {
            biased;
            Some(reply) = self.inbox.recv() => return event(reply).map(Some),
            ended = &mut self.ended => ended,
        };
        // The session has ended, so every event has been taken. What may be left is the failure of a window.
        if let Some(reply) = self.inbox.try_recv() {
            return event(reply).map(Some);
        }
        match ended {
            Ok(Ok(())) => Ok(None),
            Ok(Err(SessionError::Refused(refusal))) => Err(AnalyzeError::Refused(refusal)),
            Ok(Err(SessionError::Transport(error))) => Err(AnalyzeError::Body(error.to_string())),
            Err(_) => Err(AnalyzeError::Ended),
        }
    }

    /// Returns the response with one line per event. Its status is that of the first outcome.
    async fn into_lines(mut self) -> Response {
        let first = match self.next().await {
            Ok(first) => first,
            Err(error) => return error.into_response(),
        };
        let rest = futures::stream::unfold(Some(self), async |events| {
            let mut events = events?;
            match events.next().await {
                Ok(Some(event)) => Some((line(&*event), Some(events))),
                Ok(None) => None,
                Err(error) => Some((line(&error.to_json()), None)),
            }
        });
        let first = futures::stream::iter(first.map(|event| line(&*event)));
        let body = Body::from_stream(first.chain(rest).map(Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, NDJSON)], body).into_response()
    }
}

/// Returns the event of a reply. Dropping its credit releases its room to the session.
fn event(reply: CallReply) -> Result<Arc<EmotionEvent>, AnalyzeError> {
    match reply {
        CallReply::Event(event, _credit) => Ok(event),
        CallReply::Failed { index, source } => Err(AnalyzeError::Engine { index, source: *source }),
    }
}

/// Returns one line of JSON.
fn line(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value)
        .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string());
    format!("{json}\n")
}

/// Returns the chunks of a body: the first one opens the stream, the last one ends it.
fn chunks(
    first: AudioChunk,
    body: Body,
) -> impl Stream<Item = Result<AudioChunk, SessionError<axum::Error>>> + Send {
    let pieces = body.into_data_stream().map_err(SessionError::Transport).flat_map(|data| {
        futures::stream::iter(match data {
            Ok(data) => pieces(data).map(|audio| Ok(AudioChunk { audio, ..AudioChunk::default() })).collect(),
            Err(error) => vec![Err(error)],
        })
    });
    let last = AudioChunk { last: true, ..AudioChunk::default() };
    futures::stream::iter([Ok(first)]).chain(pieces).chain(futures::stream::iter([Ok(last)]))
}

/// Cuts bytes into pieces of at most [`PIECE_BYTES`].
fn pieces(data: Bytes) -> impl Iterator<Item = Bytes> {
    let starts = (0..data.len()).step_by(PIECE_BYTES);
    starts.map(move |start| data.slice(start..(start + PIECE_BYTES).min(data.len())))
}
