//! `affectd tail`: the published events of a topic, live.
//!
//! In: a topic, protobuf or JSON values alike. Out: lines on stdout until a signal, or so many events.
//! Never joins a group, never commits.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::event_table::{EventTable, stdout_has_colour};
use super::streams::{EventFormat, print};
use crate::client::Target;
use crate::config::Kafka;
use crate::proto::EmotionEvent;

/// How long the brokers may take to describe the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `affectd tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kafka://host:port/topic with brokers separated by commas; without a topic it is kafka.output_topic
    #[arg(long, value_name = "URL")]
    pub from: Target,
    /// How events are written
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// Begin with the oldest event instead of the next one
    #[arg(long)]
    pub from_beginning: bool,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
}

/// Runs the command. Cancelling it closes the consumer.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let Target::Kafka { brokers, topic } = &args.from else {
        bail!(super::UsageError(format!("--from {}: expected kafka://host:port[/topic]", args.from)));
    };
    let kafka = context.loaded.kafka_at(brokers);
    let topic = topic.clone().unwrap_or_else(|| kafka.output_topic.clone());
    let consumer = consumer(&kafka).with_context(|| args.from.to_string())?;
    let start = if args.from_beginning { Offset::Beginning } else { Offset::End };
    let consumer = assign(consumer, topic.clone(), start).await.with_context(|| args.from.to_string())?;
    tokio::select! {
        result = follow(&consumer, &args) => result.with_context(|| format!("topic {topic}")),
        signal = super::signal() => signal,
    }
}

fn consumer(kafka: &Kafka) -> Result<StreamConsumer, KafkaError> {
    let mut config = ClientConfig::new();
    config.extend(kafka.properties.iter().map(|(key, value)| (key.clone(), value.clone())));
    config.set("bootstrap.servers", &kafka.brokers);
    // librdkafka wants a name; with partitions assigned by hand and no commits, no group comes of it.
    config.set("group.id", "affectd-tail").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest");
    config.create()
}

/// Takes all partitions of the topic.
async fn assign(consumer: StreamConsumer, topic: String, start: Offset) -> anyhow::Result<StreamConsumer> {
    let assigned = tokio::task::spawn_blocking(move || {
        let metadata = consumer.fetch_metadata(Some(&topic), METADATA_TIMEOUT)?;
        let described = metadata.topics().first().filter(|found| found.error().is_none());
        let partitions = described.map(|found| found.partitions()).unwrap_or_default();
        if partitions.is_empty() {
            bail!("topic {topic} does not exist");
        }
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(&topic, partition.id(), start)?;
        }
        consumer.assign(&list)?;
        drop(metadata);
        Ok(consumer)
    });
    assigned.await.expect("it does not panic")
}

async fn follow(consumer: &StreamConsumer, args: &Args) -> anyhow::Result<()> {
    let table = EventTable::new(true, stdout_has_colour());
    let mut shown = 0;
    while args.max_events.is_none_or(|limit| shown < limit) {
        let message = match consumer.recv().await {
            Ok(message) => message,
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "the brokers do not answer; still trying");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match event(&message) {
            Ok(event) => {
                print(&mut io::stdout().lock(), &event, args.format, &table, shown == 0)?;
                shown += 1;
            }
            Err(error) => {
                let (partition, offset) = (message.partition(), message.offset());
                tracing::warn!(partition, offset, %error, "skipped a record that holds no event");
            }
        }
    }
    Ok(())
}

/// librdkafka goes on by itself after all but fatal errors and those of one partition.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut)
    )
}

/// Protobuf or JSON, told apart by the first byte: no protobuf event begins with a brace.
fn event(message: &BorrowedMessage<'_>) -> anyhow::Result<EmotionEvent> {
    let value = message.payload().ok_or_else(|| anyhow!("the value is empty"))?;
    match value.first() {
        Some(b'{') => Ok(serde_json::from_slice(value)?),
        _ => Ok(EmotionEvent::decode(value)?),
    }
}
