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
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        let json: Json = serde_json::from_slice(text).map_err(|_| Malformed)?;
        let event = json["event"].as_str().ok_or(Malformed)?.to_ascii_lowercase();
        let message = match event.as_str() {
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
        let payload = decode(payload).ok_or(Malformed)?;
        let track = match (&json["track"], Track::read_all(&json["track"])) {
            (Json::Null, _) => Track::Inbound,
            (_, [track]) => *track,
            _ => return Err(Malformed),
        };
        let is_named = !json["track"].is_null();
        Ok(Self { track, is_named, timestamp: number(&json["timestamp"]), payload: payload.into() })
    }
}

impl Track {
    /// Returns the tracks that a name stands for; none where it is no name of a track.
    pub fn read_all(name: &Json) -> &'static [Self] {
        let name = name.as_str().unwrap_or_default().trim().to_ascii_lowercase();
        match name.trim_end_matches("_tracks").trim_end_matches("_track") {
            "inbound" => &[Self::Inbound],
            "outbound" => &[Self::Outbound],
            "both" => &[Self::Inbound, Self::Outbound],
            _ => &[],
        }
    }
}

/// Decodes base64 of either alphabet. Line breaks have no effect.
fn decode(text: &str) -> Option<Vec<u8>> {
    let is_plain = |byte: &u8| !matches!(byte, b'-' | b'_') && !byte.is_ascii_whitespace();
    if text.bytes().all(|byte| is_plain(&byte)) {
        return BASE64.decode(text).ok();
    }
    let bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let plain: Vec<u8> = bytes
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    BASE64.decode(plain).ok()
}

/// Returns the first of these fields that is there and not null.
pub(super) fn first<'a>(json: &'a Json, names: &[&str]) -> Option<&'a Json> {
    names.iter().filter_map(|name| json.get(*name)).find(|value| !value.is_null())
}

/// Returns the first of these fields as text that is not empty. Ids may be numbers.
pub(super) fn text_of(json: &Json, names: &[&str]) -> Option<String> {
    let text = match first(json, names)? {
        Json::Number(number) => number.to_string(),
        other => other.as_str()?.to_owned(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Reads a whole number that may be a string, or be written with a decimal point.
pub(super) fn number(json: &Json) -> Option<u64> {
    match json {
        Json::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        other => other.as_u64().or_else(|| whole(other.as_f64()?)),
    }
}

/// Returns the whole part of a number that is not negative and exact.
fn whole(number: f64) -> Option<u64> {
    (0.0..2_f64.powi(53)).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(json: &Json) -> Result<Numbered, Malformed> {
        Numbered::read(json.to_string().as_bytes())
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
    fn case_null_decimal_points_and_the_form_of_base64_make_no_difference() {
        let media = |number: Json, track: &str, payload: &str| {
            let media = json!({"track": track, "timestamp": number, "payload": payload, "chunk": null});
            read(
                &json!({"event": "media", "streamSid": null, "stream_id": "MZ1", "sequenceNumber": number, "media": media}),
            )
        };
        let plain = media(json!(4), "inbound", "//8A+w==").unwrap();
        assert_eq!((plain.sequence, plain.stream_id.as_deref()), (Some(4), Some("MZ1")));
        for number in [json!("4"), json!(4.0), json!(" 4.0 ")] {
            for (track, payload) in
                [("INBOUND", "//8A+w"), ("inbound_track", "//8\r\nA+w==\n"), ("Inbound", "__8A-w==")]
            {
                let found = media(number.clone(), track, payload).unwrap();
                assert_eq!(found, plain, "{number} {track} {payload}");
            }
        }
        assert_eq!((number(&json!(-1)), number(&json!(1.5)), number(&json!("1e99"))), (None, Some(1), None));
        assert!(media(json!(4), "both", "AA==").is_err());
        assert_eq!(text_of(&json!({"id": 5}), &["name", "id"]).as_deref(), Some("5"));
        assert_eq!(read(&json!({"event": "STOP"})).unwrap().message, Message::Stop);
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
            prop_assert_eq!(Numbered::read(&whole.as_bytes()[..cut.min(whole.len() - 1)]), Err(Malformed));
            let _ = Numbered::read(random.as_bytes());
        }
    }
}
