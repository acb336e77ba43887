//! One connection of Twilio Media Streams: reads messages and runs the session of the stream.
//!
//! Input: a WebSocket. Output: a session that receives its audio; at the end a close frame. Invariants: the reader waits only for messages and for
//! the time at which a missing one is given up; the connection is closed after the last event; the server sends no data.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{Message, WebSocket, close_code};
use futures::StreamExt;
use futures::stream::SplitStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::feed::{Feed, Opening};
use super::start::Unsupported;
use super::tracks::Piece;
use crate::audio::AudioFormat;
use crate::proto::AudioChunk;
use crate::security::{Principal, paced};
use crate::session::{InputSession, Refusal, ReplyInbox, SessionError};
use crate::stream::{EndReason, StreamCall};
use crate::telemetry::metrics::{self, Source};
use crate::transport::http::HttpSessions;
use crate::transport::ingest::Access;
use crate::transport::ingest::intake::Intake;
use crate::transport::ingest::raw::{Owner, chunks, close, close_code_of};

/// One connection.
pub(super) struct Connection {
    pub access: Access,
    pub sessions: HttpSessions,
    pub owner: Owner,
}

/// How a session ended.
type Outcome = Result<(), SessionError<Infallible>>;

impl Connection {
    /// Runs the connection to its end.
    pub async fn run(mut self, socket: WebSocket) {
        let (mut sender, mut receiver) = socket.split();
        let mut feed = Feed::new(self.access.track_names(), self.longest_lead());
        let timeout = self.sessions.links.first_chunk_timeout;
        let opening = match tokio::time::timeout(timeout, open(&mut receiver, &mut feed)).await {
            Ok(Ok(Some(opening))) => opening,
            Ok(Ok(None)) => return close(&mut sender, close_code::NORMAL, "").await,
            Ok(Err(text)) => return close(&mut sender, close_code::UNSUPPORTED, &text).await,
            Err(_) => {
                let text = format!(
                    "start: no message, or no audio, within {} s (limits.first_chunk_timeout)",
                    timeout.as_secs_f64()
                );
                return close(&mut sender, close_code::POLICY, &text).await;
            }
        };
        let (format, call, first) = match self.first_chunk(opening) {
            Ok(first) => first,
            Err(text) => return close(&mut sender, close_code::UNSUPPORTED, &text).await,
        };
        let intake = Intake::new(format, call.clone(), Source::TWILIO);
        let (inbox, ended) = self.start_session(first, &intake, &call);
        let reading = tokio::spawn(read(receiver, feed, intake, call));
        let (code, text) = match outcome(inbox, ended).await {
            None => (close_code::NORMAL, String::new()),
            Some(refusal) => (close_code_of(refusal.class()), refusal.to_string()),
        };
        reading.abort();
        close(&mut sender, code, &text).await;
    }

    /// The longest gap that becomes silence in streams of the default model.
    fn longest_lead(&self) -> std::time::Duration {
        let registry = self.sessions.links.registries.borrow();
        registry.find("").map(|model| model.setup.max_gap).unwrap_or_default()
    }

    /// Returns the format of the stream, its call and the chunk that opens it.
    fn first_chunk(&self, opening: Opening) -> Result<(AudioFormat, Arc<StreamCall>, AudioChunk), String> {
        let Opening { start, channel_names } = opening;
        let channels = u32::try_from(channel_names.len()).unwrap_or(u32::MAX);
        let format = AudioFormat::new(start.format.encoding(), start.format.sample_rate_hz(), channels);
        let format = format.map_err(|error| error.to_string())?;
        let stream_id = start.stream_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let call_id = start.call_id.unwrap_or_else(|| stream_id.clone());
        let call = StreamCall::named(call_id.as_str().into(), Source::TWILIO.name());
        let call = Arc::new(call.analysing(self.access.analyse()));
        let mut attributes = start.attributes;
        self.access.privacy().apply(&mut attributes);
        attributes.insert("call_id".to_owned(), call_id);
        let first = AudioChunk {
            stream_id,
            format: format.to_proto(),
            channel_names,
            attributes,
            ..AudioChunk::default()
        };
        Ok((format, call, first))
    }

    /// Starts the session of the stream; returns what receives its events and its end.
    fn start_session(
        &mut self,
        first: AudioChunk,
        intake: &Intake,
        call: &Arc<StreamCall>,
    ) -> (ReplyInbox, oneshot::Receiver<Outcome>) {
        let Principal { name, quota, .. } = self.owner.principal.clone();
        let (session, inbox) = InputSession::new(self.sessions.links.clone(), Source::TWILIO, name);
        let session = session.with_call(call.clone());
        let chunks = paced(chunks(first, intake.clone()), quota, |chunk| chunk.audio.len());
        let (end, ended) = oneshot::channel();
        let permit = self.owner.permit.take();
        self.sessions.calls.spawn(async move {
            let _permit = permit;
            // Fails only if the connection's task has ended.
            let _ = end.send(session.run(chunks).await);
        });
        (inbox, ended)
    }
}

/// Reads until the stream is known; `None` where the connection ends before.
async fn open(
    receiver: &mut SplitStream<WebSocket>,
    feed: &mut Feed,
) -> Result<Option<Opening>, Unsupported> {
    while !feed.has_ended() {
        step(receiver, feed).await?;
        if let Some(opening) = feed.take_opening() {
            return Ok(Some(opening));
        }
    }
    Ok(None)
}

/// Reads the next message, or gives up a missing one; the end of the connection ends the stream. A message that has arrived precedes the time, so
/// that a reader which was late itself gives up nothing.
async fn step(receiver: &mut SplitStream<WebSocket>, feed: &mut Feed) -> Result<(), Unsupported> {
    let deadline = feed.deadline();
    let timeout = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        message = receiver.next() => match message {
            Some(Ok(Message::Text(text))) => feed.accept(&text, Instant::now())?,
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => feed.close(),
        },
        () = timeout => feed.expire(Instant::now()),
    }
    Ok(())
}

/// Reads to the end of the stream. Never waits for the engine.
async fn read(mut receiver: SplitStream<WebSocket>, mut feed: Feed, intake: Intake, call: Arc<StreamCall>) {
    pass_on(&mut feed, &intake, &call);
    while !feed.has_ended() {
        // Only a start message fails, and it has come.
        let _ = step(&mut receiver, &mut feed).await;
        pass_on(&mut feed, &intake, &call);
    }
    if !feed.is_stopped() {
        call.end(EndReason::Disconnected);
    }
    call.set_absent(&feed.absent_channels());
    intake.close();
    // The answer to a close of the server is still to be read.
    while let Some(Ok(_)) = receiver.next().await {}
}

/// Passes the audio on and counts what is missing.
fn pass_on(feed: &mut Feed, intake: &Intake, call: &StreamCall) {
    while let Some(piece) = feed.take() {
        match piece {
            Piece::Audio(audio) => intake.add(&audio),
            Piece::Hole(frames) => intake.skip(frames),
        }
    }
    let (dropped, missing) = feed.take_counts();
    call.late.fetch_add(dropped.late + missing.late, Ordering::Relaxed);
    call.holes.fetch_add(missing.holes, Ordering::Relaxed);
    call.lost_ms.fetch_add(missing.lost_ms, Ordering::Relaxed);
    let reasons = [
        ("malformed", dropped.malformed),
        ("duplicate", dropped.repeated),
        ("late", dropped.late + missing.late),
    ];
    for (reason, count) in reasons {
        (0..count).for_each(|_| metrics::rejected(Source::TWILIO, reason));
    }
}

/// Takes the events, which nothing is sent for, until the session has ended; returns why the input was refused.
async fn outcome(mut inbox: ReplyInbox, mut ended: oneshot::Receiver<Outcome>) -> Option<Refusal> {
    loop {
        tokio::select! {
            biased;
            Some(_) = inbox.recv() => {}
            outcome = &mut ended => {
                return match outcome {
                    Ok(Err(SessionError::Refused(refusal))) => Some(refusal),
                    Ok(Ok(()) | Err(SessionError::Transport(_))) | Err(_) => None,
                };
            }
        }
    }
}
