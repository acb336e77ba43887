//! How a commit becomes durable, and the thread that waits for the brokers meanwhile.
//!
//! Input: [`Commit`]s. Output: what became of each. Invariant: the offsets of a commit are committed only after all of its progress is acknowledged, and
//! its streams' records are deleted only after the offsets are.
//!
//! [`Delivery`] is the interface that each kind of delivery semantics implements. With [`AtLeastOnce`], events are published beside it, as soon as they are
//! there: a crash before the commit publishes some of them again. With [`super::transaction::ExactlyOnce`] a commit has its events and dead letters too, and
//! all of it is one transaction. Both make blocking calls of librdkafka, which is why a delivery blocks and has a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::ReaderContext;
use super::commit::{Commit, CommitOutcome};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::outage;
use super::progress_writer::{ProgressWrite, ProgressWriter};
use crate::telemetry::metrics::{KAFKA_COMMIT_SECONDS, KAFKA_COMMITS_TOTAL};

/// Makes commits durable.
pub trait Delivery: Send {
    /// Prepares the first delivery; blocks until the brokers have answered.
    ///
    /// # Errors
    /// A failure that a retry cannot help.
    fn prepare(&mut self) -> Result<(), KafkaFault> {
        Ok(())
    }

    /// Delivers one commit; blocks until its outcome is known. A record that the brokers refuse for good is replaced in it.
    ///
    /// # Errors
    /// A failure that a retry cannot help. Its offsets are not committed then.
    fn deliver(&mut self, commit: &mut Commit) -> Result<CommitOutcome, KafkaFault>;
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
            let action = || broker(&self.kafka, format!("commit offset {offset} of {topic}"));
            let mut element = offsets.add_partition(topic, part.assignment.partition);
            element.set_offset(Offset::Offset(offset)).map_err(action())?;
            element.set_metadata(part.metadata.to_json());
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
    fn deliver(&mut self, commit: &mut Commit) -> Result<CommitOutcome, KafkaFault> {
        self.progress.write(progress_writes(commit))?;
        if !self.commit_offsets(commit)? {
            return Ok(CommitOutcome::Unacknowledged);
        }
        self.progress.write(tombstones(commit))?;
        Ok(CommitOutcome::Acknowledged)
    }
}

/// Returns the progress records of a commit.
pub(super) fn progress_writes(commit: &Commit) -> impl Iterator<Item = ProgressWrite<'_>> {
    commit.partitions.iter().flat_map(|part| {
        part.progress.iter().map(|(stream_id, progress)| ProgressWrite {
            partition: part.assignment.partition,
            stream_id,
            writers: &part.writers,
            progress: Some(progress),
        })
    })
}

/// Returns the records that delete the progress of the streams that have ended.
pub(super) fn tombstones(commit: &Commit) -> impl Iterator<Item = ProgressWrite<'_>> {
    commit.partitions.iter().flat_map(|part| {
        part.ended.iter().map(|stream_id| ProgressWrite {
            partition: part.assignment.partition,
            stream_id,
            writers: &part.writers,
            progress: None,
        })
    })
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
    pub fn start(mut delivery: Box<dyn Delivery>) -> Result<Self, KafkaFault> {
        // Bounded by the committer: one commit is under way at a time.
        let (commits, inbox) = channel::<Commit>();
        let (outbox, delivered) = channel();
        let run = move || {
            if let Err(fault) = delivery.prepare() {
                // Dropped by a reader that has stopped meanwhile.
                let _ = outbox.send((Commit::default(), Err(fault)));
                return;
            }
            for mut commit in inbox {
                let started = Instant::now();
                let outcome = delivery.deliver(&mut commit);
                histogram!(KAFKA_COMMIT_SECONDS).record(started.elapsed());
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
        fn deliver(&mut self, _: &mut Commit) -> Result<CommitOutcome, KafkaFault> {
            self.0.recv().expect("the test names an outcome")
        }
    }

    fn start() -> (Sender<Result<CommitOutcome, KafkaFault>>, DeliveryThread) {
        let (allow, allowed) = channel();
        (allow, DeliveryThread::start(Box::new(Gated(allowed))).unwrap())
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
