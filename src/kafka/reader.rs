//! The thread that owns the input consumer: records to the shards, reports to the partitions, commits to the delivery thread.
//!
//! Input: records, reports, rebalances, a request to stop. Output: chunks, dead letters, commits. Invariants: its thread waits for no shard and for no
//! round trip to a broker, so that reports are always handled and the group sees it alive; a partition is released only when its offsets are committed
//! or its time is up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::assignment::AssignmentLoader;
use super::clients::{self, ConsumerEvent, ReaderContext};
use super::commit::{Commit, Committer};
use super::dead_letters::DeadLetterQueue;
use super::delivery::{AtLeastOnce, Delivery, DeliveryThread};
use super::dispatch::Remaining;
use super::fault::KafkaFault;
use super::fetched::FetchedQueues;
use super::options::Options;
use super::partition::Partition;
use super::partition_end::PartitionEnds;
use super::producer::{EventProducer, ForTransaction};
use super::reader_commit::FIRST_RETRY;
use super::rebalance::{LAST_COMMIT, Leaving};
use super::rejoin::{PendingForgets, Rejoin};
use super::reset::OutOfRange;
use super::transaction::ExactlyOnce;
use super::transaction_buffer::TransactionBuffer;
use super::turns::Turns;
use crate::serving::RegistryReceiver;
use crate::shard::PartitionReport;
use crate::shard::{ShardMessage, Shards};
use crate::stream::MemoryBudget;
use crate::telemetry::{Readiness, metrics};

/// How long a record is waited for, and so how long reports wait at most.
const RECORD_WAIT: Duration = Duration::from_millis(5);
/// How long room in a shard is waited for.
const SHARD_WAIT: Duration = Duration::from_millis(1);
/// How often idle streams are searched for.
const IDLE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a drain waits for brokers that are away.
const DRAIN_AWAY: Duration = Duration::from_secs(3);
/// The parts of the grace period after which a drain waits for no window and for no commit any more. The rest is for leaving the group.
const DRAIN_PART: f64 = 0.8;
const COMMIT_PART: f64 = 0.9;
/// How long the delivery thread may take to end.
const DELIVERY_STOP: Duration = Duration::from_secs(1);

/// The channels and limits of a reader.
#[derive(Clone)]
pub struct ReaderLinks {
    /// Where chunks go.
    pub shards: Shards,
    /// The models that streams choose from.
    pub registries: RegistryReceiver,
    /// The memory of files.
    pub memory: MemoryBudget,
    /// What became of chunks, windows and dead letters.
    pub reports: crossbeam_channel::Receiver<PartitionReport>,
    /// Where dead letters go.
    pub producer: EventProducer,
    /// The events of partitions, where they are published in transactions.
    pub events: Option<crossbeam_channel::Receiver<ForTransaction>>,
    /// Its condition "kafka" is met once partitions are assigned.
    pub readiness: Readiness,
    /// How long a stream may be silent.
    pub idle_timeout: Duration,
    /// How long a drain may take.
    pub grace_period: Duration,
    /// How long the windows of revoked partitions may take.
    pub revoke_timeout: Duration,
}

/// The reader's state.
pub struct Reader {
    pub(super) kafka: Options,
    pub(super) links: ReaderLinks,
    pub(super) consumer: Arc<BaseConsumer<ReaderContext>>,
    pub(super) events: mpsc::Receiver<ConsumerEvent>,
    pub(super) fetched: FetchedQueues,
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// An assignment whose offsets and progress are not known yet.
    pub(super) loading: Option<AssignmentLoader>,
    pub(super) leaving: VecDeque<Leaving>,
    pub(super) out_of_range: OutOfRange,
    pub(super) rejoin: Rejoin,
    pub(super) committer: Committer,
    /// When the commit that is under way was started.
    pub(super) commit_started: Instant,
    pub(super) delivery: DeliveryThread,
    pub(super) ends: PartitionEnds,
    /// Whether "kafka" was reported as unmet since partitions were assigned.
    pub(super) unready: bool,
    pub(super) dead_letters: DeadLetterQueue,
    /// `None` where events and dead letters are published by themselves.
    pub(super) transaction: Option<TransactionBuffer>,
    /// A commit that was aborted and is tried again, and when.
    pub(super) retry: Option<(Commit, Instant)>,
    /// The pause before the next commit that is aborted is tried again.
    pub(super) retry_pause: Duration,
    /// When it was last checked whether a commit is due.
    pub(super) commit_checked: Instant,
    /// Shards that have no room yet for the message that a partition was released.
    pub(super) pending_forgets: PendingForgets,
    /// Identifies this process among the writers of the group.
    pub(super) process: uuid::Uuid,
    /// Partitions that were assigned so far.
    pub(super) assignments: u64,
    /// Decides which partition is read next.
    pub(super) turns: Turns,
    pub(super) draining: bool,
}

impl Reader {
    /// Connects and joins the group.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &Options, links: ReaderLinks) -> Result<Self, KafkaFault> {
        let (consumer, events) = clients::input_consumer(kafka)?;
        let (consumer, process) = (Arc::new(consumer), uuid::Uuid::new_v4());
        let limit = kafka.transaction_windows;
        let transaction = links.events.clone().map(|events| TransactionBuffer::new(events, limit));
        let delivery: Box<dyn Delivery> = match transaction {
            Some(_) => Box::new(ExactlyOnce::new(kafka, Arc::clone(&consumer), process)?),
            None => Box::new(AtLeastOnce::new(kafka, Arc::clone(&consumer))?),
        };
        Ok(Self {
            ends: PartitionEnds::start(&consumer, &kafka.input_topic)?,
            fetched: FetchedQueues::new(Arc::clone(&consumer), &kafka.input_topic),
            delivery: DeliveryThread::start(delivery)?,
            dead_letters: DeadLetterQueue::new(kafka, links.producer.clone()),
            kafka: kafka.clone(),
            links,
            consumer,
            events,
            partitions: BTreeMap::new(),
            loading: None,
            leaving: VecDeque::new(),
            committer: Committer::default(),
            commit_started: Instant::now(),
            unready: false,
            pending_forgets: Vec::new(),
            process,
            transaction,
            retry: None,
            retry_pause: FIRST_RETRY,
            out_of_range: OutOfRange::default(),
            rejoin: Rejoin::new(kafka),
            commit_checked: Instant::now(),
            assignments: 0,
            turns: Turns::default(),
            draining: false,
        })
    }

    /// Reads until `stop` is cancelled, then drains.
    pub(super) fn read(&mut self, stop: &CancellationToken) -> Result<(), KafkaFault> {
        let mut idle_ended = Instant::now();
        while !stop.is_cancelled() {
            self.step()?;
            if idle_ended.elapsed() > IDLE_INTERVAL {
                self.request_ends();
                let commit = self.committer.end_idle(&mut self.partitions);
                self.begin_commit(commit)?;
                self.report_readiness();
                idle_ended = Instant::now();
            }
        }
        self.drain()
    }

    /// One turn: rebalances, outcomes of commits, reports, what waits for room, and a few records of each partition.
    fn step(&mut self) -> Result<(), KafkaFault> {
        self.handle_consumer_events()?;
        self.handle_delivered()?;
        self.reload_out_of_range()?;
        for (number, end) in self.ends.answer() {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.end_reported(end);
            }
        }
        self.handle_reports()?;
        self.collect_transaction()?;
        self.dead_letters.send()?;
        self.commit_when_due()?;
        let backlog = self.dispatch()?;
        self.send_pending_forgets();
        self.release_drained()?;
        match backlog {
            Remaining::Unread => {}
            Remaining::ShardFull => self.fetched.wait(SHARD_WAIT),
            Remaining::Empty => self.fetched.wait(RECORD_WAIT),
        }
        self.poll_consumer()
    }

    /// Serves the consumer's callbacks. Records come through the queues of their partitions, and none through here.
    fn poll_consumer(&self) -> Result<(), KafkaFault> {
        match self.consumer.poll(Duration::ZERO) {
            None => Ok(()),
            Some(Err(error)) => self.handle_error(&error),
            Some(Ok(record)) => Err(KafkaFault::OutsideQueue {
                topic: self.kafka.input_topic.clone(),
                partition: record.partition(),
                offset: record.offset(),
            }),
        }
    }

    /// Handles every report that waits.
    pub(super) fn handle_reports(&mut self) -> Result<(), KafkaFault> {
        while let Ok(report) = self.links.reports.try_recv() {
            let kind = match report {
                PartitionReport::Failed(fault) => return Err(KafkaFault::Stage(fault)),
                PartitionReport::Refused { kind, .. } => kind,
                _ => "",
            };
            let at = report.assignment();
            let partition = at
                .and_then(|at| self.partitions.get_mut(&at.partition))
                .filter(|partition| Some(partition.assignment()) == at);
            if let Some(letter) = partition.and_then(|partition| partition.handle_report(report)) {
                metrics::rejected(metrics::Source::KAFKA, kind);
                self.dead_letters.push(letter, kind);
            }
        }
        Ok(())
    }

    /// Lets the shards drop the streams of partitions that were released, as soon as they have room for the message.
    fn send_pending_forgets(&mut self) {
        self.pending_forgets.retain(|(shard, assignment)| {
            matches!(shard.try_send(ShardMessage::ForgetAssignment(*assignment)), Err(TrySendError::Full(_)))
        });
    }

    /// Stops reading, waits for the reports that are outstanding, commits, and leaves the group. Does not wait for brokers that are away.
    fn drain(&mut self) -> Result<(), KafkaFault> {
        self.draining = true;
        self.hasten_retry();
        let (started, grace) = (Instant::now(), self.links.grace_period);
        self.partitions.values_mut().for_each(Partition::leave);
        while !self.is_drained() && started.elapsed() < grace.mul_f64(DRAIN_PART) && !self.is_away() {
            self.ends.request(self.partitions.keys().copied(), false);
            self.step()?;
        }
        let drained = self.is_drained();
        let deadline = (Instant::now() + LAST_COMMIT).min(started + grace.mul_f64(COMMIT_PART));
        // Before the last commit, one that is under way ends, and one that was not acknowledged is tried again.
        for _ in 0..3 {
            self.finish_commit(deadline)?;
            self.start_commit()?;
        }
        self.finish_commit(deadline)?;
        if self.committer.is_under_way() {
            tracing::warn!("the last commit is not acknowledged: what it settles is read again");
        }
        let left = if drained { "" } else { ": unsettled records are left to the next reader" };
        tracing::info!(settled = drained, "Kafka drained{left}");
        Ok(())
    }

    /// Goes on until no commit is under way, at most until `deadline`, and not while the brokers are away.
    fn finish_commit(&mut self, deadline: Instant) -> Result<(), KafkaFault> {
        while self.committer.is_under_way() && Instant::now() < deadline && !self.is_away() {
            self.ends.request(self.partitions.keys().copied(), false);
            self.step()?;
        }
        Ok(())
    }

    /// Returns whether a drain would wait in vain.
    fn is_away(&self) -> bool {
        self.ends.away_for().is_some_and(|away| away > DRAIN_AWAY)
    }

    fn is_drained(&self) -> bool {
        self.partitions.values().all(Partition::is_drained)
    }
}

impl Drop for Reader {
    /// Closing the consumer revokes its partitions, and no reader is left to commit their offsets: they are released at once.
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        self.loading = None;
        self.delivery.stop(DELIVERY_STOP);
        self.fetched.close_all();
    }
}
