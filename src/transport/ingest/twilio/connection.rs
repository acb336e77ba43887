//! One connection of Twilio Media Streams: reads messages and runs the session of the stream.
//!
//! Input: a WebSocket. Output: a session that receives its audio; at the end a close frame. Invariants: the reader waits only for messages and for
//! the time at which a missing one is given up; the connection is closed after the last event; the server sends no data.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{WebSocket, close_code};
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
use crate::transport::ingest::admission::{Owner, note_unanalysed};
use crate::transport::ingest::intake::Intake;
use crate::transport::ingest::raw::chunks;
use crate::transport::ingest::websocket::{
    Closing, Incoming, close, drain, draining, end_of, next, refused, rest,
};

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
        let opened = match self.opening(&mut receiver, &mut feed).await {
            Ok(opening) => self.first_chunk(opening).map_err(|text| (close_code::UNSUPPORTED, text)),
            Err(closing) => Err(closing),
        };
        let (format, call, first) = match opened {
            Ok(opened) => opened,
            Err(closing) => {
                close(&mut sender, closing).await;
                return drain(&mut receiver).await;
            }
        };
        let intake = Intake::new(format, call.clone(), Source::TWILIO);
        let (inbox, ended) = self.start_session(first, &intake, &call);
        let (end, mut input_end) = oneshot::channel();
        let reading = tokio::spawn(read(receiver, feed, (intake, call), end));
        let closing = match (outcome(inbox, ended).await, input_end.try_recv()) {
            (Some(refusal), _) => refused(&refusal),
            (None, Ok(InputEnd::Invalid(closing))) => closing,
            (None, _) => (close_code::NORMAL, String::new()),
        };
        close(&mut sender, closing).await;
        end_of(reading).await;
    }

    /// Waits until the stream is known.
    ///
    /// # Errors
    /// What closes the connection.
    async fn opening(
        &self,
        receiver: &mut SplitStream<WebSocket>,
        feed: &mut Feed,
    ) -> Result<Opening, Closing> {
        let timeout = self.sessions.links.first_chunk_timeout;
        tokio::select! {
            opened = open(receiver, feed) => opened,
            () = self.sessions.links.draining.cancelled() => Err(draining()),
            () = tokio::time::sleep(timeout) => {
                let seconds = timeout.as_secs_f64();
                let text = format!(
                    "start: no message, or no audio, within {seconds} s (limits.first_chunk_timeout)"
                );
                Err((close_code::POLICY, text))
            }
        }
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
        note_unanalysed(&call, &channel_names);
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

/// How the input of a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum InputEnd {
    Closed,
    /// By a message that is too large or breaks the protocol.
    Invalid(Closing),
}

/// Reads until the stream is known.
///
/// # Errors
/// What closes the connection: it ends before, or its format is not supported.
async fn open(receiver: &mut SplitStream<WebSocket>, feed: &mut Feed) -> Result<Opening, Closing> {
    while !feed.has_ended() {
        let end = step(receiver, feed).await.map_err(|text| (close_code::UNSUPPORTED, text))?;
        if let Some(opening) = feed.take_opening() {
            return Ok(opening);
        }
        if let Some(InputEnd::Invalid(closing)) = end {
            return Err(closing);
        }
    }
    Err((close_code::NORMAL, String::new()))
}

/// Reads the next message, or gives up a missing one; the end of the connection ends the stream, and is returned. A message that has arrived precedes
/// the time, so that a reader which was late itself gives up nothing.
async fn step(
    receiver: &mut SplitStream<WebSocket>,
    feed: &mut Feed,
) -> Result<Option<InputEnd>, Unsupported> {
    let deadline = feed.deadline();
    let timeout = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        biased;
        message = next(receiver, Source::TWILIO) => match message {
            Incoming::Text(text) => return feed.accept(text.as_bytes(), Instant::now()).map(|()| None),
            // Some clients send their text as binary messages.
            Incoming::Binary(text) => return feed.accept(&text, Instant::now()).map(|()| None),
            Incoming::Invalid(closing) => InputEnd::Invalid(closing),
            Incoming::Closed => InputEnd::Closed,
        },
        () = timeout => {
            feed.expire(Instant::now());
            return Ok(None);
        }
    };
    feed.close();
    Ok(Some(end))
}

/// Reads to the end of the stream, and reports how the connection ended where that ends it. Never waits for the engine.
async fn read(
    mut receiver: SplitStream<WebSocket>,
    mut feed: Feed,
    (intake, call): (Intake, Arc<StreamCall>),
    ended: oneshot::Sender<InputEnd>,
) {
    pass_on(&mut feed, &intake, &call);
    let mut end = None;
    while !feed.has_ended() {
        // Only a start message fails, and it has come.
        end = step(&mut receiver, &mut feed).await.ok().flatten();
        pass_on(&mut feed, &intake, &call);
    }
    if !feed.is_stopped() {
        call.end(EndReason::Disconnected);
    }
    call.set_absent(&feed.absent_channels());
    if let Some(end) = end {
        // Fails only if the session has ended already.
        let _ = ended.send(end);
    }
    intake.close();
    rest(&mut receiver).await;
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
