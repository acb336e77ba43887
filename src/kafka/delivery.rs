//! How a commit becomes durable, and the thread that waits for the brokers meanwhile.
//!
//! Input: [`Commit`]s. Output: what became of each. Invariant: the offsets of a commit are committed only after all of its progress is acknowledged, and
//! its streams' records are deleted only after the offsets are.
//!
//! [`Delivery`] is the interface that each kind of delivery semantics implements. [`AtLeastOnce`] publishes events beside it, as soon as they are there: a crash before the commit
//! publishes some of them again. A transactional implementation owns the producer of the events too. It begins a transaction when it is created and after
//! each commit; `deliver` then writes the progress into it, adds the offsets with the group's metadata and commits it, so that events, progress and offsets
//! become visible together. Where it has to abort, the partitions are reopened from their progress, as they are after a rebalance. All of those are
//! blocking calls of librdkafka, which is why a delivery blocks and has a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::counter;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::ReaderContext;
use super::commit::{Commit, CommitOutcome};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::progress_topic::{ProgressWrite, ProgressWriter};
use crate::telemetry::metrics::KAFKA_COMMITS_TOTAL;

/// Makes commits durable.
pub trait Delivery: Send {
    /// Delivers one commit; blocks until its outcome is known.
    ///
    /// # Errors
    /// A failure that a retry cannot help. Its offsets are not committed then.
    fn deliver(&mut self, commit: &Commit) -> Result<CommitOutcome, KafkaFault>;
}

/// At least once: progress is written and acknowledged, then the offsets are committed, then the records of ended streams are deleted.
pub struct AtLeastOnce {
    kafka: Options,
    consumer: Arc<BaseConsumer<ReaderContext>>,
    progress: ProgressWriter,
}

impl AtLeastOnce {
    /// Connects the progress producer.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub(super) fn new(
        kafka: &Options,
        consumer: Arc<BaseConsumer<ReaderContext>>,
    ) -> Result<Self, KafkaFault> {
        Ok(Self { kafka: kafka.clone(), consumer, progress: ProgressWriter::new(kafka)? })
    }

    /// Commits the offsets; `false` where the broker did not acknowledge them.
    ///
    /// The commit is synchronous. An asynchronous one would need no thread, but rdkafka 0.39 cannot report its result: it enables the event of librdkafka,
    /// which is sent only where a callback is set in the configuration as well, and sets none.
    fn commit_offsets(&self, commit: &Commit) -> Result<bool, KafkaFault> {
        let topic = &self.kafka.input_topic;
        let mut offsets = TopicPartitionList::new();
        for part in &commit.partitions {
            let Some(offset) = part.offset else { continue };
            let added =
                offsets.add_partition_offset(topic, part.assignment.partition, Offset::Offset(offset));
            added.map_err(broker(&self.kafka, format!("commit offset {offset} of {topic}")))?;
        }
        if offsets.count() == 0 {
            return Ok(true);
        }
        if let Err(error) = self.consumer.commit(&offsets, CommitMode::Sync) {
            outage::report(&format!("a commit was not acknowledged and is tried again: {error}"));
            return Ok(false);
        }
        counter!(KAFKA_COMMITS_TOTAL).increment(1);
        Ok(true)
    }
}

impl Delivery for AtLeastOnce {
    fn deliver(&mut self, commit: &Commit) -> Result<CommitOutcome, KafkaFault> {
        let of = |partition, stream_id, progress| ProgressWrite { partition, stream_id, progress };
        let progress = commit.partitions.iter().flat_map(|part| {
            let partition = part.assignment.partition;
            part.progress.iter().map(move |(stream_id, progress)| of(partition, stream_id, Some(progress)))
        });
        self.progress.write(progress)?;
        if !self.commit_offsets(commit)? {
            return Ok(CommitOutcome::Unacknowledged);
        }
        let tombstones = commit.partitions.iter().flat_map(|part| {
            let partition = part.assignment.partition;
            part.ended.iter().map(move |stream_id| of(partition, stream_id, None))
        });
        self.progress.write(tombstones)?;
        Ok(CommitOutcome::Acknowledged)
    }
}

/// A commit with its outcome.
type Delivered = (Commit, Result<CommitOutcome, KafkaFault>);

/// The thread that delivers commits, so that the reader never waits for a round trip.
pub(super) struct DeliveryThread {
    commits: Option<Sender<Commit>>,
    delivered: Receiver<Delivered>,
    thread: Option<JoinHandle<()>>,
}

impl DeliveryThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the operating system has no thread to give.
    pub fn start(mut delivery: impl Delivery + 'static) -> Result<Self, KafkaFault> {
        // Bounded by the committer: one commit is under way at a time.
        let (commits, inbox) = channel::<Commit>();
        let (outbox, delivered) = channel();
        let run = move || {
            for commit in inbox {
                let outcome = delivery.deliver(&commit);
                if outbox.send((commit, outcome)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("kafka-delivery".to_owned()).spawn(run)?;
        Ok(Self { commits: Some(commits), delivered, thread: Some(thread) })
    }

    /// Hands a commit over.
    ///
    /// # Errors
    /// [`KafkaFault::ThreadEnded`].
    pub fn deliver(&self, commit: Commit) -> Result<(), KafkaFault> {
        let sent = self.commits.as_ref().map(|commits| commits.send(commit));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(Self::ended()) }
    }

    /// Returns the next commit whose outcome is known; never waits.
    ///
    /// # Errors
    /// [`KafkaFault::ThreadEnded`], and what the delivery failed with.
    pub fn delivered(&self) -> Result<Option<(Commit, CommitOutcome)>, KafkaFault> {
        match self.delivered.try_recv() {
            Ok((commit, outcome)) => Ok(Some((commit, outcome?))),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Self::ended()),
        }
    }

    fn ended() -> KafkaFault {
        KafkaFault::ThreadEnded { name: "kafka-delivery" }
    }

    /// Ends the thread. One that is stuck in a request to a broker that is away for longer than `limit` is left to end with the process.
    pub fn stop(&mut self, limit: Duration) {
        drop(self.commits.take());
        let deadline = Instant::now() + limit;
        loop {
            match self.delivered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return,
            }
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when its channel closed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delivers each commit once the test allows it, with the outcome that the test names.
    struct Gated(Receiver<Result<CommitOutcome, KafkaFault>>);

    impl Delivery for Gated {
        fn deliver(&mut self, _: &Commit) -> Result<CommitOutcome, KafkaFault> {
            self.0.recv().expect("the test names an outcome")
        }
    }

    fn start() -> (Sender<Result<CommitOutcome, KafkaFault>>, DeliveryThread) {
        let (allow, allowed) = channel();
        (allow, DeliveryThread::start(Gated(allowed)).unwrap())
    }

    /// Polls as the reader does, until something is delivered or fails.
    fn wait(thread: &DeliveryThread) -> Result<CommitOutcome, KafkaFault> {
        loop {
            if let Some((_, outcome)) = thread.delivered()? {
                return Ok(outcome);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_reader_does_not_wait_for_a_broker_that_is_away() {
        let (allow, mut thread) = start();
        thread.deliver(Commit::default()).unwrap();
        assert!(thread.delivered().unwrap().is_none());
        allow.send(Ok(CommitOutcome::Unacknowledged)).unwrap();
        assert_eq!(wait(&thread).unwrap(), CommitOutcome::Unacknowledged);
        thread.deliver(Commit::default()).unwrap();
        thread.stop(Duration::ZERO);
        assert!(thread.thread.is_some(), "a thread that is stuck is not waited for");
        allow.send(Ok(CommitOutcome::Acknowledged)).unwrap();
    }

    #[test]
    fn a_delivery_that_fails_or_ends_is_a_fault() {
        let (allow, thread) = start();
        thread.deliver(Commit::default()).unwrap();
        allow.send(Err(KafkaFault::ThreadEnded { name: "test" })).unwrap();
        assert!(matches!(wait(&thread), Err(KafkaFault::ThreadEnded { name: "test" })));
        thread.deliver(Commit::default()).unwrap();
        drop(allow);
        assert!(matches!(wait(&thread), Err(KafkaFault::ThreadEnded { name: "kafka-delivery" })));
    }
}
