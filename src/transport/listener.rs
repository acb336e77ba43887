//! A bound port that yields connections, with or without TLS. Both servers use it.
//!
//! Input: the accepted connections of a port and the TLS configuration. Output: a [`Connection`] after each completed handshake, with its [`Client`].
//! Invariants: a handshake never delays the next connection, and ends after [`HANDSHAKE_TIMEOUT`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::connection::{ConnectionCalls, TcpConnection};
use super::connections::Connections;
use crate::security::{Peer, ServerTls, TlsConfigs, subject};
use crate::telemetry::metrics;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes in progress above which no further connection is accepted until one ends.
const MAX_HANDSHAKES: usize = 1024;

/// Selects the configuration of a server.
type Select = fn(&TlsConfigs) -> &Arc<ServerConfig>;

/// A bound port that yields connections.
#[derive(Debug)]
pub struct Listener {
    connections: Connections,
    tls: Option<(ServerTls, Select)>,
    handshakes: JoinSet<Option<Connection>>,
}

impl From<Connections> for Listener {
    /// Returns a listener without TLS.
    fn from(connections: Connections) -> Self {
        Self { connections, tls: None, handshakes: JoinSet::new() }
    }
}

impl Listener {
    /// Returns the listener of the gRPC server, with TLS where it is configured.
    #[must_use]
    pub fn grpc(connections: Connections, tls: Option<ServerTls>) -> Self {
        Self { tls: tls.map(|tls| (tls, (|configs| &configs.grpc) as Select)), ..Self::from(connections) }
    }

    /// Returns the listener of the HTTP server, with TLS where it is configured.
    #[must_use]
    pub fn http(connections: Connections, tls: Option<ServerTls>) -> Self {
        Self { tls: tls.map(|tls| (tls, (|configs| &configs.http) as Select)), ..Self::from(connections) }
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
                stream = self.connections.accept(), if self.handshakes.len() < MAX_HANDSHAKES => {
                    if let Some(connection) = self.begin(stream) {
                        return connection;
                    }
                }
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
    fn begin(&mut self, stream: TcpConnection) -> Option<Connection> {
        let peer = Peer { address: stream.peer(), certificate: None };
        let client = Client { peer, calls: stream.calls() };
        let Some((tls, select)) = &self.tls else {
            return Some(Connection { client, stream: Transport::Plain(stream) });
        };
        let acceptor = TlsAcceptor::from(select(&tls.current()).clone());
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some(Connection::secured(stream, client)),
                Ok(Err(error)) => {
                    metrics::tls_handshake_failed("error");
                    tracing::debug!(address = %client.peer.address, %error, "the TLS handshake of a client failed");
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

/// What a server has of the client of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address and certificate.
    pub peer: Peer,
    /// The calls of its connection.
    pub calls: ConnectionCalls,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    stream: Transport,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpConnection),
    Tls(Box<TlsStream<TcpConnection>>),
}

impl Connection {
    fn secured(stream: TlsStream<TcpConnection>, client: Client) -> Self {
        let chain = stream.get_ref().1.peer_certificates();
        let certificate = chain.and_then(<[_]>::first).and_then(subject);
        let client = Client { peer: Peer { certificate, ..client.peer }, ..client };
        Self { client, stream: Transport::Tls(Box::new(stream)) }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Connected for Connection {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
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
    use tokio::net::{TcpListener, TcpStream};

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
        let mut listener =
            Listener::grpc(crate::transport::http::connections(tcp), ServerTls::start(&options).unwrap());
        let accepting = tokio::spawn(async move { listener.next().await });
        let began = tokio::time::Instant::now();
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        assert_eq!(silent.read(&mut byte).await.unwrap_or(0), 0, "the server closes the connection");
        assert!(began.elapsed() >= HANDSHAKE_TIMEOUT);
        assert!(!accepting.is_finished(), "no connection came of it");
    }
}
