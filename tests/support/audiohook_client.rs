//! A client of AudioHook that a test controls message by message.
//!
//! Input: messages and audio. Output: the answers, whose numbers are checked. Every wait is bounded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::call_fixture::bounded;
use super::daemon::{Daemon, Options};
use super::websocket_client::closed;

/// The organization of every client.
pub const ORGANIZATION: &str = "d7934305-0972-4844-938e-9060eef73d05";
/// The conversation of a probe.
pub const PROBE: &str = "00000000-0000-0000-0000-000000000000";
const SECRET: &[u8] = b"a secret of a client";
const PATH: &str = "/ingest/audiohook?a=1";

/// Adds a key with a secret, `signed`, and one without, `unsigned`.
pub fn with_keys(options: Options) -> Options {
    let keys = format!("signed:{},unsigned:", STANDARD.encode(SECRET));
    options.set("ingest.audiohook.keys", &keys)
}

/// What a request declares.
#[derive(Debug, Clone)]
pub struct Signature {
    pub key: &'static str,
    pub secret: &'static [u8],
    /// Seconds by which the clock of the client is ahead.
    pub ahead: i64,
}

impl Default for Signature {
    fn default() -> Signature {
        Signature { key: "signed", secret: SECRET, ahead: 0 }
    }
}

/// A request that `signature` signs; a key without a secret sends no signature.
pub fn request(daemon: &Daemon, session: &str, signature: &Signature) -> Request {
    let host = daemon.http.to_string();
    let mut request = format!("ws://{host}{PATH}").into_client_request().unwrap();
    let correlation = "e160e428-53e2-487c-977d-96989bf5c99d";
    let mut set = |name: &'static str, value: &str| {
        request.headers_mut().insert(name, value.parse().unwrap());
    };
    set("audiohook-organization-id", ORGANIZATION);
    set("audiohook-session-id", session);
    set("audiohook-correlation-id", correlation);
    set("x-api-key", signature.key);
    if signature.secret.is_empty() {
        return request;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + signature.ahead;
    let key = signature.key;
    let parameters = format!(
        "(\"@request-target\" \"@authority\" \"audiohook-organization-id\" \"audiohook-session-id\" \
         \"audiohook-correlation-id\" \"x-api-key\");keyid=\"{key}\";nonce=\"VGhpc0lzQVVuaXF1ZU5vbmNl\";\
         alg=\"hmac-sha256\";created={now};expires={}",
        now + 10
    );
    let base = format!(
        "\"@request-target\": {PATH}\n\"@authority\": {host}\n\"audiohook-organization-id\": {ORGANIZATION}\n\
         \"audiohook-session-id\": {session}\n\"audiohook-correlation-id\": {correlation}\n\"x-api-key\": {key}\n\
         \"@signature-params\": {parameters}"
    );
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, signature.secret), base.as_bytes());
    set("signature-input", &format!("sig1={parameters}"));
    set("signature", &format!("sig1=:{}:", STANDARD.encode(signed)));
    request
}

/// The status of a request that is refused.
pub async fn refused(request: Request) -> u16 {
    match bounded("a connection", connect_async(request)).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// One session.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub session: String,
    /// The number of the last message that was sent.
    pub seq: u64,
    /// The number of the last message that was received.
    pub server_seq: u64,
}

impl Client {
    /// Opens a connection; nothing is sent yet.
    pub async fn connect(daemon: &Daemon, session: &str) -> Client {
        let request = request(daemon, session, &Signature::default());
        let (socket, _) = bounded("a connection", connect_async(request)).await.expect("it is accepted");
        Client { socket, session: session.to_owned(), seq: 0, server_seq: 0 }
    }

    /// Opens a session of both channels.
    pub async fn open(daemon: &Daemon, session: &str, conversation: &str) -> Client {
        let mut client = Client::connect(daemon, session).await;
        client.send("open", open(conversation)).await;
        let answer = client.answer("opened").await;
        let media =
            json!([{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8_000}]);
        assert_eq!(answer["parameters"], json!({"media": media, "startPaused": false}));
        client
    }

    /// The next message with these parameters.
    pub fn message(&mut self, kind: &str, parameters: Value) -> Value {
        self.seq += 1;
        json!({
            "version": "2", "id": self.session, "type": kind, "seq": self.seq, "serverseq": self.server_seq,
            "position": "PT1.2S", "parameters": parameters,
        })
    }

    /// Sends the next message.
    pub async fn send(&mut self, kind: &str, parameters: Value) {
        let message = self.message(kind, parameters);
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text message as it is. After the end of the connection it is dropped.
    pub async fn send_text(&mut self, text: &str) {
        drop(bounded("room for a message", self.socket.send(Message::text(text))).await);
    }

    /// Sends audio in messages of `bytes`. After the end of the connection it is dropped.
    pub async fn audio(&mut self, audio: &[u8], bytes: usize) {
        for piece in audio.chunks(bytes) {
            drop(bounded("room for audio", self.socket.send(Message::binary(piece.to_vec()))).await);
        }
    }

    /// Sends a message of audio without audio.
    pub async fn empty(&mut self) {
        drop(bounded("room for audio", self.socket.send(Message::binary(Vec::new()))).await);
    }

    /// The next message of the server; `None` where it closes the connection.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match bounded("a message", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.server_seq += 1;
                    assert_eq!(message["seq"], self.server_seq, "{message}");
                    assert_eq!((&message["version"], &message["id"]), (&json!("2"), &json!(self.session)));
                    return Some(message);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next message of the server, which is of this kind and has received all that was sent.
    pub async fn answer(&mut self, kind: &str) -> Value {
        let message =
            self.next().await.unwrap_or_else(|| panic!("{kind} instead of the end of the connection"));
        assert_eq!((&message["type"], &message["clientseq"]), (&json!(kind), &json!(self.seq)), "{message}");
        message
    }

    /// Reads the server's request to end the session; returns its reason and information.
    pub async fn disconnected(&mut self) -> (String, String) {
        let message = self.next().await.expect("a message before the end of the connection");
        assert_eq!(message["type"], "disconnect", "{message}");
        let text = |name: &str| message["parameters"][name].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("info"))
    }

    /// The code that closes the connection, which has no message before.
    pub async fn close_code(&mut self) -> Option<CloseCode> {
        closed(&mut self.socket).await
    }

    /// Closes the session, and waits for the answer and the end of the connection.
    pub async fn close(mut self, reason: &str) {
        let asked = std::time::Instant::now();
        self.send("close", json!({"reason": reason})).await;
        self.answer("closed").await;
        assert!(asked.elapsed() < Duration::from_secs(5), "the protocol allows five seconds");
        assert_eq!(self.next().await, None);
    }
}

/// The parameters of `open` for both channels.
pub fn open(conversation: &str) -> Value {
    let media =
        |channels: &[&str]| json!({"type": "audio", "format": "PCMU", "channels": channels, "rate": 8_000});
    json!({
        "organizationId": ORGANIZATION,
        "conversationId": conversation,
        "participant": {"id": "p", "ani": "+1", "aniName": "Ann", "dnis": "+2"},
        "media": [media(&["internal"]), media(&["external", "internal"]), media(&["external"])],
        "customConfig": {"queue": "sales"},
    })
}
