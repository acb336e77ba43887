//! Reads the message that begins a stream: its ids, format, tracks and attributes.
//!
//! Input: the JSON of a `start` message. Output: [`Start`], or what of its format is not supported. Pure.
//!
//! Twilio and SignalWire send `streamSid`, Telnyx `stream_id`, Plivo `streamId`, Exotel `stream_sid`; the other names follow the same style.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::super::encoding_name;
use super::TrackNames;
use super::message::{STREAM_IDS, Track, first, number, text_of};
use crate::audio::{AudioFormat, Encoding};

/// The parameter that names the channel of the inbound track.
const INBOUND: &str = "affectd.inbound";
/// The channel that comes first.
const FIRST_CHANNEL: &str = "customer";
/// The rate where the message names none.
const DEFAULT_RATE: u32 = 8_000;

/// What a `start` message declares.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Start {
    pub stream_id: Option<String>,
    pub call_id: Option<String>,
    /// The format of each track, which has one channel.
    pub format: AudioFormat,
    /// The tracks that will come; empty where the message names none.
    pub tracks: Vec<Track>,
    pub attributes: HashMap<String, String>,
    /// The channel of the inbound track, where a parameter names it.
    inbound: Option<String>,
}

/// The text of an error that names what is not supported.
pub(super) type Unsupported = String;

impl Start {
    /// Reads the message.
    pub fn read(json: &Json) -> Result<Self, Unsupported> {
        let start = &json["start"];
        let mut attributes = attributes(json, start);
        let inbound = attributes.remove(INBOUND).filter(|name| !name.is_empty()).map(known_name);
        Ok(Self {
            stream_id: text_of(json, &STREAM_IDS).or_else(|| text_of(start, &STREAM_IDS)),
            call_id: text_of(start, &["callSid", "call_control_id", "callId", "call_sid", "call_id"]),
            format: format(json, start)?,
            tracks: tracks(start),
            attributes,
            inbound,
        })
    }

    /// Returns tracks in the order of their channels, each with its name: `customer` is first.
    pub fn channels(&self, tracks: &[Track], names: &TrackNames) -> Vec<(Track, String)> {
        let inbound = self.inbound.as_ref().unwrap_or(&names.inbound);
        // On the leg of the agent the two change places.
        let outbound = if *inbound == names.outbound { &names.inbound } else { &names.outbound };
        let mut channels = vec![(Track::Inbound, inbound.clone()), (Track::Outbound, outbound.clone())];
        channels.retain(|(track, _)| tracks.contains(track));
        channels.sort_by_key(|(_, name)| name != FIRST_CHANNEL);
        channels
    }
}

/// Returns a name of a channel; `customer` and `agent`, which mean something, in small letters whatever case they have.
fn known_name(name: String) -> String {
    let trimmed = name.trim();
    ["customer", "agent"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(trimmed))
        .map_or(name, str::to_owned)
}

/// Returns the tracks that will come: those of a list, or of one name, which may be `both_tracks`.
fn tracks(start: &Json) -> Vec<Track> {
    let names = match first(start, &["tracks", "track"]) {
        Some(Json::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    let mut tracks: Vec<Track> = Vec::new();
    for track in names.iter().flat_map(Track::read_all) {
        if !tracks.contains(track) {
            tracks.push(*track);
        }
    }
    tracks
}

/// Returns the parameters that the customer of the service has set, the account, and the numbers where the message has them. What the service itself
/// declares precedes a parameter of the same name.
fn attributes(json: &Json, start: &Json) -> HashMap<String, String> {
    let mut attributes = HashMap::new();
    // Plivo sends its parameters as JSON in a string.
    let headers = json["extra_headers"].as_str().and_then(|text| serde_json::from_str(text).ok());
    let parameters = first(start, &["customParameters", "custom_parameters"]).cloned();
    for parameters in [headers, parameters].iter().flatten().filter_map(Json::as_object) {
        for (name, value) in parameters {
            let value = match value {
                Json::String(text) => text.clone(),
                Json::Number(_) | Json::Bool(_) => value.to_string(),
                Json::Null | Json::Array(_) | Json::Object(_) => continue,
            };
            attributes.insert(name.clone(), value);
        }
    }
    let account = text_of(start, &["accountSid", "account_sid", "accountId", "account_id"]);
    attributes.extend(account.map(|account| ("account_sid".to_owned(), account)));
    for name in ["from", "to"] {
        attributes.extend(text_of(start, &[name]).map(|value| (name.to_owned(), value)));
    }
    attributes
}

/// Returns the format of a track.
fn format(json: &Json, start: &Json) -> Result<AudioFormat, Unsupported> {
    let media = first(start, &["mediaFormat", "media_format"]).unwrap_or(start);
    let field = |names: &[&str]| first(media, names).or_else(|| first(start, names));
    let text = field(&["encoding", "contentType", "content_type"]).and_then(Json::as_str);
    // Exotel names no encoding.
    let default = if json.get("stream_sid").is_some() { "l16" } else { "mulaw" };
    let text = text.filter(|text| !text.is_empty()).unwrap_or(default);
    let (name, parameters) = text.split_at(text.find([';', '@']).unwrap_or(text.len()));
    let encoding = encoding(name).ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        format!("encoding: {text:?}: allowed are µ-law, A-law and 16-bit linear audio")
    })?;
    let rate = field(&["sampleRate", "sample_rate", "rate"]).and_then(number).or_else(|| rate_of(parameters));
    let rate = rate.map_or(DEFAULT_RATE, |rate| u32::try_from(rate).unwrap_or(u32::MAX));
    match field(&["channels"]).and_then(number) {
        None | Some(1) => {}
        Some(other) => return Err(format!("channels: {other}: allowed is 1 in each track")),
    }
    AudioFormat::new(encoding, rate, 1).map_err(|error| error.to_string())
}

/// Returns the encoding that a service names; `None` for a compressed one.
fn encoding(name: &str) -> Option<Encoding> {
    match name.trim() {
        // Exotel describes its audio so.
        "raw/slin" | "raw" | "base64" => Some(Encoding::PcmS16Le),
        name => encoding_name::encoding(name),
    }
}

/// Returns the rate of `;rate=16000` or `@16000h`.
fn rate_of(parameters: &str) -> Option<u64> {
    let digits = parameters.split(|character: char| !character.is_ascii_digit());
    digits.filter(|digits| !digits.is_empty()).find_map(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: &Json) -> Start {
        Start::read(json).unwrap()
    }

    fn format(encoding: Encoding, rate: u32) -> AudioFormat {
        AudioFormat::new(encoding, rate, 1).unwrap()
    }

    fn names() -> TrackNames {
        TrackNames { inbound: "customer".to_owned(), outbound: "agent".to_owned() }
    }

    fn ids(start: &Start) -> (&str, &str) {
        (start.stream_id.as_deref().unwrap(), start.call_id.as_deref().unwrap())
    }

    #[test]
    fn twilio_declares_tracks_parameters_and_account() {
        let start = read(&json!({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": {
            "accountSid": "AC1", "callSid": "CA1", "streamSid": "MZ1", "tracks": ["inbound", "outbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"queue": "sales", "level": 3, "account_sid": "spoofed"}}}));
        assert_eq!(ids(&start), ("MZ1", "CA1"));
        assert_eq!((start.format, start.tracks.len()), (format(Encoding::MuLaw, 8_000), 2));
        let expected = [("account_sid", "AC1"), ("queue", "sales"), ("level", "3")];
        assert_eq!(start.attributes, expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into());
    }

    #[test]
    fn the_other_services_send_the_same_under_their_names() {
        let telnyx = read(&json!({"event": "start", "sequence_number": "1", "stream_id": "s", "start": {
            "call_control_id": "c", "from": "+1", "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1}}}));
        assert_eq!((ids(&telnyx), telnyx.format), (("s", "c"), format(Encoding::ALaw, 8_000)));
        assert!(telnyx.tracks.is_empty() && telnyx.attributes["from"] == "+1");
        let plivo = read(
            &json!({"event": "start", "sequenceNumber": 0, "extra_headers": r#"{"queue":"q"}"#, "start": {
            "streamId": "s", "callId": "c", "accountId": "a", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000}}}),
        );
        assert_eq!((ids(&plivo), plivo.format), (("s", "c"), format(Encoding::PcmS16Le, 16_000)));
        assert!(plivo.tracks == [Track::Inbound] && plivo.attributes["queue"] == "q");
        let content_type = read(
            &json!({"start": {"streamId": "s", "callId": "c", "contentType": "audio/x-l16;rate=16000"}}),
        );
        assert_eq!(content_type.format, format(Encoding::PcmS16Le, 16_000));
        let exotel = read(&json!({"event": "start", "sequence_number": 1, "stream_sid": "s", "start": {
            "stream_sid": "s", "call_sid": "c", "account_sid": "a", "to": "+2", "custom_parameters": {"k": "v"},
            "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"}}}));
        assert_eq!((ids(&exotel), exotel.format), (("s", "c"), format(Encoding::PcmS16Le, 8_000)));
        assert!(exotel.attributes["k"] == "v" && exotel.attributes["account_sid"] == "a");
        let bare = read(&json!({"stream_sid": "s", "start": {"call_sid": "c"}}));
        assert_eq!(bare.format, format(Encoding::PcmS16Le, 8_000));
        assert_eq!(read(&json!({"start": {}})).format, format(Encoding::MuLaw, 8_000));
    }

    #[test]
    fn tracks_are_a_list_or_one_name() {
        let tracks = |tracks: Json| read(&json!({"start": {"tracks": tracks}})).tracks;
        let both = [Track::Inbound, Track::Outbound];
        for names in [
            json!(["inbound", "outbound", "inbound"]),
            json!("both_tracks"),
            json!(["BOTH"]),
            json!(["inbound_track", null, "outbound_track"]),
        ] {
            assert_eq!(tracks(names.clone()), both, "{names}");
        }
        assert_eq!(tracks(json!("outbound")), [Track::Outbound]);
        assert_eq!(tracks(json!(["third", 1])), []);
        assert_eq!(tracks(Json::Null), []);
    }

    #[test]
    fn compressed_audio_and_several_channels_are_not_supported() {
        for (encoding, rate, channels) in [
            ("OPUS", 16_000, 1),
            ("G722", 8_000, 1),
            ("AMR-WB", 8_000, 1),
            ("PCMU", 8_000, 2),
            ("PCMU", 1, 1),
        ] {
            let format = json!({"encoding": encoding, "sample_rate": rate, "channels": channels});
            let start = Start::read(&json!({"start": {"media_format": format}}));
            assert!(start.is_err(), "{encoding} {rate} {channels}");
        }
    }

    #[test]
    fn the_customer_is_the_first_channel_and_a_parameter_names_the_inbound_track() {
        let channels = |parameter: &str, tracks: &[Track]| {
            let parameters = if parameter.is_empty() { json!({}) } else { json!({INBOUND: parameter}) };
            let start = read(&json!({"start": {"customParameters": parameters}}));
            assert!(start.attributes.is_empty());
            let channels = start.channels(tracks, &names());
            channels.into_iter().map(|(track, name)| (track == Track::Inbound, name)).collect::<Vec<_>>()
        };
        let both = [Track::Outbound, Track::Inbound];
        let named = |inbound, name: &str| (inbound, name.to_owned());
        assert_eq!(channels("", &both), [named(true, "customer"), named(false, "agent")]);
        assert_eq!(channels("agent", &both), [named(false, "customer"), named(true, "agent")]);
        assert_eq!(channels(" AGENT", &both), channels("agent", &both));
        assert_eq!(channels("Customer", &both), channels("", &both));
        assert_eq!(channels("supervisor", &both), [named(true, "supervisor"), named(false, "agent")]);
        assert_eq!(channels("", &[Track::Outbound]), [named(false, "agent")]);
        assert_eq!(channels("agent", &[Track::Outbound]), [named(false, "customer")]);
    }
}
