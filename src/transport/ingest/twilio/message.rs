//! Reads one text message of Twilio Media Streams or of a service that sends the same messages under other names.
//!
//! Input: the text of a message. Output: its kind, its number, and its audio. Pure. Invariant: numbers may be JSON numbers or strings.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value as Json;

use super::start::{Start, Unsupported};

/// Some services leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbered {
    /// Its place in the order of the stream; the first message has none.
    pub sequence: Option<u64>,
    /// The stream that it belongs to, where it names one.
    pub stream_id: Option<String>,
    pub message: Message,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// The stream begins.
    Start(Box<Result<Start, Unsupported>>),
    /// Audio of a track.
    Media(Media),
    /// The stream ends.
    Stop,
    /// A message without an effect: `connected`, `dtmf`, `mark` and others.
    Other,
}

/// A direction of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    /// What the party of this leg says.
    Inbound,
    /// What that party is sent.
    Outbound,
}

/// Audio of one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Media {
    pub track: Track,
    /// Whether the message names its track.
    pub is_named: bool,
    /// When the audio begins, in milliseconds from the start of the stream.
    pub timestamp: Option<u64>,
    pub payload: Bytes,
}

/// A message that is no message of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Numbered {
    /// Reads a message.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let json: Json = serde_json::from_str(text).map_err(|_| Malformed)?;
        let event = json["event"].as_str().ok_or(Malformed)?;
        let message = match event {
            "start" => Message::Start(Box::new(Start::read(&json))),
            "media" => Message::Media(Media::read(&json["media"])?),
            "stop" => Message::Stop,
            _ => Message::Other,
        };
        let sequence = first(&json, &["sequenceNumber", "sequence_number"]).and_then(number);
        Ok(Self { sequence, stream_id: text_of(&json, &STREAM_IDS), message })
    }
}

/// The names of the stream's id.
pub(super) const STREAM_IDS: [&str; 4] = ["streamSid", "stream_id", "streamId", "stream_sid"];

impl Media {
    fn read(json: &Json) -> Result<Self, Malformed> {
        let payload = json["payload"].as_str().ok_or(Malformed)?;
        let payload = BASE64.decode(payload).map_err(|_| Malformed)?;
        let track = match &json["track"] {
            Json::Null => Track::Inbound,
            name => Track::read(name).ok_or(Malformed)?,
        };
        let is_named = !json["track"].is_null();
        Ok(Self { track, is_named, timestamp: number(&json["timestamp"]), payload: payload.into() })
    }
}

impl Track {
    /// Reads the name of a track.
    pub fn read(name: &Json) -> Option<Self> {
        match name.as_str()?.trim_end_matches("_track") {
            "inbound" => Some(Self::Inbound),
            "outbound" => Some(Self::Outbound),
            _ => None,
        }
    }
}

/// Returns the first of these fields that is there.
pub(super) fn first<'a>(json: &'a Json, names: &[&str]) -> Option<&'a Json> {
    names.iter().find_map(|name| json.get(*name)).filter(|value| !value.is_null())
}

/// Returns the first of these fields as text that is not empty.
pub(super) fn text_of(json: &Json, names: &[&str]) -> Option<String> {
    first(json, names)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Reads a whole number that may be a string.
pub(super) fn number(json: &Json) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(json: &Json) -> Result<Numbered, Malformed> {
        Numbered::read(&json.to_string())
    }

    #[test]
    fn numbers_are_strings_or_numbers_and_names_those_of_each_service() {
        let media =
            |payload: &str| json!({"track": "outbound", "chunk": "2", "timestamp": "40", "payload": payload});
        let twilio =
            json!({"event": "media", "sequenceNumber": "4", "streamSid": "MZ1", "media": media("/38A")});
        let telnyx =
            json!({"event": "media", "sequence_number": 4, "stream_id": "MZ1", "media": media("/38A")});
        let found = read(&twilio).unwrap();
        assert_eq!(found, read(&telnyx).unwrap());
        assert_eq!((found.sequence, found.stream_id.as_deref()), (Some(4), Some("MZ1")));
        let payload = Bytes::from_static(&[0xff, 0x7f, 0x00]);
        let expected = Media { track: Track::Outbound, is_named: true, timestamp: Some(40), payload };
        assert_eq!(found.message, Message::Media(expected));
        let bare = read(&json!({"event": "media", "media": {"payload": ""}})).unwrap();
        assert!(matches!(
            bare.message,
            Message::Media(Media { track: Track::Inbound, is_named: false, timestamp: None, .. })
        ));
    }

    #[test]
    fn other_messages_have_no_effect_and_wrong_ones_are_malformed() {
        for event in ["connected", "dtmf", "mark", "clear", "new"] {
            assert_eq!(read(&json!({"event": event})).unwrap().message, Message::Other);
        }
        assert_eq!(read(&json!({"event": "stop", "stop": {}})).unwrap().message, Message::Stop);
        for wrong in [
            json!({}),
            json!([]),
            json!({"event": 1}),
            json!({"event": "media"}),
            json!({"event": "media", "media": {"payload": "%"}}),
            json!({"event": "media", "media": {"payload": "", "track": "third"}}),
        ] {
            assert_eq!(read(&wrong), Err(Malformed), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_message_that_is_cut_or_random_is_malformed_and_nothing_else(cut in 0_usize..120, random in ".{0,60}") {
            let whole = r#"{"event":"media","sequenceNumber":"4","media":{"track":"inbound","timestamp":"1","payload":"AAAA"},"streamSid":"a"}"#;
            prop_assert_eq!(Numbered::read(&whole[..cut.min(whole.len() - 1)]), Err(Malformed));
            let _ = Numbered::read(&random);
        }
    }
}
