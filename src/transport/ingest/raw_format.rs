//! What a WebSocket with raw audio declares: format, channels and attributes.
//!
//! Input: the query of the request, and the first text message. Output: the format of the audio and what opens the stream. Pure.
//!
//! The query is that of Deepgram's `/v1/listen`. The first text message is that of jambonz `listen`, FreeSWITCH `mod_audio_fork`, Vonage or
//! Asterisk `chan_websocket`.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::audio::{AudioFormat, BadAudio, Encoding};

/// The rate where nothing declares one.
const DEFAULT_RATE: u32 = 16_000;

/// What is declared so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declaration {
    encoding: String,
    rate: u32,
    channels: u32,
    pub call_id: Option<String>,
    pub model: String,
    pub attributes: HashMap<String, String>,
    names: Vec<String>,
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
            model: get("model").unwrap_or_default().to_owned(),
            attributes: HashMap::new(),
            names: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        };
        declaration.format().map(|_| declaration)
    }

    /// Returns the format of the audio.
    pub fn format(&self) -> Result<AudioFormat, String> {
        let encoding = match self.encoding.as_str() {
            "linear16" | "slin" | "slin16" | "l16" => Encoding::PcmS16Le,
            "mulaw" | "ulaw" | "pcmu" => Encoding::MuLaw,
            "alaw" | "pcma" => Encoding::ALaw,
            other => return Err(format!("encoding: {other:?}: allowed are linear16, mulaw and alaw")),
        };
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

    /// Adds what the first text message declares. Text of no known form changes nothing.
    pub fn add_first_text(&mut self, text: &str) {
        if let Ok(Json::Object(fields)) = serde_json::from_str(text) {
            fields.iter().for_each(|(name, value)| self.add_field(name, value));
        } else if let Some(fields) = text.trim().strip_prefix("MEDIA_START") {
            let pairs = fields.split_whitespace().filter_map(|field| field.split_once(':'));
            pairs.for_each(|(name, value)| self.add_field(name, &value.into()));
        }
    }

    fn add_field(&mut self, name: &str, value: &Json) {
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Number(_) | Json::Bool(_) => value.to_string(),
            Json::Null | Json::Array(_) | Json::Object(_) => return,
        };
        match name {
            "sampleRate" => self.rate = text.parse().unwrap_or(self.rate),
            "mixType" => self.channels = if text == "stereo" { 2 } else { 1 },
            "callSid" | "call_id" => self.call_id = Some(text),
            "content-type" => self.add_content_type(&text),
            "format" => self.add_asterisk_format(&text),
            "event" | "type" => {}
            _ => _ = self.attributes.insert(name.to_owned(), text),
        }
    }

    /// Adds `audio/l16;rate=16000`, which Vonage sends with little-endian samples.
    fn add_content_type(&mut self, text: &str) {
        let rate = text.split(';').find_map(|part| part.trim().strip_prefix("rate=")?.parse().ok());
        self.rate = rate.unwrap_or(self.rate);
        if text.to_ascii_lowercase().starts_with("audio/l16") {
            "linear16".clone_into(&mut self.encoding);
        }
    }

    fn add_asterisk_format(&mut self, text: &str) {
        let rate = match text {
            "ulaw" | "alaw" | "slin" => 8_000,
            "slin16" => 16_000,
            _ => return,
        };
        (self.encoding, self.rate) = (text.to_owned(), rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn with_text(text: &str) -> Declaration {
        let mut declaration = Declaration::from_query(&HashMap::new()).unwrap();
        declaration.add_first_text(text);
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
        let vonage = with_text(r#"{"event":"websocket:connected","content-type":"audio/l16;rate=8000"}"#);
        assert_eq!(vonage.format().unwrap(), format(Encoding::PcmS16Le, 8_000, 1));
        let asterisk = with_text("MEDIA_START connection_id:x channel:y channel_id:z format:ulaw ptime:20");
        assert_eq!(asterisk.format().unwrap(), format(Encoding::MuLaw, 8_000, 1));
        assert_eq!(with_text("hello"), with_text("[1]"));
    }
}
