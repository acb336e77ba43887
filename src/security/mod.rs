//! TLS, authentication, rights and limits of principals, independent of the transport.
//!
//! Input: the sections `[tls]` and `[auth]`, the files that they name, and the credentials of a connection or a request. Output: the TLS configuration of a
//! server, and the [`Principal`] that a request acts for. Invariants: neither a token nor a key occurs in an error, a log line or a metric; a file that
//! changes to something invalid leaves the previous content in use.
//!
//! In the order of a request: [`ServerTls`] (handshake, certificate of the client) → [`Gate`] (token, JWT or certificate to principal, scope) →
//! [`Quota`] (what one principal may use).

mod attempts;
mod auth_error;
mod error;
mod failures;
mod file;
mod gate;
mod jwt;
mod jwt_signature;
mod options;
mod peer;
mod quota;
mod reload;
mod scope;
mod tls;
mod tokens;

pub use attempts::Attempts;
pub use auth_error::AuthError;
pub use error::SecurityError;
pub use gate::{Gate, Principal};
pub use options::{AuthOptions, ClientAuth, TlsOptions};
pub use peer::Peer;
pub use quota::{PrincipalLimits, Quota, QuotaExceeded, QuotaPermit, paced};
pub use scope::{Scope, ScopeList, Scopes};
pub(crate) use tls::subject;
pub use tls::{ServerTls, TlsConfigs};
pub use tokens::NewToken;
