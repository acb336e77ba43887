//! The ends of the assigned partitions as the brokers report them, and whether the brokers answer at all.
//!
//! Input: partitions whose ends are requested. Output: the ends, each with the time of the request, and since when the brokers answer without an outage.
//! The requests block a thread of their own, never the reader. Invariant: one request is under way at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::ReaderContext;
use super::fault::KafkaFault;

/// How long an answer may take; without it the brokers are away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// An answer that takes longer follows an outage.
const PROMPT: Duration = Duration::from_secs(1);
/// How often a request is sent to the brokers where no end is needed, so that an outage is noticed.
const INTERVAL: Duration = Duration::from_secs(2);

/// The end of a partition at one moment.
#[derive(Debug, Clone, Copy)]
pub struct PartitionEnd {
    /// When it was requested. The partition held every record that was written before.
    pub requested_at: Instant,
    /// The offset behind the last record.
    pub offset: i64,
    /// The end of the last outage of the brokers; `None` where there was none.
    pub answering_since: Option<Instant>,
}

/// An answer, or its absence.
struct Answer {
    requested_at: Instant,
    answered_at: Instant,
    ends: KafkaResult<Vec<(i32, i64)>>,
}

/// The thread that requests the ends, and what is known of the brokers.
pub(super) struct PartitionEnds {
    requests: Option<Sender<Vec<i32>>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    under_way: bool,
    requested_at: Instant,
    /// When the brokers last answered.
    answered_at: Instant,
    /// Since when they are away.
    away_since: Option<Instant>,
    answering_since: Option<Instant>,
}

impl PartitionEnds {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the operating system has no thread to give.
    pub fn start(consumer: &Arc<BaseConsumer<ReaderContext>>, topic: &str) -> Result<Self, KafkaFault> {
        let (consumer, topic) = (Arc::clone(consumer), topic.to_owned());
        // Bounded by `under_way`.
        let (requests, inbox) = channel::<Vec<i32>>();
        let (outbox, answers) = channel();
        let run = move || {
            for partitions in inbox {
                let requested_at = Instant::now();
                let ends = request(&consumer, &topic, &partitions);
                if outbox.send(Answer { requested_at, answered_at: Instant::now(), ends }).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("kafka-ends".to_owned()).spawn(run)?;
        let now = Instant::now();
        Ok(Self {
            requests: Some(requests),
            answers,
            thread: Some(thread),
            under_way: false,
            requested_at: now,
            answered_at: now,
            away_since: None,
            answering_since: None,
        })
    }

    /// Requests the ends of `partitions`, if no request is under way and either `needed` or the last request is long ago.
    pub fn request(&mut self, partitions: impl Iterator<Item = i32>, needed: bool) {
        if self.under_way || !(needed || self.requested_at.elapsed() > INTERVAL) {
            return;
        }
        (self.under_way, self.requested_at) = (true, Instant::now());
        let sent = self.requests.as_ref().map(|requests| requests.send(partitions.collect()));
        debug_assert!(matches!(sent, Some(Ok(()))), "the thread runs as long as this struct");
    }

    /// Returns the ends that an answer has brought, where there is one; never waits.
    pub fn answer(&mut self) -> Vec<(i32, PartitionEnd)> {
        let Ok(Answer { requested_at, answered_at, ends }) = self.answers.try_recv() else {
            return Vec::new();
        };
        self.under_way = false;
        let ends = match ends {
            Err(error) => {
                self.away_since.get_or_insert(requested_at);
                super::outage::report(&format!("no answer about the ends of partitions: {error}"));
                return Vec::new();
            }
            Ok(ends) => ends,
        };
        self.answered_at = answered_at;
        if answered_at - requested_at > PROMPT {
            self.away_since.get_or_insert(requested_at);
        }
        if let Some(since) = self.away_since.take() {
            self.answering_since = Some(answered_at);
            super::outage::ended(answered_at - since);
        }
        let answering_since = self.answering_since;
        let end = |(number, offset)| (number, PartitionEnd { requested_at, offset, answering_since });
        ends.into_iter().map(end).collect()
    }

    /// Returns for how long the brokers have not answered; `None` while they do.
    pub fn away_for(&self) -> Option<Duration> {
        let late = self.under_way && self.requested_at.elapsed() > PROMPT;
        (self.away_since.is_some() || late).then(|| self.answered_at.elapsed())
    }
}

impl Drop for PartitionEnds {
    /// Waits for the thread, which holds the consumer: at most for one request.
    fn drop(&mut self) {
        drop(self.requests.take());
        let deadline = Instant::now() + ANSWER_TIMEOUT.saturating_mul(2);
        while let Ok(_) | Err(RecvTimeoutError::Timeout) =
            self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if Instant::now() >= deadline {
                return;
            }
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when its channel closed.
            let _ = thread.join();
        }
    }
}

/// Requests the ends of partitions: one request for each leader. Without partitions, it is only found out whether a broker answers.
fn request(
    consumer: &BaseConsumer<ReaderContext>,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<Vec<(i32, i64)>> {
    if partitions.is_empty() {
        return consumer.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map(|_| Vec::new());
    }
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        // The protocol accepts "the end" in place of a time.
        list.add_partition_offset(topic, *partition, Offset::End)?;
    }
    let ends = consumer.offsets_for_times(list, ANSWER_TIMEOUT)?;
    let elements = ends.elements();
    let ends = elements.iter().map(|element| {
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => Ok(Some((element.partition(), offset))),
            _ => Ok(None),
        }
    });
    Ok(ends.collect::<KafkaResult<Vec<_>>>()?.into_iter().flatten().collect())
}
