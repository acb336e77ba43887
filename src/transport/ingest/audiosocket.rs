//! Asterisk AudioSocket: calls over TCP on `ingest.audiosocket.address`.
//!
//! Input: connections, each with one direction of a call. Output: one stream a connection, and silence for Asterisk, which waits for input.
//! Invariants: reading waits neither for the engine nor for a client that does not read; a connection that does not keep the protocol is closed;
//! every wait for a client is bounded.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::admission::check_room;
use super::audiosocket_frame::{AUDIO_8_KHZ, Frame, HANG_UP, read_frame, silence};
use super::live_stream::{LiveCall, LiveStream};
use super::{Access, AnnouncedCall, AnnouncedCalls};
use crate::audio::{AudioFormat, Encoding};
use crate::proto::AudioChunk;
use crate::stream::EndReason;
use crate::telemetry::metrics::{self, Source};
use crate::transport::connection::{ReadTimeouts, TcpConnection};
use crate::transport::connections::{ConnectionLimits, Connections};
use crate::transport::http::{HttpSessions, SessionSlot};

/// How long a client may take to send its id.
const ID_TIMEOUT: Duration = Duration::from_secs(5);
/// How often silence is sent.
const SILENCE_EVERY: Duration = Duration::from_millis(100);
/// How long the last events, the hang-up, and the client's own end may take each.
const LAST_STEPS: Duration = Duration::from_secs(5);
/// Asterisk opens many connections from one address.
const LIMITS: ConnectionLimits = ConnectionLimits {
    server: "audiosocket",
    max: 16_384,
    max_per_peer: 16_384,
    timeouts: ReadTimeouts {
        preface: ID_TIMEOUT,
        preface_bytes: 19,
        idle: Duration::from_secs(60),
        writing_is_activity: false,
    },
};

/// What the connections share.
#[derive(Clone)]
pub struct AudioSocket {
    /// Which channels are analysed.
    pub access: Access,
    /// Where streams enter the daemon; empty until it has started.
    pub sessions: SessionSlot,
    /// The calls of announced connections.
    pub calls: AnnouncedCalls,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has ended the call.
    HungUp,
    /// The connection broke, or ended inside a frame.
    Broken,
    /// The client reported an error, or does not keep the protocol.
    Wrong,
    /// The daemon drains, a limit is reached, or the client is silent.
    Refused,
}

/// Serves connections until `stop` is cancelled. Open connections go on.
///
/// # Errors
/// None: a connection that cannot be accepted is tried again.
pub async fn serve(port: TcpListener, server: AudioSocket, stop: CancellationToken) -> io::Result<()> {
    let mut connections = Connections::new(port, LIMITS);
    loop {
        let connection = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            connection = connections.accept() => connection,
        };
        let (sessions, server) = (server.sessions.get(), server.clone());
        match sessions.filter(|it| !it.links.draining.is_cancelled()) {
            // A drain waits for the connection.
            Some(sessions) => _ = sessions.calls.clone().spawn(server.run(connection, sessions)),
            None => _ = tokio::spawn(hang_up(connection)),
        }
    }
}

impl AudioSocket {
    async fn run(self, connection: TcpConnection, sessions: HttpSessions) {
        // The connection is not idle while this runs.
        let _open = connection.calls().begin();
        if let Err(refusal) = check_room(&sessions) {
            tracing::warn!(client = %connection.peer(), "an AudioSocket connection was refused: {refusal}");
            return hang_up(connection).await;
        }
        let (mut reader, mut writer) = split(connection);
        let kind = AtomicU8::new(AUDIO_8_KHZ);
        let end = {
            let call = ServedCall { server: &self, sessions: &sessions, kind: &kind };
            tokio::select! {
                end = call.read(&mut reader) => end,
                end = send_silence(&mut writer, &kind) => match end {},
            }
        };
        if end == End::Refused {
            return hang_up(reader.unsplit(writer)).await;
        }
        // Fails only if the client has gone.
        let _ = tokio::time::timeout(LAST_STEPS, writer.shutdown()).await;
    }
}

/// One connection that is served.
struct ServedCall<'a> {
    server: &'a AudioSocket,
    sessions: &'a HttpSessions,
    /// The kind of audio that was received last.
    kind: &'a AtomicU8,
}

impl ServedCall<'_> {
    /// Reads to the end of the call, and waits for its last events.
    async fn read(&self, reader: &mut (impl AsyncRead + Unpin)) -> End {
        let links = &self.sessions.links;
        let id = tokio::select! {
            id = tokio::time::timeout(ID_TIMEOUT, read_frame(reader)) => match id {
                Ok(Ok(Some(Frame::Id(Some(id))))) => id,
                Ok(_) | Err(_) => return End::Wrong,
            },
            () = links.draining.cancelled() => return End::Refused,
        };
        let first = tokio::select! {
            first = self.first_audio(reader) => first,
            () = tokio::time::sleep(links.first_chunk_timeout) => return End::Refused,
            () = links.draining.cancelled() => return End::Refused,
        };
        let (rate, samples) = match first {
            Ok(first) => first,
            Err(end) => return end,
        };
        let Some(mut stream) = self.open(id, rate) else { return End::Wrong };
        stream.intake.add(&samples);
        let intake = stream.intake.clone();
        let end = tokio::select! {
            end = self.read_audio(reader, rate, |samples| intake.add(&samples)) => end,
            refusal = stream.ended() => {
                let reason = refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
                tracing::info!(%id, "an AudioSocket call is ended: {reason}");
                return End::Refused;
            }
        };
        stream.end(match end {
            End::HungUp => EndReason::Completed,
            End::Broken => EndReason::Disconnected,
            End::Wrong | End::Refused => EndReason::Error,
        });
        let _ = tokio::time::timeout(LAST_STEPS, stream.ended()).await;
        end
    }

    /// Opens the stream of a connection; `None` where its rate is not supported.
    fn open(&self, id: Uuid, rate: u32) -> Option<LiveStream> {
        let AnnouncedCall { call_id, channel, attributes, owner } = self.server.calls.of(id, Instant::now());
        let format = AudioFormat::new(Encoding::PcmS16Le, rate, 1).ok()?;
        let opening = AudioChunk {
            stream_id: id.to_string(),
            channel_names: vec![channel],
            attributes,
            ..AudioChunk::default()
        };
        let links = (self.sessions, &self.server.access);
        let call = LiveCall { call_id: &call_id, owner, source: Source::AUDIOSOCKET };
        Some(LiveStream::open(links, call, format, opening))
    }

    /// Reads up to the first samples; returns their rate too.
    async fn first_audio(&self, reader: &mut (impl AsyncRead + Unpin)) -> Result<(u32, Bytes), End> {
        loop {
            let (rate, samples) = self.next_audio(reader).await?;
            if !samples.is_empty() {
                return Ok((rate, samples));
            }
        }
    }

    /// Reads samples at `rate` to the end of the call.
    async fn read_audio(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        rate: u32,
        mut add: impl FnMut(Bytes),
    ) -> End {
        loop {
            match self.next_audio(reader).await {
                Ok((other, _)) if other != rate => {
                    tracing::warn!(rate, other, "an AudioSocket call changed its sample rate and is closed");
                    return End::Wrong;
                }
                Ok((_, samples)) => add(samples),
                Err(end) => return end,
            }
        }
    }

    /// Reads up to the next frame of audio; returns its rate too. Frames without an effect are passed over.
    async fn next_audio(&self, reader: &mut (impl AsyncRead + Unpin)) -> Result<(u32, Bytes), End> {
        loop {
            match read_frame(reader).await {
                Ok(Some(Frame::Audio { samples, .. })) if !samples.len().is_multiple_of(2) => {
                    tracing::warn!(
                        bytes = samples.len(),
                        "an AudioSocket frame has an odd length: the call is closed"
                    );
                    return Err(End::Wrong);
                }
                Ok(Some(Frame::Audio { kind, rate, samples })) => {
                    self.kind.store(kind, Ordering::Relaxed);
                    return Ok((rate, samples.into()));
                }
                Ok(Some(Frame::Dtmf)) => {}
                Ok(Some(Frame::Id(_) | Frame::Other { .. })) => {
                    metrics::rejected(Source::AUDIOSOCKET, "frame_kind")
                }
                Ok(Some(Frame::HangUp | Frame::Error { code: 1 }) | None) => return Err(End::HungUp),
                Ok(Some(Frame::Error { code })) => {
                    tracing::warn!(code, "Asterisk reports an error of an AudioSocket call");
                    return Err(End::Wrong);
                }
                Err(_) => return Err(End::Broken),
            }
        }
    }
}

/// Sends 20 ms of silence of the kind that was received last, again and again. Never completes.
async fn send_silence(writer: &mut (impl AsyncWrite + Unpin), kind: &AtomicU8) -> Infallible {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SILENCE_EVERY, SILENCE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if writer.write_all(&silence(kind.load(Ordering::Relaxed))).await.is_err() {
            // The reader finds the end of the connection.
            return std::future::pending().await;
        }
    }
}

/// Ends a call. What the client still sends is read, because closing a connection with unread data could discard the hang-up.
async fn hang_up(mut connection: TcpConnection) {
    let ending = async {
        connection.write_all(&HANG_UP).await?;
        connection.shutdown().await?;
        let mut rest = [0; 4_096];
        while connection.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Fails only if the client has gone.
    let _ = tokio::time::timeout(LAST_STEPS, ending).await;
}
