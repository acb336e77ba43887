//! The receiver of the webhook: its address, and one request on a connection of its own.
//!
//! Input: a message and its headers. Output: whether the receiver has accepted it. Invariants: redirects are not followed; certificates are those of the
//! system (`SSL_CERT_FILE` names others).

use std::sync::Arc;

use hyper::client::conn::http1;
use hyper::http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The address of the receiver.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    host: String,
    port: u16,
    /// `None` for `http`.
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Target({})", self.host)
    }
}

/// An address that is none of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https address with a host")]
pub struct BadTarget;

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// There is no connection.
    #[error("connect to {host}: {source}")]
    Connect {
        /// The host.
        host: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The connection ended before the response.
    #[error("send the request: {0}")]
    Request(#[from] hyper::Error),
    /// The request cannot be written.
    #[error("write the request: {0}")]
    Headers(#[from] hyper::http::Error),
    /// The receiver answered with another status than 2xx.
    #[error("the receiver answered {0}")]
    Status(StatusCode),
    /// The receiver took too long.
    #[error("no response within webhook.timeout")]
    Timeout,
}

impl PostError {
    /// Returns whether the receiver has answered 410 Gone, so that no request is repeated.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Status(StatusCode::GONE))
    }
}

impl Target {
    /// Parses an address.
    ///
    /// # Errors
    /// An address without a host, with a user, or with another scheme than `http` and `https`.
    pub fn parse(url: &str) -> Result<Self, BadTarget> {
        let uri: Uri = url.parse().map_err(|_| BadTarget)?;
        let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or(BadTarget)?;
        let secure = *scheme == Scheme::HTTPS;
        if !(secure || *scheme == Scheme::HTTP) || authority.as_str().contains('@') || url.contains('#') {
            return Err(BadTarget);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || (authority.port().is_some() && authority.port_u16().is_none()) {
            return Err(BadTarget);
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { uri, host, port, tls: None })
    }

    /// Returns the same address, ready to be connected to: certificates are read where it needs them.
    #[must_use]
    pub fn with_certificates(mut self) -> Self {
        if self.uri.scheme() == Some(&Scheme::HTTPS) {
            self.tls = Some(TlsConnector::from(Arc::new(client_config())));
        }
        self
    }

    /// Sends one POST request.
    ///
    /// # Errors
    /// Returns why it was not accepted.
    pub async fn post(&self, headers: &[(&str, &str)], body: String) -> Result<(), PostError> {
        let connect = |source| PostError::Connect { host: self.host.clone(), source };
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connect)?;
        let Some(tls) = &self.tls else { return self.request(TokioIo::new(socket), headers, body).await };
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| connect(std::io::Error::other(error)))?;
        let socket = tls.connect(name, socket).await.map_err(connect)?;
        self.request(TokioIo::new(socket), headers, body).await
    }

    async fn request(
        &self,
        io: impl Read + Write + Unpin + Send + 'static,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<(), PostError> {
        let (mut sender, connection) = http1::handshake(io).await?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(path).header("host", authority).header("content-length", body.len());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body)?;
        let mut response = std::pin::pin!(sender.send_request(request));
        // The connection makes progress only while it is polled, and is not needed after the response.
        let response = tokio::select! {
            biased;
            response = &mut response => response,
            // It may end together with the response: then that is there.
            _ = connection => response.await,
        };
        let status = response?.status();
        if status.is_success() { Ok(()) } else { Err(PostError::Status(status)) }
    }
}

/// Returns the client side of TLS with the certificates of the system.
fn client_config() -> ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a certificate of the system cannot be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_known_scheme_and_a_host() {
        let target = Target::parse("https://example.com/hook?team=north").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("example.com", 443));
        assert_eq!(Target::parse("http://[::1]:8080").unwrap().port, 8080);
        for bad in [
            "",
            "example.com",
            "ftp://example.com/",
            "https://",
            "https://user@example.com/",
            "http://a/#b",
            "/hook",
        ] {
            assert_eq!(Target::parse(bad).err(), Some(BadTarget), "{bad}");
        }
    }
}
