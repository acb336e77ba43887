//! TLS on top of the accepted connections of a port. Both servers use it.
//!
//! Input: a bound TCP port, the TLS configuration and the limits of connections. Output: a [`SecureConnection`] after each completed handshake, with its
//! [`Peer`]. Invariants: a handshake never delays the next connection, ends after [`HANDSHAKE_TIMEOUT`], and counts as an open connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::connection::{Connection, ConnectionCalls};
use super::connections::{ConnectionLimits, Connections};
use crate::security::{Peer, ServerTls, TlsConfigs, subject};
use crate::telemetry::metrics;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Selects the configuration of a server.
type Select = fn(&TlsConfigs) -> &Arc<ServerConfig>;

/// A bound port, with TLS where it is configured.
#[derive(Debug)]
pub struct Port {
    tcp: TcpListener,
    tls: Option<(ServerTls, Select)>,
}

impl From<TcpListener> for Port {
    /// Returns a port without TLS.
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

impl Port {
    /// Returns the port of the gRPC server.
    #[must_use]
    pub fn grpc(tcp: TcpListener, tls: Option<ServerTls>) -> Self {
        Self { tcp, tls: tls.map(|tls| (tls, (|configs| &configs.grpc) as Select)) }
    }

    /// Returns the port of the HTTP server.
    #[must_use]
    pub fn http(tcp: TcpListener, tls: Option<ServerTls>) -> Self {
        Self { tcp, tls: tls.map(|tls| (tls, (|configs| &configs.http) as Select)) }
    }

    /// Returns the connections of the port within limits.
    #[must_use]
    pub fn within(self, limits: ConnectionLimits) -> Listener {
        let connections = Connections::new(self.tcp, limits);
        Listener { connections, tls: self.tls, handshakes: JoinSet::new() }
    }
}

/// The connections of a port.
#[derive(Debug)]
pub struct Listener {
    connections: Connections,
    tls: Option<(ServerTls, Select)>,
    handshakes: JoinSet<Option<SecureConnection>>,
}

impl Listener {
    /// Waits for the next connection whose handshake is complete. Cancel safe.
    pub async fn next(&mut self) -> SecureConnection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                connection = self.connections.accept() => {
                    if let Some(connection) = self.begin(connection) {
                        return connection;
                    }
                }
            }
        }
    }

    /// Returns the connections as a stream, which never ends.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<SecureConnection>> + Send {
        futures::stream::unfold(self, |mut listener| async {
            let connection = listener.next().await;
            Some((Ok(connection), listener))
        })
    }

    /// Returns a connection without TLS at once; a handshake begins as a task.
    fn begin(&mut self, connection: Connection) -> Option<SecureConnection> {
        let peer = Peer { address: connection.peer(), certificate: None };
        let calls = connection.calls();
        let Some((tls, select)) = &self.tls else {
            let stream = Transport::Plain(connection);
            return Some(SecureConnection { info: ConnectInfo { peer, calls }, stream });
        };
        let acceptor = TlsAcceptor::from(select(&tls.current()).clone());
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection)).await {
                Ok(Ok(stream)) => Some(SecureConnection::secured(stream, peer, calls)),
                Ok(Err(error)) if error.kind() != io::ErrorKind::TimedOut => {
                    metrics::tls_handshake_failed("error");
                    tracing::debug!(address = %peer.address, %error, "the TLS handshake of a client failed");
                    None
                }
                Ok(Err(_)) | Err(_) => {
                    metrics::tls_handshake_failed("timeout");
                    None
                }
            }
        });
        None
    }
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct ConnectInfo {
    /// The other side.
    pub peer: Peer,
    /// The count of the connection's calls.
    pub calls: ConnectionCalls,
}

/// An open connection after its handshake.
#[derive(Debug)]
pub struct SecureConnection {
    info: ConnectInfo,
    stream: Transport,
}

#[derive(Debug)]
enum Transport {
    Plain(Connection),
    Tls(Box<TlsStream<Connection>>),
}

impl SecureConnection {
    fn secured(stream: TlsStream<Connection>, peer: Peer, calls: ConnectionCalls) -> Self {
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(<[_]>::first).and_then(subject);
        let peer = Peer { certificate, ..peer };
        Self { info: ConnectInfo { peer, calls }, stream: Transport::Tls(Box::new(stream)) }
    }

    /// Returns the other side.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.info.peer
    }
}

impl Connected for SecureConnection {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for SecureConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for SecureConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::security::TlsOptions;
    use crate::transport::connection::ReadTimeouts;

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_does_not_go_on_is_closed_and_delays_no_other_connection() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let options = TlsOptions { cert: Some(cert), key: Some(key), ..TlsOptions::default() };
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let timeouts =
            ReadTimeouts { preface: HANDSHAKE_TIMEOUT, preface_bytes: 24, idle: HANDSHAKE_TIMEOUT };
        let limits = ConnectionLimits { server: "test", max: 2, max_per_peer: 2, timeouts };
        let mut listener = Port::grpc(tcp, ServerTls::start(&options).unwrap()).within(limits);
        let accepting = tokio::spawn(async move { listener.next().await });
        let began = tokio::time::Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        assert_eq!(silent.read(&mut byte).await.unwrap_or(0), 0, "the server closes the connection");
        assert!(began.elapsed() >= HANDSHAKE_TIMEOUT);
        assert!(!accepting.is_finished(), "no connection came of it");
    }
}
