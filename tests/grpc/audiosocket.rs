//! Asterisk AudioSocket: calls over TCP, and the announcement of the call that a connection belongs to.
//!
//! The test with the encoder of the npm package `asterisk-audiosocket` needs `node` (or the program that `AFFECTD_TEST_NODE` names) and `npm`. Without
//! them it reports in one line that it did not run; where `AFFECTD_TEST_NODE` is set, it fails instead.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use affectd::proto::Encoding;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::support::audiosocket_client::{AUDIO_8_KHZ, Client, ONLY_SILENCE, announce, frame};
use crate::support::call_fixture::{
    bounded, chunk, connect, format, last, metric, metric_reaches, noise, recognize, shapes, tiny,
};
use crate::support::daemon::Options;
use crate::support::websocket_client::summary;

fn options() -> (tempfile::TempDir, Options) {
    let (folder, options) = tiny();
    (folder, options.set("ingest.audiosocket.address", "127.0.0.1:0").set("calls.linger", "200ms"))
}

#[tokio::test]
async fn a_connection_is_a_call_of_one_channel_with_the_windows_of_grpc() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    // 1.9 s: what may wait for the engine.
    let (id, audio) = (Uuid::from_u128(1), noise(30_400, 7));
    let mut client = Client::open(&daemon, id).await;
    for piece in audio.chunks(640) {
        client.send(&frame(AUDIO_8_KHZ, piece)).await;
        client.send(&frame(0x03, b"5")).await;
        client.send(&frame(0x42, b"unknown")).await;
    }
    client.send(&frame(0x00, &[])).await;
    assert_eq!(client.rest().await, ONLY_SILENCE);
    let found = summary(&daemon, &id.to_string()).await;
    assert_eq!((found.source.as_str(), found.end_reason.as_str()), ("audiosocket", "completed"));
    assert_eq!((found.channels[0].name.as_str(), found.channels[0].analysed), ("customer", true));
    let whole = last(chunk(&id.to_string(), format(Encoding::PcmS16le, 8_000, 1), audio));
    let expected = recognize(&connect(&daemon).await, vec![whole]).await.good();
    assert_eq!(found.channels[0].windows, shapes(&expected).len() as u64);
    let skipped =
        metric(&daemon, "affectd_rejected_total{source=\"audiosocket\",reason=\"frame_kind\"}").await;
    assert_eq!(skipped, 48.0, "frames of an unknown kind");
}

#[tokio::test]
async fn announced_connections_are_channels_of_one_call() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for (id, channel) in ids.iter().zip(["customer", "agent"]) {
        let json =
            format!(r#"{{"call_id":"talk","channel":"{channel}","attributes":{{"queue":"q","from":"+1"}}}}"#);
        assert_eq!(announce(&daemon, &id.to_string(), &json).await, 204);
    }
    let mut clients = [Client::open(&daemon, ids[0]).await, Client::open(&daemon, ids[1]).await];
    for client in &mut clients {
        client.audio(&noise(24_000, 3)).await;
    }
    metric_reaches(&daemon, "affectd_streams_active", |active| active == 2.0).await;
    for mut client in clients {
        client.send(&frame(0x00, &[])).await;
        assert_eq!(client.rest().await, ONLY_SILENCE);
    }
    let found = summary(&daemon, "talk").await;
    let mut channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.analysed)).collect();
    channels.sort_unstable();
    assert_eq!(channels, [("agent", false), ("customer", true)]);
    assert!(found.attributes["queue"] == "q" && !found.attributes.contains_key("from"));
    for (id, json, status) in [
        ("not-an-id", r#"{"call_id":"a"}"#, 400),
        (&*ids[0].to_string(), r#"{"channel":"a"}"#, 422),
        (&*ids[0].to_string(), r#"{"call_id":""}"#, 400),
        (&*ids[0].to_string(), r#"{"call_id":"a""#, 400),
        (&*ids[0].to_string(), r#"{"call_id":"a","attributes":{"a":[1]}}"#, 422),
        (
            &*ids[0].to_string(),
            &*format!(r#"{{"call_id":"a","attributes":{{"a":"{}"}}}}"#, "x".repeat(8_192)),
            400,
        ),
        (&*ids[0].to_string(), r#"{"call_id":"a","channel":null,"attributes":null}"#, 204),
        (&*ids[0].to_string(), r#"{"call_id":"a","attributes":{"a":1,"b":true,"c":null}}"#, 204),
    ] {
        assert_eq!(announce(&daemon, id, json).await, status, "{id} {json}");
    }
}

#[tokio::test]
async fn silence_of_the_kind_that_was_received_goes_back_every_100_ms() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    for (kind, bytes) in [(AUDIO_8_KHZ, 320), (0x12, 640), (0x15, 1_764), (0x18, 7_680)] {
        let mut client = Client::open(&daemon, Uuid::from_u128(u128::from(kind))).await;
        assert_eq!(client.next().await, Some((AUDIO_8_KHZ, vec![0; 320])), "before audio comes");
        client.send(&frame(kind, &noise(bytes, 1))).await;
        let other = async { while client.next().await.unwrap().1.len() != bytes {} };
        bounded("silence of the same kind", other).await;
        let began = std::time::Instant::now();
        for _ in 0..5 {
            assert_eq!(client.next().await, Some((kind, vec![0; bytes])), "{kind:#x}");
        }
        assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn connections_that_do_not_keep_the_protocol_are_closed() {
    let (_folder, options) = options();
    let daemon = options.set("limits.first_chunk_timeout", "1s").start().await;
    let audio = frame(AUDIO_8_KHZ, &noise(320, 1));
    for (name, first) in [
        ("audio first", audio.clone()),
        ("an id that is cut", frame(0x01, &[0; 15])),
        ("no id", Vec::new()),
        ("a frame that is cut", vec![0x01, 0, 16, 1]),
    ] {
        let mut client = Client::connect(&daemon).await;
        client.send(&first).await;
        let ended = tokio::time::timeout(Duration::from_secs(15), client.rest()).await;
        assert_eq!(ended.expect(name), ONLY_SILENCE, "{name}");
    }
    for (number, (name, wrong, end)) in [
        ("an odd length", frame(AUDIO_8_KHZ, &[0; 321]), "error"),
        ("a new rate", frame(0x12, &[0; 640]), "error"),
        ("an error of memory", frame(0xff, &[4]), "error"),
        ("an error that is a hang-up", frame(0xff, &[1]), "completed"),
        ("a hang-up", frame(0x00, &[]), "completed"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = Uuid::from_u128(number as u128);
        let mut client = Client::open(&daemon, id).await;
        client.send(&[&audio[..], &frame(0x01, id.as_bytes()), &audio, &wrong, &audio].concat()).await;
        assert_eq!(client.rest().await, ONLY_SILENCE, "{name}");
        assert_eq!(summary(&daemon, &id.to_string()).await.end_reason, end, "{name}");
    }
    for (number, (name, cut, end)) in
        [("a socket that closes", 0, "completed"), ("a socket that closes in a frame", 2, "disconnected")]
            .into_iter()
            .enumerate()
    {
        let id = Uuid::from_u128(100 + number as u128);
        let mut client = Client::open(&daemon, id).await;
        client.send(&[&audio[..], &audio[..cut]].concat()).await;
        client.0.shutdown().await.unwrap();
        assert_eq!(client.rest().await, ONLY_SILENCE, "{name}");
        assert_eq!(summary(&daemon, &id.to_string()).await.end_reason, end, "{name}");
    }
    let silent = Client::open(&daemon, Uuid::from_u128(200)).await;
    assert_eq!(silent.rest().await, [0x00], "no audio within limits.first_chunk_timeout");
}

#[tokio::test]
async fn a_silent_peer_a_limit_and_a_drain_are_answered_with_a_hang_up() {
    let (_folder, options) = options();
    let options = options.set("limits.max_streams", "1").set("audio.idle_timeout", "1s");
    let mut daemon = options.start().await;
    let id = Uuid::from_u128(1);
    let mut silent = Client::open(&daemon, id).await;
    silent.audio(&noise(3_200, 1)).await;
    assert_eq!(silent.rest().await, [0x00]);
    assert_eq!(summary(&daemon, &id.to_string()).await.end_reason, "disconnected");

    let mut first = Client::open(&daemon, Uuid::from_u128(2)).await;
    first.audio(&noise(3_200, 1)).await;
    metric_reaches(&daemon, "affectd_streams_active", |active| active == 1.0).await;
    let mut second = Client::open(&daemon, Uuid::from_u128(3)).await;
    second.audio(&noise(3_200, 1)).await;
    assert_eq!(second.rest().await, [0x00]);
    daemon.terminate();
    assert_eq!(first.rest().await, [0x00]);
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_hundred_calls_at_once_and_a_peer_that_sends_faster_than_speech() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let calls = (0..100).map(async |number: u64| {
        let id = Uuid::from_u128(u128::from(number));
        let mut client = Client::open(&daemon, id).await;
        client.audio(&noise(24_000, number)).await;
        client.send(&frame(0x00, &[])).await;
        summary(&daemon, &id.to_string()).await
    });
    for found in futures::future::join_all(calls).await {
        assert_eq!(found.end_reason, "completed");
        assert_eq!(found.channels[0].windows, 2, "{found:?}");
    }
    // A minute at once: the oldest audio is dropped, and the position goes on.
    let id = Uuid::from_u128(1_000);
    let mut fast = Client::open(&daemon, id).await;
    fast.audio(&noise(960_000, 1)).await;
    fast.send(&frame(0x00, &[])).await;
    let duration = summary(&daemon, &id.to_string()).await.duration.unwrap().seconds;
    assert!((58..=60).contains(&duration), "{duration} s");
}

#[tokio::test]
async fn another_address_than_loopback_needs_permission() {
    let (_folder, options) = options();
    let options = options.set("ingest.audiosocket.address", "0.0.0.0:0");
    let output = bounded("the end", options.command().output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("ingest.audiosocket.address") && text.contains("auth.allow_insecure"), "{text}");
}

/// Copies the script and installs the packages that its lock file lists; the reason where that fails.
async fn installed(node: &str, to: &Path) -> Result<(), String> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/audiosocket");
    std::fs::create_dir_all(to).unwrap();
    for file in ["package.json", "package-lock.json", "send.mjs"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let flags =
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"];
    for (program, arguments) in [(node, &["--version"][..]), ("npm", &flags)] {
        let mut command = tokio::process::Command::new(program);
        let output = bounded(program, command.args(arguments).current_dir(to).output()).await;
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => return Err(format!("{program}: {error}")),
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_encoder_of_another_implementation_makes_a_hundred_calls_at_once() {
    let required = std::env::var("AFFECTD_TEST_NODE").ok();
    let node = required.clone().unwrap_or_else(|| "node".to_owned());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("audiosocket");
    if let Err(reason) = installed(&node, &folder).await {
        assert!(required.is_none(), "AFFECTD_TEST_NODE = {node}: {reason}");
        // Written to stderr itself, because the test runner hides what a passing test prints.
        writeln!(std::io::stderr(), "asterisk-audiosocket was not run: {node} or npm does not work").unwrap();
        return;
    }
    let (_folder, options) = options();
    let daemon = options.start().await;
    let ids: Vec<String> = (9..109).map(|number| Uuid::from_u128(number).to_string()).collect();
    let audio = folder.join("audio.raw");
    std::fs::write(&audio, noise(30_400, 7)).unwrap();
    let mut command = tokio::process::Command::new(&node);
    command.arg(folder.join("send.mjs")).arg(daemon.audiosocket.unwrap().port().to_string());
    command.arg(&audio).args(&ids).kill_on_drop(true);
    let output = bounded("the encoder", command.output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let silence = String::from_utf8(output.stdout).unwrap();
    let silence: Vec<u32> = silence.lines().map(|line| line.parse().unwrap()).collect();
    assert!(silence.len() == ids.len() && silence.iter().all(|frames| *frames >= 3), "{silence:?}");
    for id in ids {
        let found = summary(&daemon, &id).await;
        let duration = found.duration.unwrap();
        assert_eq!((duration.seconds, duration.nanos), (1, 900_000_000), "{id}");
        assert_eq!((found.end_reason.as_str(), found.channels[0].windows), ("completed", 3), "{id}");
    }
}
