//! A model that fails on some windows while it serves records of Kafka: no window is lost.

use std::time::Duration;

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::call_fixture::{self, chunk, connect, last, noise, recognize, telephone};
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture::{brittle, tiny};

const PATIENCE: Duration = Duration::from_secs(60);

/// µ-law.
fn silence(samples: usize) -> Vec<u8> {
    vec![0xff; samples]
}

#[tokio::test]
async fn a_failed_window_stops_the_daemon_and_the_next_daemon_publishes_it() {
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

    // A working model replaces the file.
    tiny(folder.path(), Layout::Ntc, Output::Logits);
    let mut daemon = options.start().await;
    let indexes = |events: &[Stored]| -> Vec<u64> {
        let event = |value: &[u8]| EmotionEvent::decode(value).unwrap();
        events.iter().map(|record| event(record.value.as_deref().unwrap()).window_index).collect()
    };
    let all = |events: &[Stored]| indexes(events).contains(&6);
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
