//! The rules of an AudioHook session: which message is allowed when, and what answers it.
//!
//! Input: text messages, and audio as a number of bytes. Output: what is to be done, and the texts of the answers. Pure.
//! Invariants: each side numbers its messages from 1; the first violation ends the session with one `disconnect`, after which only `close` has an
//! effect.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::audiohook_message::{Channels, ClientMessage, CloseReason, Envelope, Open};
use crate::telemetry::excerpt;

/// What a text message leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Open the stream, then answer with [`Protocol::opened`].
    Open(Box<Open>, Channels),
    /// Send the answer.
    Reply(String),
    /// Audio of this length is missing.
    Hole(Duration),
    /// Finish the stream, then answer with [`Protocol::closed`].
    Close(CloseReason),
    /// Nothing.
    Nothing,
}

/// What audio leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AudioStep {
    /// It belongs to the stream.
    Accept,
    /// It came while the session was paused.
    DropPaused,
    /// The session does not use it: it is a probe, or has ended.
    Ignore,
}

/// A client that does not keep the rules; the text names what it did.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub String);

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DisconnectReason {
    Completed,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before `open`.
    New,
    Open(Channels),
    Paused(Channels),
    Probe,
    /// The server has sent `disconnect`.
    Disconnected,
    /// The client has sent `close`.
    Closing,
}

/// The state of one session.
#[derive(Debug)]
pub(super) struct Protocol {
    /// `None` until the first message where the request had no id.
    id: Option<String>,
    /// `None` where the request had none.
    organization: Option<String>,
    phase: Phase,
    sent: u64,
    received: u64,
}

impl Protocol {
    /// Returns a session with the ids that the headers of its request declare.
    pub fn new(id: Option<String>, organization: Option<String>) -> Self {
        Self { id, organization, phase: Phase::New, sent: 0, received: 0 }
    }

    /// Returns the id of the session; empty before it is declared.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Returns whether the session is before `open`.
    pub fn is_new(&self) -> bool {
        self.phase == Phase::New
    }

    /// Returns whether the session only tests the connection.
    pub fn is_probe(&self) -> bool {
        self.phase == Phase::Probe
    }

    /// Returns whether one side has ended the session.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Disconnected | Phase::Closing)
    }

    /// Handles a text message.
    pub fn text(&mut self, text: &str) -> Result<Step, Violation> {
        match self.phase {
            Phase::Closing => Ok(Step::Nothing),
            Phase::Disconnected => Ok(self.close_after_disconnect(text)),
            Phase::New | Phase::Open(_) | Phase::Paused(_) | Phase::Probe => {
                let envelope = Envelope::parse(text).map_err(Violation)?;
                self.check_numbers(&envelope).map_err(Violation)?;
                self.handle(envelope.into_message().map_err(Violation)?)
            }
        }
    }

    /// Handles a text message after a `disconnect`. A client whose numbers were wrong may close the session with any.
    fn close_after_disconnect(&mut self, text: &str) -> Step {
        let Ok(envelope) = Envelope::parse(text) else { return Step::Nothing };
        self.received = envelope.seq;
        match envelope.into_message() {
            Ok(ClientMessage::Close { .. }) => {
                self.phase = Phase::Closing;
                Step::Close(CloseReason::Disconnect)
            }
            _ => Step::Nothing,
        }
    }

    fn check_numbers(&mut self, envelope: &Envelope) -> Result<(), String> {
        let id = self.id.get_or_insert_with(|| envelope.id.clone());
        if *id != envelope.id {
            return Err("id: not that of the session".to_owned());
        }
        let expected = self.received + 1;
        if envelope.seq != expected {
            return Err(format!("seq: {}: expected is {expected}", envelope.seq));
        }
        if envelope.server_seq > self.sent {
            return Err(format!("serverseq: {}: {} messages were sent", envelope.server_seq, self.sent));
        }
        self.received = envelope.seq;
        Ok(())
    }

    fn handle(&mut self, message: ClientMessage) -> Result<Step, Violation> {
        match (message, self.phase) {
            (ClientMessage::Open(open), Phase::New) => self.open(open),
            (ClientMessage::Open(_), _) => {
                Err(Violation("type: open: the session is open already".to_owned()))
            }
            (ClientMessage::Ping, _) => Ok(Step::Reply(self.message("pong", json!({})))),
            (ClientMessage::Close { reason }, _) => {
                self.phase = Phase::Closing;
                Ok(Step::Close(reason))
            }
            (ClientMessage::Update, _) => {
                tracing::info!(session = %excerpt(self.id()), "an AudioHook session was updated");
                Ok(Step::Nothing)
            }
            (ClientMessage::Error { text }, _) => {
                tracing::warn!(
                    session = %excerpt(self.id()),
                    "the client of an AudioHook session reports an error: {}",
                    excerpt(&text)
                );
                Ok(Step::Nothing)
            }
            (_, Phase::New) => Err(Violation(
                "type: only open, ping, update, error and close are allowed before open".to_owned(),
            )),
            (message, _) => Ok(self.change_flow(message)),
        }
    }

    /// Handles a pause, its end, or audio that was discarded.
    fn change_flow(&mut self, message: ClientMessage) -> Step {
        let (Phase::Open(channels) | Phase::Paused(channels)) = self.phase else { return Step::Nothing };
        match message {
            ClientMessage::Paused => {
                self.phase = Phase::Paused(channels);
                Step::Nothing
            }
            ClientMessage::Resumed { discarded } => {
                self.phase = Phase::Open(channels);
                Step::Hole(discarded)
            }
            ClientMessage::Discarded { discarded } => Step::Hole(discarded),
            _ => Step::Nothing,
        }
    }

    fn open(&mut self, open: Box<Open>) -> Result<Step, Violation> {
        if self.organization.as_ref().is_some_and(|it| *it != open.organization_id) {
            return Err(Violation("organizationId: not that of the request".to_owned()));
        }
        if open.conversation_id.is_empty() {
            return Err(Violation("conversationId: empty".to_owned()));
        }
        let Some(channels) = open.channels() else {
            let text =
                "media: allowed is PCMU at 8000 Hz with the channels external and internal, or one of them";
            return Err(Violation(text.to_owned()));
        };
        if open.is_probe() {
            self.phase = Phase::Probe;
            return Ok(Step::Reply(self.opened(channels)));
        }
        self.phase = Phase::Open(channels);
        Ok(Step::Open(open, channels))
    }

    /// Handles a binary message of `bytes`.
    pub fn audio(&self, bytes: usize) -> Result<AudioStep, Violation> {
        match self.phase {
            Phase::New => Err(Violation("audio: before opened".to_owned())),
            Phase::Open(channels) if !bytes.is_multiple_of(channels.names().len()) => Err(Violation(
                format!("audio: {bytes} bytes are no samples of {} channels", channels.names().len()),
            )),
            Phase::Open(_) => Ok(AudioStep::Accept),
            Phase::Paused(_) => Ok(AudioStep::DropPaused),
            Phase::Probe | Phase::Disconnected | Phase::Closing => Ok(AudioStep::Ignore),
        }
    }

    /// Returns the answer to `open`.
    pub fn opened(&mut self, channels: Channels) -> String {
        let media =
            json!({"type": "audio", "format": "PCMU", "channels": channels.vendor_names(), "rate": 8_000});
        self.message("opened", json!({"media": [media], "startPaused": false}))
    }

    /// Returns the answer to `close`.
    pub fn closed(&mut self) -> String {
        self.message("closed", json!({}))
    }

    /// Returns the message that requests the end of the session; `None` where one side has ended it already.
    pub fn disconnect(&mut self, reason: DisconnectReason, info: &str) -> Option<String> {
        if self.has_ended() {
            return None;
        }
        self.phase = Phase::Disconnected;
        let reason = match reason {
            DisconnectReason::Completed => "completed",
            DisconnectReason::Error => "error",
        };
        Some(self.message("disconnect", json!({"reason": reason, "info": info})))
    }

    fn message(&mut self, kind: &str, parameters: Json) -> String {
        self.sent += 1;
        json!({
            "version": "2",
            "id": self.id(),
            "type": kind,
            "seq": self.sent,
            "clientseq": self.received,
            "parameters": parameters,
        })
        .to_string()
    }
}

#[cfg(test)]
#[path = "audiohook_protocol_tests.rs"]
mod tests;
