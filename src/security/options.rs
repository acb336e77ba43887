//! The sections `[tls]` and `[auth]` of the configuration.
//!
//! Input: values that serde reads. Output: the files with certificates, keys and tokens, and the rights of certificates.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scope::{ScopeList, Scopes};
use crate::options::{As, Count, FilePath, Optional, Text, choice};

/// TLS of the gRPC and the HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsOptions {
    /// PEM file with the server's certificate, followed by intermediate certificates; TLS is on where it is set, beside `tls.key`. The file
    /// is read again when it changes.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/etc/affectd/tls/server.pem")]
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `tls.cert`. The file is read again when it changes.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/etc/affectd/tls/server.key")]
    pub key: Option<PathBuf>,
    /// PEM file with the certificates of the authorities that sign client certificates. The file is read again when it changes.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/etc/affectd/tls/clients.pem")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client needs a certificate that `tls.client_ca` has signed.
    pub client_auth: ClientAuth,
}

choice! {
    /// Values of `tls.client_auth`.
    #[derive(Default)]
    pub enum ClientAuth {
        /// No certificate is requested.
        #[default]
        None = "none",
        /// A certificate is requested and must be valid where the client has one.
        Optional = "optional",
        /// Every client needs a valid certificate.
        Required = "required",
    }
}

/// Authentication and rights. Authentication is on where `tokens`, `jwks` or `mtls_scopes` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthOptions {
    /// TOML file with the hashes of bearer tokens, as `affectd token create` prints them. The file is read again when it changes.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/etc/affectd/tokens.toml")]
    pub tokens: Option<PathBuf>,
    /// JSON Web Key Set (RFC 7517) with the public keys that sign JWTs. The file is read again when it changes.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/etc/affectd/jwks.json")]
    pub jwks: Option<PathBuf>,
    /// Issuer (`iss`) that a JWT must have.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = &"https://issuer.example.com")]
    pub jwt_issuer: Option<String>,
    /// Audience (`aud`) that a JWT must have.
    #[serde(with = "As::<Optional<Text>>")]
    #[schemars(example = &"affectd")]
    pub jwt_audience: Option<String>,
    /// Scopes of a client that has no token but a certificate that `tls.client_ca` has signed; the subject of the certificate is its identity.
    #[serde(with = "As::<Optional<ScopeList>>")]
    #[schemars(example = &"recognize")]
    pub mtls_scopes: Option<Scopes>,
    /// Failed attempts of one address in a minute after which its further credentials are refused without a check.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub max_failures: usize,
    /// Whether ports may be bound to other addresses than the loopback interface without TLS and authentication.
    pub allow_insecure: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            tokens: None,
            jwks: None,
            jwt_issuer: None,
            jwt_audience: None,
            mtls_scopes: None,
            max_failures: 20,
            allow_insecure: false,
        }
    }
}

impl AuthOptions {
    /// Returns whether a client must authenticate.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tokens.is_some() || self.jwks.is_some() || self.mtls_scopes.is_some()
    }
}
