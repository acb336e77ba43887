//! A hundred calls at once with the clients that others have written: `streamdouble` for Twilio, `deepgram-sdk` for `/v1/listen`; and the example
//! of raw audio.
//!
//! The tests need a Python with `streamdouble` 0.3.0 and `deepgram-sdk` 7.17.0: `python3`, or the interpreter that `AFFECTD_TEST_PYTHON` names.
//! Where a package is missing, its test reports in one line that it did not run. The same for AudioSocket is in `audiosocket`, and for AudioHook, with
//! the client of these tests, in `audiohook`.

use std::io::Write;
use std::path::Path;

use affectd::proto::CallSummary;

use crate::support::call_fixture::{bounded, noise};
use crate::support::daemon::Daemon;
use crate::support::websocket_client::summary;
use crate::twilio::{check_complete, options};

const COUNT: usize = 100;

fn python() -> String {
    std::env::var("AFFECTD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Runs a script and returns what it prints; `None` where its package is missing.
async fn run(package: &str, arguments: &[String]) -> Option<String> {
    let python = python();
    let run = async |arguments: &[String]| {
        let mut command = tokio::process::Command::new(&python);
        command.args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        bounded(package, command.output()).await
    };
    let import = run(&["-c".to_owned(), format!("import {package}")]).await;
    if !import.is_ok_and(|output| output.status.success()) {
        // Written to stderr itself, because the test runner hides what a passing test prints.
        let line = format!("a test of telephony was not run: {python} has no {package}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    let output = run(arguments).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Runs a script that prints a JSON list with one value for each call.
async fn run_calls(package: &str, arguments: &[String]) -> Option<Vec<serde_json::Value>> {
    let values: Vec<serde_json::Value> = serde_json::from_str(&run(package, arguments).await?).unwrap();
    assert_eq!(values.len(), COUNT);
    Some(values)
}

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/telephony_clients");
    folder.join(name).to_str().unwrap().to_owned()
}

/// A file with noise.
fn audio(bytes: usize) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), noise(bytes, 3)).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

fn check(found: &CallSummary, windows: u64) {
    assert_eq!(found.end_reason, "completed", "{found:?}");
    let channels: Vec<_> = found.channels.iter().map(|it| (it.name.as_str(), it.windows)).collect();
    assert_eq!(channels, [("customer", windows), ("agent", windows)]);
    check_complete(found);
}

#[tokio::test]
async fn a_hundred_calls_of_deepgram_sdk_at_once_get_all_their_events() {
    let (_folder, options) = options();
    let daemon =
        options.set("ingest.insecure_loopback", "false").set("ingest.tokens", "secret").start().await;
    // Two seconds of two channels: three windows each.
    let (_file, audio) = audio(32_000);
    let port = daemon.http.port().to_string();
    let arguments = [script("deepgram_calls.py"), port, "secret".to_owned(), COUNT.to_string(), audio];
    let Some(events) = run_calls("deepgram", &arguments).await else { return };
    assert!(events.iter().all(|events| *events == 6), "{events:?}");
    for number in 0..COUNT {
        check(&summary(&daemon, &format!("call-{number}")).await, 3);
    }
}

/// All summaries, once there are as many as calls.
async fn summaries(daemon: &Daemon, count: usize) -> Vec<CallSummary> {
    let listed = async {
        loop {
            let (_, text) = daemon.get("/api/calls?page_size=1000").await.unwrap();
            let calls: serde_json::Value = serde_json::from_str(&text).unwrap();
            match calls["calls"].as_array() {
                Some(calls) if calls.len() == count => {
                    return serde_json::from_value(calls.clone().into()).unwrap();
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    bounded("the summaries", listed).await
}

#[tokio::test]
async fn a_hundred_calls_of_streamdouble_at_once_have_a_summary_each() {
    let (_folder, options) = options();
    let daemon = options.start().await;
    let (_file, audio) = audio(16_000);
    let port = daemon.http.port().to_string();
    let Some(violations) =
        run_calls("streamdouble", &[script("streamdouble_calls.py"), port, COUNT.to_string(), audio]).await
    else {
        return;
    };
    assert!(violations.iter().all(|violations| *violations == serde_json::json!([])), "{violations:?}");
    // The ids are random.
    let mut numbers: Vec<usize> = Vec::new();
    for found in summaries(&daemon, COUNT).await {
        check(&found, 3);
        numbers.push(found.attributes["number"].parse().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..COUNT), "{numbers:?}");
}

fn example(name: &str) -> String {
    format!("{}/deploy/examples/python/{name}.py", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_example_of_raw_audio_prints_the_events_of_a_file() {
    let (_folder, options) = options();
    let daemon =
        options.set("ingest.insecure_loopback", "false").set("ingest.tokens", "secret").start().await;
    let (_file, audio) = audio(16_000);
    let url = format!("ws://{}/v1/listen", daemon.http);
    let Some(printed) = run("websockets", &[example("listen"), url, "secret".to_owned(), audio]).await else {
        return;
    };
    assert_eq!(printed.lines().count(), 3, "{printed}");
    let events = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(events.into_iter().all(|event| event["type"] == "Emotion" && event["channelName"] == "customer"));
}

#[tokio::test]
async fn the_example_of_audiohook_makes_a_call_of_two_channels() {
    let (_folder, options) = options();
    let daemon = options.set("ingest.audiohook.keys", "my-key:TXlTdXBlclNlY3JldEtleQ==").start().await;
    // Two seconds of two channels.
    let (_file, audio) = audio(32_000);
    let url = format!("ws://{}/ingest/audiohook", daemon.http);
    let key = "my-key:TXlTdXBlclNlY3JldEtleQ==".to_owned();
    let Some(printed) = run("websockets", &[example("audiohook"), url, key, audio]).await else { return };
    let kinds = printed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let kinds: Vec<String> = kinds.map(|message| message["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["opened", "closed"]);
    let calls = summaries(&daemon, 1).await;
    let names: Vec<&str> = calls[0].channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!((calls.len(), calls[0].source.as_str(), names), (1, "audiohook", vec!["customer", "agent"]));
    assert_eq!((calls[0].duration.unwrap().seconds, calls[0].end_reason.as_str()), (2, "completed"));
}

#[tokio::test]
async fn the_example_of_audiosocket_makes_a_call() {
    let (_folder, options) = options();
    let daemon = options.set("ingest.audiosocket.address", "127.0.0.1:0").start().await;
    // Two seconds of 16 bits.
    let (_file, audio) = audio(32_000);
    let address = daemon.audiosocket.expect("AudioSocket is on");
    let [host, port] = [address.ip().to_string(), address.port().to_string()];
    let Some(printed) = run("socket", &[example("audiosocket"), host, port, audio]).await else { return };
    let found = summary(&daemon, printed.trim()).await;
    assert_eq!((found.source.as_str(), found.duration.unwrap().seconds), ("audiosocket", 2));
    assert_eq!(found.end_reason, "completed");
}
