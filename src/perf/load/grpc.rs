//! The load generator over gRPC: one call per stream, over a few shared connections.
//!
//! Input: stream sources and connections. Output: the outcome of each stream. Invariants: at full speed, the flow control
//! of HTTP/2 limits how fast a stream sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::report::StreamOutcome;
use super::source::{LatencySample, StreamSource};
use super::{RESPONSE_TIMEOUT, StreamError};
use crate::client::{self, Channel, ClientError, Credentials, GrpcServer};
use crate::proto::RecognizeRequest;
use crate::proto::recognition_service_client::RecognitionServiceClient;

/// The number of streams per connection: half of the daemon's limit of concurrent HTTP/2 streams, so that no stream waits
/// until another one ends.
const STREAMS_PER_CONNECTION: usize = 100;

/// Opens as many connections as `streams` streams need.
///
/// # Errors
/// Returns [`ClientError::Connect`] where the daemon is unreachable.
pub async fn connect(
    server: &GrpcServer,
    credentials: &Credentials,
    streams: usize,
) -> Result<Vec<Channel>, ClientError> {
    let count = streams.div_ceil(STREAMS_PER_CONNECTION);
    let connections: Vec<_> =
        futures::stream::iter(0..count).then(|_| client::connect(server, credentials)).collect().await;
    connections.into_iter().collect()
}

/// Runs all streams until they end and returns their outcomes.
pub(super) async fn run(
    sources: Vec<Arc<StreamSource>>,
    connections: &[Channel],
    windows: &Arc<AtomicU64>,
) -> Vec<StreamOutcome> {
    let mut running = JoinSet::new();
    for (source, channel) in sources.into_iter().zip(connections.iter().cycle()) {
        running.spawn(stream(source, channel.clone(), Arc::clone(windows)));
    }
    running.join_all().await
}

async fn stream(source: Arc<StreamSource>, channel: Channel, windows: Arc<AtomicU64>) -> StreamOutcome {
    let mut samples = Vec::new();
    // A call without a first chunk is ended by the daemon, so it begins with the stream.
    sleep_until(source.schedule.start).await;
    let result = call(&source, channel, |sample| {
        samples.push(sample);
        windows.fetch_add(1, Ordering::Relaxed);
    });
    let result = result.await;
    StreamOutcome { samples, audio: source.audio(), result }
}

/// Runs one call until it ends and passes a latency sample to `take` for every event.
async fn call(
    source: &Arc<StreamSource>,
    channel: Channel,
    mut take: impl FnMut(LatencySample),
) -> Result<(), StreamError> {
    let mut client = RecognitionServiceClient::new(channel);
    let response = client.recognize(requests(Arc::clone(source))).await.map_err(StreamError::status)?;
    let mut events = response.into_inner();
    loop {
        let limit = source.schedule.end().max(Instant::now()) + RESPONSE_TIMEOUT;
        let message = timeout_at(limit, events.message()).await.map_err(|_| StreamError::NoResponse)?;
        let Some(response) = message.map_err(StreamError::status)? else { return Ok(()) };
        if let Some(event) = response.event {
            take(source.sample(&event, Instant::now()));
        }
    }
}

/// Returns the chunks of a stream. Only the first chunk carries the stream id, because the daemon keeps it for the call.
fn requests(source: Arc<StreamSource>) -> impl Stream<Item = RecognizeRequest> + Send {
    async_stream::stream! {
        let mut stream_id = source.stream_id.clone();
        loop {
            let mut chunk = source.next().await;
            let last = chunk.last;
            chunk.stream_id = std::mem::take(&mut stream_id);
            yield RecognizeRequest { chunk: Some(chunk) };
            if last {
                return;
            }
        }
    }
}
