//! `affectd tail` on a cluster: protobuf and JSON events, foreign records skipped, one error line for a missing topic.

use std::process::Output;
use std::time::Duration;

use affectd::proto::{EmotionEvent, EmotionScore};
use prost::Message;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::kafka::{Cluster, Kind, Record};

fn event(index: u64) -> EmotionEvent {
    let score = |emotion: &str, probability| EmotionScore { emotion: emotion.into(), probability };
    EmotionEvent {
        event_id: format!("id-{index}"),
        stream_id: "call-1".into(),
        window_index: index,
        start: Some(Duration::from_secs(index).into()),
        end: Some(Duration::from_secs(index + 3).into()),
        emotion: "fear".into(),
        confidence: 0.75,
        scores: vec![score("anger", 0.25), score("fear", 0.75)],
        ..Default::default()
    }
}

async fn tail(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    let running = command.arg("tail").args(arguments).kill_on_drop(true).output();
    timeout(PATIENCE, running).await.expect("it ends").unwrap()
}

async fn cluster_with_events() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create_topic("affectd.emotions", 2, &[]).await;
    let json = serde_json::to_vec(&event(1)).unwrap();
    let records = [
        Record::new("call-1", event(0).encode_to_vec()).partition(0),
        Record::new("call-1", b"\xff\xff nothing of ours".to_vec()).partition(0),
        Record::new("call-1", json).partition(0),
        Record::new("call-2", event(2).encode_to_vec()).partition(1),
    ];
    cluster.produce("affectd.emotions", &records).await;
    cluster
}

#[tokio::test]
async fn protobuf_and_json_events_of_all_partitions_are_shown() {
    let cluster = cluster_with_events().await;
    let from = format!("kafka://{}", cluster.brokers);
    let jsonl = tail(&["--from", &from, "--from-beginning", "--max-events", "3", "--format", "jsonl"]).await;
    assert!(jsonl.status.success(), "{}", String::from_utf8_lossy(&jsonl.stderr));
    let stdout = String::from_utf8(jsonl.stdout).unwrap();
    let mut shown: Vec<EmotionEvent> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    shown.sort_by_key(|event| event.window_index);
    assert_eq!(shown, [event(0), event(1), event(2)]);
    assert!(stdout.contains("\"channel\":0") && stdout.contains("\"windowIndex\":\"0\""), "{stdout}");
    assert!(String::from_utf8_lossy(&jsonl.stderr).contains("skipped a record that is not an event"));

    let topic = format!("{from}/affectd.emotions");
    let table = tail(&["--from", &topic, "--from-beginning", "--max-events", "3"]).await;
    let stdout = String::from_utf8(table.stdout).unwrap();
    assert!(stdout.starts_with("A anger  F fear\n"), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.contains("call-1") && line.contains("0.75")).count(), 3);
    assert!(!stdout.contains('\x1b'), "a pipe gets no colours");
}

#[tokio::test]
async fn a_missing_topic_and_a_wrong_url_are_reported_in_one_line() {
    let cluster = cluster_with_events().await;
    // The mock creates a topic when it is requested.
    if cluster.kind == Kind::Real {
        let from = format!("kafka://{}/nothing", cluster.brokers);
        let missing = tail(&["--from", &from]).await;
        let stderr = String::from_utf8(missing.stderr).unwrap();
        assert_eq!(missing.status.code(), Some(1));
        assert!(stderr.contains("topic nothing does not exist"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let absent = tail(&["--from", "grpc://127.0.0.1:1"]).await;
    let stderr = String::from_utf8(absent.stderr).unwrap();
    assert_eq!((absent.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("grpc://127.0.0.1:1"), "{stderr}");
    for wrong in
        [&["--from", "http://127.0.0.1:1"][..], &["--from", "grpc://127.0.0.1:1", "--from-beginning"]]
    {
        assert_eq!(tail(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}
