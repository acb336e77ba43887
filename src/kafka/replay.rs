//! Dead letters as records that can be written to their topic again.
//!
//! Input: records of the dead-letter topic. Output: what each one is, and the record that it was. Pure but for [`Replayer`], which writes.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::clients::{self, QuietContext};
use super::fault::{KafkaFault, broker};
use super::options::Options;
use super::refusal;
use super::snapshot::TopicRecord;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// The record of the dead-letter topic.
    pub record: TopicRecord,
    /// Why it is there.
    pub error: String,
    /// The label of the metric.
    pub reason: String,
    /// The topic that it was read from, or should have been written to.
    pub topic: String,
    /// The partition that it was read from.
    pub partition: Option<i32>,
    /// The offset that it was read at.
    pub offset: Option<i64>,
}

impl From<TopicRecord> for StoredLetter {
    fn from(record: TopicRecord) -> Self {
        let text = |name| record.header(name).unwrap_or_default();
        Self {
            error: text(refusal::ERROR),
            reason: text(refusal::REASON),
            topic: text(refusal::TOPIC),
            partition: text(refusal::PARTITION).parse().ok(),
            offset: text(refusal::OFFSET).parse().ok(),
            record,
        }
    }
}

impl StoredLetter {
    /// Returns why the record cannot be written again; `None` where it can.
    #[must_use]
    pub fn not_replayable(&self) -> Option<&'static str> {
        if self.record.header(refusal::VALUE_BYTES).is_some() {
            Some("its value was left out")
        } else if self.topic.is_empty() || self.partition.is_none() || self.offset.is_none() {
            Some("it is not a record of an input topic")
        } else {
            None
        }
    }

    /// Returns the headers of the record as it was read: without the last of each header that the dead letter added.
    fn headers(&self) -> OwnedHeaders {
        let added = [refusal::ERROR, refusal::REASON, refusal::TOPIC, refusal::PARTITION, refusal::OFFSET];
        let all = &self.record.headers;
        let is_added = |index: usize| {
            let name = &all[index].0;
            added.contains(&name.as_str()) && !all[index + 1..].iter().any(|(later, _)| later == name)
        };
        let kept = all.iter().enumerate().filter(|(index, _)| !is_added(*index));
        kept.fold(OwnedHeaders::new(), |headers, (_, (key, value))| {
            headers.insert(Header { key, value: value.as_deref() })
        })
    }
}

/// Writes records to their topic again.
pub struct Replayer {
    kafka: Options,
    producer: FutureProducer<QuietContext>,
}

impl Replayer {
    /// Connects.
    ///
    /// # Errors
    /// Where librdkafka refuses a setting.
    pub fn new(kafka: &Options) -> Result<Self, KafkaFault> {
        let mut properties = kafka.properties.clone();
        properties.entry("message.max.bytes".to_owned()).or_insert(clients::MESSAGE_MAX_BYTES.to_owned());
        let producer = clients::audio_producer(&kafka.brokers, &properties);
        Ok(Self { kafka: kafka.clone(), producer: producer.map_err(broker(kafka, "set up a producer"))? })
    }

    /// Writes a record to the partition that it was read from, and returns its new offset.
    ///
    /// # Errors
    /// Where it is not acknowledged.
    pub async fn replay(&self, letter: &StoredLetter) -> Result<i64, KafkaFault> {
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord {
            topic: &letter.topic,
            partition: letter.partition,
            payload: letter.record.value.as_deref(),
            key: letter.record.key.as_deref(),
            timestamp: None,
            headers: Some(letter.headers()),
        };
        let sent = self.producer.send(record, Duration::from_secs(30)).await;
        let written = sent.map_err(|(error, _)| error);
        let written = written.map_err(broker(&self.kafka, format!("write to {}", letter.topic)))?;
        Ok(written.offset)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    fn letter(headers: &[(&str, &str)]) -> StoredLetter {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), Some(value.as_bytes().to_vec()));
        let headers = headers.iter().map(owned).collect();
        TopicRecord { partition: 0, offset: 3, key: None, value: None, headers }.into()
    }

    #[test]
    fn a_letter_that_was_replayed_and_refused_again_loses_only_the_newer_headers() {
        let twice = letter(&[
            ("content-type", "audio/PCMU"),
            ("affectd-offset", "1"),
            ("affectd-topic", "audio"),
            ("affectd-partition", "2"),
            ("affectd-offset", "9"),
        ]);
        assert_eq!((twice.offset, twice.partition, twice.not_replayable()), (Some(9), Some(2), None));
        let headers = twice.headers();
        let left: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
        assert_eq!(left, [("content-type", Some(&b"audio/PCMU"[..])), ("affectd-offset", Some(&b"1"[..]))]);
    }

    #[test]
    fn letters_without_their_record_cannot_be_replayed() {
        let origin = [("affectd-topic", "audio"), ("affectd-partition", "2")];
        assert!(letter(&origin).not_replayable().is_some(), "a window");
        let whole = [&origin[..], &[("affectd-offset", "1")]].concat();
        assert!(letter(&whole).not_replayable().is_none());
        assert!(letter(&[&whole[..], &[("affectd-value-bytes", "7")]].concat()).not_replayable().is_some());
    }
}
