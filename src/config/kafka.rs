//! The validated section `[kafka]`.
//!
//! In: checked values. Out: plain values that need no further check.

use std::collections::BTreeMap;
use std::time::Duration;

use super::values::Values;

/// `[kafka]`
#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// `kafka.brokers`: `host:port` pairs, separated by commas.
    pub brokers: String,
    /// `kafka.group_id` (affectd)
    pub group_id: String,
    /// `kafka.input_topic` (affectd.audio)
    pub input_topic: String,
    /// `kafka.output_topic` (affectd.emotions)
    pub output_topic: String,
    /// `kafka.dead_letter_topic` (affectd.dead-letters)
    pub dead_letter_topic: String,
    /// `kafka.progress_topic` (affectd.progress): compacted, the input's partition count.
    pub progress_topic: String,
    /// `kafka.value_format` (protobuf): how events are written.
    pub value_format: ValueFormat,
    /// `kafka.commit_interval` (1 s): how often settled offsets are committed.
    pub commit_interval: Duration,
    /// `kafka.on_lost_progress` (fail): what to do where no progress fits the committed offset.
    pub on_lost_progress: OnLostProgress,
    /// `kafka.create_topics` (true): create missing topics at start.
    pub create_topics: bool,
    /// `[kafka.properties]`: handed to librdkafka as they are (TLS, SASL, tuning).
    pub properties: BTreeMap<String, String>,
}

impl Kafka {
    /// The defaults with these brokers.
    pub fn new(brokers: &str) -> Self {
        super::load(&super::LoadOptions::default()).expect("the defaults are valid").kafka_at(brokers)
    }

    pub(super) fn from_values(brokers: &str, values: &Values) -> Self {
        let value_format = match values.text("kafka.value_format").as_str() {
            "json" => ValueFormat::Json,
            _ => ValueFormat::Protobuf,
        };
        let on_lost_progress = match values.text("kafka.on_lost_progress").as_str() {
            "restart" => OnLostProgress::Restart,
            _ => OnLostProgress::Fail,
        };
        Self {
            brokers: brokers.to_owned(),
            group_id: values.text("kafka.group_id"),
            input_topic: values.text("kafka.input_topic"),
            output_topic: values.text("kafka.output_topic"),
            dead_letter_topic: values.text("kafka.dead_letter_topic"),
            progress_topic: values.text("kafka.progress_topic"),
            value_format,
            commit_interval: values.duration("kafka.commit_interval"),
            on_lost_progress,
            create_topics: values.boolean("kafka.create_topics"),
            properties: values.properties.clone(),
        }
    }
}

/// `kafka.value_format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFormat {
    /// The protobuf message `affectd.v1.EmotionEvent`.
    Protobuf,
    /// The same in proto3 JSON.
    Json,
}

/// `kafka.on_lost_progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLostProgress {
    /// Stop with an error that names the stream and the offset.
    Fail,
    /// Begin the stream anew at position 0.
    Restart,
}
