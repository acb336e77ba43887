//! A bound port that yields connections, with or without TLS. Both servers use it.
//!
//! Input: a bound TCP port and the TLS configuration. Output: a [`Connection`] after each completed handshake, with its [`Peer`]. Invariants: a handshake
//! never delays the next connection, and ends after [`HANDSHAKE_TIMEOUT`]; an error of the port is tried again.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::security::{Peer, ServerTls, TlsConfigs, subject};
use crate::telemetry::metrics;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes in progress above which no further connection is accepted until one ends.
const MAX_HANDSHAKES: usize = 1024;
/// How long to wait after the operating system refuses a connection, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Selects the configuration of a server.
type Select = fn(&TlsConfigs) -> &Arc<ServerConfig>;

/// A bound port that yields connections.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<(ServerTls, Select)>,
    handshakes: JoinSet<Option<Connection>>,
}

impl From<TcpListener> for Listener {
    /// Returns a listener without TLS.
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, handshakes: JoinSet::new() }
    }
}

impl Listener {
    /// Returns the listener of the gRPC server, with TLS where it is configured.
    #[must_use]
    pub fn grpc(tcp: TcpListener, tls: Option<ServerTls>) -> Self {
        Self { tls: tls.map(|tls| (tls, (|configs| &configs.grpc) as Select)), ..Self::from(tcp) }
    }

    /// Returns the listener of the HTTP server, with TLS where it is configured.
    #[must_use]
    pub fn http(tcp: TcpListener, tls: Option<ServerTls>) -> Self {
        Self { tls: tls.map(|tls| (tls, (|configs| &configs.http) as Select)), ..Self::from(tcp) }
    }

    /// Waits for the next connection whose handshake is complete. Cancel safe.
    pub async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                accepted = self.tcp.accept(), if self.handshakes.len() < MAX_HANDSHAKES => match accepted {
                    Ok((stream, address)) => {
                        if let Some(connection) = self.begin(stream, address) {
                            return connection;
                        }
                    }
                    Err(error) => pause_after(&error).await,
                },
            }
        }
    }

    /// Returns the connections as a stream, which never ends.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> + Send {
        futures::stream::unfold(self, |mut listener| async {
            let connection = listener.next().await;
            Some((Ok(connection), listener))
        })
    }

    /// Returns a connection without TLS at once; a handshake begins as a task.
    fn begin(&mut self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        // Events are small and must not wait for the acknowledgement of the previous packet.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, certificate: None };
        let Some((tls, select)) = &self.tls else {
            return Some(Connection { peer, stream: Transport::Plain(stream) });
        };
        let acceptor = TlsAcceptor::from(select(&tls.current()).clone());
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some(Connection::secured(stream, peer)),
                Ok(Err(error)) => {
                    metrics::tls_handshake_failed("error");
                    tracing::debug!(%address, %error, "the TLS handshake of a client failed");
                    None
                }
                Err(_) => {
                    metrics::tls_handshake_failed("timeout");
                    None
                }
            }
        });
        None
    }
}

/// Waits after an error of the port, but not after one of a single connection.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection, trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        let connection = self.next().await;
        let peer = connection.peer.clone();
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { address: self.tcp.local_addr()?, certificate: None })
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    stream: Transport,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn secured(stream: TlsStream<TcpStream>, peer: Peer) -> Self {
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(<[_]>::first).and_then(subject);
        Self { peer: Peer { certificate, ..peer }, stream: Transport::Tls(Box::new(stream)) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
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

    use super::*;
    use crate::security::TlsOptions;

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
        let mut listener = Listener::grpc(tcp, ServerTls::start(&options).unwrap());
        let accepting = tokio::spawn(async move { listener.next().await });
        let began = tokio::time::Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        assert_eq!(silent.read(&mut byte).await.unwrap_or(0), 0, "the server closes the connection");
        assert!(began.elapsed() >= HANDSHAKE_TIMEOUT);
        assert!(!accepting.is_finished(), "no connection came of it");
    }
}
