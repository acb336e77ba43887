//! kcat and Python's confluent-kafka as producers and consumers, by the examples in `deploy/examples`.
//!
//! Where a tool is missing, its test reports in one line that it did not run. `AFFECTD_TEST_PYTHON` names a Python with confluent-kafka.

use std::io::Write as _;
use std::process::{Output, Stdio};

use affectd::proto::EmotionEvent;
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::daemon::{Daemon, Options, affectd};
use crate::support::kafka::Cluster;

const CALM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/calm.wav");

fn example(path: &str) -> String {
    format!("{}/deploy/examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Returns whether a command succeeds; if not, writes one line to stderr itself, because the test runner hides what a passing test prints.
async fn is_there(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let usable = status.is_ok_and(|status| status.success());
    if !usable {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "not run: {program} {} fails", arguments.join(" ")).unwrap();
    }
    usable
}

/// A cluster and a daemon with the built-in model and JSON events.
async fn daemon() -> (Cluster, Daemon) {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let options = Options::new().set("kafka.brokers", &cluster.brokers).set("kafka.value_format", "json");
    let daemon = options.set("engine.device", "cpu").start().await;
    (cluster, daemon)
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// The events of the recording, by the code that serves.
async fn expected() -> Vec<EmotionEvent> {
    let analyzed = affectd().args(["analyze", CALM, "--format", "jsonl"]).output().await.unwrap();
    lines(&analyzed).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn kcat_sends_a_recording_and_reads_its_events() {
    if !is_there("kcat", &["-V"]).await {
        return;
    }
    let (cluster, mut daemon) = daemon().await;
    let expected = expected().await;
    let sent = Command::new(example("kcat/send")).args([&cluster.brokers, CALM]).output().await.unwrap();
    assert!(lines(&sent).is_empty());
    cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= expected.len()).await;
    let read = Command::new(example("kcat/events")).arg(&cluster.brokers).output().await.unwrap();
    let events: Vec<EmotionEvent> =
        lines(&read).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = |event: &EmotionEvent| (event.start, event.end, event.emotion.clone());
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected.iter().map(shown).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.stream_id == "calm"), "the name of the file");
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

#[tokio::test]
async fn the_client_with_confluent_kafka_prints_the_events_of_a_recording() {
    let python = std::env::var("AFFECTD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !is_there(&python, &["-c", "import confluent_kafka"]).await {
        return;
    }
    let (cluster, mut daemon) = daemon().await;
    let client = example("python/kafka_client.py");
    let done = Command::new(python).args([&client, &cluster.brokers, CALM]).output().await.unwrap();
    let time = |time: &Option<pbjson_types::Duration>| {
        serde_json::to_value(time.as_ref().unwrap()).unwrap().as_str().unwrap().to_owned()
    };
    let line = |event: &EmotionEvent| {
        let EmotionEvent { start, end, emotion, confidence, .. } = event;
        format!("{} {} {emotion} {confidence:.2}", time(start), time(end))
    };
    assert_eq!(lines(&done), expected().await.iter().map(line).collect::<Vec<_>>());
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}
