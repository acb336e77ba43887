//! A gRPC client that a test controls chunk by chunk, and the options of a daemon with a tiny model.
//!
//! Input: chunks. Output: events and the outcome of the call. Every wait is bounded. Holds no assertion about affectd.

use std::future::Future;
use std::time::Duration;

use affectd::model::{Layout, Output};
use affectd::proto::recognition_service_client::RecognitionServiceClient;
use affectd::proto::{AudioChunk, AudioFormat, EmotionEvent, Encoding, RecognizeRequest, RecognizeResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::PATIENCE;
use super::daemon::{Daemon, Options};
use super::model_fixture;

/// Waits for `future`; panics after [`PATIENCE`].
pub async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Waits until the log of a daemon contains `text`.
pub async fn logs(daemon: &Daemon, text: &str) {
    let logged = async {
        while !daemon.log().contains(text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    bounded(text, logged).await;
}

/// Options of a daemon with the tiny model (1 s windows every 0.5 s at 8 kHz), whose partial windows hold at least 0.25 s. The
/// folder holds the model.
pub fn tiny() -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Probabilities);
    let options = Options::new()
        .set("model.path", path.to_str().expect("a plain path"))
        .set("engine.device", "cpu")
        .set("window.min_length", "250ms");
    (folder, options)
}

/// Opens a new connection.
pub async fn connect(daemon: &Daemon) -> Channel {
    let endpoint = Endpoint::from_shared(daemon.grpc_url()).expect("an address");
    bounded("a connection", endpoint.connect()).await.expect("the daemon listens")
}

/// A format as a protobuf message.
pub fn format(encoding: Encoding, sample_rate_hz: u32, channels: u32) -> AudioFormat {
    AudioFormat { encoding: encoding.into(), sample_rate_hz, channels }
}

/// 8 kHz, one channel, µ-law: one byte a sample, as the tiny model takes it.
pub fn telephone() -> AudioFormat {
    format(Encoding::Mulaw, 8_000, 1)
}

/// Pseudo-random bytes, which are valid audio in any integer encoding.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Loud µ-law noise, above [`OUT_OF_DOMAIN_LEVEL`] of the tiny model's first coefficient.
pub fn loud(bytes: usize, seed: u64) -> Vec<u8> {
    noise(bytes, seed).into_iter().map(|byte| byte & 0x8f).collect()
}

/// Soft µ-law noise, below [`OUT_OF_DOMAIN_LEVEL`], but no digital silence.
pub fn soft(bytes: usize, seed: u64) -> Vec<u8> {
    noise(bytes, seed).into_iter().map(|byte| byte | 0x70).collect()
}

/// A value of the tiny model's first coefficient between those of [`loud`] and [`soft`].
pub const OUT_OF_DOMAIN_LEVEL: f32 = -25.0;

/// A first chunk.
pub fn chunk(stream_id: &str, format: AudioFormat, audio: impl Into<Vec<u8>>) -> AudioChunk {
    AudioChunk { stream_id: stream_id.into(), format: Some(format), ..more(audio) }
}

/// A chunk with audio only.
pub fn more(audio: impl Into<Vec<u8>>) -> AudioChunk {
    AudioChunk { audio: audio.into().into(), ..AudioChunk::default() }
}

/// The same chunk as the stream's last one.
pub fn last(chunk: AudioChunk) -> AudioChunk {
    AudioChunk { last: true, ..chunk }
}

/// One call.
pub struct Call {
    requests: Option<mpsc::Sender<RecognizeRequest>>,
    events: Streaming<RecognizeResponse>,
}

/// The events and the status of a call.
#[derive(Debug)]
pub struct Outcome {
    pub events: Vec<EmotionEvent>,
    /// `None` for OK.
    pub status: Option<Status>,
}

impl Call {
    /// Opens a call; nothing is sent yet.
    pub async fn open(channel: &Channel) -> Call {
        Call::try_open(channel).await.expect("the call opens")
    }

    /// Like [`Call::open`], but returns an immediate refusal.
    pub async fn try_open(channel: &Channel) -> Result<Call, Status> {
        let (requests, outbound) = mpsc::channel(1);
        let mut client = RecognitionServiceClient::new(channel.clone());
        let answer = bounded("the call", client.recognize(ReceiverStream::new(outbound))).await?;
        Ok(Call { requests: Some(requests), events: answer.into_inner() })
    }

    /// Opens a call with its first chunk.
    pub async fn begin(channel: &Channel, first: AudioChunk) -> Call {
        let call = Call::open(channel).await;
        call.send(first).await;
        call
    }

    /// Sends a chunk. After the end of the call it is dropped.
    pub async fn send(&self, chunk: AudioChunk) {
        if let Some(requests) = &self.requests {
            let sent = requests.send(RecognizeRequest { chunk: Some(chunk) });
            drop(bounded("room for a chunk", sent).await);
        }
    }

    /// The sender, for chunks that are sent concurrently with reading.
    pub fn requests(&mut self) -> mpsc::Sender<RecognizeRequest> {
        self.requests.take().expect("the sending side is open")
    }

    /// Closes the sending side.
    pub fn close(&mut self) {
        self.requests = None;
    }

    /// The next event, or the status of the call.
    pub async fn try_event(&mut self) -> Result<EmotionEvent, Status> {
        let next = bounded("an event", self.events.message()).await?;
        Ok(next.and_then(|response| response.event).expect("an event"))
    }

    /// The next event, `None` at the end of a call that ended with OK, or the status of the call.
    pub async fn try_event_or_end(&mut self) -> Result<Option<EmotionEvent>, Status> {
        let next = bounded("an event", self.events.message()).await?;
        Ok(next.map(|response| response.event.expect("an event")))
    }

    /// The next event.
    pub async fn event(&mut self) -> EmotionEvent {
        let next = bounded("an event", self.events.message()).await.expect("the call goes on");
        next.and_then(|response| response.event).expect("an event")
    }

    /// The next `count` events.
    pub async fn events(&mut self, count: usize) -> Vec<EmotionEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }

    /// All events until the server ends the call; the sending side stays unchanged.
    pub async fn rest(&mut self) -> Outcome {
        let mut events = Vec::new();
        loop {
            match bounded("the end of the call", self.events.message()).await {
                Ok(Some(response)) => events.extend(response.event),
                Ok(None) => return Outcome { events, status: None },
                Err(status) => return Outcome { events, status: Some(status) },
            }
        }
    }

    /// Closes the sending side and reads to the end.
    pub async fn finish(mut self) -> Outcome {
        self.close();
        self.rest().await
    }
}

impl Outcome {
    /// The events of a call that ended with OK.
    pub fn good(self) -> Vec<EmotionEvent> {
        assert!(self.status.is_none(), "{:?}", self.status);
        self.events
    }

    /// The code and the message of a call that did not end with OK.
    pub fn refusal(&self) -> (Code, &str) {
        let status = self.status.as_ref().expect("the call was refused");
        (status.code(), status.message())
    }
}

/// A whole stream: its chunks are sent while its events are read.
pub async fn recognize(channel: &Channel, chunks: Vec<AudioChunk>) -> Outcome {
    let mut call = Call::open(channel).await;
    let requests = call.requests();
    let sender = tokio::spawn(async move {
        for chunk in chunks {
            if requests.send(RecognizeRequest { chunk: Some(chunk) }).await.is_err() {
                return;
            }
        }
    });
    let outcome = call.rest().await;
    sender.abort();
    outcome
}

/// The window of an event: channel, index, partial, start and end in milliseconds.
pub type Shape = (u32, u64, bool, i64, i64);

/// The shapes of events in the order of arrival.
pub fn shapes(events: &[EmotionEvent]) -> Vec<Shape> {
    let shape = |event: &EmotionEvent| {
        let ms = |time: &Option<pbjson_types::Duration>| {
            time.as_ref().map_or(-1, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
        };
        (event.channel, event.window_index, event.partial, ms(&event.start), ms(&event.end))
    };
    events.iter().map(shape).collect()
}

/// Compares two runs: equal ids and labels, scores within 1e-5, in any order among channels.
pub fn same(one: &[EmotionEvent], other: &[EmotionEvent]) -> Result<(), String> {
    let sorted = |events: &[EmotionEvent]| {
        let mut events = events.to_vec();
        events.sort_by_key(|event| (event.channel, event.window_index));
        events
    };
    let (one, other) = (sorted(one), sorted(other));
    if shapes(&one) != shapes(&other) {
        return Err(format!("{:?} is not {:?}", shapes(&one), shapes(&other)));
    }
    for (a, b) in one.iter().zip(&other) {
        let close = a.scores.len() == b.scores.len()
            && a.scores
                .iter()
                .zip(&b.scores)
                .all(|(a, b)| a.emotion == b.emotion && (a.probability - b.probability).abs() <= 1e-5);
        if a.event_id != b.event_id || a.emotion != b.emotion || !close {
            return Err(format!("{a:?} is not {b:?}"));
        }
    }
    Ok(())
}

/// One value of `/metrics`: the sum of all series that begin with `series`; 0 if there is none.
pub async fn metric(daemon: &Daemon, series: &str) -> f64 {
    let (_, text) = daemon.get("/metrics").await.expect("metrics");
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until `condition` holds for a value of `/metrics`.
pub async fn metric_reaches(daemon: &Daemon, series: &str, condition: impl Fn(f64) -> bool) {
    let reached = async {
        while !condition(metric(daemon, series).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    bounded(series, reached).await;
}

/// Waits until `condition` holds for the text of `/metrics`, and returns the text.
pub async fn metrics_reach(daemon: &Daemon, condition: impl Fn(&str) -> bool) -> String {
    let reached = async {
        loop {
            let (_, text) = daemon.get("/metrics").await.unwrap();
            if condition(&text) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    bounded("the metrics", reached).await
}
