//! The load over Kafka: chunks into the daemon's input topic, its events out of the output topic.
//!
//! In: sources. Out: how each stream ended. A topic holds any amount, so at full speed a stream is held back by its own
//! events; nothing says that a stream is over, so the run is once no event has come for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::report::Outcome;
use super::source::{Sample, Source};
use super::{LoadError, PATIENCE, StreamError};
use crate::client::{ClientError, Events, Pace, RecordFormat, RecordProducer, Records, StartAt, window_end};
use crate::config;
use crate::proto::EmotionEvent;

/// Audio that a stream may be ahead of its events at full speed: more than a window, or none would ever be complete.
const AHEAD: Duration = Duration::from_secs(30);
/// So long without an event, once all audio is sent, and no more are expected.
const QUIET: Duration = Duration::from_secs(5);

/// The topics of a daemon.
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
    /// Opens both ends: `kafka.input_topic` to write to, `kafka.output_topic` to read what is published from now on.
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

/// What has come back for one stream.
struct Heard {
    source: Arc<Source>,
    samples: Vec<Sample>,
    /// Highest window index by channel: what comes twice counts once.
    highest: BTreeMap<u32, u64>,
    /// Room for chunks, given back as their windows come.
    room: Arc<Semaphore>,
    /// Chunks whose room was given back.
    returned: u64,
}

/// Runs all streams to their ends; says when the last event came.
pub(super) async fn run(
    sources: Vec<Arc<Source>>,
    topics: Topics,
    windows: &AtomicU64,
) -> Result<(Vec<Outcome>, Instant), LoadError> {
    let Topics { producer, input, events } = topics;
    let mut heard: Vec<Heard> = sources.into_iter().map(Heard::new).collect();
    let by_name: BTreeMap<String, usize> =
        heard.iter().enumerate().map(|(at, one)| (one.source.stream_id.clone(), at)).collect();
    let mut sending = JoinSet::new();
    for (at, one) in heard.iter().enumerate() {
        let sent = send(Arc::clone(&one.source), Arc::clone(&one.room), producer.clone(), input.clone());
        sending.spawn(async move { (at, sent.await) });
    }
    let mut results: Vec<Result<(), StreamError>> = heard.iter().map(|_| Ok(())).collect();
    let mut last = Instant::now();
    let mut quiet_from = last;
    loop {
        let limit = quiet_from + if windows.load(Ordering::Relaxed) == 0 { PATIENCE } else { QUIET };
        tokio::select! {
            event = events.next() => {
                let (event, now) = (event?, Instant::now());
                let Some(at) = by_name.get(&event.stream_id) else { continue };
                if heard[*at].take(&event, now) {
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
    Ok((heard.into_iter().zip(results).map(|(one, result)| one.outcome(result)).collect(), last))
}

impl Heard {
    fn new(source: Arc<Source>) -> Self {
        let room = Arc::new(Semaphore::new(source.chunks_in(AHEAD) as usize));
        Self { source, samples: Vec::new(), highest: BTreeMap::new(), room, returned: 0 }
    }

    /// Takes an event in, unless it came before.
    fn take(&mut self, event: &EmotionEvent, now: Instant) -> bool {
        let seen = self.highest.get(&event.channel).is_some_and(|highest| event.window_index <= *highest);
        if seen {
            return false;
        }
        self.highest.insert(event.channel, event.window_index);
        self.samples.push(self.source.sample(event, now));
        let done = self.source.chunks_in(window_end(event));
        self.room.add_permits(done.saturating_sub(self.returned) as usize);
        self.returned = self.returned.max(done);
        true
    }

    /// A stream of which nothing came back has failed, as far as anyone can tell.
    fn outcome(self, sent: Result<(), StreamError>) -> Outcome {
        let result = match sent {
            Ok(()) if self.samples.is_empty() => Err(StreamError::Silent),
            sent => sent,
        };
        Outcome { audio: self.source.audio(), samples: self.samples, result }
    }
}

/// Sends one stream to its end, at full speed no further than there is room.
async fn send(
    source: Arc<Source>,
    room: Arc<Semaphore>,
    producer: RecordProducer,
    topic: String,
) -> Result<(), ClientError> {
    let mut records = Records::new(&producer, &topic, RecordFormat::Protobuf);
    loop {
        if source.schedule.pace == Pace::Max {
            // Out of time without room, the next chunk is the last one.
            let permit = timeout_at(source.schedule.end(), room.acquire()).await;
            if let Ok(permit) = permit {
                permit.expect("nobody closes it").forget();
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
