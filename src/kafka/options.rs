//! The section `[kafka]` of the configuration, with `[kafka.properties]`.
//!
//! Input: values that serde reads. Output: brokers, topics and the properties that librdkafka receives. Invariants: no
//! property contradicts a key of `[kafka]` or the way in which offsets are committed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::secrets::{MASK, is_secret};
use crate::options::{As, Count, Form, PositiveDuration, Text, Topic, choice};

/// Kafka: audio in, events out.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Brokers to connect to first, separated by commas; Kafka is on where they are set.
    // Empty where the key is not set. An `Option` would be in the way of every client, which always has brokers.
    #[serde(with = "As::<Brokers>")]
    #[schemars(example = &"localhost:9092")]
    pub brokers: String,
    /// Consumer group.
    #[serde(with = "As::<Text>")]
    pub group_id: String,
    /// Topic that audio is read from.
    #[serde(with = "As::<Topic>")]
    pub input_topic: String,
    /// Topic that events are published to.
    #[serde(with = "As::<Topic>")]
    pub output_topic: String,
    /// Topic that summaries of calls are published to.
    #[serde(with = "As::<Topic>")]
    pub calls_topic: String,
    /// Topic that alerts are published to.
    #[serde(with = "As::<Topic>")]
    pub alerts_topic: String,
    /// Topic for bad records, each with the reason.
    #[serde(with = "As::<Topic>")]
    pub dead_letter_topic: String,
    /// Compacted topic with the position of each open stream; it has as many partitions as the input topic.
    #[serde(with = "As::<Topic>")]
    pub progress_topic: String,
    /// Format of the events' values.
    pub value_format: ValueFormat,
    /// Time between two commits of settled offsets.
    #[serde(with = "As::<PositiveDuration>")]
    pub commit_interval: Duration,
    /// Time after which `/readyz` reports that the daemon is not ready, if the brokers do not answer or acknowledge nothing.
    #[serde(with = "As::<PositiveDuration>")]
    pub unready_after: Duration,
    /// Longest time that a start waits for the brokers.
    #[serde(with = "As::<PositiveDuration>")]
    pub start_timeout: Duration,
    /// How often an event is published: "exactly-once" publishes events, dead letters, progress and offsets in transactions.
    pub delivery: DeliveryMode,
    /// Time between two transactions; only for kafka.delivery = "exactly-once".
    #[serde(with = "As::<PositiveDuration>")]
    pub transaction_interval: Duration,
    /// Windows and dead letters after which a transaction is committed at the latest; only for kafka.delivery =
    /// "exactly-once".
    #[serde(with = "As::<Count<1, 10_000>>")]
    pub transaction_windows: usize,
    /// Name of this daemon within its group (static membership); no two daemons of a group may have the same. A daemon
    /// that starts again under its name gets its partitions back at once. Without it a daemon is a new member at each start.
    #[serde(with = "As::<InstanceId>")]
    #[schemars(example = &"affectd-0")]
    pub instance_id: String,
    /// What is done with a stream where no progress record fits the committed offset.
    pub on_lost_progress: OnLostProgress,
    /// Whether missing topics are created at start.
    pub create_topics: bool,
    /// Partitions of the input topic, and with it of the other topics, where they are created: the most daemons that can
    /// share the input.
    #[serde(with = "As::<Count<1, 10_000>>")]
    pub partitions: usize,
    /// Properties that librdkafka receives as they are: TLS, SASL, tuning. `{ file = "..." }` and `{ env = "..." }` in
    /// place of a value read it from a file or from an environment variable. In the name of an environment variable an
    /// underscore stands for a dot: AFFECTD__KAFKA__PROPERTIES__SASL_PASSWORD.
    #[serde(with = "As::<Properties>")]
    #[schemars(example = sasl_properties())]
    pub properties: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            group_id: "affectd".to_owned(),
            input_topic: "affectd.audio".to_owned(),
            output_topic: "affectd.emotions".to_owned(),
            calls_topic: "affectd.calls".to_owned(),
            alerts_topic: "affectd.alerts".to_owned(),
            dead_letter_topic: "affectd.dead-letters".to_owned(),
            progress_topic: "affectd.progress".to_owned(),
            value_format: ValueFormat::Protobuf,
            commit_interval: Duration::from_secs(1),
            unready_after: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            delivery: DeliveryMode::AtLeastOnce,
            transaction_interval: Duration::from_millis(200),
            transaction_windows: 1_000,
            instance_id: String::new(),
            on_lost_progress: OnLostProgress::Fail,
            create_topics: true,
            partitions: 8,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Options {
    /// Writes all keys, with secrets masked.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = |(name, value): (&String, &String)| {
            let value = if is_secret(name) { MASK } else { value };
            (name.clone(), value.to_owned())
        };
        let shown = Self { properties: self.properties.iter().map(mask).collect(), ..self.clone() };
        write!(out, "Options {}", serde_json::to_value(shown).map_err(|_| fmt::Error)?)
    }
}

impl Options {
    /// Returns the defaults with these brokers.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), ..Self::default() }
    }
}

choice! {
    /// Values of `kafka.value_format`.
    pub enum ValueFormat {
        /// The protobuf message `affectd.v1.EmotionEvent`.
        Protobuf = "protobuf",
        /// The same message in proto3 JSON.
        Json = "json",
    }
}

choice! {
    /// Values of `kafka.delivery`.
    pub enum DeliveryMode {
        /// Each event is published as soon as it is there; a crash publishes some again under the same ids.
        AtLeastOnce = "at-least-once",
        /// Events become visible together with the offsets; a reader of committed records sees each once.
        ExactlyOnce = "exactly-once",
    }
}

choice! {
    /// Values of `kafka.on_lost_progress`.
    pub enum OnLostProgress {
        /// Stop with an error that names the stream and the offset.
        Fail = "fail",
        /// Restart the stream at position 0.
        Restart = "restart",
    }
}

/// `host:port` pairs separated by commas, or an empty string where the key is not set.
pub struct Brokers;

impl Form for Brokers {
    type Value = String;

    fn allowed() -> String {
        "host:port pairs separated by commas".to_owned()
    }

    fn schema() -> Json {
        let pair = r"[^,]*[^, ][^,]*: *\+?[0-9]+ *";
        json!({"type": "string", "pattern": format!("^{pair}(,{pair})*$")})
    }

    fn read(json: &Json) -> Option<String> {
        if json.is_null() {
            return Some(String::new());
        }
        let is_host_and_port = |pair: &str| {
            let (host, port) = pair.rsplit_once(':')?;
            (!host.trim().is_empty() && port.trim().parse::<u16>().is_ok()).then_some(())
        };
        let brokers = Text::read(json)?;
        brokers.split(',').all(|pair| is_host_and_port(pair).is_some()).then_some(brokers)
    }

    fn write(value: &String) -> Json {
        if value.is_empty() { Json::Null } else { Text::write(value) }
    }
}

/// A name, or an empty string where the key is not set.
pub struct InstanceId;

impl Form for InstanceId {
    type Value = String;

    fn allowed() -> String {
        "text".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1})
    }

    fn read(json: &Json) -> Option<String> {
        if json.is_null() { Some(String::new()) } else { Text::read(json) }
    }

    fn write(value: &String) -> Json {
        if value.is_empty() { Json::Null } else { Text::write(value) }
    }
}

/// Properties of librdkafka that are set elsewhere or must stay as they are, each with what is allowed instead.
pub const RESERVED_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "nothing here: set kafka.brokers"),
    ("metadata.broker.list", "nothing here: set kafka.brokers"),
    ("group.id", "nothing here: set kafka.group_id"),
    ("group.instance.id", "nothing here: set kafka.instance_id"),
    ("transactional.id", "nothing here: set kafka.delivery and kafka.instance_id"),
    ("isolation.level", "nothing here: only committed records are read"),
    ("auto.offset.reset", "nothing here: a position that does not exist any more is handled by the reader"),
    ("message.timeout.ms", "nothing here: an event is sent until it is acknowledged or refused"),
    ("queue.buffering.max.messages", "nothing here: the daemon bounds what waits"),
    ("enable.auto.commit", "nothing here: offsets are committed once their events are delivered"),
    ("enable.auto.offset.store", "nothing here: offsets are committed once their events are delivered"),
];

/// Properties of librdkafka by name, without the reserved ones.
pub struct Properties;

impl Form for Properties {
    type Value = BTreeMap<String, String>;

    fn allowed() -> String {
        "text, a number, true or false, or one of { file = \"...\" } and { env = \"...\" }".to_owned()
    }

    /// A name with dots may be written as one quoted key or as nested tables.
    fn schema() -> Json {
        let reserved: Vec<&str> = RESERVED_PROPERTIES.iter().map(|(name, _)| *name).collect();
        json!({
            "type": "object",
            "propertyNames": {"not": {"enum": reserved}},
            "additionalProperties": {"type": ["string", "number", "boolean", "object"]},
        })
    }

    fn read(json: &Json) -> Option<Self::Value> {
        let value = |value: &Json| match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        };
        let is_free = |name: &str| RESERVED_PROPERTIES.iter().all(|(reserved, _)| *reserved != name);
        let property = |(name, json): (&String, &Json)| {
            is_free(name).then(|| value(json)).flatten().map(|text| (name.clone(), text))
        };
        json.as_object()?.iter().map(property).collect()
    }

    fn write(value: &Self::Value) -> Json {
        json!(value)
    }
}

/// An example for the generated configuration file.
fn sasl_properties() -> Json {
    json!({
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "affectd",
        "sasl.password": {"file": "/run/secrets/kafka-password"},
    })
}
