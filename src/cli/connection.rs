//! The flags of TLS and authentication, which the clients share.
//!
//! Input: arguments. Output: [`Credentials`] for gRPC, properties of librdkafka for Kafka. Invariants: a token is read from a file only, because arguments are
//! visible to other processes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::UsageError;
use crate::client::{Credentials, GrpcServer, Target, Token};
use crate::config::Kafka;

/// TLS and authentication.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "TLS and authentication")]
pub struct ConnectionArgs {
    /// PEM file with the authorities of the server's certificate [default: those of the operating system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// File with the bearer token, for grpc:// and grpcs://
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl ConnectionArgs {
    /// Reads the credentials of a gRPC connection.
    ///
    /// # Errors
    /// Returns a usage error for a certificate without TLS, and an error for a file that cannot be read.
    pub fn credentials(&self, server: &GrpcServer) -> anyhow::Result<Credentials> {
        if !server.tls && (self.ca.is_some() || self.cert.is_some()) {
            let text = format!("--ca and --cert are only allowed with grpcs://, not with {server}");
            return Err(UsageError(text).into());
        }
        if !server.tls && self.token_file.is_some() && !is_loopback(&server.authority) {
            tracing::warn!("the token is sent unencrypted to {server}; use grpcs://");
        }
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read("--cert", cert)?, read("--key", key)?)),
            _ => None,
        };
        let ca = self.ca.as_deref().map(|path| read("--ca", path)).transpose()?;
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(Credentials { ca, identity, token })
    }

    /// Adds the properties of TLS to those of a Kafka client. `security.protocol` is set where the configuration leaves it out.
    ///
    /// # Errors
    /// Returns a usage error for a bearer token.
    pub fn apply_to(&self, kafka: &mut Kafka) -> Result<(), UsageError> {
        if self.token_file.is_some() {
            return Err(UsageError("--token-file is only allowed with grpc:// and grpcs://".to_owned()));
        }
        let files = [
            ("ssl.ca.location", &self.ca),
            ("ssl.certificate.location", &self.cert),
            ("ssl.key.location", &self.key),
        ];
        for (property, file) in files {
            let Some(file) = file else { continue };
            kafka.properties.insert(property.to_owned(), file.to_string_lossy().into_owned());
            kafka.properties.entry("security.protocol".to_owned()).or_insert_with(|| "ssl".to_owned());
        }
        Ok(())
    }
}

/// Returns the gRPC server of a URL that may also begin with `http://` or `https://`.
pub(super) fn grpc_server(url: &str) -> Result<GrpcServer, UsageError> {
    let as_grpc = url.replacen("http", "grpc", usize::from(url.starts_with("http")));
    match as_grpc.parse() {
        Ok(Target::Grpc(server)) => Ok(server),
        _ => Err(UsageError(format!("{url:?}: expected grpc://host:port or grpcs://host:port"))),
    }
}

fn read(flag: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{flag}: read {}", path.display()))
}

fn token(path: &Path) -> anyhow::Result<Token> {
    let text = String::from_utf8(read("--token-file", path)?).ok();
    let token = text.as_deref().and_then(Token::new);
    token.with_context(|| {
        format!("--token-file: {} does not hold one token in printable ASCII", path.display())
    })
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
