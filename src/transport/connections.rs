//! Accepted connections of one port, within limits.
//!
//! Input: a bound port. Output: connections, each with a permit of the open ones. Invariants: accepting never ends and never spins, also where the
//! process has no descriptor left; a connection that does not begin its protocol in time, or has no call for long, is closed by its own read.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::connection::{ReadTimeouts, TcpConnection};
use crate::telemetry::metrics::{self, GaugeGuard};

/// The pause after an error of `accept` that concerns the process, such as a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log names connections that were not accepted.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The limits of one port.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The name of the server, in the log and as the metrics' label.
    pub server: &'static str,
    /// The most open connections.
    pub max: usize,
    /// The most open connections of one address.
    pub max_per_peer: usize,
    /// The timeouts of each connection.
    pub timeouts: ReadTimeouts,
}

/// The listener of one port.
#[derive(Debug)]
pub struct Connections {
    listener: TcpListener,
    limits: ConnectionLimits,
    open: Arc<OpenConnections>,
    logged: Option<Instant>,
}

/// The open connections by address.
#[derive(Debug, Default)]
struct OpenConnections {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// The permit of an open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    open: Arc<OpenConnections>,
    address: SocketAddr,
    peer: IpAddr,
    _gauge: GaugeGuard,
}

impl Connections {
    /// Returns the connections that `listener` accepts.
    #[must_use]
    pub fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        Self { listener, limits, open: Arc::default(), logged: None }
    }

    /// Returns the next connection. One beyond a limit is closed at once and counted. Cancel safe.
    pub async fn accept(&mut self) -> TcpConnection {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                // The client has gone already.
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    self.log(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if let Some(connection) = self.admit(stream, peer) {
                return connection;
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<TcpConnection> {
        let ConnectionLimits { server, max, max_per_peer, timeouts } = self.limits;
        let Some(permit) = ConnectionPermit::take(&self.open, peer, (max, max_per_peer), server) else {
            metrics::connection_refused(server);
            self.log(&format!(
                "closed a connection of {peer}: {max} are allowed, {max_per_peer} of one address"
            ));
            return None;
        };
        // Small frames, such as the event of a window, must not wait for more data.
        let _ = stream.set_nodelay(true);
        Some(TcpConnection::new(stream, permit, timeouts))
    }

    fn log(&mut self, message: &str) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(server = self.limits.server, "{message}");
        }
    }
}

/// Returns whether an error of `accept` concerns one connection only, so that the next one can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl OpenConnections {
    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ConnectionPermit {
    /// Takes a permit; `None` where `limits` (all, of one address) are reached.
    fn take(
        open: &Arc<OpenConnections>,
        address: SocketAddr,
        (max, max_per_peer): (usize, usize),
        server: &'static str,
    ) -> Option<Self> {
        let peer = address.ip().to_canonical();
        let taken = open.change(|counts| {
            let of_peer = counts.by_peer.get(&peer).copied().unwrap_or_default();
            let free = counts.all < max && of_peer < max_per_peer;
            if free {
                counts.all += 1;
                counts.by_peer.insert(peer, of_peer + 1);
            }
            free
        });
        taken.then(|| Self { open: open.clone(), address, peer, _gauge: metrics::connection_open(server) })
    }
}

impl ConnectionPermit {
    /// Returns the address of the client.
    pub fn peer(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let peer = self.peer;
        self.open.change(|counts| {
            counts.all -= 1;
            if let Some(of_peer) = counts.by_peer.get_mut(&peer) {
                *of_peer -= 1;
                if *of_peer == 0 {
                    counts.by_peer.remove(&peer);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_in_all_and_by_address_and_come_free_again() {
        let open = Arc::default();
        let take = |last: u8| ConnectionPermit::take(&open, ([127, 0, 0, last], 0).into(), (3, 2), "test");
        let first = [take(1).unwrap(), take(1).unwrap()];
        assert!(take(1).is_none(), "two of one address are open");
        let _other = take(2).unwrap();
        assert!(take(3).is_none(), "three are open");
        drop(first);
        assert!(take(1).is_some() && take(3).is_some());
        assert_eq!(open.change(|counts| (counts.all, counts.by_peer.len())), (1, 1));
    }
}
