//! The thread that owns the consumer: records to shards, reports to the books, commits, rebalances.
//!
//! In: records, reports, the word to stop. Out: chunks, dead letters, commits. Invariants: it never waits for a shard (a partition with a
//! chunk for a full one is not read on), so reports are always heard; a partition is given up only when its books are in order or its
//! time is up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::client::{KafkaFault, QUESTION, ReaderContext, Rebalance, broker, settings};
use super::commit::commit;
use super::fetched::FetchedQueues;
use super::links::ReaderLinks;
use super::partition::{DeadLetter, Partition};
use super::progress_topic::{ProgressTopic, ProgressWrite};
use super::turn::Left;
use crate::config;
use crate::kafka::producer::{NotTaken, Outgoing};
use crate::shard::PartitionReport;
use crate::shard::ShardMessage;
use crate::stream::Assignment;
use crate::telemetry::metrics;

/// How long a record is waited for; reports wait for so long at most.
const POLL: Duration = Duration::from_millis(5);
/// How long the room of a shard is waited for.
const FULL: Duration = Duration::from_millis(1);
/// How often idle streams are looked for.
const TICK: Duration = Duration::from_millis(200);
/// How often the lag is asked for.
const LAG: Duration = Duration::from_secs(5);

/// Partitions that are to be given up.
pub(super) struct Leaving {
    pub partitions: TopicPartitionList,
    pub deadline: Instant,
}

/// The reader's state.
pub struct Reader {
    pub(super) kafka: config::Kafka,
    pub(super) links: ReaderLinks,
    pub(super) consumer: Arc<BaseConsumer<ReaderContext>>,
    pub(super) fetched: FetchedQueues,
    rebalances: mpsc::Receiver<Rebalance>,
    pub(super) progress: ProgressTopic,
    pub(super) partitions: BTreeMap<i32, Partition>,
    pub(super) leaving: VecDeque<Leaving>,
    dead_letters: VecDeque<Outgoing>,
    /// Shards that still have to hear of a partition given up.
    pub(super) pending_forgets: Vec<(tokio::sync::mpsc::Sender<ShardMessage>, Assignment)>,
    pub(super) epoch: u64,
}

impl Reader {
    /// Connects and joins the group.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &config::Kafka, links: ReaderLinks) -> Result<Self, KafkaFault> {
        let (context, rebalances) = ReaderContext::new();
        let mut settings = settings(kafka);
        settings
            .set("group.id", &kafka.group_id)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<ReaderContext> =
            settings.create_with_context(context).map_err(broker(kafka, "set up a consumer"))?;
        consumer
            .subscribe(&[&kafka.input_topic])
            .map_err(broker(kafka, format!("subscribe to {}", kafka.input_topic)))?;
        let consumer = Arc::new(consumer);
        Ok(Self {
            fetched: FetchedQueues::new(Arc::clone(&consumer), &kafka.input_topic),
            progress: ProgressTopic::new(kafka)?,
            kafka: kafka.clone(),
            links,
            consumer,
            rebalances,
            partitions: BTreeMap::new(),
            leaving: VecDeque::new(),
            dead_letters: VecDeque::new(),
            pending_forgets: Vec::new(),
            epoch: 0,
        })
    }

    /// Reads until told to stop, then drains. Gives the number of chunks that were left for the next reader to settle.
    ///
    /// # Errors
    /// See [`KafkaFault`]; nothing unsettled was committed, so a restart reads it again.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), KafkaFault> {
        let (mut ticked, mut committed, mut asked) = (Instant::now(), Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            self.step()?;
            if ticked.elapsed() > TICK {
                self.end_idle()?;
                ticked = Instant::now();
            }
            if committed.elapsed() > self.kafka.commit_interval {
                commit(&self.consumer, &self.progress, &self.kafka.input_topic, &mut self.partitions)?;
                committed = Instant::now();
            }
            if asked.elapsed() > LAG {
                self.ask_lag();
                asked = Instant::now();
            }
        }
        self.drain()
    }

    /// One turn: rebalances, reports, what waits, and a few records of each partition.
    fn step(&mut self) -> Result<(), KafkaFault> {
        while let Ok(change) = self.rebalances.try_recv() {
            match change {
                Rebalance::Assign(partitions) => self.assign(partitions)?,
                Rebalance::Revoke(partitions) => self.revoke(partitions),
            }
        }
        self.hear()?;
        self.send_dead_letters()?;
        let left = self.send_and_read()?;
        self.send_pending_forgets();
        self.give_up_quiet()?;
        match left {
            Left::Fetched => {}
            Left::Held => self.fetched.wait(FULL),
            Left::Nothing => self.fetched.wait(POLL),
        }
        // Records come by their own queues: this is for rebalances and for errors.
        match self.consumer.poll(Duration::ZERO) {
            None => Ok(()),
            Some(Err(error)) => self.bear(&error),
            Some(Ok(record)) => {
                let (partition, offset) = (record.partition(), record.offset());
                Err(KafkaFault::Publish(format!(
                    "record {offset} came outside the queue of its partition {partition}"
                )))
            }
        }
    }

    /// Hears every report that waits.
    fn hear(&mut self) -> Result<(), KafkaFault> {
        while let Ok(report) = self.links.reports.try_recv() {
            let kind = match &report {
                PartitionReport::Failed(reason) => return Err(KafkaFault::Publish(reason.clone())),
                PartitionReport::Refused { kind, .. } => kind,
                _ => "",
            };
            let at = report.assignment();
            let partition = at
                .and_then(|at| self.partitions.get_mut(&at.partition))
                .filter(|partition| Some(partition.assignment()) == at);
            if let Some(letter) = partition.and_then(|partition| partition.hear(report)) {
                metrics::rejected(metrics::Source::Kafka, kind);
                self.queue_dead_letter(letter, kind);
            }
        }
        Ok(())
    }

    pub(super) fn queue_dead_letter(&mut self, letter: DeadLetter, kind: &'static str) {
        let DeadLetter { record, reason, ticket } = letter;
        tracing::warn!(
            partition = ticket.assignment.partition,
            offset = ticket.offset,
            "dead letter: {reason}"
        );
        metrics::dead_letter(kind);
        self.dead_letters.push_back(self.links.producer.dead_letter(
            record,
            &self.kafka.input_topic,
            &reason,
            ticket,
        ));
    }

    fn send_dead_letters(&mut self) -> Result<(), KafkaFault> {
        while let Some(letter) = self.dead_letters.pop_front() {
            match self.links.producer.send(letter) {
                Ok(()) => {}
                Err(NotTaken::Full(letter)) => {
                    self.dead_letters.push_front(*letter);
                    return Ok(());
                }
                Err(NotTaken::Failed(error)) => {
                    return Err(KafkaFault::Publish(format!("a dead letter: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Ends idle stretches. Those that only the clock could judge are written to the progress first: a replay then decides alike.
    fn end_idle(&mut self) -> Result<(), KafkaFault> {
        for (&number, partition) in &mut self.partitions {
            for stream_id in partition.end_idle() {
                let Some(progress) = partition.tracker.idle_end(&stream_id) else { continue };
                let write = ProgressWrite {
                    partition: number,
                    stream_id: stream_id.clone(),
                    progress: Some(progress),
                };
                self.progress.write(vec![write])?;
                partition.end_segment(&stream_id);
            }
        }
        Ok(())
    }

    /// Tells the shards to drop the streams of partitions that were given up, when they have room.
    fn send_pending_forgets(&mut self) {
        self.pending_forgets.retain(|(shard, assignment)| {
            matches!(shard.try_send(ShardMessage::ForgetAssignment(*assignment)), Err(TrySendError::Full(_)))
        });
    }

    /// Stops reading, waits for what is under way, commits, leaves the group.
    fn drain(mut self) -> Result<(), KafkaFault> {
        let deadline = Instant::now() + self.links.grace_period;
        self.partitions.values_mut().for_each(|partition| partition.leaving = true);
        while !self.partitions.values().all(Partition::is_quiet) && Instant::now() < deadline {
            self.step()?;
        }
        let quiet = self.partitions.values().all(Partition::is_quiet);
        commit(&self.consumer, &self.progress, &self.kafka.input_topic, &mut self.partitions)?;
        tracing::info!(settled = quiet, "Kafka drained: open windows are left to the next reader");
        Ok(())
    }

    fn ask_lag(&self) {
        for (number, partition) in &self.partitions {
            if let Ok((_, high)) = self.consumer.fetch_watermarks(&self.kafka.input_topic, *number, QUESTION)
            {
                metrics::kafka_lag(
                    *number,
                    u64::try_from(high - partition.tracker.low_watermark()).unwrap_or(0),
                );
            }
        }
    }
}

impl Drop for Reader {
    /// Closing the consumer asks for its partitions: nobody is left to put their books in order.
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        self.fetched.close_all();
    }
}
