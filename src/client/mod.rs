//! The client's side: streams a recording as a live source would, and measures what comes back.
//!
//! In: a [`Script`] and a [`Pace`]. Out: events with their latency. Never reads a file, never prints.

pub mod evaluation;
mod events;
mod kafka;
mod pace;
mod script;
mod target;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures::Stream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use events::{Events, StartAt};
pub use kafka::{Acknowledged, RecordFormat, RecordProducer, Records, content_type, send_to_kafka};
pub use pace::Pace;
pub use script::{ChannelRequest, ChunkOptions, Script};
pub use target::Target;

use crate::proto::recognition_service_client::RecognitionServiceClient;
use crate::proto::recognition_service_server::SERVICE_NAME as RECOGNITION;
use crate::proto::{AudioChunk, EmotionEvent, RecognizeRequest, RecognizeResponse};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What keeps a client from its events.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("connect to {target}: {reason}")]
    Connect {
        /// Where to.
        target: String,
        /// Why not.
        reason: String,
    },
    /// The server refused the stream or gave it up.
    #[error("the server answered {:?}: {}", .0.code(), .0.message())]
    Refused(Box<tonic::Status>),
    /// A topic is missing.
    #[error("topic {topic} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A topic cannot be read.
    #[error("read topic {topic}: {reason}")]
    Read {
        /// The topic.
        topic: String,
        /// Why not.
        reason: String,
    },
    /// A record was not taken.
    #[error("send to topic {topic}: {reason}")]
    Kafka {
        /// The topic.
        topic: String,
        /// Why not.
        reason: String,
    },
}

/// An event and how long it took.
#[derive(Debug, Clone)]
pub struct Received {
    /// What the server sent.
    pub event: EmotionEvent,
    /// From sending the chunk that completes the window to receiving the event.
    pub latency: Duration,
}

/// Opens a connection to a daemon's gRPC port, which many streams may share.
///
/// # Errors
/// [`ClientError::Connect`] where nobody answers within 10 s.
pub async fn connect(authority: &str) -> Result<Channel, ClientError> {
    let error = |cause: tonic::transport::Error| ClientError::Connect {
        target: format!("grpc://{authority}"),
        reason: root_cause(&cause),
    };
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(error)?;
    endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await.map_err(error)
}

/// Waits until the daemon behind a connection takes streams, by gRPC's health protocol.
///
/// # Errors
/// [`ClientError::Refused`] where the server has no health service, or goes away.
pub async fn wait_until_serving(channel: Channel) -> Result<(), ClientError> {
    let refused = |status| ClientError::Refused(Box::new(status));
    let request = HealthCheckRequest { service: RECOGNITION.to_owned() };
    let mut changes = HealthClient::new(channel).watch(request).await.map_err(refused)?.into_inner();
    while let Some(answer) = changes.message().await.map_err(refused)? {
        if answer.status() == ServingStatus::Serving {
            return Ok(());
        }
    }
    Err(refused(tonic::Status::unavailable("the daemon stopped before it took streams")))
}

/// The innermost reason: tonic's own text is just "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// One stream on its way. Dropping it cancels the call.
pub struct Recognition {
    events: tonic::Streaming<RecognizeResponse>,
    sent: Arc<SentTimes>,
}

/// Starts a stream: chunks go out at their pace while [`Recognition::next`] is awaited or not.
///
/// # Errors
/// [`ClientError::Refused`] where the server turns the call down.
pub async fn recognize(channel: Channel, script: Script, pace: Pace) -> Result<Recognition, ClientError> {
    let sent = Arc::new(SentTimes::new(script.ends()));
    let requests = paced(script, pace, Arc::clone(&sent));
    let mut client = RecognitionServiceClient::new(channel);
    let answer = client.recognize(requests).await.map_err(|status| ClientError::Refused(Box::new(status)))?;
    Ok(Recognition { events: answer.into_inner(), sent })
}

impl Recognition {
    /// The next event; `None` once the server has closed the stream in good order.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the server ended the stream with an error.
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

/// Where an event's window ends, from the stream's start.
pub fn window_end(event: &EmotionEvent) -> Duration {
    let end = event.end.unwrap_or_default();
    Duration::new(end.seconds.try_into().unwrap_or(0), end.nanos.try_into().unwrap_or(0))
}

fn paced(script: Script, pace: Pace, sent: Arc<SentTimes>) -> impl Stream<Item = RecognizeRequest> + Send {
    async_stream::stream! {
        let start = Instant::now();
        for (index, (end, chunk)) in script.into_chunks().enumerate() {
            wait(start, pace, end).await;
            sent.mark(index);
            yield RecognizeRequest { chunk: Some(stamped(chunk)) };
        }
    }
}

/// Waits until audio that ends at `position` is due.
fn wait(start: Instant, pace: Pace, position: Duration) -> impl Future<Output = ()> {
    let due = pace.due(position).map(|due| start + due);
    async move {
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }
}

/// The chunk as if it had been captured now.
pub(crate) fn stamped(chunk: AudioChunk) -> AudioChunk {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let captured_at = pbjson_types::Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.subsec_nanos()).expect("below 1e9"),
    };
    AudioChunk { captured_at: Some(captured_at), ..chunk }
}

/// When each chunk left, written by the sending side and read by the receiving one.
struct SentTimes {
    ends: Vec<Duration>,
    times: Vec<OnceLock<Instant>>,
}

impl SentTimes {
    fn new(ends: &[Duration]) -> Self {
        Self { ends: ends.to_vec(), times: ends.iter().map(|_| OnceLock::new()).collect() }
    }

    fn mark(&self, index: usize) {
        let _ = self.times[index].set(Instant::now());
    }

    /// Time since the chunk left that completes the audio up to `position`; 0 where it has not left yet.
    fn since(&self, position: Duration) -> Duration {
        // Positions are rounded to nanoseconds on both sides.
        let position = position.saturating_sub(Duration::from_nanos(2));
        let index = self.ends.partition_point(|end| *end < position).min(self.ends.len().saturating_sub(1));
        self.times.get(index).and_then(OnceLock::get).map_or(Duration::ZERO, Instant::elapsed)
    }
}
