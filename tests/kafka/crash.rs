//! At-least-once delivery: a daemon killed twice in the middle of twenty streams publishes every window of an undisturbed run, with the
//! same ids and the same smoothed scores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::{Call, Name, calls};

/// A shard has room for one chunk, so partitions are paused again and again.
pub fn options(cluster: &Cluster, folder: &Path, run: &str) -> Options {
    let model = folder.join("tiny.onnx");
    let config = folder.join(format!("{run}.toml"));
    let text = format!(
        "[model]\npath = {model:?}\n[window]\nmin_length = \"500ms\"\n\
         [kafka]\nbrokers = {:?}\ngroup_id = {run:?}\noutput_topic = \"{run}.emotions\"\n\
         dead_letter_topic = \"{run}.dead-letters\"\nprogress_topic = \"{run}.progress\"\ninput_topic = \"{run}.audio\"\n\
         value_format = \"json\"\ncommit_interval = \"100ms\"\n\
         [limits]\nshard_queue = 1\n\
         [publish]\nsmoothing = \"exponential\"\nsmoothing_windows = 4\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).expect("the folder is there");
    Options::new().config(config)
}

/// The topics of one run, with three partitions.
pub async fn topics(cluster: &Cluster, run: &str) {
    for topic in ["audio", "emotions", "dead-letters"] {
        cluster.create_topic(&format!("{run}.{topic}"), 3, &[]).await;
    }
    cluster.create_topic(&format!("{run}.progress"), 3, &[("cleanup.policy", "compact")]).await;
}

/// Chunks `from..to` (in thousandths of each call) of all calls, interleaved as they would arrive.
pub fn records(calls: &[Call], from: usize, to: usize) -> Vec<Record> {
    let longest = calls.iter().map(|call| call.chunks).max().expect("there are calls");
    let wanted =
        |call: &Call, number: usize| (call.chunks * from / 1000..call.chunks * to / 1000).contains(&number);
    (0..longest)
        .flat_map(|number| {
            calls.iter().filter(move |call| wanted(call, number)).map(move |call| call.record(number))
        })
        .collect()
}

fn event(record: &Stored) -> EmotionEvent {
    serde_json::from_slice(record.value.as_deref().expect("an event")).expect("event JSON")
}

fn name(event: &EmotionEvent) -> Name {
    (event.stream_id.clone(), event.channel, event.window_index, event.partial)
}

/// Events by id; every repetition must be equal.
pub fn by_id(records: &[Stored]) -> BTreeMap<String, EmotionEvent> {
    let mut events: BTreeMap<String, EmotionEvent> = BTreeMap::new();
    for event in records.iter().map(event) {
        if let Some(first) = events.get(&event.event_id) {
            assert_alike(first, &event);
        }
        events.insert(event.event_id.clone(), event);
    }
    events
}

pub fn assert_alike(one: &EmotionEvent, other: &EmotionEvent) {
    assert_eq!((name(one), &one.emotion), (name(other), &other.emotion));
    assert_eq!((&one.start, &one.end), (&other.start, &other.end));
    assert!((one.confidence - other.confidence).abs() < 1e-4, "{one:?} and {other:?}");
    assert_eq!(one.smoothed_scores.len(), one.scores.len());
    let (scores, others) = (one.scores.iter().chain(&one.smoothed_scores), other.scores.iter());
    for (a, b) in scores.zip(others.chain(&other.smoothed_scores)) {
        assert!((a.probability - b.probability).abs() < 1e-4, "{one:?} and {other:?}");
    }
}

pub fn names(records: &[Stored]) -> BTreeSet<Name> {
    records.iter().map(|record| name(&event(record))).collect()
}

pub fn difference(expected: &BTreeSet<Name>, found: &BTreeSet<Name>) -> (Vec<Name>, Vec<Name>) {
    (expected.difference(found).cloned().collect(), found.difference(expected).cloned().collect())
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_twenty_streams_loses_no_window() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let calls = calls(20, 60);
    let expected: BTreeSet<Name> = calls.iter().flat_map(|call| call.windows(1000, 500)).collect();

    topics(&cluster, "calm").await;
    cluster.produce("calm.audio", &records(&calls, 0, 1000)).await;
    let mut daemon = options(&cluster, folder.path(), "calm").start().await;
    let complete = |records: &[Stored]| names(records) == expected;
    let calm = cluster.read_until("calm.emotions", PATIENCE, |records| records.len() >= expected.len()).await;
    let (missing, extra) = difference(&expected, &names(&calm));
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, not expected {extra:?}");
    assert_eq!(calm.len(), expected.len(), "an undisturbed run publishes each window once");
    daemon.terminate();
    assert!(daemon.ended().await.success());

    topics(&cluster, "rough").await;
    let rough = options(&cluster, folder.path(), "rough");
    for (from, to) in [(0, 400), (400, 700)] {
        cluster.produce("rough.audio", &records(&calls, from, to)).await;
        // Past the last event that the audio so far allows for half of the streams, and past a commit.
        let some = names(&cluster.read("rough.emotions").await).len() + expected.len() / 8;
        let daemon = rough.start().await;
        cluster.read_until("rough.emotions", PATIENCE, |records| names(records).len() >= some).await;
        while cluster.committed("rough", "rough.audio").await.values().all(Option::is_none) {
            tokio::task::yield_now().await;
        }
        daemon.kill().await;
    }
    cluster.produce("rough.audio", &records(&calls, 700, 1000)).await;
    let mut daemon = rough.start().await;
    let published = cluster.read_until("rough.emotions", PATIENCE, complete).await;
    daemon.terminate();
    assert!(daemon.ended().await.success());

    let (calm, rough) = (by_id(&calm), by_id(&published));
    assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
    for (id, event) in &calm {
        assert_alike(event, &rough[id]);
    }
    eprintln!("{} windows; {} published again under the same ids", calm.len(), published.len() - calm.len());
}
