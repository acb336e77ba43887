//! A model that fails on some windows while it serves records of Kafka: they become dead letters. A producer that fails for good: the daemon stops.

use std::collections::BTreeSet;

use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::PATIENCE;
use crate::support::acl;
use crate::support::call_fixture::{self, chunk, connect, last, noise, recognize, telephone};
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture::brittle;

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

/// librdkafka fails for good where it has to leave a gap and may not. The drain that follows waits for nothing that the failed producer holds.
#[tokio::test]
async fn a_producer_that_fails_for_good_stops_the_daemon_soon_and_the_next_one_publishes_all() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster refuses nothing");
        return;
    }
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let (_folder, options) = call_fixture::tiny();
    // Far longer than the end of a daemon is waited for here.
    let options = options.set("kafka.brokers", &cluster.brokers).set("limits.grace_period", "600s");
    let strict = ["enable.idempotence", "enable.gapless.guarantee"]
        .iter()
        .fold(options.clone(), |options, name| options.set(&format!("kafka.properties.{name}"), "true"));
    let mut daemon = strict.start().await;
    acl::deny_writes(&cluster.brokers, "affectd.emotions");
    let record =
        |seed| Record::new("call", noise(12_000, seed)).header("content-type", "audio/PCMU;rate=8000");
    let records = [record(1), record(2), record(3).header("affectd-last", "true")];
    cluster.produce("affectd.audio", &records).await;
    assert_eq!(daemon.ended().await.code(), Some(1), "{}", daemon.log());

    acl::allow_writes(&cluster.brokers, "affectd.emotions");
    let mut next = options.start().await;
    let indexes = |events: &[Stored]| -> Vec<u64> {
        let event = |value: &[u8]| EmotionEvent::decode(value).unwrap();
        events.iter().map(|record| event(record.value.as_deref().unwrap()).window_index).collect()
    };
    let events = cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= 8).await;
    assert_eq!(indexes(&events), (0..8).collect::<Vec<_>>());
    next.terminate();
    assert!(next.ended().await.success(), "{}", next.log());
}
