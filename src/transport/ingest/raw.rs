//! Raw audio over WebSocket: `/v1/listen` and `/ingest/websocket`.
//!
//! Input: binary messages with audio of any size, and text messages. Output: one stream; with `events=true` each event as a text message.
//! Invariants: a connection carries one session, with the limits and the errors of a gRPC call; it is closed after the last event; a connection
//! that closes without `CloseStream` ends its stream as disconnected.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::Access;
use super::intake::Intake;
use super::raw_format::Declaration;
use crate::proto::AudioChunk;
use crate::security::{Peer, Principal, Quota, QuotaPermit, paced};
use crate::serving::CallReply;
use crate::session::{InputSession, Refusal, RefusalClass, ReplyInbox, SessionError};
use crate::stream::{EndReason, StreamCall};
use crate::telemetry::metrics::Source;
use crate::transport::http::{HttpSessions, State};

/// The largest message in bytes.
pub(super) const LARGEST_MESSAGE: usize = 64 * 1024;
/// Subprotocols that are echoed.
const PROTOCOLS: [&str; 4] = ["token", "bearer", "audio.jambonz.org", "audio.drachtio.org"];

/// Handles the request for a connection.
pub(in crate::transport) async fn listen(
    Shared(state): Shared<State>,
    Query(query): Query<HashMap<String, String>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(principal) = state.access.principal(&peer, &headers, &query) else {
        return (StatusCode::FORBIDDEN, "token: missing or wrong (ingest.tokens)\n").into_response();
    };
    let declared = match Declaration::from_query(&query) {
        Ok(declared) => declared,
        Err(text) => return (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response(),
    };
    let (sessions, owner) = match admit(&state, principal) {
        Ok(admitted) => admitted,
        Err(text) => return (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
    };
    let (access, events) = (state.access.clone(), query.get("events").is_some_and(|events| events == "true"));
    let connection = Connection { access, sessions, owner, declared, events };
    upgrade
        .max_message_size(LARGEST_MESSAGE)
        .max_frame_size(LARGEST_MESSAGE)
        .protocols(PROTOCOLS)
        .on_upgrade(|socket| connection.run(socket))
}

/// Whose stream it is, and its part of the limits of the principal.
pub(super) struct Owner {
    pub principal: Principal,
    pub permit: Option<QuotaPermit>,
}

/// Admits a stream of a principal before its connection is upgraded.
///
/// # Errors
/// The text of the response: the daemon is not ready, or a limit is reached.
pub(super) fn admit(state: &State, principal: Principal) -> Result<(HttpSessions, Owner), String> {
    let sessions = state.sessions.get().filter(|it| !it.links.draining.is_cancelled());
    let sessions = sessions.ok_or_else(|| format!("{}\n", state.readiness.status()))?;
    check_room(&sessions).map_err(|refusal| format!("{refusal}\n"))?;
    let permit = principal.quota.as_ref().map(Quota::open_stream).transpose();
    let permit = permit.map_err(|error| format!("{error}\n"))?;
    Ok((sessions, Owner { principal, permit }))
}

/// Refuses a stream that the limits do not allow: one of one channel that the default model analyses.
fn check_room(sessions: &HttpSessions) -> Result<(), Refusal> {
    sessions.links.streams.check_room()?;
    let (registry, limit) = (sessions.links.registries.borrow(), sessions.links.max_utilization_percent);
    let model = registry.find("")?;
    let percent = registry.utilization_with(&model, 1) * 100.0;
    if percent > limit as f64 { Err(Refusal::Busy(limit)) } else { Ok(()) }
}

/// One connection.
struct Connection {
    access: Access,
    sessions: HttpSessions,
    owner: Owner,
    declared: Declaration,
    /// Whether events are sent back.
    events: bool,
}

/// The way that a connection's input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    CloseStream,
    Disconnected,
}

impl Connection {
    async fn run(mut self, socket: WebSocket) {
        let (mut sender, mut receiver) = socket.split();
        let Some(first) = self.first_audio(&mut receiver).await else { return };
        let (intake, call, opening) = match self.open() {
            Ok(opened) => opened,
            Err(text) => return close(&mut sender, close_code::UNSUPPORTED, &text).await,
        };
        intake.add(&first);
        let Principal { name, quota, .. } = self.owner.principal.clone();
        let (session, inbox) = InputSession::new(self.sessions.links.clone(), Source::WEBSOCKET, name);
        let session = session.with_call(call.clone());
        let (end, ended) = oneshot::channel();
        let chunks = paced(chunks(opening, intake.clone()), quota, |chunk| chunk.audio.len());
        let permit = self.owner.permit.take();
        self.sessions.calls.spawn(async move {
            let _permit = permit;
            // Fails only if the connection's task has ended.
            let _ = end.send(session.run(chunks).await);
        });
        let reading = tokio::spawn(read(receiver, intake, call));
        let outcome = self.replies(&mut sender, inbox, ended).await;
        reading.abort();
        let (code, text) = match outcome {
            None => (close_code::NORMAL, String::new()),
            Some(refusal) => (close_code_of(refusal.class()), refusal.to_string()),
        };
        close(&mut sender, code, &text).await;
    }

    /// Waits for the first audio; text before it declares the format. `None` where the connection ends before.
    async fn first_audio(&mut self, receiver: &mut SplitStream<WebSocket>) -> Option<Bytes> {
        let (timeout, mut texts) = (self.sessions.links.first_chunk_timeout, 0);
        let first = async {
            loop {
                match receiver.next().await?.ok()? {
                    Message::Binary(audio) => return Some(audio),
                    Message::Text(text) if is_close(&text) => return None,
                    Message::Text(text) if texts == 0 => {
                        texts += 1;
                        self.declared.add_first_text(&text);
                    }
                    Message::Close(_) => return None,
                    Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
                }
            }
        };
        tokio::time::timeout(timeout, first).await.ok().flatten()
    }

    /// Returns the intake, the call and the chunk that opens the stream.
    fn open(&self) -> Result<(Intake, Arc<StreamCall>, AudioChunk), String> {
        let (declared, format) = (&self.declared, self.declared.format()?);
        let stream_id = uuid::Uuid::new_v4().to_string();
        let call_id = declared.call_id.clone().unwrap_or_else(|| stream_id.clone());
        let names = declared.channel_names();
        let call = StreamCall::named(call_id.as_str().into(), Source::WEBSOCKET.name());
        let call = Arc::new(call.analysing(self.access.analyse()));
        let known = self.sessions.links.registries.borrow().find(&declared.model).is_ok();
        if !known {
            // Clients of Deepgram always name one of its models.
            tracing::debug!(model = declared.model, "an unknown model is requested: the default one is used");
        }
        let mut attributes = declared.attributes.clone();
        self.access.privacy().apply(&mut attributes);
        attributes.insert("call_id".to_owned(), call_id);
        let opening = AudioChunk {
            stream_id,
            format: format.to_proto(),
            channel_names: names,
            model: if known { declared.model.clone() } else { String::new() },
            attributes,
            ..AudioChunk::default()
        };
        Ok((Intake::new(format, call.clone(), Source::WEBSOCKET), call, opening))
    }

    /// Sends the events until the session has ended; returns why the input was refused.
    async fn replies(
        &self,
        sender: &mut SplitSink<WebSocket, Message>,
        mut inbox: ReplyInbox,
        mut ended: oneshot::Receiver<Result<(), SessionError<std::convert::Infallible>>>,
    ) -> Option<Refusal> {
        loop {
            let reply = tokio::select! {
                biased;
                Some(reply) = inbox.recv() => reply,
                outcome = &mut ended => {
                    return match outcome {
                        Ok(Err(SessionError::Refused(refusal))) => Some(refusal),
                        Ok(Ok(()) | Err(SessionError::Transport(_))) | Err(_) => None,
                    };
                }
            };
            let text = match reply {
                CallReply::Event(event, _credit) => tagged("Emotion", serde_json::to_value(&*event)),
                CallReply::Failed { index, source } => {
                    tagged("Error", Ok(json!({"message": format!("window {index}: {source}")})))
                }
            };
            // A client that has gone is noticed by the reader, which ends the stream.
            if self.events && sender.send(Message::Text(text.into())).await.is_err() {
                tracing::debug!("an event was not sent: the connection is closed");
            }
        }
    }
}

/// Returns an object as text, with its type.
fn tagged(kind: &str, value: serde_json::Result<Json>) -> String {
    let mut value = value.unwrap_or_else(|error| json!({"message": error.to_string()}));
    value["type"] = kind.into();
    value.to_string()
}

/// Returns the chunks of a stream: the one that opens it, and then its audio.
pub(super) fn chunks(
    opening: AudioChunk,
    intake: Intake,
) -> impl futures::Stream<Item = Result<AudioChunk, SessionError<std::convert::Infallible>>> + Send {
    let audio = futures::stream::unfold((intake, false), async |(intake, mut ended)| {
        let chunk = intake.next(&mut ended).await?;
        Some((Ok(chunk), (intake, ended)))
    });
    futures::stream::iter([Ok(opening)]).chain(audio)
}

/// Reads to the end of the connection or of the stream. Never waits for the engine.
async fn read(mut receiver: SplitStream<WebSocket>, intake: Intake, call: Arc<StreamCall>) {
    let end = loop {
        match receiver.next().await {
            Some(Ok(Message::Binary(audio))) => intake.add(&audio),
            Some(Ok(Message::Text(text))) if is_close(&text) => break InputEnd::CloseStream,
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => break InputEnd::Disconnected,
        }
    };
    if end == InputEnd::Disconnected {
        call.end(EndReason::Disconnected);
    }
    intake.close();
    // The answer to a close of the server is still to be read.
    while let Some(Ok(_)) = receiver.next().await {}
}

fn is_close(text: &str) -> bool {
    serde_json::from_str::<Json>(text).is_ok_and(|message| message["type"] == "CloseStream")
}

pub(super) fn close_code_of(class: RefusalClass) -> u16 {
    match class {
        RefusalClass::InvalidInput | RefusalClass::AlreadyOpen => close_code::POLICY,
        RefusalClass::LimitReached => close_code::AGAIN,
        RefusalClass::TimedOut => close_code::NORMAL,
        RefusalClass::Unavailable => close_code::RESTART,
    }
}

pub(super) async fn close(sender: &mut SplitSink<WebSocket, Message>, code: u16, text: &str) {
    // A close frame holds at most 123 bytes of text.
    let end = text.floor_char_boundary(123);
    let frame = CloseFrame { code, reason: text[..end].into() };
    // Fails only if the client has gone.
    let _ = sender.send(Message::Close(Some(frame))).await;
}
