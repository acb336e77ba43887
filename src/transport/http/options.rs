//! The section `[http]` of the configuration.
//!
//! Input: values that serde reads. Output: the address of the HTTP server, whether it uses TLS, and its token.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{Address, As, Optional, SecretText};

/// The HTTP server for metrics, health and the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port that the HTTP server for metrics, health and the page listens on.
    #[serde(with = "As::<Address>")]
    pub address: SocketAddr,
    /// Whether the HTTP server uses `[tls]`, where that is set. Without it, probes and Prometheus need neither an authority nor a certificate.
    pub tls: bool,
    /// Token that `/api`, `/v1/analyze` and the ingests without a secret of their own need; the page requests it. Where `[auth]` is on, its credentials
    /// are accepted, too.
    #[serde(with = "As::<Optional<SecretText>>")]
    #[schemars(example = "32 random bytes in base64")]
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 8080).into(), tls: true, token: None }
    }
}
