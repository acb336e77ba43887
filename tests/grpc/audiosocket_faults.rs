//! AudioSocket where each frame in turn is missing, comes twice, out of order, or has another length.

use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::support::audiosocket_client::{AUDIO_8_KHZ, Client, ONLY_SILENCE, frame};
use crate::support::call_fixture::{noise, tiny};
use crate::support::daemon::Daemon;
use crate::support::websocket_client::summary;

/// Milliseconds of audio in each frame with audio: 16 bytes each.
const AUDIO_MS: i64 = 500;

/// The place of each frame in a call.
const ID: usize = 0;
const FIRST_AUDIO: usize = 1;
const KEY: usize = 2;
const SECOND_AUDIO: usize = 3;
const HANG_UP: usize = 4;

fn frames(id: Uuid) -> Vec<Vec<u8>> {
    let audio = |seed| frame(AUDIO_8_KHZ, &noise(AUDIO_MS as usize * 16, seed));
    vec![frame(0x01, id.as_bytes()), audio(1), frame(0x03, b"5"), audio(2), frame(0x00, &[])]
}

/// Sends the frames of a call with a change, and closes the sending side. The call has `expected` milliseconds; `None`: it is closed at once.
async fn check(daemon: &Daemon, name: &str, expected: Option<i64>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let id = Uuid::new_v4();
    let mut frames = frames(id);
    change(&mut frames);
    let mut client = Client::connect(daemon).await;
    client.send(&frames.concat()).await;
    if expected.is_some() {
        // Fails where the server has closed the connection.
        let _ = client.0.shutdown().await;
    }
    assert_eq!(client.rest().await, ONLY_SILENCE, "{name}");
    if let Some(expected) = expected {
        let found = summary(daemon, &id.to_string()).await;
        let duration = found.duration.unwrap();
        let milliseconds = duration.seconds * 1_000 + i64::from(duration.nanos) / 1_000_000;
        assert_eq!((milliseconds, found.end_reason.as_str()), (expected, "completed"), "{name}");
    }
}

async fn daemon() -> (tempfile::TempDir, Daemon) {
    let (folder, options) = tiny();
    let options = options.set("ingest.audiosocket.address", "127.0.0.1:0").set("calls.linger", "0s");
    (folder, options.set("limits.max_utilization_percent", "1000000").start().await)
}

#[tokio::test]
async fn each_frame_may_be_missing_repeated_or_out_of_order() {
    let (_folder, daemon) = daemon().await;
    let whole = 2 * AUDIO_MS;
    check(&daemon, "whole", Some(whole), |_| {}).await;
    for at in ID..=HANG_UP {
        let audio = if at == FIRST_AUDIO || at == SECOND_AUDIO { AUDIO_MS } else { 0 };
        let missing = (at != ID).then_some(whole - audio);
        check(&daemon, &format!("without {at}"), missing, |frames| drop(frames.remove(at))).await;
        let repeat = |frames: &mut Vec<Vec<u8>>| frames.insert(at, frames[at].clone());
        check(&daemon, &format!("{at} twice"), Some(whole + audio), repeat).await;
        if at < HANG_UP {
            // What follows the hang-up has no effect.
            let length = if at + 1 == HANG_UP { AUDIO_MS } else { whole };
            let swapped = (at != ID).then_some(length);
            check(&daemon, &format!("{at} behind the next"), swapped, |frames| frames.swap(at, at + 1)).await;
        }
    }
}

#[tokio::test]
async fn only_the_id_needs_its_own_length() {
    let (_folder, daemon) = daemon().await;
    for (at, kind, length) in [(HANG_UP, 0x00, 9), (KEY, 0x03, 0), (KEY, 0x03, 65_535), (KEY, 0x42, 65_535)] {
        let name = format!("{kind} with {length} bytes");
        let change = |frames: &mut Vec<Vec<u8>>| frames[at] = frame(kind, &vec![7; length]);
        check(&daemon, &name, Some(2 * AUDIO_MS), change).await;
    }
    for length in [0, 15, 17, 65_535] {
        let change = |frames: &mut Vec<Vec<u8>>| frames[ID] = frame(0x01, &vec![7; length]);
        check(&daemon, &format!("an id of {length} bytes"), None, change).await;
    }
}
