//! Raw audio over WebSocket: `/v1/listen` and `/ingest/websocket`.
//!
//! Input: binary messages with audio of any size, and text messages. Output: one stream; with `events=true` each event as a text message.
//! Invariants: a connection carries one session, with the limits and the errors of a gRPC call; it is closed after the last event; a connection
//! that closes without `CloseStream` ends its stream as disconnected.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::admission::{Owner, admit, note_unanalysed};
use super::intake::Intake;
use super::raw_format::Declaration;
use super::websocket::{Closing, Incoming, close, drain, draining, end_of, limited, next, refused, rest};
use super::{Access, Handshake};
use crate::proto::AudioChunk;
use crate::security::{Peer, Principal, paced};
use crate::serving::CallReply;
use crate::session::{InputSession, Refusal, ReplyInbox, SessionError};
use crate::stream::{EndReason, StreamCall};
use crate::telemetry::metrics::Source;
use crate::transport::http::{HttpSessions, State, wrong};

/// Subprotocols that are echoed, in this order of preference.
const PROTOCOLS: [&str; 4] = ["audio.jambonz.org", "audio.drachtio.org", "token", "bearer"];

/// The answer to a request that is refused.
const REFUSED: &str = "token: missing or wrong (ingest.tokens)";

/// Handles the request for a connection.
pub(in crate::transport) async fn listen(
    Shared(state): Shared<State>,
    Query(query): Query<HashMap<String, String>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    (uri, headers): (Uri, HeaderMap),
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let handshake = Handshake { peer: &peer, uri: &uri, headers: &headers };
    let Some(principal) = state.access.principal(handshake, &query) else {
        return wrong((StatusCode::FORBIDDEN, state.access.refusal(handshake, REFUSED)));
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let declared = match Declaration::from_query(&query) {
        Ok(declared) => declared,
        Err(text) => return (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response(),
    };
    let (sessions, owner) = match admit(&state, principal) {
        Ok(admitted) => admitted,
        Err(text) => return (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
    };
    let access = state.access.clone();
    let events = query.get("events").is_some_and(|events| events.eq_ignore_ascii_case("true"));
    let connection = Connection { access, sessions, owner, declared, events };
    limited(upgrade).protocols(PROTOCOLS).on_upgrade(|socket| connection.run(socket))
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum InputEnd {
    CloseStream,
    Disconnected,
    /// By a message that is too large or breaks the protocol.
    Invalid(Closing),
}

impl Connection {
    async fn run(mut self, socket: WebSocket) {
        let (mut sender, mut receiver) = socket.split();
        let opened = match self.first_audio(&mut receiver).await {
            Ok(first) => {
                self.open().map(|opened| (first, opened)).map_err(|text| (close_code::UNSUPPORTED, text))
            }
            Err(closing) => Err(closing),
        };
        match opened {
            Ok((first, opened)) => self.serve((sender, receiver), first, opened).await,
            Err(closing) => {
                close(&mut sender, closing).await;
                drain(&mut receiver).await;
            }
        }
    }

    /// Serves the stream to its end, and closes the connection.
    async fn serve(
        &mut self,
        (mut sender, receiver): (SplitSink<WebSocket, Message>, SplitStream<WebSocket>),
        first: Bytes,
        (intake, call, opening): (Intake, Arc<StreamCall>, AudioChunk),
    ) {
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
        let (end, mut input_end) = oneshot::channel();
        let reading = tokio::spawn(read(receiver, (intake, call), end));
        let refusal = self.replies(&mut sender, inbox, ended).await;
        let closing = match (refusal, input_end.try_recv()) {
            (Some(refusal), _) => refused(&refusal),
            (None, Ok(InputEnd::Invalid(closing))) => closing,
            (None, _) => (close_code::NORMAL, String::new()),
        };
        close(&mut sender, closing).await;
        end_of(reading).await;
    }

    /// Waits for the first audio; text before it declares the format.
    ///
    /// # Errors
    /// What closes the connection: it ends before, or no audio comes in time.
    async fn first_audio(&mut self, receiver: &mut SplitStream<WebSocket>) -> Result<Bytes, Closing> {
        let timeout = self.sessions.links.first_chunk_timeout;
        let mut is_declared = false;
        let first = async {
            loop {
                match next(receiver, Source::WEBSOCKET).await {
                    Incoming::Binary(audio) if audio.is_empty() => {}
                    Incoming::Binary(audio) => return Ok(audio),
                    Incoming::Text(text) if is_close(&text) => break,
                    Incoming::Text(text) if !is_declared => is_declared = self.declared.add_text(&text),
                    Incoming::Text(_) => {}
                    Incoming::Invalid(closing) => return Err(closing),
                    Incoming::Closed => break,
                }
            }
            Err((close_code::NORMAL, String::new()))
        };
        tokio::select! {
            first = first => first,
            () = self.sessions.links.draining.cancelled() => Err(draining()),
            () = tokio::time::sleep(timeout) => {
                let seconds = timeout.as_secs_f64();
                let text = format!("audio: none within {seconds} s (limits.first_chunk_timeout)");
                Err((close_code::POLICY, text))
            }
        }
    }

    /// Returns the intake, the call and the chunk that opens the stream.
    fn open(&self) -> Result<(Intake, Arc<StreamCall>, AudioChunk), String> {
        let (declared, format) = (&self.declared, self.declared.format()?);
        let stream_id = uuid::Uuid::new_v4().to_string();
        let call_id = declared.call_id.clone().unwrap_or_else(|| stream_id.clone());
        let names = declared.channel_names();
        let call = StreamCall::named(call_id.as_str().into(), Source::WEBSOCKET.name());
        let call = Arc::new(call.analysing(self.access.analyse()));
        note_unanalysed(&call, &names);
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

    /// Sends the events until the session has ended; returns why the input was refused. A client that does not read delays neither the
    /// session nor its end.
    async fn replies(
        &self,
        sender: &mut SplitSink<WebSocket, Message>,
        mut inbox: ReplyInbox,
        ended: oneshot::Receiver<Result<(), SessionError<std::convert::Infallible>>>,
    ) -> Option<Refusal> {
        let mut refusal = pin!(ended.map(|outcome| match outcome {
            Ok(Err(SessionError::Refused(refusal))) => Some(refusal),
            Ok(Ok(()) | Err(SessionError::Transport(_))) | Err(_) => None,
        }));
        loop {
            let reply = tokio::select! {
                biased;
                Some(reply) = inbox.recv() => reply,
                refusal = &mut refusal => return refusal,
            };
            let text = match reply {
                CallReply::Event(event, _credit) => tagged("Emotion", serde_json::to_value(&*event)),
                CallReply::Failed { index, source } => {
                    tagged("Error", Ok(json!({"message": format!("window {index}: {source}")})))
                }
            };
            if !self.events {
                continue;
            }
            let sent = tokio::select! {
                biased;
                sent = sender.send(Message::Text(text.into())) => sent,
                refusal = &mut refusal => return refusal,
            };
            // A client that has gone is noticed by the reader, which ends the stream.
            if sent.is_err() {
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

/// Reads to the end of the connection or of the stream, and reports it. Never waits for the engine.
async fn read(
    mut receiver: SplitStream<WebSocket>,
    (intake, call): (Intake, Arc<StreamCall>),
    ended: oneshot::Sender<InputEnd>,
) {
    let end = loop {
        match next(&mut receiver, Source::WEBSOCKET).await {
            Incoming::Binary(audio) => intake.add(&audio),
            Incoming::Text(text) if is_close(&text) => break InputEnd::CloseStream,
            Incoming::Text(_) => {}
            Incoming::Invalid(closing) => break InputEnd::Invalid(closing),
            Incoming::Closed => break InputEnd::Disconnected,
        }
    };
    if end != InputEnd::CloseStream {
        call.end(EndReason::Disconnected);
    }
    // Fails only if the session has ended already.
    let _ = ended.send(end);
    intake.close();
    rest(&mut receiver).await;
}

fn is_close(text: &str) -> bool {
    let message = serde_json::from_str::<Json>(text).unwrap_or_default();
    message["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("CloseStream"))
}
