//! What happens to the input topic while a daemon runs: records deleted before they are read, partitions added, the topic deleted and created again.

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::PATIENCE;
use crate::support::call_fixture::metrics_reach;
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;

/// One second of 8 kHz µ-law, which is one window.
fn second(stream_id: &str) -> Record {
    Record::new(stream_id, vec![0x55; 8_000]).header("content-type", "audio/PCMU;rate=8000").partition(0)
}

fn last(stream_id: &str) -> Record {
    second(stream_id).header("affectd-last", "true")
}

/// A real cluster with one partition a topic; `None` with the mock, which can delete neither records nor topics.
async fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster cannot delete records, add partitions or delete topics");
        return None;
    }
    create_topics(&cluster, &["affectd.audio", "affectd.emotions", "affectd.dead-letters"]).await;
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    Some(cluster)
}

async fn create_topics(cluster: &Cluster, topics: &[&str]) {
    for topic in topics {
        cluster.create_topic(topic, 1, &[]).await;
    }
}

fn options(cluster: &Cluster, folder: &std::path::Path) -> Options {
    let model = model_fixture::tiny(folder, Layout::Ntc, Output::Logits);
    let config = folder.join("affectd.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"30000\"\n\"topic.metadata.refresh.interval.ms\" = \"500\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    Options::new().config(config)
}

fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    cluster.client().create().unwrap()
}

/// Stream and window of each event, in the order of their publication.
fn windows(events: &[Stored]) -> Vec<(String, u64)> {
    let decode = |record: &Stored| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
    events.iter().map(decode).map(|event| (event.stream_id, event.window_index)).collect()
}

async fn wait_for(cluster: &Cluster, stream_id: &str, window: u64) -> Vec<(String, u64)> {
    let has = |events: &[Stored]| windows(events).contains(&(stream_id.to_owned(), window));
    windows(&cluster.read_until("affectd.emotions", PATIENCE, has).await)
}

async fn stop(mut daemon: Daemon) {
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

fn signal(daemon: &Daemon, signal: &str) {
    let kill = std::process::Command::new("kill").arg(signal).arg(daemon.pid().to_string()).status();
    assert!(kill.unwrap().success(), "the signal reaches the daemon");
}

/// Lets the daemon miss records: while it is stopped, `records` are written and all but the last of them deleted.
async fn miss(cluster: &Cluster, daemon: &Daemon, records: Vec<Record>) {
    signal(daemon, "-STOP");
    let end = cluster.ends("affectd.audio").await[&0];
    let kept = end + i64::try_from(records.len()).unwrap() - 1;
    // A request from before the stop may still be answered with the first record. No further request is sent.
    let (first, rest) = records.split_at(1);
    cluster.produce("affectd.audio", first).await;
    cluster.produce("affectd.audio", rest).await;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("affectd.audio", 0, Offset::Offset(kept)).unwrap();
    admin(cluster).delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    signal(daemon, "-CONT");
}

#[tokio::test]
async fn records_that_are_deleted_before_they_are_read_are_counted_and_skipped() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(&cluster, folder.path()).start().await;
    cluster.produce("affectd.audio", &[last("before")]).await;
    wait_for(&cluster, "before", 0).await;
    metrics_reach(&daemon, |text| !text.contains("affectd_kafka_commits_total 0")).await;
    let missed = (0..30).map(|number| last(&format!("missed-{number}"))).chain([last("after")]).collect();
    miss(&cluster, &daemon, missed).await;
    let seen = wait_for(&cluster, "after", 0).await;
    assert!(!seen.contains(&("missed-29".to_owned(), 0)), "{seen:?}");
    let text = metrics_reach(&daemon, |text| {
        text.contains("affectd_kafka_offset_resets_total{reason=\"retention\"} 1")
    })
    .await;
    let skipped = text.lines().find_map(|line| line.strip_prefix("affectd_kafka_skipped_records_total "));
    assert!((1..=30).contains(&skipped.unwrap().parse::<i64>().unwrap()), "{skipped:?}");
    stop(daemon).await;
}

#[tokio::test]
async fn an_open_stream_whose_records_are_deleted_stops_the_daemon_unless_it_may_begin_anew() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = options(&cluster, folder.path());
    cluster.produce("affectd.audio", &[second("call"), second("call"), second("call")]).await;
    let mut daemon = options.start().await;
    wait_for(&cluster, "call", 2).await;
    // Its progress is committed.
    let committed = |records: &[Stored]| !records.is_empty();
    cluster.read_until("affectd.progress", PATIENCE, committed).await;
    let missed = || (0..30).map(|_| second("call")).collect::<Vec<_>>();
    miss(&cluster, &daemon, missed()).await;
    assert_eq!(daemon.ended().await.code(), Some(1), "{}", daemon.log());
    let log = daemon.log();
    for named in ["affectd.audio[0]", "retention", "1 streams were open", "kafka.on_lost_progress"] {
        assert!(log.contains(named), "the log should name {named}:\n{log}");
    }

    let options = options.set("kafka.on_lost_progress", "restart");
    let daemon = options.start().await;
    metrics_reach(&daemon, |text| text.contains("affectd_kafka_lost_progress_total 1")).await;
    cluster.produce("affectd.audio", &[last("other")]).await;
    wait_for(&cluster, "other", 0).await;
    // The same while it runs.
    cluster.produce("affectd.audio", &[second("call"), second("call")]).await;
    wait_for_commit(&cluster, 35).await;
    miss(&cluster, &daemon, missed()).await;
    metrics_reach(&daemon, |text| text.contains("affectd_kafka_lost_progress_total 2")).await;
    cluster.produce("affectd.audio", &[last("end")]).await;
    wait_for(&cluster, "end", 0).await;
    stop(daemon).await;
}

#[tokio::test]
async fn partitions_that_are_added_are_read_and_get_progress() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(&cluster, folder.path()).start().await;
    let grown = [NewPartitions::new("affectd.audio", 3)];
    for result in admin(&cluster).create_partitions(&grown, &AdminOptions::new()).await.unwrap() {
        result.unwrap();
    }
    let records: Vec<Record> = (0..3)
        .flat_map(|partition| {
            let record = second(&format!("call-{partition}")).partition(partition);
            [record.clone(), record]
        })
        .collect();
    cluster.produce("affectd.audio", &records).await;
    for partition in 0..3 {
        wait_for(&cluster, &format!("call-{partition}"), 1).await;
    }
    let all = |records: &[Stored]| {
        (0..3).all(|partition| records.iter().any(|record| record.partition == partition))
    };
    wait_for_partitions(&cluster, "affectd.progress", 3).await;
    cluster.read_until("affectd.progress", PATIENCE, all).await;
    stop(daemon).await;
}

async fn wait_for_commit(cluster: &Cluster, offset: i64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while cluster.committed("affectd", "affectd.audio").await[&0] != Some(offset) {
        assert!(tokio::time::Instant::now() < deadline, "offset {offset} is not committed");
    }
}

async fn wait_for_partitions(cluster: &Cluster, topic: &str, count: usize) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while cluster.ends(topic).await.len() < count {
        assert!(tokio::time::Instant::now() < deadline, "{topic} has too few partitions");
    }
}

/// A topic that is deleted and created again holds other records under the same offsets.
#[tokio::test]
async fn an_input_topic_that_is_created_again_is_read_from_its_beginning() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = options(&cluster, folder.path());
    let daemon = options.start().await;
    cluster.produce("affectd.audio", &[last("one"), last("two"), last("three")]).await;
    wait_for(&cluster, "three", 0).await;
    cluster.delete_topic("affectd.audio").await;
    create_topics(&cluster, &["affectd.audio"]).await;
    cluster.produce("affectd.audio", &[last("four"), last("five")]).await;
    wait_for(&cluster, "four", 0).await;
    wait_for(&cluster, "five", 0).await;
    stop(daemon).await;
}
