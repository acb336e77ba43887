//! What is done with a record that the brokers refuse, and the dead letter of a record that can never be written.
//!
//! Input: error codes, and records that were refused. Output: whether the same record is sent again, and a smaller record in its place. Pure. Invariant: the
//! smallest record that stands for another has a bounded size, whatever the other one holds.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use sha2::{Digest, Sha256};

use super::outgoing::{Content, Outgoing};

/// The longest reason in a header, in bytes.
const MAX_REASON: usize = 1_000;
/// The longest key that a record keeps whose value was left out, in bytes.
const MAX_KEY: usize = 1_000;

/// The header with the reason.
pub(super) const ERROR: &str = "affectd-error";
/// The header with the topic that the record was read from or should have been written to.
pub(super) const TOPIC: &str = "affectd-topic";
/// The header with the partition that the record was read from.
pub(super) const PARTITION: &str = "affectd-partition";
/// The header with the offset that the record was read at.
pub(super) const OFFSET: &str = "affectd-offset";
/// The header with the label of the metric `affectd_dead_letters_total`.
pub(super) const REASON: &str = "affectd-reason";
/// The headers of a value that was left out.
pub(super) const VALUE_BYTES: &str = "affectd-value-bytes";
const VALUE_SHA256: &str = "affectd-value-sha256";
/// The header of a key that was left out.
const KEY_SHA256: &str = "affectd-key-sha256";
/// The headers that remain where all others are left out.
const ORIGIN: [&str; 8] = [ERROR, TOPIC, PARTITION, OFFSET, REASON, VALUE_BYTES, VALUE_SHA256, KEY_SHA256];

/// What an error means for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The record is larger than the topic or the producer allows, or a batch with other records is.
    TooLarge,
    /// The record can never be written.
    Unwritable,
    /// It may be written later: brokers are away, a topic or a right is missing.
    Passing,
    /// The producer can write nothing any more.
    Fatal,
}

impl Refusal {
    /// Returns what an error means.
    pub fn of(error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => Self::TooLarge,
            Some(Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation) => Self::Unwritable,
            Some(Code::Fatal | Code::State | Code::InvalidArgument) | None => Self::Fatal,
            Some(_) => Self::Passing,
        }
    }
}

/// Returns the beginning of a reason, of at most 1,000 bytes.
pub(super) fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

/// Adds a header.
pub(super) fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// Returns the record that is written in place of one that can never be.
///
/// An event becomes a dead letter. A dead letter loses its value, then all headers but its origin.
///
/// # Errors
/// The message, where it is the smallest one already.
pub(super) fn smaller(
    message: Outgoing,
    why: (Refusal, &str),
    dead_letter_topic: &str,
) -> Result<Outgoing, Box<Outgoing>> {
    let (refusal, error) = why;
    match message.content {
        Content::Event => {
            let reason = format!("publish to {}: {error}", message.topic);
            let headers = with(message.headers, ERROR, cut(&reason));
            let headers = with(with(headers, TOPIC, &message.topic), REASON, "event");
            let letter = Outgoing { headers, content: Content::DeadLetter, suspect: false, ..message };
            let letter = letter.to_topic(dead_letter_topic);
            Ok(if refusal == Refusal::TooLarge { without_value(letter) } else { letter })
        }
        Content::DeadLetter => Ok(without_value(message)),
        Content::WithoutValue => Ok(origin_only(message)),
        Content::OriginOnly => Err(Box::new(message)),
    }
}

/// Leaves out the value, and a long key, and adds their hashes.
fn without_value(mut message: Outgoing) -> Outgoing {
    if let Some(value) = message.value.take() {
        message.headers = with(message.headers, VALUE_BYTES, &value.len().to_string());
        message.headers = with(message.headers, VALUE_SHA256, &sha256(&value));
    }
    if let Some(key) = message.key.take_if(|key| key.len() > MAX_KEY) {
        message.headers = with(message.headers, KEY_SHA256, &sha256(&key));
    }
    Outgoing { content: Content::WithoutValue, ..message }
}

/// Leaves out the headers of the sender. Of several with one name the last is kept, which is the daemon's own.
fn origin_only(message: Outgoing) -> Outgoing {
    let mut headers = OwnedHeaders::new();
    for name in ORIGIN {
        let last = message.headers.iter().filter(|header| header.key == name).last();
        let value = last.and_then(|header| header.value).map(String::from_utf8_lossy);
        if let Some(value) = value {
            headers = with(headers, name, cut(&value));
        }
    }
    Outgoing { headers, content: Content::OriginOnly, ..message }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::producer::Settlement;

    fn message(content: Content) -> Outgoing {
        let sender = with(OwnedHeaders::new(), "x-large", &"x".repeat(2_000_000));
        let forged = with(sender, OFFSET, "forged");
        let headers = with(with(forged, ERROR, "why"), OFFSET, "17");
        Outgoing {
            topic: "out".to_owned(),
            key: Some(b"call".to_vec()),
            value: Some(b"abc".to_vec()),
            headers,
            settlement: Box::new(Settlement::Nothing),
            content,
            suspect: false,
        }
    }

    fn header<'a>(message: &'a Outgoing, name: &str) -> Option<&'a str> {
        let header = message.headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(header.value?).ok()
    }

    #[test]
    fn a_dead_letter_shrinks_until_its_size_is_bounded() {
        let why = (Refusal::TooLarge, "too large");
        let letter = smaller(message(Content::DeadLetter), why, "dead").unwrap();
        assert_eq!((&letter.value, letter.key.as_deref()), (&None, Some(&b"call"[..])));
        assert_eq!(header(&letter, "affectd-value-bytes"), Some("3"));
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(header(&letter, "affectd-value-sha256"), Some(abc));
        let letter = smaller(letter, why, "dead").unwrap();
        assert_eq!((header(&letter, "x-large"), header(&letter, "affectd-offset")), (None, Some("17")));
        assert_eq!(header(&letter, "affectd-error"), Some("why"));
        assert!(smaller(letter, why, "dead").is_err());
    }

    #[test]
    fn an_event_that_cannot_be_written_becomes_a_dead_letter() {
        let large = smaller(message(Content::Event), (Refusal::TooLarge, "too large"), "dead").unwrap();
        assert_eq!((large.topic.as_str(), &large.value), ("dead", &None));
        let refused = smaller(message(Content::Event), (Refusal::Unwritable, "refused"), "dead").unwrap();
        assert_eq!(refused.value.as_deref(), Some(&b"abc"[..]), "its size is no reason to leave it out");
        assert_eq!(header(&refused, "affectd-topic"), Some("out"));
        assert_eq!(header(&refused, "affectd-reason"), Some("event"));
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let reason = "ä".repeat(900);
        assert_eq!(cut(&reason).len(), 1_000);
        assert_eq!(cut(&format!("x{reason}")).len(), 999);
    }
}
