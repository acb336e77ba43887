//! The section `[http]` of the configuration.
//!
//! Input: values that serde reads. Output: the address of the HTTP server and whether it uses TLS.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{Address, As};

/// The HTTP server for metrics, health and the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port that the HTTP server for metrics, health and the page listens on.
    #[serde(with = "As::<Address>")]
    pub address: SocketAddr,
    /// Whether the HTTP server uses `[tls]`, where that is set. Without it, probes and Prometheus need neither an authority nor a certificate.
    pub tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 8080).into(), tls: true }
    }
}
