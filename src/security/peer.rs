//! The other side of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

/// The other side of a connection: its address and, with mutual TLS, the subject of its certificate.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The remote address.
    pub address: SocketAddr,
    /// The subject of the verified client certificate in the form of RFC 4514, such as `CN=gateway,O=Example`.
    pub certificate: Option<Arc<str>>,
}
