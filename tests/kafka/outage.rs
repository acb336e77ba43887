//! Brokers that hang or are away: no stream ends, nothing is lost, the log stays short, and the daemon stops in good order.

use std::path::Path;
use std::time::{Duration, Instant};

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::PATIENCE;
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::{Call, calls};

/// A real broker with the topics of a daemon; `None` where there is none.
async fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster cannot be stopped");
        return None;
    }
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    Some(cluster)
}

/// Streams end after 4 s of silence, and `/readyz` fails after 2 s without an answer.
fn options(cluster: &Cluster, folder: &Path) -> Options {
    let model = model_fixture::tiny(folder, Layout::Ntc, Output::Logits);
    let config = folder.join("affectd.toml");
    std::fs::write(&config, "[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n").unwrap();
    Options::new()
        .config(config)
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.commit_interval", "100ms")
        .set("kafka.unready_after", "2s")
        .set("model.path", model.to_str().unwrap())
        .set("window.min_length", "500ms")
        .set("audio.idle_timeout", "4s")
}

/// Index and partial flag of each event, in order.
fn windows(events: &[Stored]) -> Vec<(u64, bool)> {
    let event = |record: &Stored| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
    events.iter().map(event).map(|event| (event.window_index, event.partial)).collect()
}

/// The windows of a call of one channel.
fn expected(call: &Call) -> Vec<(u64, bool)> {
    call.windows(1_000, 500).into_iter().map(|(_, _, index, partial)| (index, partial)).collect()
}

/// The records of a call, written in time, as by a sender that keeps them until the brokers are back.
fn records(call: &Call) -> Vec<Record> {
    let record = |number: usize| call.record(number).timestamp(1_700_000_000_000 + 100 * number as i64);
    (0..call.chunks).map(record).collect()
}

/// The number of warnings and errors in the log of a daemon.
fn warnings(daemon: &Daemon) -> usize {
    daemon.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count()
}

/// Runs `during` while the broker is out of service after the first half of a call, then writes the rest.
async fn outage(stop: &str, start: &str, during: Duration) {
    let Some(mut cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let call = calls(1, 60).remove(0);
    let records = records(&call);
    let mut daemon = options(&cluster, folder.path()).start().await;
    cluster.produce("affectd.audio", &records[..30]).await;
    cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= 4).await;
    let before = warnings(&daemon);
    cluster.control(stop);
    let stopped = Instant::now();
    daemon.wait_readyz(503, "no answer from the brokers").await;
    tokio::time::sleep_until((stopped + during).into()).await;
    cluster.control(start);
    cluster.produce("affectd.audio", &records[30..]).await;
    let expected = expected(&call);
    let enough = |events: &[Stored]| events.len() >= expected.len();
    let events = cluster.read_until("affectd.emotions", PATIENCE, enough).await;
    assert_eq!(windows(&events), expected, "{}", daemon.log());
    daemon.wait_readyz(200, "ready").await;
    let lines = warnings(&daemon) - before;
    assert!(lines <= 3, "{lines} lines about one outage:\n{}", daemon.log());
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(cluster.committed("affectd", "affectd.audio").await[&0], Some(records.len() as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_ends_no_stream() {
    outage("pause", "resume", Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for() {
    outage("kill", "start", Duration::from_secs(12)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_daemon_whose_brokers_are_away() {
    for stop in ["kill", "pause"] {
        let Some(mut cluster) = cluster().await else { return };
        let folder = tempfile::tempdir().unwrap();
        let call = calls(1, 60).remove(0);
        let mut daemon = options(&cluster, folder.path()).start().await;
        cluster.produce("affectd.audio", &records(&call)[..30]).await;
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= 4).await;
        cluster.control(stop);
        let asked = Instant::now();
        daemon.terminate();
        assert_eq!(daemon.ended().await.code(), Some(0), "{stop}: {}", daemon.log());
        assert!(asked.elapsed() < Duration::from_secs(25), "{stop}: {:?}\n{}", asked.elapsed(), daemon.log());
    }
}
