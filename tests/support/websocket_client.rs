//! WebSockets of a daemon, and the summary of a call over HTTP.
//!
//! Input: paths and ids. Output: connections, the code that closes one, and summaries. Every wait is bounded.

use std::time::Duration;

use affectd::proto::CallSummary;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::call_fixture::bounded;
use super::daemon::Daemon;

/// A connection.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a connection to a path of the HTTP server.
pub async fn open(daemon: &Daemon, path: &str) -> Result<Socket, Error> {
    let url = format!("ws://{}{path}", daemon.http);
    bounded("a connection", connect_async(url)).await.map(|(socket, _)| socket)
}

/// Waits for the end of a connection and returns its code. Panics where the server sends data.
pub async fn closed(socket: &mut Socket) -> Option<CloseCode> {
    loop {
        match bounded("the end of the connection", socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(other)) => panic!("no data is expected: {other:?}"),
            Some(Err(_)) | None => return None,
        }
    }
}

/// Waits for the summary of a call.
pub async fn summary(daemon: &Daemon, call_id: &str) -> CallSummary {
    let ended = async {
        loop {
            match daemon.get(&format!("/api/calls/{call_id}")).await.unwrap() {
                (200, json) => return serde_json::from_str(&json).unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    bounded("a summary", ended).await
}
