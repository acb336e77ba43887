//! A client of AudioSocket that a test controls frame by frame.
//!
//! Input: frames. Output: the frames that come back. Every wait is bounded.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::call_fixture::bounded;
use super::daemon::Daemon;

/// The kind of audio at 8 kHz.
pub const AUDIO_8_KHZ: u8 = 0x10;
/// The kinds of frames of a connection that gets silence only.
pub const ONLY_SILENCE: [u8; 0] = [];

/// A frame of a kind with its payload.
pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, payload].concat()
}

/// One connection.
pub struct Client(pub TcpStream);

impl Client {
    /// A connection that has sent nothing.
    pub async fn connect(daemon: &Daemon) -> Client {
        let address = daemon.audiosocket.expect("AudioSocket is on");
        Client(bounded("a connection", TcpStream::connect(address)).await.unwrap())
    }

    /// A connection that has sent its id.
    pub async fn open(daemon: &Daemon, id: Uuid) -> Client {
        let mut client = Client::connect(daemon).await;
        client.send(&frame(0x01, id.as_bytes())).await;
        client
    }

    /// Sends bytes. After the end of the connection they are dropped.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(bounded("room for a frame", self.0.write_all(bytes)).await);
    }

    /// Sends audio in frames of 20 ms at 8 kHz.
    pub async fn audio(&mut self, audio: &[u8]) {
        for piece in audio.chunks(320) {
            self.send(&frame(AUDIO_8_KHZ, piece)).await;
        }
    }

    /// The next frame: its kind and its payload; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let mut header = [0; 3];
            self.0.read_exact(&mut header).await.ok()?;
            let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((header[0], payload))
        };
        bounded("a frame", read).await
    }

    /// The kinds of the frames up to the end of the connection, without those of silence.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some((kind, payload)) = self.next().await {
            if kind < AUDIO_8_KHZ || payload.iter().any(|byte| *byte != 0) {
                kinds.push(kind);
            }
        }
        kinds
    }
}

/// Announces a connection; returns the status.
pub async fn announce(daemon: &Daemon, id: &str, json: &str) -> u16 {
    announce_with(daemon, id, json, "").await
}

/// Announces a connection with further lines of the request's header, each with its end; returns the status.
pub async fn announce_with(daemon: &Daemon, id: &str, json: &str, header: &str) -> u16 {
    let mut stream = TcpStream::connect(daemon.http).await.unwrap();
    let request = format!(
        "PUT /api/ingest/audiosocket/{id} HTTP/1.1\r\nHost: localhost\r\n{header}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}
