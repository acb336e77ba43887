//! One WebSocket of an ingest: what it brings, and how it is closed.
//!
//! Input: a connection. Output: its messages, and a close frame with a code. Invariants: a message is not larger than [`LARGEST_MESSAGE`]; closing a
//! connection waits for its client for a bounded time.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::task::JoinHandle;

use crate::session::{Refusal, RefusalClass};
use crate::telemetry::metrics::{self, Source};

/// The largest message in bytes.
const LARGEST_MESSAGE: usize = 64 * 1024;
/// How long a client may take to receive the last messages and the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A message that is larger than [`LARGEST_MESSAGE`], or breaks the protocol: what closes the connection. Nothing can be read behind it.
    Invalid(Closing),
    /// The connection is closed, or broke.
    Closed,
}

/// Returns the upgrade with the limit of its messages.
pub(super) fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(LARGEST_MESSAGE).max_frame_size(LARGEST_MESSAGE)
}

/// Returns the next message of a connection; an invalid one is counted for `source`. Cancel safe.
pub(super) async fn next(receiver: &mut SplitStream<WebSocket>, source: Source) -> Incoming {
    loop {
        return match receiver.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Err(error)) => match invalid(&error.to_string()) {
                Some((reason, closing)) => {
                    metrics::rejected(source, reason);
                    Incoming::Invalid(closing)
                }
                None => Incoming::Closed,
            },
            Some(Ok(Message::Close(_))) | None => Incoming::Closed,
        };
    }
}

/// Returns the reason of `affectd_rejected_total` and what closes the connection, where an error is the client's; `None` where the connection broke. The
/// type of the error is not part of axum, so its text decides.
fn invalid(error: &str) -> Option<(&'static str, Closing)> {
    if error.contains("too long") {
        let text = format!("message: larger than {LARGEST_MESSAGE} bytes, the most that is allowed");
        return Some(("chunk_too_large", (close_code::SIZE, text)));
    }
    if error.contains("UTF-8") {
        let text = "message: a text that is not UTF-8 (RFC 6455, section 8.1)".to_owned();
        return Some(("websocket_frame", (close_code::INVALID, text)));
    }
    let (_, cause) = error.split_once("WebSocket protocol error: ")?;
    // A connection that is lost, and frames behind a close frame, need no answer.
    let is_end = ["without closing handshake", "after having closed"].iter().any(|end| cause.contains(end));
    let text = format!("frame: breaks the WebSocket protocol (RFC 6455): {}", cause.to_lowercase());
    (!is_end).then_some(("websocket_frame", (close_code::PROTOCOL, text)))
}

/// The code and the text that close a connection.
pub(super) type Closing = (u16, String);

/// Returns what closes a connection without a stream while the daemon drains.
pub(super) fn draining() -> Closing {
    refused(&Refusal::Draining)
}

/// Returns what closes a connection whose input was refused.
pub(super) fn refused(refusal: &Refusal) -> Closing {
    (close_code_of(refusal.class()), refusal.text_without_position())
}

/// Returns the code that closes a connection whose input was refused.
fn close_code_of(class: RefusalClass) -> u16 {
    match class {
        RefusalClass::InvalidInput | RefusalClass::AlreadyOpen => close_code::POLICY,
        RefusalClass::LimitReached => close_code::AGAIN,
        RefusalClass::TimedOut => close_code::NORMAL,
        RefusalClass::Unavailable => close_code::RESTART,
    }
}

/// Closes a connection behind the messages that were sent. Waits at most [`CLOSE_TIMEOUT`] for a client that does not read.
pub(super) async fn close(sender: &mut SplitSink<WebSocket, Message>, (code, text): Closing) {
    // A close frame holds at most 123 bytes of text.
    let end = text.floor_char_boundary(123);
    let frame = CloseFrame { code, reason: text[..end].into() };
    // Fails only if the client has gone, or does not read.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, sender.send(Message::Close(Some(frame)))).await;
}

/// Reads what a client still sends, and its answer to a close frame, because closing a connection with unread data could discard the close frame.
pub(super) async fn rest(receiver: &mut SplitStream<WebSocket>) {
    while let Some(Ok(_)) = receiver.next().await {}
}

/// As [`rest`], for at most [`CLOSE_TIMEOUT`].
pub(super) async fn drain(receiver: &mut SplitStream<WebSocket>) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, rest(receiver)).await;
}

/// Waits at most [`CLOSE_TIMEOUT`] until the task that reads a closed connection has ended, then ends it.
pub(super) async fn end_of(mut reading: JoinHandle<()>) {
    if tokio::time::timeout(CLOSE_TIMEOUT, &mut reading).await.is_err() {
        reading.abort();
    }
}
