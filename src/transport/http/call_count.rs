//! Requests as calls of their connection, which is closed where it has none for a while.
//!
//! Input: requests. Output: their responses, unchanged. Invariant: a connection is not closed while a response is sent, or while it is a WebSocket.

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::transport::connection::ConnectionCalls;
use crate::transport::counted_body::CountedBody;

/// Counts a request as a call of its connection until its response has been passed on, because a connection without a call is closed after a while, unless its
/// client takes bytes. A WebSocket is a call until its connection ends.
pub(super) async fn count_call(
    Extension(calls): Extension<ConnectionCalls>,
    request: Request,
    next: Next,
) -> Response {
    let call = calls.begin();
    let response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        calls.begin_until_end();
    }
    response.map(|body| CountedBody::wrap(body, Some(call)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::extract::ws::WebSocketUpgrade;
    use axum::response::{IntoResponse, Response};
    use axum::routing::{any, get};
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::{connections, serve_connections};

    /// Longer than a connection may be without a call.
    const LONG: Duration = Duration::from_secs(90);

    async fn socket(upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                // Fails only if the client has gone.
                let _ = socket.send(message).await;
            }
        })
    }

    async fn slow() -> Response {
        let parts = futures::stream::iter(["one", "two"]).then(async |part| {
            tokio::time::sleep(LONG).await;
            Ok::<_, Infallible>(Bytes::from(part))
        });
        Body::from_stream(parts).into_response()
    }

    async fn start() -> std::net::SocketAddr {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = port.local_addr().unwrap();
        let router = Router::new().route("/socket", any(socket)).route("/slow", get(slow));
        tokio::spawn(serve_connections(connections(port).into(), router, std::future::pending()));
        address
    }

    #[tokio::test(start_paused = true)]
    async fn a_websocket_stays_open_while_nothing_is_sent() {
        let url = format!("ws://{}/socket", start().await);
        let (mut client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for _ in 0..2 {
            tokio::time::sleep(LONG).await;
            client.send(tokio_tungstenite::tungstenite::Message::text("a")).await.unwrap();
            let answer = client.next().await.unwrap().unwrap();
            assert_eq!(answer.into_text().unwrap().as_str(), "a");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_may_take_longer_than_a_connection_may_be_idle() {
        let mut client = TcpStream::connect(start().await).await.unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("one") && answer.contains("two"), "{answer}");
    }
}
