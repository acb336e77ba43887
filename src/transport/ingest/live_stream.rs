//! A stream whose audio arrives from telephony, from its first audio to its last event.
//!
//! Input: audio and the end, which a connection adds without waiting. Output: a session on a task of its own, and its outcome. Invariants: events
//! are taken at once, because telephony does not receive them; `[privacy]` of the configuration is applied to personal attributes.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Access;
use super::intake::Intake;
use super::raw::chunks;
use crate::audio::AudioFormat;
use crate::proto::AudioChunk;
use crate::session::{InputSession, Refusal, ReplyInbox, SessionError};
use crate::stream::{EndReason, StreamCall};
use crate::telemetry::metrics::{self, Source};
use crate::transport::http::HttpSessions;

/// An open stream.
#[derive(Debug)]
pub(super) struct LiveStream {
    pub intake: Intake,
    call: Arc<StreamCall>,
    source: Source,
    format: AudioFormat,
    ended: oneshot::Receiver<Option<Refusal>>,
}

/// The call of a stream.
#[derive(Debug)]
pub(super) struct LiveCall<'a> {
    pub call_id: &'a str,
    /// The principal that the stream belongs to; empty where the protocol has secrets of its own.
    pub owner: Arc<str>,
    pub source: Source,
}

impl LiveStream {
    /// Opens a stream of a call. `opening` holds its id, its channels and its attributes.
    pub fn open(
        (sessions, access): (&HttpSessions, &Access),
        LiveCall { call_id, owner, source }: LiveCall<'_>,
        format: AudioFormat,
        mut opening: AudioChunk,
    ) -> Self {
        let call = StreamCall::named(call_id.into(), source.name()).analysing(access.analyse());
        access.privacy().apply(&mut opening.attributes);
        opening.attributes.insert("call_id".to_owned(), call.call_id.to_string());
        opening.format = format.to_proto();
        let call = Arc::new(call);
        let intake = Intake::new(format, call.clone(), source);
        let (session, inbox) = InputSession::new(sessions.links.clone(), source, owner);
        let run = session.with_call(call.clone()).run(chunks(opening, intake.clone()));
        let (end, ended) = oneshot::channel();
        sessions.calls.spawn(async move {
            let outcome = tokio::select! {
                outcome = run => outcome,
                never = discard(inbox) => match never {},
            };
            // Fails only if the connection's task has ended.
            let _ = end.send(match outcome {
                Ok(()) => None,
                Err(SessionError::Refused(refusal)) => Some(refusal),
                Err(SessionError::Transport(never)) => match never {},
            });
        });
        Self { intake, call, source, format, ended }
    }

    /// Leaves a hole of `time` behind what was added.
    pub fn skip(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        if milliseconds == 0 {
            return;
        }
        self.intake.skip(milliseconds.saturating_mul(u64::from(self.format.sample_rate_hz())) / 1_000);
        self.call.holes.fetch_add(1, Ordering::Relaxed);
        self.call.lost_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Counts audio that is not part of the stream.
    pub fn count_dropped(&self, bytes: usize) {
        let frames = (bytes / self.format.frame_bytes().unwrap_or(1).max(1)) as u64;
        let milliseconds = frames * 1_000 / u64::from(self.format.sample_rate_hz()).max(1);
        self.call.lost_ms.fetch_add(milliseconds, Ordering::Relaxed);
        metrics::ingest_dropped(self.source, Duration::from_millis(milliseconds));
    }

    /// Ends the stream behind the audio that was added.
    pub fn end(&self, reason: EndReason) {
        self.call.end(reason);
        self.intake.close();
    }

    /// Waits until the last event has left; returns why the input was refused. Cancel safe.
    pub async fn ended(&mut self) -> Option<Refusal> {
        (&mut self.ended).await.ok().flatten()
    }
}

/// Takes all events. Never completes.
async fn discard(mut inbox: ReplyInbox) -> Infallible {
    while inbox.recv().await.is_some() {}
    std::future::pending().await
}
