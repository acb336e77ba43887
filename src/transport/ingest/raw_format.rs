//! What a WebSocket with raw audio declares: format, channels and attributes.
//!
//! Input: the query of the request, and the first text message. Output: the format of the audio and what opens the stream. Pure.
//!
//! The query is that of Deepgram's `/v1/listen`. The first text message is that of jambonz `listen`, FreeSWITCH `mod_audio_fork`, Vonage or
//! Asterisk `chan_websocket`.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::encoding_name::encoding;
use crate::audio::{AudioFormat, BadAudio};
use crate::telemetry::excerpt;

/// The rate where nothing declares one.
const DEFAULT_RATE: u32 = 16_000;

/// What is declared so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declaration {
    encoding: String,
    rate: u32,
    channels: u32,
    pub call_id: Option<String>,
    /// Whether the query has the id of the call, which a text message then does not change.
    is_call_in_query: bool,
    pub model: String,
    pub attributes: HashMap<String, String>,
    names: Vec<String>,
    /// The text of the error of a value that cannot be used.
    wrong: Option<String>,
}

impl Declaration {
    /// Returns what the query declares, or the text of an error that names the key.
    pub fn from_query(query: &HashMap<String, String>) -> Result<Self, String> {
        let get = |key: &str| query.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
        let number = |key: &str, default: u32| match get(key) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("{key}: {value:?}: not a whole number")),
        };
        let names = get("channel_names").unwrap_or_default().split(',').map(str::trim);
        let declaration = Self {
            encoding: get("encoding").unwrap_or("linear16").to_owned(),
            rate: number("sample_rate", DEFAULT_RATE)?,
            channels: number("channels", 1)?,
            call_id: get("call_id").map(str::to_owned),
            is_call_in_query: get("call_id").is_some(),
            model: get("model").unwrap_or_default().to_owned(),
            attributes: HashMap::new(),
            names: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            wrong: None,
        };
        declaration.format().map(|_| declaration)
    }

    /// Returns the format of the audio, or the text of an error that names what is not allowed.
    pub fn format(&self) -> Result<AudioFormat, String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        let encoding = encoding(&self.encoding).ok_or_else(|| {
            let given = excerpt(&self.encoding);
            format!("encoding: {given:?}: allowed are linear16, mulaw and alaw")
        })?;
        AudioFormat::new(encoding, self.rate, self.channels).map_err(|error: BadAudio| error.to_string())
    }

    /// Returns the names of the channels: those that are declared, else `customer` and `agent`.
    pub fn channel_names(&self) -> Vec<String> {
        let known = ["customer", "agent"];
        match (self.names.is_empty(), self.channels as usize) {
            (false, _) => self.names.clone(),
            (true, channels) if channels <= known.len() => {
                known[..channels].iter().map(|it| (*it).to_owned()).collect()
            }
            (true, _) => Vec::new(),
        }
    }

    /// Adds what a text message before the audio declares, and returns whether it declares anything: a JSON object, or `MEDIA_START` of Asterisk.
    /// Other text, and messages that keep a connection of Deepgram open, change nothing.
    pub fn add_text(&mut self, text: &str) -> bool {
        if let Ok(Json::Object(fields)) = serde_json::from_str(text) {
            let is = |name: &str, values: &[&str]| {
                let value = fields.get(name).and_then(Json::as_str);
                value.is_some_and(|value| values.iter().any(|known| known.eq_ignore_ascii_case(value)))
            };
            if is("type", &["KeepAlive", "Finalize"]) {
                return false;
            }
            let is_asterisk = is("event", &["MEDIA_START"]);
            fields.iter().for_each(|(name, value)| self.add_field((name, is_asterisk), value));
        } else if let Some(fields) = text.trim().strip_prefix("MEDIA_START") {
            let pairs = fields.split_whitespace().filter_map(|field| field.split_once(':'));
            pairs.for_each(|(name, value)| self.add_field((name, true), &value.into()));
        } else {
            return false;
        }
        true
    }

    fn add_field(&mut self, (name, is_asterisk): (&str, bool), value: &Json) {
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Number(_) | Json::Bool(_) => value.to_string(),
            Json::Null | Json::Array(_) | Json::Object(_) => return,
        };
        match name {
            "sampleRate" => self.set_rate(name, &text),
            "mixType" => self.channels = if text.eq_ignore_ascii_case("stereo") { 2 } else { 1 },
            // The operator of the server that connects configures the URL.
            "callSid" | "call_id" if text.is_empty() || self.is_call_in_query => {}
            "callSid" | "call_id" => self.call_id = Some(text),
            "content-type" => self.add_content_type(&text),
            "format" if is_asterisk || asterisk_format(&text).is_some() => self.add_asterisk_format(&text),
            "event" | "type" => {}
            _ => _ = self.attributes.insert(name.to_owned(), text),
        }
    }

    fn set_rate(&mut self, name: &str, text: &str) {
        // JSON of some clients has a decimal point in whole numbers.
        let text = text.trim().trim_end_matches('0').strip_suffix('.').unwrap_or(text.trim());
        match text.parse() {
            Ok(rate) => self.rate = rate,
            Err(_) => self.wrong = Some(format!("{name}: {:?}: not a whole number", excerpt(text))),
        }
    }

    /// Adds `audio/l16;rate=16000`, which Vonage sends with little-endian samples.
    fn add_content_type(&mut self, text: &str) {
        let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
        kind.trim().clone_into(&mut self.encoding);
        for (name, value) in parameters.split(';').filter_map(|parameter| parameter.split_once('=')) {
            if name.trim().eq_ignore_ascii_case("rate") {
                self.set_rate("content-type: rate", value.trim().trim_matches('"'));
            }
        }
    }

    fn add_asterisk_format(&mut self, text: &str) {
        match asterisk_format(text) {
            Some((encoding, rate)) => (self.encoding, self.rate) = (encoding.to_owned(), rate),
            None => {
                let given = excerpt(text);
                self.wrong = Some(format!("format: {given:?}: allowed are ulaw, alaw and slin"));
            }
        }
    }
}

/// Returns the encoding and the rate of a format of Asterisk; `None` where it is not supported.
fn asterisk_format(name: &str) -> Option<(&'static str, u32)> {
    let name = name.to_ascii_lowercase();
    let rate = match name.as_str() {
        "ulaw" | "mulaw" => return Some(("mulaw", 8_000)),
        "alaw" => return Some(("alaw", 8_000)),
        "slin" => 8_000,
        "slin44" => 44_100,
        "slin12" | "slin16" | "slin24" | "slin32" | "slin48" | "slin96" | "slin192" => {
            name.trim_start_matches("slin").parse::<u32>().ok()? * 1_000
        }
        _ => return None,
    };
    Some(("linear16", rate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn with_text(text: &str) -> Declaration {
        let mut declaration = Declaration::from_query(&HashMap::new()).unwrap();
        declaration.add_text(text);
        declaration
    }

    fn format(encoding: Encoding, rate: u32, channels: u32) -> AudioFormat {
        AudioFormat::new(encoding, rate, channels).unwrap()
    }

    #[test]
    fn the_query_is_that_of_deepgram_and_unknown_keys_are_ignored() {
        let declared = Declaration::from_query(&query(&[
            ("encoding", "mulaw"),
            ("sample_rate", "8000"),
            ("channels", "2"),
            ("call_id", "a"),
            ("punctuate", "true"),
        ]));
        let declared = declared.unwrap();
        assert_eq!(declared.format().unwrap(), format(Encoding::MuLaw, 8_000, 2));
        assert_eq!((declared.call_id.as_deref(), declared.channel_names().len()), (Some("a"), 2));
        for (key, value) in
            [("encoding", "opus"), ("sample_rate", "fast"), ("channels", "0"), ("sample_rate", "1")]
        {
            assert!(Declaration::from_query(&query(&[(key, value)])).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn the_first_text_of_other_servers_gives_format_call_and_attributes() {
        let jambonz =
            with_text(r#"{"callSid":"c1","sampleRate":8000,"mixType":"stereo","from":"+1","queue":"q"}"#);
        assert_eq!(jambonz.format().unwrap(), format(Encoding::PcmS16Le, 8_000, 2));
        assert_eq!(
            (jambonz.call_id.as_deref(), &jambonz.attributes),
            (Some("c1"), &query(&[("from", "+1"), ("queue", "q")]))
        );
        let mut in_query = Declaration::from_query(&query(&[("call_id", "of the query")])).unwrap();
        assert!(in_query.add_text(r#"{"callSid":"c1","call_id":"c2","queue":"q"}"#));
        assert_eq!(in_query.call_id.as_deref(), Some("of the query"));
        assert_eq!(in_query.attributes, query(&[("queue", "q")]));
        let vonage = with_text(r#"{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}"#);
        assert_eq!(vonage.format().unwrap(), format(Encoding::PcmS16Le, 8_000, 1));
        let asterisk = with_text("MEDIA_START connection_id:x channel:y channel_id:z format:ulaw ptime:20");
        assert_eq!(asterisk.format().unwrap(), format(Encoding::MuLaw, 8_000, 1));
        assert_eq!(with_text("hello"), with_text("[1]"));
    }

    #[test]
    fn case_null_and_decimal_points_make_no_difference() {
        for encoding in ["MULAW", "Mulaw", "PCMU"] {
            let declared =
                Declaration::from_query(&query(&[("encoding", encoding), ("sample_rate", "8000")]));
            assert_eq!(declared.unwrap().format().unwrap(), format(Encoding::MuLaw, 8_000, 1), "{encoding}");
        }
        for (text, encoding, rate, channels) in [
            (r#"{"sampleRate":"8000","mixType":"Stereo"}"#, Encoding::PcmS16Le, 8_000, 2),
            (r#"{"sampleRate":8000.0,"mixType":null}"#, Encoding::PcmS16Le, 8_000, 1),
            (r#"{"callSid":"","sampleRate":null}"#, Encoding::PcmS16Le, 16_000, 1),
            (r#"{"content-type":"Audio/L16; Rate=\"8000\""}"#, Encoding::PcmS16Le, 8_000, 1),
            (r#"{"content-type":"audio/x-mulaw;rate=8000"}"#, Encoding::MuLaw, 8_000, 1),
            (r#"{"event":"media_start","format":"ALAW","connection_id":"x"}"#, Encoding::ALaw, 8_000, 1),
            ("MEDIA_START format:slin48", Encoding::PcmS16Le, 48_000, 1),
            ("MEDIA_START format:slin44", Encoding::PcmS16Le, 44_100, 1),
        ] {
            let declared = with_text(text);
            assert_eq!(declared.format(), Ok(format(encoding, rate, channels)), "{text}");
            assert_eq!(declared.call_id, None, "{text}");
        }
        assert_eq!(with_text(r#"{"format":"pretty"}"#).attributes, query(&[("format", "pretty")]));
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        for (text, named) in [
            ("MEDIA_START connection_id:x format:opus", "format: \"opus\""),
            (r#"{"event":"MEDIA_START","format":"g722"}"#, "format: \"g722\""),
            (r#"{"content-type":"audio/opus;rate=48000"}"#, "encoding: \"audio/opus\""),
            (r#"{"sampleRate":"fast"}"#, "sampleRate: \"fast\""),
            (r#"{"content-type":"audio/l16;rate=x"}"#, "content-type: rate: \"x\""),
        ] {
            let refused = with_text(text).format().unwrap_err();
            assert!(refused.starts_with(named), "{text}: {refused}");
        }
    }

    #[test]
    fn messages_that_keep_a_connection_open_declare_nothing() {
        let mut declared = Declaration::from_query(&HashMap::new()).unwrap();
        for text in [r#"{"type":"KeepAlive"}"#, r#"{"type":"Finalize"}"#, "hello", "[1]", ""] {
            assert!(!declared.add_text(text), "{text}");
        }
        assert!(declared.add_text("{}") && declared.attributes.is_empty());
    }
}
