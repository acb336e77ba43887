//! Genesys AudioHook v2: `/ingest/audiohook`.
//!
//! Input: a signed request for a WebSocket, then messages and audio. Output: one stream of the channels `customer` and `agent`, and the answers of
//! the protocol. Invariants: an unsigned request is refused before anything else of it is read; a client that does not keep the protocol harms its
//! own session only; every wait for a client is bounded.
//!
//! `audiohook_signature` checks the request, `audiohook_message` reads messages, `audiohook_protocol` holds the rules of a session.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, Sleep, sleep};

use super::admission::check_room;
use super::audiohook_message::{Channels, CloseReason, Open};
use super::audiohook_protocol::{AudioStep, DisconnectReason, Protocol, Step, Violation};
use super::audiohook_signature::{ORGANIZATION, SESSION, text};
use super::live_stream::{LiveCall, LiveStream};
use super::websocket::{Closing, Incoming, close, drain, limited, next};
use super::{Access, Handshake};
use crate::audio::{AudioFormat, Encoding};
use crate::proto::AudioChunk;
use crate::security::{Peer, Principal};
use crate::session::Refusal;
use crate::stream::EndReason;
use crate::telemetry::excerpt;
use crate::telemetry::metrics::Source;
use crate::transport::http::{HttpSessions, State, wrong};

/// How long the last events may take before `closed` is sent. The protocol allows five seconds.
const LAST_EVENTS: Duration = Duration::from_secs(4);
/// How long a client may take to close the session, or the connection, at the server's request.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to receive a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Handles the request for a connection.
pub(in crate::transport) async fn audiohook(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    (uri, headers): (Uri, HeaderMap),
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let handshake = Handshake { peer: &peer, uri: &uri, headers: &headers };
    if let Err(error) = state.access.check_audiohook(handshake) {
        tracing::debug!(%error, "an AudioHook request was refused");
        let challenge = [(header::WWW_AUTHENTICATE, "Signature")];
        return wrong((
            StatusCode::UNAUTHORIZED,
            challenge,
            state.access.refusal(handshake, &error.to_string()),
        ));
    }
    let Some(sessions) = state.sessions.get().filter(|it| !it.links.draining.is_cancelled()) else {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", state.readiness.status())).into_response();
    };
    if let Err(refusal) = check_room(&sessions) {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let owned = |name| text(&headers, name).map(str::to_owned);
    let protocol = Protocol::new(owned(SESSION), owned(ORGANIZATION));
    let access = state.access.clone();
    limited(upgrade).on_upgrade(async move |socket| {
        // A drain waits for the end of the session, not of the connection.
        let tracked = sessions.calls.token();
        let mut connection = Connection::new(access, sessions, protocol, socket);
        connection.run().await;
        drop(tracked);
        connection.close_socket().await;
    })
}

/// One connection.
struct Connection {
    access: Access,
    sessions: HttpSessions,
    protocol: Protocol,
    sender: SplitSink<WebSocket, Message>,
    receiver: SplitStream<WebSocket>,
    stream: Option<LiveStream>,
    /// What closes the connection; a frame without a code where it is `None`.
    closing: Option<Closing>,
    /// The end of what the client is waited for: `open`, the next message of a probe, or the close of the session.
    deadline: Pin<Box<Sleep>>,
}

/// What happens next on a connection.
enum Event {
    Message(Incoming),
    /// The session of the stream has ended.
    Ended(Option<Refusal>),
    Draining,
    Late,
}

/// The end of a connection.
struct Closed;

type Next = Result<(), Closed>;

impl Connection {
    fn new(access: Access, sessions: HttpSessions, protocol: Protocol, socket: WebSocket) -> Self {
        let (sender, receiver) = socket.split();
        let deadline = Box::pin(sleep(sessions.links.first_chunk_timeout));
        Self { access, sessions, protocol, sender, receiver, stream: None, closing: None, deadline }
    }

    /// Serves the session to its end.
    async fn run(&mut self) {
        loop {
            let event = self.event().await;
            if self.handle(event).await.is_err() {
                break;
            }
        }
        if let Some(stream) = self.stream.take() {
            stream.end(EndReason::Disconnected);
        }
    }

    /// Closes the connection.
    async fn close_socket(mut self) {
        match self.closing {
            Some(closing) => close(&mut self.sender, closing).await,
            None => {
                let closing = self.sender.send(Message::Close(None));
                let _ = tokio::time::timeout(SEND_TIMEOUT, closing).await;
            }
        }
        drain(&mut self.receiver).await;
    }

    async fn event(&mut self) -> Event {
        let ended = async {
            match &mut self.stream {
                Some(stream) => stream.ended().await,
                None => std::future::pending().await,
            }
        };
        let waits = self.protocol.is_new() || self.protocol.is_probe() || self.protocol.has_ended();
        tokio::select! {
            message = next(&mut self.receiver, Source::AUDIOHOOK) => Event::Message(message),
            outcome = ended => Event::Ended(outcome),
            () = self.sessions.links.draining.cancelled(), if !self.protocol.has_ended() => Event::Draining,
            () = &mut self.deadline, if waits => Event::Late,
        }
    }

    async fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::Message(Incoming::Text(text)) => match self.protocol.text(&text) {
                Ok(step) => self.take(step).await,
                Err(violation) => self.refuse(violation).await,
            },
            Event::Message(Incoming::Binary(audio)) => self.audio(audio).await,
            Event::Message(Incoming::Invalid(closing)) => {
                self.closing = Some(closing);
                Err(Closed)
            }
            Event::Message(Incoming::Closed) => Err(Closed),
            Event::Ended(outcome) => self.stream_ended(outcome).await,
            // The session of the stream notes the drain itself.
            Event::Draining => self.disconnect(DisconnectReason::Completed, "affectd is shutting down").await,
            Event::Late if self.protocol.is_new() => {
                self.refuse(Violation("type: no open came in time (limits.first_chunk_timeout)".to_owned()))
                    .await
            }
            Event::Late if self.protocol.is_probe() => {
                let seconds = self.sessions.links.idle_timeout.as_secs_f64();
                let text = format!("type: no message for {seconds} s (audio.idle_timeout)");
                self.refuse(Violation(text)).await
            }
            Event::Late => Err(Closed),
        }
    }

    async fn take(&mut self, step: Step) -> Next {
        if let Some(stream) = &self.stream {
            stream.intake.keep_open();
        } else if self.protocol.is_probe() {
            // The session of a stream has a limit of its own.
            self.deadline.as_mut().reset(Instant::now() + self.sessions.links.idle_timeout);
        }
        match step {
            Step::Open(open, channels) => self.open(&open, channels).await,
            Step::Reply(text) => self.send(text).await,
            Step::Hole(time) => {
                self.stream.iter().for_each(|stream| stream.skip(time));
                Ok(())
            }
            Step::Close(reason) => self.close(reason).await,
            Step::Nothing => Ok(()),
        }
    }

    async fn open(&mut self, open: &Open, channels: Channels) -> Next {
        let opening = AudioChunk {
            stream_id: self.protocol.id().to_owned(),
            channel_names: channels.names().iter().map(|name| (*name).to_owned()).collect(),
            attributes: open.attributes(),
            ..AudioChunk::default()
        };
        let format = match AudioFormat::new(Encoding::MuLaw, 8_000, channels.names().len() as u32) {
            Ok(format) => format,
            Err(error) => return self.refuse(Violation(error.to_string())).await,
        };
        let (links, owner) = ((&self.sessions, &self.access), Principal::anonymous().name);
        let call = LiveCall { call_id: &open.conversation_id, owner, source: Source::AUDIOHOOK };
        self.stream = Some(LiveStream::open(links, call, format, opening));
        let answer = self.protocol.opened(channels);
        self.send(answer).await
    }

    async fn audio(&mut self, audio: Bytes) -> Next {
        let step = self.protocol.audio(audio.len());
        match (step, &self.stream) {
            (Ok(AudioStep::Accept), Some(stream)) => stream.intake.add(&audio),
            (Ok(AudioStep::DropPaused), Some(stream)) => stream.count_dropped(audio.len()),
            (Ok(_), _) => {}
            (Err(violation), _) => return self.refuse(violation).await,
        }
        Ok(())
    }

    /// Ends the stream, waits for its last events, and answers.
    async fn close(&mut self, reason: CloseReason) -> Next {
        if let Some(mut stream) = self.stream.take() {
            stream.end(match reason {
                CloseReason::End | CloseReason::Reconnect | CloseReason::Disconnect => EndReason::Completed,
                CloseReason::Error => EndReason::Error,
            });
            let _ = tokio::time::timeout(LAST_EVENTS, stream.ended()).await;
        }
        let answer = self.protocol.closed();
        self.send(answer).await?;
        Err(Closed)
    }

    /// Requests the end of the session because the client does not keep the protocol.
    async fn refuse(&mut self, violation: Violation) -> Next {
        if let Some(stream) = &self.stream {
            stream.end(EndReason::Error);
        }
        tracing::warn!(session = %excerpt(self.protocol.id()), "an AudioHook session is ended: {violation}");
        self.disconnect(DisconnectReason::Error, &violation.to_string()).await
    }

    /// Requests the end of the session where its stream has ended by itself.
    async fn stream_ended(&mut self, outcome: Option<Refusal>) -> Next {
        self.stream = None;
        match outcome {
            Some(Refusal::Draining) => {
                self.disconnect(DisconnectReason::Completed, "affectd is shutting down").await
            }
            Some(refusal) => self.disconnect(DisconnectReason::Error, &refusal.text_without_position()).await,
            None => self.disconnect(DisconnectReason::Error, "the stream has ended").await,
        }
    }

    async fn disconnect(&mut self, reason: DisconnectReason, info: &str) -> Next {
        let Some(text) = self.protocol.disconnect(reason, info) else { return Ok(()) };
        self.deadline.as_mut().reset(Instant::now() + CLOSE_TIMEOUT);
        self.send(text).await
    }

    async fn send(&mut self, text: String) -> Next {
        let sent = self.sender.send(Message::Text(text.into()));
        match tokio::time::timeout(SEND_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed),
        }
    }
}
