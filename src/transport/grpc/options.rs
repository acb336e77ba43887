//! The section `[grpc]` of the configuration.
//!
//! Input: values that serde reads. Output: the address of the gRPC server and the limits of its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{Address, As, Count, Optional, PositiveDuration};

/// The gRPC server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port that the gRPC server listens on.
    #[serde(with = "As::<Address>")]
    pub address: SocketAddr,
    /// Most open connections.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub max_connections: usize,
    /// Most open connections of one address.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub max_connections_per_peer: usize,
    /// Most calls that are open on one connection.
    #[serde(with = "As::<Count<1, 10_000>>")]
    pub max_streams_per_connection: usize,
    /// Longest time that a connection may take to begin HTTP/2, to complete the headers of a call, and to answer a ping.
    #[serde(with = "As::<PositiveDuration>")]
    pub handshake_timeout: Duration,
    /// Time without a call after which a connection is closed.
    #[serde(with = "As::<PositiveDuration>")]
    pub max_connection_idle: Duration,
    /// Age at which a connection takes no new calls and is closed once the open ones have ended; no limit where it is not
    /// set.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"1h")]
    pub max_connection_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 50051).into(),
            max_connections: 10_000,
            max_connections_per_peer: 1_000,
            max_streams_per_connection: 100,
            handshake_timeout: Duration::from_secs(10),
            max_connection_idle: Duration::from_secs(300),
            max_connection_age: None,
        }
    }
}
