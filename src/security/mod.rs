//! TLS, authentication, rights and limits of principals, independent of the transport.
//!
//! Input: the sections `[tls]` and `[auth]`, the files that they name, and the credentials of a connection or a request. Output: the TLS configuration of a
//! server, and the [`Principal`] that a request acts for. Invariants: neither a token nor a key occurs in an error, a log line or a metric; a file that
//! changes to something invalid leaves the previous content in use.
//!
//! In the order of a request: [`ServerTls`] (handshake, certificate of the client) → [`Gate`] (token, JWT or certificate to principal, scope) →
//! [`Quota`] (what one principal may use).

mod error;
mod file;
mod options;
mod peer;
mod reload;
mod tls;

pub use error::SecurityError;
pub use options::{ClientAuth, TlsOptions};
pub use peer::Peer;
pub(crate) use tls::subject;
pub use tls::{ServerTls, TlsConfigs};
