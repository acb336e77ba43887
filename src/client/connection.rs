//! Connections to a daemon's gRPC port: plain or TLS, with or without a bearer token.
//!
//! Input: `host:port`, whether TLS is used, and [`Credentials`]. Output: a [`Channel`], which many calls may share. Invariants: a token occurs in no error and
//! no `Debug` text; it is sent in the header `authorization` of every call.

use std::fmt;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::ClientError;

/// The timeout of a connection attempt and of its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a daemon's gRPC port. Clones share it.
pub type Channel = InterceptedService<tonic::transport::Channel, Authorization>;

/// A daemon's gRPC port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcServer {
    /// `host:port`
    pub authority: String,
    /// Whether the connection uses TLS.
    pub tls: bool,
}

impl fmt::Display for GrpcServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "grpcs" } else { "grpc" };
        write!(out, "{scheme}://{}", self.authority)
    }
}

/// What a client needs to trust a server and to be trusted.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The authorities of the server's certificate in PEM; those of the operating system where it is `None`.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate chain and its private key in PEM, for mutual TLS.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The bearer token of every call.
    pub token: Option<Token>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca, identity, token } = self;
        let mut text = out.debug_struct("Credentials");
        text.field("ca", &ca.is_some()).field("identity", &identity.is_some());
        text.field("token", &token.is_some()).finish()
    }
}

/// A bearer token, as the value of the header `authorization`.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    /// Returns the token, without the space around it; `None` where it is empty or holds a character that no header may hold.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let printable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value: MetadataValue<Ascii> = printable.then(|| format!("Bearer {text}").parse().ok())??;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

/// Adds the bearer token to every call, where there is one.
#[derive(Clone)]
pub struct Authorization(Option<Token>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(Token(value)) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Opens a connection to a daemon's gRPC port, which many streams may share.
///
/// # Errors
/// Returns [`ClientError::Connect`] where the daemon is not reached within 10 s, where its certificate is not valid, and where a PEM text is not.
pub async fn connect(server: &GrpcServer, credentials: &Credentials) -> Result<Channel, ClientError> {
    let error = |cause: tonic::transport::Error| ClientError::Connect {
        target: server.to_string(),
        reason: root_cause(&cause),
    };
    let scheme = if server.tls { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", server.authority)).map_err(error)?;
    if server.tls {
        endpoint = endpoint.tls_config(tls(credentials)).map_err(error)?;
    }
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(error)?;
    Ok(InterceptedService::new(channel, Authorization(credentials.token.clone())))
}

fn tls(credentials: &Credentials) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    let tls = match &credentials.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
        None => tls.with_native_roots(),
    };
    match &credentials.identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        None => tls,
    }
}

/// Returns the innermost cause, because the text of tonic's own error is only "transport error".
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Returns the message of a status, or the cause of a broken connection: "transport error" alone does not name it.
pub(super) fn described(status: &tonic::Status) -> String {
    std::error::Error::source(status).map_or_else(|| status.message().to_owned(), root_cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        assert!(Token::new(" affectd_1 \n").is_some());
        for invalid in ["", " \n", "a b", "a\nb", "é"] {
            assert!(Token::new(invalid).is_none(), "{invalid:?}");
        }
        let credentials = Credentials { token: Token::new("affectd_1"), ..Credentials::default() };
        assert!(!format!("{credentials:?}").contains("affectd_1"));
    }
}
