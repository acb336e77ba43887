//! A Kafka cluster for one test: a real broker if Java and Maven are installed, otherwise the mock of librdkafka.
//!
//! Input: topics and records. Output: the records of a topic and the committed offsets of a group. With `AFFECTD_TEST_KAFKA=mock` the
//! real broker is never started; with `=real` its absence is a failure. Nothing is kept between tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;
use rdkafka::{Offset, TopicPartitionList};

use super::PATIENCE;
use super::broker::{Mock, Real};
pub use super::records::{Record, Stored};

/// The kind of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka.
    Real,
    /// `rdkafka::mocking`.
    Mock,
}

/// A running cluster; dropping it ends it.
pub struct Cluster {
    /// `host:port`, the value for `kafka.brokers`.
    pub brokers: String,
    /// Whether this is a real broker or the mock.
    pub kind: Kind,
    backend: Backend,
}

enum Backend {
    Real(Real),
    Mock(Mock),
}

impl Cluster {
    /// Starts a cluster and prints its kind to stderr.
    pub async fn start() -> Cluster {
        tokio::task::spawn_blocking(Cluster::start_blocking).await.expect("the cluster starts")
    }

    fn start_blocking() -> Cluster {
        let wanted = std::env::var("AFFECTD_TEST_KAFKA").unwrap_or_default();
        let real = if wanted == "mock" { None } else { Real::start() };
        match real {
            Some(broker) => {
                eprintln!("kafka: a real broker on {}", broker.address);
                let brokers = broker.address.clone();
                Cluster { brokers, kind: Kind::Real, backend: Backend::Real(broker) }
            }
            None => {
                assert_ne!(wanted, "real", "AFFECTD_TEST_KAFKA=real, and no real broker can be had");
                eprintln!("kafka: no real broker, librdkafka's mock cluster instead");
                let mock = Mock::start();
                Cluster { brokers: mock.address.clone(), kind: Kind::Mock, backend: Backend::Mock(mock) }
            }
        }
    }

    /// Settings for a client of this cluster, to be extended by the test.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Lets the broker `pause`, `resume`, `stop`, `kill` or `start`; for a real one alone.
    pub fn control(&mut self, command: &str) {
        let Backend::Real(broker) = &mut self.backend else { panic!("the mock cannot {command}") };
        tokio::task::block_in_place(|| broker.control(command));
    }

    /// Creates a topic. The mock ignores its settings (such as `cleanup.policy`).
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        if let Backend::Mock(mock) = &self.backend {
            return mock.create_topic(name, partitions);
        }
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin: AdminClient<_> = self.client().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let results = admin.create_topics([&topic], &options).await.expect("an answer");
        for result in results {
            result.expect("a new topic");
        }
    }

    /// Deletes a topic and waits until the broker does not know it any more: until then it acknowledges records, which are deleted with it.
    pub async fn delete_topic(&self, name: &str) {
        let admin: AdminClient<_> = self.client().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
        let deleted = admin.delete_topics(&[name], &options).await.expect("an answer");
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        let name = name.to_owned();
        let gone = move || {
            let found = settled(|| admin.inner().fetch_metadata(Some(&name), PATIENCE));
            found.topics()[0].error().is_some()
        };
        let wait = tokio::task::spawn_blocking(move || {
            while !gone() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        wait.await.expect("the topic is gone");
    }

    /// Writes the records in order and waits until all are acknowledged; returns their partitions and offsets.
    pub async fn produce(&self, topic: &str, records: &[Record]) -> Vec<(i32, i64)> {
        let producer: FutureProducer = self
            .client()
            .set("linger.ms", "0")
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            let delivery = producer.send_result(record.to_send(topic));
            sent.push(delivery.map_err(|(error, _)| error).expect("room in the producer's queue"));
        }
        let mut places = Vec::with_capacity(sent.len());
        for delivery in sent {
            let place = delivery.await.expect("the producer lives").map_err(|(error, _)| error);
            let place = place.expect("an acknowledgement");
            places.push((place.partition, place.offset));
        }
        places
    }

    /// All current records of the topic, each partition in offset order, without open and aborted transactions.
    pub async fn read(&self, topic: &str) -> Vec<Stored> {
        let (consumer, partitions) = self.consumer_at_start(topic).await;
        let (mut records, mut ended) = (Vec::new(), BTreeSet::new());
        while ended.len() < partitions {
            match tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("the end of each partition") {
                Ok(message) => records.push(Stored::from_message(&message)),
                Err(KafkaError::PartitionEOF(partition)) => _ = ended.insert(partition),
                Err(error) if is_passing(&error) => {}
                Err(error) => panic!("{topic}: {error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Reads until `enough` returns true for the records so far; panics after `limit`.
    pub async fn read_until(
        &self,
        topic: &str,
        limit: Duration,
        mut enough: impl FnMut(&[Stored]) -> bool,
    ) -> Vec<Stored> {
        let (consumer, _) = self.consumer_at_start(topic).await;
        let (mut records, deadline) = (Vec::new(), tokio::time::Instant::now() + limit);
        while !enough(&records) {
            match tokio::time::timeout_at(deadline, consumer.recv()).await {
                Ok(Ok(message)) => records.push(Stored::from_message(&message)),
                Ok(Err(KafkaError::PartitionEOF(_))) => {}
                Ok(Err(error)) if is_passing(&error) => {}
                Ok(Err(error)) => panic!("{topic}: {error}"),
                Err(_) => panic!("{topic}: only {} records after {limit:?}", records.len()),
            }
        }
        records
    }

    async fn consumer_at_start(&self, topic: &str) -> (StreamConsumer, usize) {
        let consumer: StreamConsumer = self
            .client()
            .set("group.id", "affectd-test-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let partitions = self.partitions(topic).await;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&all).expect("an assignment");
        (consumer, usize::try_from(partitions).expect("a count"))
    }

    async fn partitions(&self, topic: &str) -> i32 {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).expect("metadata");
            let count = metadata.topics()[0].partitions().len();
            assert_ne!(count, 0, "topic {topic} does not exist");
            i32::try_from(count).expect("a partition count")
        })
        .await
        .expect("metadata is fetched")
    }

    /// The offsets behind the last records of a topic.
    pub async fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let partitions = self.partitions(topic).await;
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let end = |partition| {
                let (_, end) = settled(|| consumer.fetch_watermarks(&topic, partition, PATIENCE));
                (partition, end)
            };
            (0..partitions).map(end).collect()
        })
        .await
        .expect("offsets are fetched")
    }

    /// The offsets that a group has committed for a topic: `None` for a partition without one.
    pub async fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, Option<i64>> {
        let partitions = self.partitions(topic).await;
        let (mut config, topic) = (self.client(), topic.to_owned());
        config.set("group.id", group);
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut asked = TopicPartitionList::new();
            asked.add_partition_range(&topic, 0, partitions - 1);
            let offsets = settled(|| consumer.committed_offsets(asked.clone(), PATIENCE));
            offsets
                .elements()
                .iter()
                .map(|e| (e.partition(), e.offset().to_raw().filter(|o| *o >= 0)))
                .collect()
        })
        .await
        .expect("offsets are fetched")
    }
}

/// Retries while the coordinator of the group is not available: the offsets topic is created at the first request.
fn settled<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("no answer from the coordinator: {error}"),
        }
    }
}

fn is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    matches!(code, CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator)
}

/// Whether the client recovers from the error by itself: a broker on a busy machine may be unreachable for a moment.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure)
    )
}
