//! The Python client of `deploy/examples/python`: it is the one in the documentation, it is short, and it works against a daemon.
//!
//! The last test needs a Python with `grpcio` and `grpcio-tools`: `python3`, or the interpreter that `AFFECTD_TEST_PYTHON` names. Without
//! them it reports in one line that it did not run; where `AFFECTD_TEST_PYTHON` is set, it fails instead.

use std::io::Write;
use std::process::Stdio;

use crate::support::daemon::{Options, affectd};
use affectd::proto::EmotionEvent;
use tokio::process::Command;

const CLIENT: &str = "deploy/examples/python/recognize.py";
const LINES: usize = 40;

fn text(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_client_in_the_documentation_is_the_example() {
    let page = text("docs/grpc.md");
    let code = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    assert!(code == Some(&text(CLIENT)), "the Python block of docs/grpc.md must be the text of {CLIENT}");
}

#[test]
fn the_client_is_short() {
    let lines = text(CLIENT).lines().count();
    assert!(lines <= LINES, "{CLIENT} has {lines} lines, allowed are {LINES}");
}

/// A Python interpreter that can import grpcio and grpcio-tools.
async fn python() -> Option<String> {
    let named = std::env::var("AFFECTD_TEST_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let import =
        Command::new(&python).args(["-c", "import grpc, grpc_tools"]).stderr(Stdio::null()).status().await;
    let usable = import.is_ok_and(|status| status.success());
    assert!(
        usable || named.is_none(),
        "AFFECTD_TEST_PYTHON = {python}: it cannot import grpc and grpc_tools"
    );
    usable.then_some(python)
}

/// The events of a recording as the client prints them, by the code that serves.
async fn expected(recording: &str) -> Vec<String> {
    let analyzed = affectd().args(["analyze", recording, "--format", "jsonl"]).output().await.unwrap();
    let seconds = |time: &Option<pbjson_types::Duration>| {
        let time = time.as_ref().expect("every event has its times");
        time.seconds as f64 + f64::from(time.nanos) / 1e9
    };
    let line = |json: &str| {
        let event: EmotionEvent = serde_json::from_str(json).unwrap();
        let (start, end) = (seconds(&event.start), seconds(&event.end));
        format!("{start:.1} - {end:.1} s  {}  {:.2}", event.emotion, event.confidence)
    };
    String::from_utf8(analyzed.stdout).unwrap().lines().map(line).collect()
}

#[tokio::test]
async fn the_client_prints_the_events_of_a_recording() {
    let Some(python) = python().await else {
        // Written to stderr itself, because the test runner hides what a passing test prints.
        let reason = "python3 cannot import grpc and grpc_tools (pip install grpcio grpcio-tools)";
        writeln!(std::io::stderr(), "the Python client was not run: {reason}").unwrap();
        return;
    };
    let recording = format!("{}/deploy/samples/calm.wav", env!("CARGO_MANIFEST_DIR"));
    let daemon = Options::new().set("engine.device", "cpu").start().await;
    let client = format!("{}/{CLIENT}", env!("CARGO_MANIFEST_DIR"));
    let done =
        Command::new(python).args([&client, &recording, &daemon.grpc.to_string()]).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let printed = String::from_utf8(done.stdout).unwrap();
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed, expected(&recording).await);
}
