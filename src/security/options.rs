//! The section `[tls]` of the configuration.
//!
//! Input: values that serde reads. Output: the files with certificates and keys.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, FilePath, Optional, choice};

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
