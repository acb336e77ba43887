//! A model that fails on some windows while it serves: those windows alone fail, gRPC hears of them, and Kafka's are not lost.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod call_fixture;
mod model_fixture;
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use affectd::batch::BROKEN_AFTER;
use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use call_fixture::{chunk, connect, last, metric, metric_reaches, noise, recognize, telephone};
use model_fixture::onnx::{TensorProto, node};
use prost::Message;
use support::daemon::Options;
use support::kafka::{Cluster, Record};
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(60);

const RELOADS: &str = "affectd_model_reloads_total{outcome=\"ok\"}";

/// The tiny model with a square root that is not a number for silence: its first coefficient lies near -92.
fn brittle(folder: &Path) -> PathBuf {
    let contract = model_fixture::contract(Layout::Ntc, Output::Logits);
    let mut model = model_fixture::graph(&contract);
    let graph = model.graph.as_mut().unwrap();
    let sixty = TensorProto { dims: vec![1], data_type: 1, float_data: vec![60.0], name: "sixty".into() };
    graph.initializer.push(sixty);
    graph.node[1] = node("MatMul", &["roots", "weights"], "logits", vec![]);
    graph.node.insert(1, node("Add", &["means", "sixty"], "raised", vec![]));
    graph.node.insert(2, node("Sqrt", &["raised"], "roots", vec![]));
    model_fixture::write(folder, model, &contract)
}

/// µ-law.
fn silence(samples: usize) -> Vec<u8> {
    vec![0xff; samples]
}

#[tokio::test]
async fn a_window_without_an_answer_ends_its_own_call_and_its_neighbours_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    // Batches are larger than one window: what fails shares them with what does not.
    let options = Options::new().set("model.path", path.to_str().unwrap()).set("batch.max_delay", "50ms");
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    let good = (0..8).map(|number| {
        recognize(&channel, vec![last(chunk(&format!("good-{number}"), telephone(), noise(24_000, number)))])
    });
    let bad = recognize(&channel, vec![last(chunk("bad", telephone(), silence(8_000)))]);
    let (good, bad) = tokio::join!(futures::future::join_all(good), bad);
    let (code, message) = bad.refusal();
    assert_eq!(code, Code::Internal);
    assert!(message.contains("window 0") && message.contains("NaN for \"anger\""), "{message}");
    for outcome in good {
        assert_eq!(outcome.good().len(), 5);
    }
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"failed\"}").await, 1.0);
    assert_eq!(metric(&daemon, RELOADS).await, 0.0, "one window is no broken device");
}

#[tokio::test]
async fn sessions_that_fail_again_and_again_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    let daemon = Options::new().set("model.path", path.to_str().unwrap()).start().await;
    let channel = connect(&daemon).await;
    for number in 0..BROKEN_AFTER {
        let call = chunk(&format!("bad-{number}"), telephone(), silence(8_000));
        assert_eq!(recognize(&channel, vec![last(call)]).await.refusal().0, Code::Internal);
    }
    metric_reaches(&daemon, RELOADS, |reloads| reloads == 1.0).await;
    assert!(daemon.log().contains("batch after batch fails"), "{}", daemon.log());
    let good = recognize(&channel, vec![last(chunk("good", telephone(), noise(12_000, 1)))]).await.good();
    assert_eq!(good.len(), 2);
}

#[tokio::test]
async fn a_window_of_kafka_without_an_answer_stops_the_daemon_and_the_next_one_answers_it() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    let config = folder.path().join("affectd.toml");
    let text = format!(
        "[model]\npath = {path:?}\n[limits]\ngrace_period = \"1s\"\n\
         [kafka]\nbrokers = {:?}\ncommit_interval = \"50ms\"\n[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    let options = Options::new().config(config);
    let record = |audio: Vec<u8>| Record::new("call", audio).header("content-type", "audio/PCMU;rate=8000");
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let records = [record(noise(12_000, 1)), record(silence(12_000)), record(noise(8_000, 2))];
    cluster.produce("affectd.audio", &records).await;

    let mut daemon = options.start_unready().await;
    assert_eq!(daemon.ended().await.code(), Some(1));
    let log = daemon.log();
    for named in ["stream \"call\" from Kafka", "NaN for \"anger\"", "a batch failed", "window 3 "] {
        assert!(log.contains(named), "the log should name {named}:\n{log}");
    }

    // A better model in the same place.
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let mut daemon = options.start().await;
    let indexes = |events: &[support::kafka::Stored]| -> Vec<u64> {
        let event = |value: &[u8]| EmotionEvent::decode(value).unwrap();
        events.iter().map(|record| event(record.value.as_deref().unwrap()).window_index).collect()
    };
    let all = |events: &[support::kafka::Stored]| indexes(events).contains(&6);
    let mut found = indexes(&cluster.read_until("affectd.emotions", PATIENCE, all).await);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, (0..7).collect::<Vec<_>>());
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

#[tokio::test]
async fn events_of_calls_keep_coming_while_the_broker_is_away() {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let (_folder, options) = call_fixture::tiny();
    let daemon = options.set("kafka.brokers", &cluster.brokers).start().await;
    let channel = connect(&daemon).await;
    // Events of calls go to the topic too.
    recognize(&channel, vec![last(chunk("before", telephone(), noise(12_000, 1)))]).await.good();
    cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() == 2).await;
    drop(cluster);
    for number in 0..4 {
        let call = last(chunk(&format!("after-{number}"), telephone(), noise(60_000, number)));
        assert_eq!(recognize(&channel, vec![call]).await.good().len(), 14);
    }
}
