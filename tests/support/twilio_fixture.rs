//! The messages of Twilio Media Streams and of the services that send the same under other names.
//!
//! Input: audio of tracks. Output: JSON messages in order. Holds no assertion.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};

/// Payloads of these lengths in turn, none of which is a whole number of 20 ms.
pub const SIZES: [usize; 4] = [170, 743, 201, 388];

/// One stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub stream_id: String,
    pub call_id: String,
    pub parameters: Json,
    /// Bytes in a millisecond.
    pub bytes_per_ms: usize,
}

impl Stream {
    /// A stream of µ-law at 8 kHz.
    pub fn new(stream_id: &str, call_id: &str) -> Self {
        let (stream_id, call_id) = (stream_id.to_owned(), call_id.to_owned());
        Self { stream_id, call_id, parameters: json!({}), bytes_per_ms: 8 }
    }

    /// The same stream with one parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters[name] = value.into();
        self
    }

    /// The start message for these tracks.
    pub fn start(&self, tracks: &[&str]) -> Json {
        let Self { stream_id, call_id, parameters, .. } = self;
        let format = json!({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1});
        let start = json!({
            "accountSid": "AC1", "streamSid": stream_id, "callSid": call_id, "tracks": tracks,
            "mediaFormat": format, "customParameters": parameters,
        });
        json!({"event": "start", "sequenceNumber": "1", "streamSid": stream_id, "start": start})
    }

    /// A message with audio.
    pub fn media(&self, (number, track): (usize, &str), timestamp: usize, payload: &[u8]) -> Json {
        let media = json!({
            "track": track, "chunk": number.to_string(), "timestamp": timestamp.to_string(),
            "payload": BASE64_STANDARD.encode(payload),
        });
        json!({"event": "media", "sequenceNumber": number.to_string(), "streamSid": self.stream_id, "media": media})
    }

    /// The stop message with this number.
    pub fn stop(&self, number: usize) -> Json {
        let stop = json!({"accountSid": "AC1", "callSid": self.call_id});
        json!({"event": "stop", "sequenceNumber": number.to_string(), "streamSid": self.stream_id, "stop": stop})
    }

    /// All messages of a stream whose tracks have this audio, which is divided as `sizes` says.
    pub fn messages(&self, tracks: &[(&str, &[u8])], sizes: &[usize]) -> Vec<String> {
        let names: Vec<&str> = tracks.iter().map(|(name, _)| *name).collect();
        let connected = json!({"event": "connected", "protocol": "Call", "version": "1.0.0"});
        let mut messages = vec![connected, self.start(&names)];
        let (mut begin, length) = (0, tracks[0].1.len());
        for size in sizes.iter().cycle() {
            if begin == length {
                break;
            }
            let end = length.min(begin + size);
            for (name, audio) in tracks {
                let at = (messages.len(), *name);
                messages.push(self.media(at, begin / self.bytes_per_ms, &audio[begin..end]));
            }
            begin = end;
        }
        messages.push(self.stop(messages.len()));
        messages.iter().map(Json::to_string).collect()
    }
}
