//! The load generator over Kafka: chunks to the daemon's input topic, events from its output topic.
//!
//! Input: stream sources and topics. Output: the outcome of each stream. Invariants: a topic has no flow control, so at
//! full speed a stream may be at most [`MAX_AUDIO_AHEAD`] ahead of its events; a topic has no end of stream either, so the
//! run ends when no event has arrived for [`QUIET_TIME`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::report::StreamOutcome;
use super::source::{LatencySample, StreamSource};
use super::{LoadError, RESPONSE_TIMEOUT, StreamError};
use crate::client::{ClientError, Events, Pace, RecordFormat, RecordProducer, Records, StartAt, window_end};
use crate::config;
use crate::proto::EmotionEvent;

/// The audio that a stream may send ahead of its events at full speed. It must exceed the length of a window, or no window
/// would ever be complete.
const MAX_AUDIO_AHEAD: Duration = Duration::from_secs(30);
/// The time without an event, after all audio is sent, after which the run ends.
const QUIET_TIME: Duration = Duration::from_secs(5);

/// The input and output topics of a daemon.
pub struct Topics {
    producer: RecordProducer,
    input: String,
    events: Events,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Topics").field("input", &self.input).finish_non_exhaustive()
    }
}

impl Topics {
    /// Opens `kafka.input_topic` for writing, and `kafka.output_topic` for reading the events that are published from now on.
    ///
    /// # Errors
    /// See [`Events::open`].
    pub async fn open(kafka: &config::Kafka) -> Result<Self, ClientError> {
        let producer = RecordProducer::connect(&kafka.brokers, &kafka.properties)?;
        let events =
            Events::open(&kafka.brokers, &kafka.properties, &kafka.output_topic, StartAt::Now).await?;
        Ok(Self { producer, input: kafka.input_topic.clone(), events })
    }
}

/// The events received for one stream.
struct StreamProgress {
    source: Arc<StreamSource>,
    samples: Vec<LatencySample>,
    /// The highest window index by channel. Delivery is at least once, so an event at or below it is a duplicate.
    highest: BTreeMap<u32, u64>,
    /// Permits to send chunks, at full speed; they are released as events arrive.
    permits: Arc<Semaphore>,
    /// The number of chunks whose permits were released.
    released: u64,
}

/// Runs all streams until they end. Returns their outcomes and the time of the last event.
pub(super) async fn run(
    sources: Vec<Arc<StreamSource>>,
    topics: Topics,
    windows: &AtomicU64,
) -> Result<(Vec<StreamOutcome>, Instant), LoadError> {
    let Topics { producer, input, events } = topics;
    let mut progress: Vec<StreamProgress> = sources.into_iter().map(StreamProgress::new).collect();
    let by_name: BTreeMap<String, usize> =
        progress.iter().enumerate().map(|(at, one)| (one.source.stream_id.clone(), at)).collect();
    let mut sending = JoinSet::new();
    for (at, one) in progress.iter().enumerate() {
        let sent = send(Arc::clone(&one.source), Arc::clone(&one.permits), producer.clone(), input.clone());
        sending.spawn(async move { (at, sent.await) });
    }
    let mut results: Vec<Result<(), StreamError>> = progress.iter().map(|_| Ok(())).collect();
    let mut last = Instant::now();
    let mut quiet_from = last;
    loop {
        let limit =
            quiet_from + if windows.load(Ordering::Relaxed) == 0 { RESPONSE_TIMEOUT } else { QUIET_TIME };
        tokio::select! {
            event = events.next() => {
                let (event, now) = (event?, Instant::now());
                let Some(at) = by_name.get(&event.stream_id) else { continue };
                if progress[*at].record(&event, now) {
                    windows.fetch_add(1, Ordering::Relaxed);
                    (last, quiet_from) = (now, now);
                }
            }
            Some(sent) = sending.join_next() => {
                let (at, result) = sent.expect("sending does not panic");
                results[at] = result.map_err(StreamError::Client);
                quiet_from = Instant::now();
            }
            () = sleep_until(limit), if sending.is_empty() => break,
        }
    }
    Ok((progress.into_iter().zip(results).map(|(one, result)| one.outcome(result)).collect(), last))
}

impl StreamProgress {
    fn new(source: Arc<StreamSource>) -> Self {
        let permits = Arc::new(Semaphore::new(source.chunks_in(MAX_AUDIO_AHEAD) as usize));
        Self { source, samples: Vec::new(), highest: BTreeMap::new(), permits, released: 0 }
    }

    /// Records an event; returns false for a duplicate.
    fn record(&mut self, event: &EmotionEvent, now: Instant) -> bool {
        let seen = self.highest.get(&event.channel).is_some_and(|highest| event.window_index <= *highest);
        if seen {
            return false;
        }
        self.highest.insert(event.channel, event.window_index);
        self.samples.push(self.source.sample(event, now));
        let done = self.source.chunks_in(window_end(event));
        self.permits.add_permits(done.saturating_sub(self.released) as usize);
        self.released = self.released.max(done);
        true
    }

    /// Returns the outcome of the stream. A stream without any event counts as failed, because a topic reports no errors.
    fn outcome(self, sent: Result<(), StreamError>) -> StreamOutcome {
        let result = match sent {
            Ok(()) if self.samples.is_empty() => Err(StreamError::NoResponse),
            sent => sent,
        };
        StreamOutcome { audio: self.source.audio(), samples: self.samples, result }
    }
}

/// Sends one stream until it ends; at full speed, every chunk needs a permit.
async fn send(
    source: Arc<StreamSource>,
    permits: Arc<Semaphore>,
    producer: RecordProducer,
    topic: String,
) -> Result<(), ClientError> {
    let mut records = Records::new(&producer, &topic, RecordFormat::Protobuf);
    loop {
        if source.schedule.pace == Pace::Max {
            // Without a permit at the end of the stream's time, the next chunk is sent as the last one.
            let permit = timeout_at(source.schedule.end(), permits.acquire()).await;
            if let Ok(permit) = permit {
                permit.expect("the semaphore is never closed").forget();
            }
        }
        let mut chunk = source.next().await;
        let last = chunk.last;
        chunk.stream_id.clone_from(&source.stream_id);
        records.send(chunk).await?;
        if last {
            return records.finish().await.map(drop);
        }
    }
}
