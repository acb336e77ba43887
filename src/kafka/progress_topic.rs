//! The progress topic on the broker: read on assignment, written before each commit.
//!
//! In: a partition and the group's offset, or records to write. Out: the entry of every stream that fits, or what is lost. Blocks its
//! caller, the reader's thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::clients::{KafkaFault, LostProgress, QUESTION, Quiet, broker, settings};
use super::progress::{Entry, Progress, Record};
use crate::config::{self, OnLostProgress};

/// Counts what was not acknowledged.
#[derive(Default)]
struct Unacknowledged(AtomicUsize);

impl ClientContext for Unacknowledged {}

impl ProducerContext for Unacknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One record to be written; no progress is a tombstone.
#[derive(Debug)]
pub struct ProgressWrite {
    /// The partition, that of the input.
    pub partition: i32,
    /// The stream.
    pub stream_id: Arc<str>,
    /// Its progress.
    pub progress: Option<Progress>,
}

/// The progress of one group.
pub struct ProgressTopic {
    kafka: config::Kafka,
    producer: BaseProducer<Unacknowledged>,
}

impl ProgressTopic {
    /// Connects.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &config::Kafka) -> Result<Self, KafkaFault> {
        let mut settings = settings(kafka);
        settings.set("enable.idempotence", "true").set("linger.ms", "0").set("compression.type", "zstd");
        let producer = settings
            .create_with_context(Unacknowledged::default())
            .map_err(broker(kafka, "set up the progress producer"))?;
        Ok(Self { kafka: kafka.clone(), producer })
    }

    /// Writes records and waits until each is acknowledged.
    ///
    /// # Errors
    /// Where one is not: then the commit that they belong to must not follow.
    pub fn write(&self, records: Vec<ProgressWrite>) -> Result<(), KafkaFault> {
        let topic = &self.kafka.progress_topic;
        let failed_before = self.producer.context().0.load(Ordering::Relaxed);
        for ProgressWrite { partition, stream_id, progress } in records {
            let value = progress.map(|progress| {
                let record = Record { group_id: self.kafka.group_id.clone(), progress };
                serde_json::to_vec(&record).expect("progress holds nothing that JSON cannot")
            });
            let mut record = BaseRecord::to(topic).partition(partition).key(stream_id.as_bytes());
            if let Some(value) = &value {
                record = record.payload(value);
            }
            while let Err((error, back)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                    return Err(broker(&self.kafka, format!("write progress to {topic}"))(error));
                }
                self.producer.poll(QUESTION);
                record = back;
            }
        }
        self.producer.flush(QUESTION).map_err(broker(&self.kafka, format!("write progress to {topic}")))?;
        let failed = self.producer.context().0.load(Ordering::Relaxed) - failed_before;
        if failed > 0 {
            return Err(KafkaFault::Publish(format!("{failed} records of {topic} were not acknowledged")));
        }
        Ok(())
    }

    /// Reads a partition to its end: the entry of each stream that fits the group's committed offset.
    ///
    /// # Errors
    /// A stream whose progress fits no longer, unless the configuration says to begin it anew.
    pub fn read(
        &self,
        partition: i32,
        committed: Option<i64>,
    ) -> Result<HashMap<Arc<str>, Entry>, KafkaFault> {
        let mut fitting = HashMap::new();
        for (stream_id, progress) in self.newest(partition)? {
            match progress.fitting(committed) {
                Some(entry) => drop(fitting.insert(stream_id, entry.clone())),
                None if self.kafka.on_lost_progress == OnLostProgress::Restart => {
                    tracing::warn!(%stream_id, partition, "progress is lost: the stream begins anew");
                }
                None => return Err(self.lost(&stream_id, partition, &progress, committed)),
            }
        }
        Ok(fitting)
    }

    fn lost(
        &self,
        stream_id: &str,
        partition: i32,
        progress: &Progress,
        committed: Option<i64>,
    ) -> KafkaFault {
        let offset =
            |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        KafkaFault::LostProgress(Box::new(LostProgress {
            stream_id: stream_id.to_owned(),
            topic: self.kafka.input_topic.clone(),
            partition,
            group: self.kafka.group_id.clone(),
            known: offset(progress.next.offset),
            committed: offset(committed),
        }))
    }

    /// The newest record of each stream.
    fn newest(&self, partition: i32) -> Result<HashMap<Arc<str>, Progress>, KafkaFault> {
        let topic = &self.kafka.progress_topic;
        let fault = || broker(&self.kafka, format!("read progress from {topic}[{partition}]"));
        let mut settings = settings(&self.kafka);
        settings
            .set("group.id", format!("{}-progress", self.kafka.group_id))
            .set("enable.auto.commit", "false");
        settings.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<Quiet> = settings.create_with_context(Quiet).map_err(fault())?;
        let (low, high) = consumer.fetch_watermarks(topic, partition, QUESTION).map_err(fault())?;
        let mut newest = HashMap::new();
        if low == high {
            return Ok(newest);
        }
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(low)).map_err(fault())?;
        consumer.assign(&assignment).map_err(fault())?;
        let mut heard = Instant::now();
        loop {
            match consumer.poll(QUESTION) {
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(newest),
                Some(Err(error)) => return Err(fault()(error)),
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let stream_id: Arc<str> =
                        String::from_utf8_lossy(message.key().unwrap_or_default()).into();
                    match message.payload() {
                        None => drop(newest.remove(&stream_id)),
                        Some(value) => {
                            let progress = self.parse(&stream_id, partition, value)?;
                            newest.insert(stream_id, progress);
                        }
                    }
                }
                None if heard.elapsed() > 3 * QUESTION => {
                    return Err(KafkaFault::Publish(format!("{topic}[{partition}] does not answer")));
                }
                None => {}
            }
        }
    }

    fn parse(&self, stream_id: &str, partition: i32, value: &[u8]) -> Result<Progress, KafkaFault> {
        let topic = self.kafka.progress_topic.clone();
        let record: Record = serde_json::from_slice(value).map_err(|source| KafkaFault::Progress {
            stream_id: stream_id.to_owned(),
            topic: topic.clone(),
            partition,
            source,
        })?;
        if record.group_id != self.kafka.group_id {
            let group = self.kafka.group_id.clone();
            return Err(KafkaFault::OtherGroup { topic, other: record.group_id, group });
        }
        Ok(record.progress)
    }
}
