//! The section `[ingest]` of the configuration.
//!
//! Input: values that serde reads. Output: who may send audio over WebSocket, and which channels the model analyses.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiKey;
use super::audiohook_keys::ApiKeys;
use crate::options::{Address, As, Names, Optional, Secrets, Text};

/// Telephony and raw audio over WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Names of the channels whose windows reach the model; all channels count in the summary of the call. An empty list
    /// analyses all.
    #[serde(with = "As::<Names>")]
    pub analyse: Vec<String>,
    /// Tokens of clients of `/v1/listen` and `/ingest/websocket`, which are off without one unless `http.token` or `[auth]` is set, and of
    /// `/ingest/twilio`.
    #[serde(with = "As::<Secrets>")]
    pub tokens: Vec<String>,
    /// Whether clients need no token while `http.address` is a loopback address.
    pub insecure_loopback: bool,
    /// The URL under which telephony services reach affectd from outside, such as `https://voice.example.com`: Twilio signs it.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = "https://voice.example.com")]
    pub public_url: Option<String>,
    /// Auth tokens of Twilio accounts whose requests to `/ingest/twilio` are accepted by their signature.
    #[serde(rename = "twilio.auth_tokens", with = "As::<Secrets>")]
    pub twilio_auth_tokens: Vec<String>,
    /// Name of the channel of the inbound track. The parameter `affectd.inbound` of a stream overrides it.
    #[serde(rename = "twilio.inbound", with = "As::<Text>")]
    pub twilio_inbound: String,
    /// Name of the channel of the outbound track.
    #[serde(rename = "twilio.outbound", with = "As::<Text>")]
    pub twilio_outbound: String,
    /// API keys of `/ingest/audiohook` with their client secrets in base64, as `KEY:SECRET`. It is off without one. A key
    /// with an empty secret allows requests without a signature.
    #[serde(rename = "audiohook.keys", with = "As::<ApiKeys>")]
    pub audiohook_keys: Vec<ApiKey>,
    /// Address and port that accept AudioSocket connections of Asterisk; off where it is not set. AudioSocket has no
    /// secrets.
    #[serde(rename = "audiosocket.address", with = "As::<Optional<Address>>")]
    #[schemars(example = "127.0.0.1:9093")]
    pub audiosocket_address: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            analyse: vec!["customer".to_owned()],
            tokens: Vec::new(),
            insecure_loopback: false,
            public_url: None,
            twilio_auth_tokens: Vec::new(),
            twilio_inbound: "customer".to_owned(),
            twilio_outbound: "agent".to_owned(),
            audiohook_keys: Vec::new(),
            audiosocket_address: None,
        }
    }
}
