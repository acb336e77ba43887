//! A model that fails on some windows while it serves records of Kafka: they become dead letters.

use std::collections::BTreeSet;
use std::time::Duration;

use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::call_fixture::{self, chunk, connect, last, noise, recognize, telephone};
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture::brittle;

const PATIENCE: Duration = Duration::from_secs(60);

/// µ-law.
fn silence(samples: usize) -> Vec<u8> {
    vec![0xff; samples]
}

#[tokio::test]
async fn a_window_that_the_model_fails_on_becomes_a_dead_letter_and_its_stream_goes_on() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = brittle(folder.path());
    let config = folder.path().join("affectd.toml");
    let text = format!(
        "[model]\npath = {path:?}\n[vad]\nmode = \"off\"\n[limits]\ngrace_period = \"1s\"\n\
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

    let mut daemon = options.start().await;
    let letters = cluster.read_until("affectd.dead-letters", PATIENCE, |letters| letters.len() == 2).await;
    let header = |name| letters[0].header(name).unwrap();
    assert_eq!((letters[0].key.as_deref(), header("affectd-reason")), (Some(&b"call"[..]), "inference"));
    assert_eq!((header("affectd-topic"), header("affectd-partition")), ("affectd.audio", "0"));
    for named in ["window 3 of stream \"call\"", "NaN for \"anger\""] {
        assert!(header("affectd-error").contains(named), "the reason should name {named}");
    }
    let failed = |letter: &Stored| EmotionEvent::decode(letter.value.as_deref().unwrap()).unwrap();
    assert_eq!(letters.iter().map(|letter| failed(letter).window_index).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(failed(&letters[0]).emotion, "");

    // The stream goes on behind the failed windows.
    let indexes = |events: &[Stored]| -> BTreeSet<u64> {
        let event = |value: &[u8]| EmotionEvent::decode(value).unwrap();
        events.iter().map(|record| event(record.value.as_deref().unwrap()).window_index).collect()
    };
    let all = |events: &[Stored]| indexes(events).contains(&6);
    let events = cluster.read_until("affectd.emotions", PATIENCE, all).await;
    assert_eq!(indexes(&events), BTreeSet::from([0, 1, 2, 5, 6]));
    let text = daemon.get("/metrics").await.unwrap().1;
    assert!(text.contains("affectd_dead_letters_total{reason=\"inference\"} 2"), "{text}");
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
