//! The load over gRPC: one call a stream, over a handful of connections.
//!
//! In: sources. Out: how each stream ended. HTTP/2's flow control is what holds a stream back at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use super::report::StreamOutcome;
use super::source::{LatencySample, StreamSource};
use super::{RESPONSE_TIMEOUT, StreamError};
use crate::client::{self, ClientError};
use crate::proto::RecognizeRequest;
use crate::proto::recognition_service_client::RecognitionServiceClient;

/// Streams over one connection: half of what the daemon allows, so that none waits for another one's end.
const STREAMS_PER_CONNECTION: usize = 100;

/// Opens as many connections as `streams` need.
///
/// # Errors
/// [`ClientError::Connect`] where nobody answers.
pub async fn connect(authority: &str, streams: usize) -> Result<Vec<Channel>, ClientError> {
    let count = streams.div_ceil(STREAMS_PER_CONNECTION);
    let connections: Vec<_> =
        futures::stream::iter(0..count).then(|_| client::connect(authority)).collect().await;
    connections.into_iter().collect()
}

/// Runs all streams to their ends.
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
    let result = call(&source, channel, |sample| {
        samples.push(sample);
        windows.fetch_add(1, Ordering::Relaxed);
    });
    let result = result.await;
    StreamOutcome { samples, audio: source.audio(), result }
}

/// One call to its end; every event becomes a sample.
async fn call(
    source: &Arc<StreamSource>,
    channel: Channel,
    mut take: impl FnMut(LatencySample),
) -> Result<(), StreamError> {
    let mut client = RecognitionServiceClient::new(channel);
    let answer = client.recognize(requests(Arc::clone(source))).await.map_err(StreamError::status)?;
    let mut events = answer.into_inner();
    loop {
        let limit = source.schedule.end().max(Instant::now()) + RESPONSE_TIMEOUT;
        let message = timeout_at(limit, events.message()).await.map_err(|_| StreamError::NoResponse)?;
        let Some(response) = message.map_err(StreamError::status)? else { return Ok(()) };
        if let Some(event) = response.event {
            take(source.sample(&event, Instant::now()));
        }
    }
}

/// The chunks of a stream, the first one with its name: the daemon keeps it.
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
