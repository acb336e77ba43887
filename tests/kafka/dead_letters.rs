//! Dead letters: what is too large for them, events that cannot be written, and the commands that list and replay them.

use std::collections::BTreeSet;
use std::path::Path;

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;
use serde_json::Value as Json;

use crate::support::PATIENCE;
use crate::support::acl;
use crate::support::call_fixture::metric;
use crate::support::daemon::{Options, affectd};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::calls;

/// The topics of a daemon; `output` has settings of its own.
async fn topics(cluster: &Cluster, output: &[(&str, &str)]) {
    cluster.create_topic("affectd.audio", 1, &[("max.message.bytes", "2000000")]).await;
    cluster.create_topic("affectd.emotions", 1, output).await;
    cluster.create_topic("affectd.dead-letters", 1, &[]).await;
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
}

fn options(cluster: &Cluster, folder: &Path) -> Options {
    let model = model_fixture::tiny(folder, Layout::Ntc, Output::Logits);
    Options::new()
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.commit_interval", "100ms")
        .set("kafka.unready_after", "1s")
        .set("model.path", model.to_str().unwrap())
        .set("window.min_length", "500ms")
}

/// A short stream, whole.
fn stream(id: &str) -> Record {
    Record::new(id, vec![0x2a; 9_600])
        .header("content-type", "audio/PCMU;rate=8000")
        .header("affectd-last", "true")
}

fn indexes(events: &[Stored]) -> Vec<u64> {
    let event = |record: &Stored| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
    events.iter().map(|record| event(record).window_index).collect()
}

/// A producer for records that the default one refuses.
async fn produce_large(cluster: &Cluster, record: &Record) {
    let mut settings = cluster.client();
    settings.set("message.max.bytes", "4000000");
    let producer: rdkafka::producer::FutureProducer = settings.create().unwrap();
    let sent = producer.send_result(record.to_send("affectd.audio")).map_err(|(error, _)| error);
    sent.unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_leaves_its_value_out_and_nothing_stops() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster takes records of any size");
        return;
    }
    topics(&cluster, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = options(&cluster, folder.path()).start().await;
    // Three times as large as the dead-letter topic takes; with its headers just above what it takes; only headers.
    produce_large(&cluster, &Record::new("large", vec![0xff; 1_900_000])).await;
    produce_large(&cluster, &Record::new("edge", vec![0xff; 1_048_400])).await;
    produce_large(&cluster, &Record::new("headers", "bad").header("x", vec![b'x'; 1_500_000])).await;
    cluster.produce("affectd.audio", &[stream("good")]).await;
    let letters = cluster.read_until("affectd.dead-letters", PATIENCE, |letters| letters.len() == 3).await;
    for (number, letter) in letters.iter().enumerate() {
        assert_eq!(letter.header("affectd-offset"), Some(number.to_string().as_str()));
        assert_eq!(letter.header("affectd-reason"), Some("record"));
        assert!(letter.header("affectd-error").unwrap().contains("AudioChunk"));
        assert_eq!(letter.value, None);
        assert_eq!(letter.header("affectd-value-sha256").unwrap().len(), 64);
    }
    assert_eq!(letters[0].header("affectd-value-bytes"), Some("1900000"));
    assert_eq!(letters[2].header("x"), None);
    cluster.read_until("affectd.emotions", PATIENCE, |events| !events.is_empty()).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(cluster.committed("affectd", "affectd.audio").await[&0], Some(4));
}

#[tokio::test]
async fn an_event_that_the_output_topic_never_takes_becomes_a_dead_letter() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster takes records of any size");
        return;
    }
    topics(&cluster, &SMALL_BATCHES).await;
    let events = events_beside_a_large_one(&cluster, |options| options).await;
    assert_eq!(indexes(&events), (0..7).collect::<Vec<u64>>(), "no batch is larger than the topic takes");
}

#[tokio::test]
async fn a_batch_that_the_output_topic_refuses_is_sent_again_in_parts() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster takes records of any size");
        return;
    }
    topics(&cluster, &SMALL_BATCHES).await;
    let large_batches = |options: Options| options.set("kafka.properties.batch.size", "1000000");
    let events = events_beside_a_large_one(&cluster, large_batches).await;
    // In any order: a batch of one event may be on its way while a larger one before it is refused.
    let distinct: BTreeSet<u64> = indexes(&events).into_iter().collect();
    assert_eq!(distinct, (0..7).collect(), "each fits alone");
}

/// Room for the events of a short stream id, one by one, and not for a batch of them or for a long id.
const SMALL_BATCHES: [(&str, &str); 1] = [("max.message.bytes", "1000")];

/// Runs a daemon for a call and a stream whose id is too long for its events. Returns the events once those of the call are there, after the dead letters of
/// the others were checked.
async fn events_beside_a_large_one(cluster: &Cluster, with: impl Fn(Options) -> Options) -> Vec<Stored> {
    let folder = tempfile::tempdir().unwrap();
    let options = with(options(cluster, folder.path()).set("limits.max_id_bytes", "1000"));
    let mut daemon = options.start().await;
    let long = "long".repeat(200);
    let call = calls(1, 40).remove(0);
    let mut records: Vec<Record> = (0..call.chunks).map(|number| call.record(number)).collect();
    records.push(stream(&long));
    cluster.produce("affectd.audio", &records).await;
    let distinct = |events: &[Stored]| indexes(events).into_iter().collect::<BTreeSet<u64>>();
    let events = cluster.read_until("affectd.emotions", PATIENCE, |events| distinct(events).len() >= 7).await;
    let letters = cluster.read_until("affectd.dead-letters", PATIENCE, |letters| letters.len() == 2).await;
    for letter in &letters {
        assert_eq!((letter.key.as_deref(), &letter.value), (Some(long.as_bytes()), &None));
        assert_eq!(letter.header("affectd-reason"), Some("event"));
        assert_eq!(letter.header("affectd-topic"), Some("affectd.emotions"));
        assert!(letter.header("ce_id").is_some());
    }
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(cluster.committed("affectd", "affectd.audio").await[&0], Some(records.len() as i64));
    events
}

#[tokio::test]
async fn an_output_topic_that_refuses_for_a_while_or_is_deleted_loses_no_event() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster refuses nothing");
        return;
    }
    topics(&cluster, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = options(&cluster, folder.path()).start().await;
    let call = calls(1, 60).remove(0);
    let records: Vec<Record> = (0..call.chunks).map(|number| call.record(number)).collect();
    acl::deny_writes(&cluster.brokers, "affectd.emotions");
    cluster.produce("affectd.audio", &records[..40]).await;
    daemon.wait_readyz(503, "no acknowledgement of events").await;
    acl::allow_writes(&cluster.brokers, "affectd.emotions");
    daemon.wait_ready().await;
    // The window that ends at 4 s needs samples behind its end.
    let events = cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= 6).await;
    assert_eq!(indexes(&events), [0, 1, 2, 3, 4, 5]);

    cluster.delete_topic("affectd.emotions").await;
    cluster.produce("affectd.audio", &records[40..]).await;
    daemon.wait_readyz(503, "no acknowledgement of events").await;
    // Each record is tried a few times, with growing pauses.
    let tries = metric(&daemon, r#"affectd_kafka_refused_total{outcome="retried"}"#).await;
    assert!(tries < 200.0, "{tries} tries");
    cluster.create_topic("affectd.emotions", 1, &[]).await;
    let events = cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= 5).await;
    assert_eq!(indexes(&events), [6, 7, 8, 9, 10]);
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(cluster.committed("affectd", "affectd.audio").await[&0], Some(records.len() as i64));
}

/// Runs a command and returns its lines as JSON.
async fn lines(cluster: &Cluster, arguments: &[&str]) -> Vec<Json> {
    let brokers = format!("kafka.brokers={}", cluster.brokers);
    let output = affectd().args(["--set", &brokers]).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed_and_offsets_shown() {
    let cluster = Cluster::start().await;
    topics(&cluster, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    // The model was not configured yet when the first record came.
    let other = stream("later").header("affectd-model", "unknown");
    let open = || Record::new("open", vec![0x2a; 4_000]).header("content-type", "audio/PCMU;rate=8000");
    let bad = [Record::new("bad", "not a message"), Record { value: None, ..Record::new("null", "") }];
    let mut records = vec![other, bad[0].clone(), bad[1].clone()];
    records.extend((0..6).map(|_| open()));
    cluster.produce("affectd.audio", &records).await;
    let mut daemon = options(&cluster, folder.path()).start().await;
    cluster.read_until("affectd.dead-letters", PATIENCE, |letters| letters.len() == 3).await;
    let all = lines(&cluster, &["dlq", "list", "--format", "jsonl"]).await;
    let of = |line: &Json| (line["key"].as_str().unwrap().to_owned(), line["sourceOffset"].as_i64().unwrap());
    let mut found: Vec<_> = all.iter().map(of).collect();
    found.sort_by_key(|(_, offset)| *offset);
    assert_eq!(found, [("later".to_owned(), 0), ("bad".to_owned(), 1), ("null".to_owned(), 2)]);
    let bad =
        lines(&cluster, &["dlq", "list", "--key", "bad", "--reason", "record", "--format", "jsonl"]).await;
    assert_eq!((bad.len(), bad[0]["valueBytes"].as_u64()), (1, Some(13)));
    let offset = bad[0]["offset"].as_i64().unwrap().to_string();
    let same = lines(&cluster, &["dlq", "list", "--offset", &offset, "--format", "jsonl"]).await;
    assert_eq!(same, bad);
    assert!(lines(&cluster, &["dlq", "list", "--reason", "none", "--format", "jsonl"]).await.is_empty());

    let replay = ["dlq", "replay", "--key", "null", "--format", "jsonl"];
    let dry = lines(&cluster, &[&replay[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry[0]["outcome"], "would be replayed");
    assert_eq!(cluster.read("affectd.audio").await.len(), 9);
    assert_eq!(lines(&cluster, &replay).await[0]["outcome"], "replayed to offset 9");
    let written = cluster.read("affectd.audio").await.pop().unwrap();
    assert_eq!((written.key.as_deref(), &written.value), (Some(&b"null"[..]), &None));
    assert!(written.headers.is_empty(), "{:?}", written.headers);
    let refused = affectd()
        .args(["--set", &format!("kafka.brokers={}", cluster.brokers), "dlq", "replay"])
        .output()
        .await
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "a replay of everything needs --all");

    let offsets = loop {
        let offsets = lines(&cluster, &["offsets", "--format", "json"]).await.remove(0);
        // 3 s in windows of 1 s every 0.5 s: what the last window needs is not committed.
        if offsets["partitions"][0]["committed"].as_i64() >= Some(6) {
            break offsets;
        }
    };
    assert_eq!((&offsets["group"], &offsets["partitions"][0]["end"]), (&"affectd".into(), &10.into()));
    assert_eq!(offsets["partitions"][0]["open_streams"], 1);
    let stream = &offsets["streams"][0];
    assert_eq!((&stream["stream_id"], &stream["partition"]), (&"open".into(), &0.into()));
    let committed = offsets["partitions"][0]["committed"].as_i64().unwrap();
    assert_eq!(stream["next_sample"].as_i64(), Some(4_000 * (committed - 3)));
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}
