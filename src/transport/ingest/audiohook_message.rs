//! The messages of AudioHook v2 clients.
//!
//! Input: text. Output: a message, or why it is none. Pure.
//!
//! Parameters that have no effect here, such as the round-trip time of a ping, are not read.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::telemetry::excerpt;

/// The longest time that a client may discard at once.
const LONGEST_DISCARDED: Duration = Duration::from_secs(24 * 60 * 60);
/// The id of a conversation that is a probe of the connection.
const PROBE: &str = "00000000-0000-0000-0000-000000000000";

/// What every message of a client has.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    version: String,
    pub id: String,
    #[serde(rename = "type")]
    kind: String,
    pub seq: u64,
    #[serde(rename = "serverseq")]
    pub server_seq: u64,
    position: Json,
    parameters: Json,
}

/// What a message requests or reports.
#[derive(Debug, PartialEq)]
pub(super) enum ClientMessage {
    Open(Box<Open>),
    Ping,
    Paused,
    Resumed {
        discarded: Duration,
    },
    Discarded {
        discarded: Duration,
    },
    Update,
    /// A message that has no effect here.
    Other,
    Error {
        text: String,
    },
    Close {
        reason: CloseReason,
    },
}

/// Why a client closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CloseReason {
    End,
    Error,
    Disconnect,
    Reconnect,
}

/// The parameters of `open`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Open {
    pub organization_id: String,
    pub conversation_id: String,
    #[serde(default)]
    participant: Json,
    /// Offers of audio, and what else a client offers.
    media: Vec<Json>,
    #[serde(default)]
    custom_config: Json,
    #[serde(default)]
    language: Option<String>,
}

/// Audio that a client offers.
#[derive(Debug, PartialEq, Deserialize)]
struct Media {
    #[serde(rename = "type")]
    kind: String,
    format: String,
    channels: Vec<String>,
    rate: u32,
}

/// The channels of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Both,
    External,
    Internal,
}

#[derive(Debug, Deserialize)]
struct Discarded {
    start: String,
    discarded: String,
}

#[derive(Debug, Deserialize)]
struct Close {
    reason: CloseReason,
}

impl Envelope {
    /// Reads a message, or returns the text of an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let envelope: Self = serde_json::from_str(text)
            .map_err(|error| format!("message: {}", excerpt(&error.to_string())))?;
        if envelope.version != "2" {
            return Err(format!("version: {:?}: allowed is \"2\"", excerpt(&envelope.version)));
        }
        if !envelope.parameters.is_object() {
            return Err("parameters: not an object".to_owned());
        }
        match envelope.position.as_str().and_then(duration) {
            Some(_) => Ok(envelope),
            None => Err("position: not a duration such as \"PT1.2S\"".to_owned()),
        }
    }

    /// Reads the parameters, or returns the text of an error.
    pub fn into_message(self) -> Result<ClientMessage, String> {
        let Self { kind, parameters, .. } = self;
        Ok(match kind.as_str() {
            "open" => ClientMessage::Open(Box::new(read(&kind, parameters)?)),
            "ping" => ClientMessage::Ping,
            "paused" => ClientMessage::Paused,
            "resumed" => ClientMessage::Resumed { discarded: discarded(&kind, parameters)? },
            "discarded" => ClientMessage::Discarded { discarded: discarded(&kind, parameters)? },
            "update" => ClientMessage::Update,
            "dtmf" | "playback_started" | "playback_completed" => ClientMessage::Other,
            "error" => ClientMessage::Error { text: parameters.to_string() },
            "close" => ClientMessage::Close { reason: read::<Close>(&kind, parameters)?.reason },
            other => return Err(format!("type: {:?} is unknown", excerpt(other))),
        })
    }
}

impl Open {
    /// Returns whether the session only tests the connection.
    pub fn is_probe(&self) -> bool {
        self.conversation_id == PROBE
    }

    /// Returns the channels that the session uses; `None` where the client offers no PCMU at 8 kHz.
    pub fn channels(&self) -> Option<Channels> {
        let choices = [Channels::Both, Channels::External, Channels::Internal];
        let media: Vec<Media> =
            self.media.iter().filter_map(|offer| Media::deserialize(offer).ok()).collect();
        choices.into_iter().find(|choice| media.iter().any(|media| media.has(*choice)))
    }

    /// Returns what the events repeat, besides the id of the call: the participant's id and numbers, the organization, the language, and values of
    /// `customConfig`.
    pub fn attributes(&self) -> HashMap<String, String> {
        let mut attributes = HashMap::new();
        let mut add = |name: &str, value: &Json| {
            let text = match value {
                Json::String(text) if !text.is_empty() => text.clone(),
                Json::Number(_) | Json::Bool(_) => value.to_string(),
                _ => return,
            };
            attributes.insert(name.to_owned(), text);
        };
        self.custom_config.as_object().into_iter().flatten().for_each(|(name, value)| add(name, value));
        for (name, value) in self.participant.as_object().into_iter().flatten() {
            add(if name == "id" { "participant_id" } else { name }, value);
        }
        add("organization_id", &self.organization_id.as_str().into());
        self.language.iter().for_each(|language| add("language", &language.as_str().into()));
        attributes
    }
}

impl Media {
    fn has(&self, channels: Channels) -> bool {
        self.kind == "audio"
            && self.format.eq_ignore_ascii_case("PCMU")
            && self.rate == 8_000
            && self.channels == channels.vendor_names()
    }
}

impl Channels {
    /// Returns the names of the protocol.
    pub fn vendor_names(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["external", "internal"],
            Self::External => &["external"],
            Self::Internal => &["internal"],
        }
    }

    /// Returns the names of the stream's channels.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["customer", "agent"],
            Self::External => &["customer"],
            Self::Internal => &["agent"],
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(kind: &str, parameters: Json) -> Result<T, String> {
    serde_json::from_value(parameters)
        .map_err(|error| format!("{kind}: parameters: {}", excerpt(&error.to_string())))
}

/// Returns the time that was discarded.
fn discarded(kind: &str, parameters: Json) -> Result<Duration, String> {
    let Discarded { start, discarded } = read(kind, parameters)?;
    let found = duration(&start).and(duration(&discarded)).filter(|time| *time <= LONGEST_DISCARDED);
    found.ok_or_else(|| {
        format!(
            "{kind}: start, discarded: not durations such as \"PT1.2S\", or longer than {} h",
            LONGEST_DISCARDED.as_secs() / 3_600
        )
    })
}

/// Reads an ISO 8601 duration of hours, minutes and seconds.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix("PT").filter(|rest| !rest.is_empty())?;
    let mut seconds = 0.0;
    let mut units = [('H', 3_600.0), ('M', 60.0), ('S', 1.0)].into_iter();
    while !rest.is_empty() {
        let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let unit = rest[end..].chars().next()?;
        let (_, length) = units.find(|(known, _)| *known == unit)?;
        seconds += rest[..end].parse::<f64>().ok()? * length;
        rest = &rest[end + 1..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
#[path = "audiohook_message_tests.rs"]
mod tests;
