//! The section `[grpc]` of the configuration.
//!
//! Input: values that serde reads. Output: the address of the gRPC server.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{Address, As};

/// The gRPC server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port that the gRPC server listens on.
    #[serde(with = "As::<Address>")]
    pub address: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 50051).into() }
    }
}
