//! State across a restart: idle ends that a replay repeats, positions of earlier readers, and lost progress.

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;

const START_MS: i64 = 1_700_000_000_000;

/// 100 ms of raw 8 kHz µ-law, captured `at` so many ms after the start.
fn raw(stream_id: &str, at: i64) -> Record {
    let audio: Vec<u8> = (0..800).map(|n| (n * 7 + at) as u8).collect();
    Record::new(stream_id, audio).header("content-type", "audio/PCMU").timestamp(START_MS + at)
}

/// `count` chunks that follow each other.
fn talk(stream_id: &str, from_ms: i64, count: i64) -> Vec<Record> {
    (0..count).map(|n| raw(stream_id, from_ms + n * 100)).collect()
}

async fn cluster_with_topics() -> Cluster {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    cluster
}

fn options(cluster: &Cluster, folder: &std::path::Path, idle: &str) -> Options {
    let config = folder.join("affectd.toml");
    let model = folder.join("tiny.onnx");
    let text = format!(
        "[model]\npath = {model:?}\n[window]\nmin_length = \"500ms\"\n[audio]\nidle_timeout = {idle:?}\n\
         [kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    Options::new().config(config)
}

/// Index and partial of each event of a stream, in the order of their publication.
fn windows(events: &[Stored], stream_id: &str) -> Vec<(u64, bool)> {
    events
        .iter()
        .map(|record| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap())
        .filter(|event| event.stream_id == stream_id)
        .map(|event| (event.window_index, event.partial))
        .collect()
}

#[tokio::test]
async fn a_stream_ends_by_record_timestamps_and_continues_at_its_position() {
    let cluster = cluster_with_topics().await;
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    // 1.8 s, then silence until another stream's record has passed the timeout, then 1.5 s more.
    let mut records = talk("quiet", 0, 18);
    records.push(raw("other", 32_000));
    records.extend(talk("quiet", 32_100, 15));
    cluster.produce("affectd.audio", &records).await;

    let mut daemon = options(&cluster, folder.path(), "30s").start().await;
    // 0–1.8 s: windows at 0 and 0.5 s, partial at 1.0 s. Then from 1.8 s to 3.3 s: the first window at or after is 2.0 s.
    let expected = [(0, false), (1, false), (2, true), (4, false)];
    let enough = |events: &[Stored]| windows(events, "quiet").len() >= expected.len();
    let events = cluster.read_until("affectd.emotions", PATIENCE, enough).await;
    assert_eq!(windows(&events, "quiet"), expected);
    daemon.terminate();
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn an_idle_end_by_wall_clock_time_is_repeated_by_a_replay() {
    let cluster = cluster_with_topics().await;
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let options = options(&cluster, folder.path(), "1s");
    cluster.produce("affectd.audio", &talk("quiet", 0, 18)).await;
    let daemon = options.start().await;
    let partial = |events: &[Stored]| windows(events, "quiet").contains(&(2, true));
    cluster.read_until("affectd.emotions", PATIENCE, partial).await;
    daemon.kill().await;

    // By its timestamps the stream was never idle. The first reader ended it by wall-clock time, so the second one must end it too.
    cluster.produce("affectd.audio", &talk("quiet", 1_800, 15)).await;
    let mut daemon = options.start().await;
    let enough = |events: &[Stored]| windows(events, "quiet").contains(&(4, false));
    let events = cluster.read_until("affectd.emotions", PATIENCE, enough).await;
    let mut seen = windows(&events, "quiet");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [(0, false), (1, false), (2, true), (4, false)]);
    daemon.terminate();
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn progress_that_matches_no_offset_stops_the_daemon_unless_a_reset_is_allowed() {
    let cluster = cluster_with_topics().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster lets only members commit the offsets of a group");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let options = options(&cluster, folder.path(), "30s");
    cluster.produce("affectd.audio", &talk("call", 0, 30)).await;
    let mut daemon = options.start().await;
    let some = |events: &[Stored]| windows(events, "call").len() >= 3;
    cluster.read_until("affectd.emotions", PATIENCE, some).await;
    daemon.terminate();
    assert!(daemon.ended().await.success());
    commit(&cluster, 3).await;

    let mut daemon = options.start_unready().await;
    assert_eq!(daemon.ended().await.code(), Some(1));
    let log = daemon.log();
    for named in ["\"call\"", "affectd.audio[0]", "committed 3", "kafka.on_lost_progress"] {
        assert!(log.contains(named), "the log should name {named}:\n{log}");
    }

    let mut daemon = options.clone().set("kafka.on_lost_progress", "restart").start().await;
    cluster.produce("affectd.audio", &[raw("call", 3_000).header("affectd-last", "true")]).await;
    let end = |events: &[Stored]| windows(events, "call").last().is_some_and(|(_, partial)| *partial);
    let events = cluster.read_until("affectd.emotions", PATIENCE, end).await;
    // 2.8 s from offset 3 on, counted from 0 again.
    assert_eq!(windows(&events, "call").last(), Some(&(4, true)));
    daemon.terminate();
    assert!(daemon.ended().await.success());
}

/// Moves the committed offset of the group, which has no members, like an administration tool.
async fn commit(cluster: &Cluster, offset: i64) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::{Offset, TopicPartitionList};
    let consumer: BaseConsumer = cluster.client().set("group.id", "affectd").create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("affectd.audio", 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).expect("an empty group's offset can be moved");
}
