//! The section `[ingest]` of the configuration.
//!
//! Input: values that serde reads. Output: who may send audio over WebSocket, and which channels the model analyses.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiKey;
use super::audiohook_keys::ApiKeys;
use crate::options::{Address, As, Names, Optional, Secrets};

/// Telephony and raw audio over WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Names of the channels whose windows reach the model; all channels count in the summary of the call. An empty list
    /// analyses all.
    #[serde(with = "As::<Names>")]
    pub analyse: Vec<String>,
    /// Tokens of clients of `/v1/listen` and `/ingest/websocket`, which are off without one.
    #[serde(with = "As::<Secrets>")]
    pub tokens: Vec<String>,
    /// Whether clients need no token while `http.address` is a loopback address.
    pub insecure_loopback: bool,
    /// API keys of `/ingest/audiohook` with their client secrets in base64, as `KEY:SECRET`. It is off without one. A key
    /// with an empty secret allows requests without a signature.
    #[serde(rename = "audiohook.keys", with = "As::<ApiKeys>")]
    pub audiohook_keys: Vec<ApiKey>,
    /// Address and port that accept AudioSocket connections of Asterisk; off where it is not set. AudioSocket has no
    /// secrets.
    #[serde(rename = "audiosocket.address", with = "As::<Optional<Address>>")]
    #[schemars(example = "127.0.0.1:9092")]
    pub audiosocket_address: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            analyse: vec!["customer".to_owned()],
            tokens: Vec::new(),
            insecure_loopback: false,
            audiohook_keys: Vec::new(),
            audiosocket_address: None,
        }
    }
}
