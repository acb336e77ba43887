//! Clients of the daemon over gRPC and Kafka: they stream a recording like a live source and measure the latency of the
//! events.
//!
//! Input: a [`Script`] and a [`Pace`]. Output: events with their latency, or acknowledged Kafka records. Invariants: no
//! file is read and nothing is printed here.

mod connection;
pub mod evaluation;
mod events;
mod kafka;
mod pace;
mod restricted;
mod script;
mod target;
mod watch;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures::Stream;
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use connection::{Authorization, Channel, Credentials, GrpcServer, Token, connect};
pub use events::{Events, StartAt};
pub use kafka::{Acknowledged, RecordFormat, RecordProducer, Records, content_type, send_to_kafka};
pub use pace::Pace;
pub use script::{ChannelRequest, ChunkOptions, Script};
pub use target::Target;
pub use watch::WatchedEvents;

use crate::proto::recognition_service_client::RecognitionServiceClient;
use crate::proto::recognition_service_server::SERVICE_NAME as RECOGNITION;
use crate::proto::{AudioChunk, EmotionEvent, RecognizeRequest, RecognizeResponse};

/// Why a client failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The target is unreachable, or its settings are invalid.
    #[error("connect to {target}: {reason}")]
    Connect {
        /// The target's URL.
        target: String,
        /// The cause.
        reason: String,
    },
    /// The server refused the stream or ended it with an error.
    #[error("the server answered {:?}: {}", .0.code(), connection::described(.0))]
    Refused(Box<tonic::Status>),
    /// The topic does not exist.
    #[error("topic {topic} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// The topic cannot be read.
    #[error("read topic {topic}: {reason}")]
    Read {
        /// The topic.
        topic: String,
        /// The cause.
        reason: String,
    },
    /// A record was rejected or not acknowledged.
    #[error("send to topic {topic}: {reason}")]
    Kafka {
        /// The topic.
        topic: String,
        /// The cause.
        reason: String,
    },
}

/// An event and its latency.
#[derive(Debug, Clone)]
pub struct Received {
    /// The event.
    pub event: EmotionEvent,
    /// The time from sending the chunk that completes the window to receiving the event.
    pub latency: Duration,
}

/// Waits until the daemon accepts streams, by the gRPC health checking protocol.
///
/// # Errors
/// Returns [`ClientError::Refused`] where the server has no health service, and where the connection ends.
pub async fn wait_until_serving(channel: Channel) -> Result<(), ClientError> {
    let refused = |status| ClientError::Refused(Box::new(status));
    let request = HealthCheckRequest { service: RECOGNITION.to_owned() };
    let mut changes = HealthClient::new(channel).watch(request).await.map_err(refused)?.into_inner();
    while let Some(answer) = changes.message().await.map_err(refused)? {
        if answer.status() == ServingStatus::Serving {
            return Ok(());
        }
    }
    Err(refused(tonic::Status::unavailable("the daemon stopped before it accepted streams")))
}

/// A call of the recognition service. Dropping it cancels the call.
pub struct RecognitionCall {
    events: tonic::Streaming<RecognizeResponse>,
    sent: Arc<SentTimes>,
}

/// Starts a stream. Its chunks are sent at their pace in the background, whether or not [`RecognitionCall::next`] is
/// awaited.
///
/// # Errors
/// Returns [`ClientError::Refused`] where the server refuses the call.
pub async fn recognize(channel: Channel, script: Script, pace: Pace) -> Result<RecognitionCall, ClientError> {
    let sent = Arc::new(SentTimes::new(script.ends()));
    let requests = paced(script, pace, Arc::clone(&sent));
    let mut client = RecognitionServiceClient::new(channel);
    let response =
        client.recognize(requests).await.map_err(|status| ClientError::Refused(Box::new(status)))?;
    Ok(RecognitionCall { events: response.into_inner(), sent })
}

impl RecognitionCall {
    /// Waits for the next event; `None` after the server has closed the stream normally.
    ///
    /// # Errors
    /// Returns [`ClientError::Refused`] where the server ended the stream with an error.
    pub async fn next(&mut self) -> Result<Option<Received>, ClientError> {
        loop {
            let message = self.events.message().await;
            let message = message.map_err(|status| ClientError::Refused(Box::new(status)))?;
            let Some(response) = message else { return Ok(None) };
            let Some(event) = response.event else { continue };
            let latency = self.sent.since(window_end(&event));
            return Ok(Some(Received { event, latency }));
        }
    }
}

/// Returns the end of an event's window, from the stream's start.
pub fn window_end(event: &EmotionEvent) -> Duration {
    let end = event.end.unwrap_or_default();
    Duration::new(end.seconds.try_into().unwrap_or(0), end.nanos.try_into().unwrap_or(0))
}

fn paced(script: Script, pace: Pace, sent: Arc<SentTimes>) -> impl Stream<Item = RecognizeRequest> + Send {
    async_stream::stream! {
        let start = Instant::now();
        for (index, (end, chunk)) in script.into_chunks().enumerate() {
            wait_until_due(start, pace, end).await;
            sent.record(index);
            yield RecognizeRequest { chunk: Some(with_capture_time(chunk)) };
        }
    }
}

/// Waits until audio that ends at `position` is due, counted from `start`.
fn wait_until_due(start: Instant, pace: Pace, position: Duration) -> impl Future<Output = ()> {
    let due = pace.due(position).map(|due| start + due);
    async move {
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }
}

/// Returns the chunk with the current time as its capture time.
pub(crate) fn with_capture_time(chunk: AudioChunk) -> AudioChunk {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let captured_at = crate::proto::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.subsec_nanos()).expect("below 1e9"),
    };
    AudioChunk { captured_at: Some(captured_at), ..chunk }
}

/// The send time of each chunk, written by the sending side and read by the receiving side.
struct SentTimes {
    ends: Vec<Duration>,
    times: Vec<OnceLock<Instant>>,
}

impl SentTimes {
    fn new(ends: &[Duration]) -> Self {
        Self { ends: ends.to_vec(), times: ends.iter().map(|_| OnceLock::new()).collect() }
    }

    fn record(&self, index: usize) {
        let _ = self.times[index].set(Instant::now());
    }

    /// Returns the time since the chunk was sent that completes the audio up to `position`; 0 where it is not sent yet.
    fn since(&self, position: Duration) -> Duration {
        // Both positions are rounded to nanoseconds, so they may differ by up to 2 ns.
        let position = position.saturating_sub(Duration::from_nanos(2));
        let index = self.ends.partition_point(|end| *end < position).min(self.ends.len().saturating_sub(1));
        self.times.get(index).and_then(OnceLock::get).map_or(Duration::ZERO, Instant::elapsed)
    }
}
