//! Every producer, consumer and admin client of the process, with its settings.
//!
//! Input: the section `[kafka]`, or an address and properties for the command-line clients. Output: connected clients.
//! Their callbacks are in `contexts`. Invariant: a setting of librdkafka stands here and nowhere else. `kafka.properties` come
//! first, so that what delivery depends on (idempotence, no automatic commits) cannot be changed by them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{DefaultProducerContext, FutureProducer, ProducerContext, ThreadedProducer};

pub use super::contexts::QuietContext;
pub(super) use super::contexts::{ConsumerEvent, ReaderContext};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::secrets;

/// How long a request to the brokers may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often librdkafka reports its statistics, from which the lag is taken.
const STATISTICS_INTERVAL_MS: &str = "5000";
/// How often the clients read which topics and partitions there are: a partition that was added is read after that time.
const METADATA_REFRESH_MS: &str = "30000";
/// How often producers do so. A topic that could not be written to, because it was deleted or the right was missing, is tried again after that time at the latest.
const PRODUCER_METADATA_REFRESH_MS: &str = "2000";
/// The largest record that is sent.
pub(super) const MESSAGE_MAX_BYTES: &str = "10485760";
/// The largest batch that a producer sends, in bytes: librdkafka's default.
const BATCH_BYTES: usize = 1_000_000;
/// Fetched records that wait in memory, for each partition, unless `kafka.properties` sets another bound. With librdkafka's default of 64 MiB a deep
/// backlog fills as much for each partition.
const QUEUED_KBYTES: &str = "2048";
/// How long fetching a partition rests once so much waits, in ms. With librdkafka's default of 1,000 a partition gives 2 MiB a second at most, since the reader
/// empties the queue much sooner.
const FETCH_BACKOFF_MS: &str = "10";
/// How long the group waits for a member that does not answer. A start after a kill waits for that long, unless the members are static.
const SESSION_TIMEOUT_MS: &str = "10000";
/// How often a member of the group sends a heartbeat. Partitions move in two rebalances, each of which the members notice after at most that time.
const HEARTBEAT_INTERVAL_MS: &str = "500";
/// How long a broker waits for further records where a topic is read to its end once. With the default of 500 ms the end of an idle topic comes that late.
const READ_TO_END_WAIT_MS: &str = "10";
/// How long an event waits for others of its partition, so that they are one request. Small requests are most of what the daemon costs the brokers.
const EVENT_LINGER_MS: &str = "50";
const TRANSACTION_LINGER_MS: &str = "20";
/// How long a transaction may take. A partition whose owner died in a transaction is read on after that time.
const TRANSACTION_TIMEOUT_MS: &str = "10000";
/// How long the clients of the command line wait for an acknowledgement.
const CLIENT_MESSAGE_TIMEOUT_MS: &str = "30000";

/// The settings that all clients of the daemon share.
fn settings(kafka: &Options) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &kafka.brokers).set("client.id", "affectd");
    settings.extend(kafka.properties.clone());
    settings
}

/// Those of the clients that report statistics.
fn measured(kafka: &Options) -> ClientConfig {
    let mut settings = settings(kafka);
    set_default(&mut settings, "statistics.interval.ms", STATISTICS_INTERVAL_MS);
    settings
}

/// Returns the settings of the consumer of the input topic.
fn input_settings(kafka: &Options) -> ClientConfig {
    let mut settings = measured(kafka);
    settings
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // A position that does not exist any more is handled by the reader, see `reset`.
        .set("auto.offset.reset", "error");
    set_default(&mut settings, "topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS);
    if settings.get("group.protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("classic")) {
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        // With the consumer protocol (KIP-848) the broker decides, and librdkafka refuses the property.
        set_default(&mut settings, "session.timeout.ms", SESSION_TIMEOUT_MS);
        set_default(&mut settings, "heartbeat.interval.ms", HEARTBEAT_INTERVAL_MS);
    }
    if !kafka.instance_id.is_empty() {
        settings.set("group.instance.id", &kafka.instance_id);
    }
    set_default(&mut settings, "queued.max.messages.kbytes", QUEUED_KBYTES);
    set_default(&mut settings, "fetch.queue.backoff.ms", FETCH_BACKOFF_MS);
    settings
}

/// Returns the consumer of the input topic, which has joined the group, and the events that it reports while it is polled.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn input_consumer(
    kafka: &Options,
) -> Result<(BaseConsumer<ReaderContext>, mpsc::Receiver<ConsumerEvent>), KafkaFault> {
    // Not bounded by its type but by the protocol: the group sends no other rebalance before this one is answered, and statistics come seconds apart.
    let (events, inbox) = mpsc::channel();
    let context = ReaderContext { events, closing: AtomicBool::new(false) };
    let consumer: BaseConsumer<ReaderContext> =
        input_settings(kafka).create_with_context(context).map_err(broker(kafka, "set up a consumer"))?;
    consumer
        .subscribe(&[&kafka.input_topic])
        .map_err(broker(kafka, format!("subscribe to {}", kafka.input_topic)))?;
    Ok((consumer, inbox))
}

/// Returns the producer of events and dead letters. Records of one stream keep their order (idempotence), and a broker that is away is waited for. A batch has at
/// most `batch_limit` bytes, or those of one record.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn event_producer<C: ProducerContext>(
    kafka: &Options,
    batch_limit: Option<usize>,
    context: C,
) -> Result<ThreadedProducer<C>, KafkaFault> {
    let mut settings = producer_settings(kafka);
    settings
        .set("enable.idempotence", "true")
        // No limit: an event is sent until it is acknowledged or refused. A limit would end the wait for brokers that are away with a record that is then sent
        // again anyway, behind later ones of its stream. Shutdown does not wait for it: what is left is read again.
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.messages", "10000");
    set_default(&mut settings, "linger.ms", EVENT_LINGER_MS);
    if let Some(bytes) = batch_limit {
        set_default(&mut settings, "batch.size", &bytes.clamp(1, BATCH_BYTES).to_string());
    }
    allow_large(&mut settings);
    settings.create_with_context(context).map_err(broker(kafka, "set up a producer"))
}

/// Returns the producer of transactions. How long a record is tried is bounded by the transaction's timeout.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn transactional_producer<C: ProducerContext>(
    kafka: &Options,
    transactional_id: &str,
    context: C,
) -> Result<ThreadedProducer<C>, KafkaFault> {
    let mut settings = producer_settings(kafka);
    settings.set("transactional.id", transactional_id);
    // A commit does not wait for it: the queue is flushed before.
    set_default(&mut settings, "linger.ms", TRANSACTION_LINGER_MS);
    set_default(&mut settings, "transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
    allow_large(&mut settings);
    settings.create_with_context(context).map_err(broker(kafka, "set up the transactional producer"))
}

/// Sets a property that `kafka.properties` does not set.
fn set_default(settings: &mut ClientConfig, key: &str, value: &str) {
    if settings.get(key).is_none() {
        settings.set(key, value);
    }
}

/// Returns the settings that all producers have.
fn producer_settings(kafka: &Options) -> ClientConfig {
    let mut settings = measured(kafka);
    set_default(&mut settings, "topic.metadata.refresh.interval.ms", PRODUCER_METADATA_REFRESH_MS);
    settings
}

/// Allows records above what brokers take by default, so that it is the topic that decides what is too large.
fn allow_large(settings: &mut ClientConfig) {
    set_default(settings, "message.max.bytes", MESSAGE_MAX_BYTES);
}

/// Returns the producer of progress records. Its records are few and a commit waits for them, so they do not linger.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn progress_producer<C: ProducerContext>(
    kafka: &Options,
    context: C,
) -> Result<ThreadedProducer<C>, KafkaFault> {
    let mut settings = producer_settings(kafka);
    settings
        .set("enable.idempotence", "true")
        // No limit, for the same reason; the thread that waits for the acknowledgement is not waited for.
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0")
        .set("compression.type", "zstd");
    settings.create_with_context(context).map_err(broker(kafka, "set up the progress producer"))
}

/// Returns a consumer for the progress topic. It never commits, so no group comes of the id, which librdkafka requires. Because of the id it connects at once,
/// without waiting for the first request.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn progress_consumer(
    kafka: &Options,
    isolation_level: &str,
) -> Result<BaseConsumer<QuietContext>, KafkaFault> {
    let mut settings = settings(kafka);
    settings
        .set("group.id", format!("{}-progress", kafka.group_id))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", READ_TO_END_WAIT_MS)
        .set("isolation.level", isolation_level);
    settings.create_with_context(QuietContext).map_err(broker(kafka, "set up the progress consumer"))
}

/// Returns a consumer that reads the group's offsets. It subscribes to nothing, so it never becomes a member.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn group_reader(kafka: &Options) -> Result<BaseConsumer<QuietContext>, KafkaFault> {
    let mut settings = settings(kafka);
    settings.set("group.id", &kafka.group_id).set("enable.auto.commit", "false");
    settings.create_with_context(QuietContext).map_err(broker(kafka, "set up a consumer"))
}

/// Creates a consumer and a producer with `kafka.properties` and drops them. They have no brokers, so no connection is opened.
///
/// # Errors
/// Where librdkafka refuses a property: an unknown name, a bad value, or a file that it cannot read. The text names the property.
pub fn check(kafka: &Options) -> Result<(), String> {
    let refused = |error| match secrets::masked(error) {
        KafkaError::ClientConfig(_, reason, key, _) if !key.is_empty() => {
            format!("kafka.properties.{key}: {reason}")
        }
        KafkaError::ClientCreation(reason) => format!("kafka.properties: {reason}"),
        other => format!("kafka.properties: {other}"),
    };
    let mut settings = settings(kafka);
    settings.remove("bootstrap.servers");
    let _producer: ThreadedProducer<DefaultProducerContext> = settings.create().map_err(refused)?;
    settings.set("group.id", &kafka.group_id);
    let _consumer: BaseConsumer<QuietContext> =
        settings.create_with_context(QuietContext).map_err(refused)?;
    Ok(())
}

/// Returns an admin client.
///
/// # Errors
/// Where librdkafka refuses a setting.
pub(super) fn admin(kafka: &Options) -> Result<AdminClient<QuietContext>, KafkaFault> {
    settings(kafka).create_with_context(QuietContext).map_err(broker(kafka, "set up a client"))
}

/// Returns a producer of audio records for the command-line clients: each record once, and within 30 s or not at all.
///
/// # Errors
/// Where a property is unknown or has a bad value.
pub fn audio_producer(
    brokers: &str,
    properties: &BTreeMap<String, String>,
) -> KafkaResult<FutureProducer<QuietContext>> {
    let mut settings = ClientConfig::new();
    settings.set("message.timeout.ms", CLIENT_MESSAGE_TIMEOUT_MS);
    settings.extend(properties.clone());
    settings.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
    settings.create_with_context(QuietContext).map_err(secrets::masked)
}

/// Returns a consumer of published events for the command-line clients. Its partitions are assigned by hand, so it joins no group.
///
/// # Errors
/// Where a property is unknown or has a bad value.
pub fn event_consumer(
    brokers: &str,
    properties: &BTreeMap<String, String>,
) -> KafkaResult<StreamConsumer<QuietContext>> {
    let mut settings = ClientConfig::new();
    settings.extend(properties.clone());
    settings.set("bootstrap.servers", brokers);
    // librdkafka requires a group id; without commits, no group comes of it.
    settings.set("group.id", "affectd-tail").set("enable.auto.commit", "false");
    settings.set("auto.offset.reset", "earliest");
    settings.create_with_context(QuietContext).map_err(secrets::masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: [(&str, &str); 6] = [
        ("queued.max.messages.kbytes", "2048"),
        ("fetch.queue.backoff.ms", "10"),
        ("session.timeout.ms", "10000"),
        ("heartbeat.interval.ms", "500"),
        ("topic.metadata.refresh.interval.ms", "30000"),
        ("statistics.interval.ms", "5000"),
    ];
    /// Settings that delivery depends on.
    const FIXED: [(&str, &str); 4] = [
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "error"),
    ];

    fn with(properties: &[(&str, &str)]) -> ClientConfig {
        let mut kafka = Options::new("localhost:9092");
        kafka
            .properties
            .extend(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        input_settings(&kafka)
    }

    #[test]
    fn properties_replace_the_defaults_of_the_consumer_and_none_that_delivery_depends_on() {
        let defaults = with(&[]);
        for (key, value) in DEFAULTS.iter().chain(&FIXED) {
            assert_eq!(defaults.get(key), Some(*value), "{key}");
        }
        assert_eq!(defaults.get("group.instance.id"), None, "no static member without a name");
        let others = DEFAULTS.map(|(key, _)| (key, "1234"));
        let changed = with(&[&others[..], &FIXED.map(|(key, _)| (key, "other"))].concat());
        for (key, value) in others.iter().chain(&FIXED) {
            assert_eq!(changed.get(key), Some(*value), "{key}");
        }
    }

    #[test]
    fn the_consumer_protocol_has_no_setting_that_librdkafka_refuses_with_it() {
        let settings = with(&[("group.protocol", "consumer")]);
        for key in ["partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"] {
            assert_eq!(settings.get(key), None, "{key}");
            assert!(with(&[]).get(key).is_some(), "{key}");
        }
    }
}
