//! The section `[ingest]` of the configuration.
//!
//! Input: values that serde reads. Output: who may send audio over WebSocket, and which channels the model analyses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Names, Secrets};

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
}

impl Default for Options {
    fn default() -> Self {
        Self { analyse: vec!["customer".to_owned()], tokens: Vec::new(), insecure_loopback: false }
    }
}
