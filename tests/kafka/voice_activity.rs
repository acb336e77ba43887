//! Silent windows of Kafka streams: no offset, event or order is lost, also after a restart.

use std::collections::BTreeSet;
use std::path::Path;

use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::call_fixture::bounded;
use crate::support::daemon::Options;
use crate::support::gated_talk::{PARTS, chunks, model, speech_windows, windows};
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::speech_fixture::Part;

/// The talk as records.
fn records(parts: &[Part]) -> Vec<Record> {
    let records = chunks(parts).into_iter().map(|chunk| Record::new("call", chunk.encode_to_vec()));
    records.collect()
}

fn events(stored: &[Stored]) -> Vec<EmotionEvent> {
    stored.iter().map(|record| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap()).collect()
}

async fn kafka(folder: &Path, publish_silence: bool) -> (Cluster, Options) {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let config = folder.join("affectd.toml");
    let text = format!(
        "[model]\npath = {:?}\n[vad]\nmode = \"gate\"\npublish_silence = {publish_silence}\n[kafka]\nbrokers = {:?}\n\
         commit_interval = \"100ms\"\n[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        model(folder),
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    (cluster, Options::new().config(config))
}

/// Waits until the group has committed `offset` or more.
async fn committed(cluster: &Cluster, offset: i64) {
    let wait = async {
        while cluster.committed("affectd", "affectd.audio").await[&0].is_none_or(|at| at < offset) {}
    };
    bounded("a commit", wait).await;
}

#[tokio::test]
async fn offsets_of_silent_windows_are_committed_and_a_restart_within_silence_loses_no_window() {
    let folder = tempfile::tempdir().unwrap();
    let (cluster, options) = kafka(folder.path(), false).await;
    let records = records(PARTS);
    // The first reader is killed at 8.5 s, three seconds into the silence; it has committed past all of the speech.
    cluster.produce("affectd.audio", &records[..85]).await;
    let daemon = options.start().await;
    committed(&cluster, 70).await;
    daemon.kill().await;
    cluster.produce("affectd.audio", &records[85..]).await;
    let mut daemon = options.start().await;
    committed(&cluster, records.len() as i64).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());

    let events = events(&cluster.read("affectd.emotions").await);
    let indexes: BTreeSet<u64> = events.iter().map(|event| event.window_index).collect();
    let ids: BTreeSet<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(indexes.into_iter().collect::<Vec<_>>(), speech_windows(&windows(PARTS)));
    assert_eq!(ids.len(), speech_windows(&windows(PARTS)).len(), "equal ids for equal windows");
    assert!(events.iter().all(|event| event.emotion != "silence"));
}

#[tokio::test]
async fn published_silence_is_delivered_in_order_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (cluster, options) = kafka(folder.path(), true).await;
    let records = records(PARTS);
    for part in [&records[..85], &records[85..]] {
        cluster.produce("affectd.audio", part).await;
        let mut daemon = options.start().await;
        let due = if part.len() == 85 { 70 } else { records.len() as i64 };
        committed(&cluster, due).await;
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
    let events = events(&cluster.read("affectd.emotions").await);
    let mut published: Vec<(u64, bool)> =
        events.iter().map(|event| (event.window_index, event.emotion == "silence")).collect();
    // A restart may publish a window again, but never with another result.
    published.sort_unstable();
    published.dedup();
    assert_eq!(published, windows(PARTS));
}
