//! Summaries of calls over Kafka: the same after a crash, and the end of a stream is read again until its summary is delivered.

use std::path::Path;

use affectd::proto::{AudioChunk, CallSummary};
use prost::Message;

use crate::support::call_fixture::bounded;
use crate::support::daemon::Options;
use crate::support::gated_talk::{PARTS, chunks, model};
use crate::support::kafka::{Cluster, Record, Stored};

pub fn options(cluster: &Cluster, folder: &Path, run: &str, vad: &str) -> Options {
    let config = folder.join(format!("{run}.toml"));
    let text = format!(
        "[model]\npath = {:?}\n[vad]\nmode = {vad:?}\n[calls]\nlinger = \"200ms\"\n[kafka]\nbrokers = {:?}\n\
         group_id = {run:?}\ninput_topic = \"{run}.audio\"\noutput_topic = \"{run}.emotions\"\n\
         calls_topic = \"{run}.calls\"\nalerts_topic = \"{run}.alerts\"\ndead_letter_topic = \"{run}.dead-letters\"\n\
         progress_topic = \"{run}.progress\"\ncommit_interval = \"100ms\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        model(folder),
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    Options::new().config(config)
}

pub async fn topics(cluster: &Cluster, run: &str) {
    for topic in ["audio", "emotions", "calls", "alerts", "dead-letters"] {
        cluster.create_topic(&format!("{run}.{topic}"), 1, &[]).await;
    }
    cluster.create_topic(&format!("{run}.progress"), 1, &[("cleanup.policy", "compact")]).await;
}

/// The talk as records of one call, with fixed times.
pub fn records() -> Vec<Record> {
    let mut chunks = chunks(PARTS);
    let attributes = [("call_id".to_owned(), "talk".to_owned())].into();
    chunks[0] = AudioChunk { attributes, ..chunks[0].clone() };
    let record = |(at, chunk): (i64, AudioChunk)| {
        Record::new("call", chunk.encode_to_vec()).timestamp(1_700_000_000_000 + at * 100)
    };
    (0..).zip(chunks).map(record).collect()
}

fn summaries(stored: &[Stored]) -> Vec<CallSummary> {
    stored.iter().map(|record| CallSummary::decode(record.value.as_deref().unwrap()).unwrap()).collect()
}

pub async fn committed(cluster: &Cluster, run: &str, offset: i64) {
    let wait = async {
        let topic = format!("{run}.audio");
        while cluster.committed(run, &topic).await[&0].is_none_or(|at| at < offset) {}
    };
    bounded("a commit", wait).await;
}

/// The summary of a call whose reader is killed after each of the `stops`, in tenths of a second.
async fn summary(cluster: &Cluster, options: &Options, run: &str, stops: &[usize]) -> CallSummary {
    topics(cluster, run).await;
    let (records, audio, mut sent) = (records(), format!("{run}.audio"), 0);
    for stop in stops {
        cluster.produce(&audio, &records[sent..*stop]).await;
        sent = *stop;
        let daemon = options.start().await;
        committed(cluster, run, *stop as i64 - 15).await;
        daemon.kill().await;
    }
    cluster.produce(&audio, &records[sent..]).await;
    let mut daemon = options.start().await;
    // The end of the stream is committed once the summary is acknowledged.
    committed(cluster, run, records.len() as i64).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    let stored = cluster.read(&format!("{run}.calls")).await;
    assert_eq!(stored[0].key.as_deref(), Some(&b"talk"[..]));
    assert_eq!(stored[0].header("ce_type"), Some("affectd.v1.CallSummary"));
    let found = summaries(&stored);
    assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn a_summary_after_crashes_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    for vad in ["off", "gate"] {
        let (calm, rough) = (format!("calm-{vad}"), format!("rough-{vad}"));
        let expected = summary(&cluster, &options(&cluster, folder.path(), &calm, vad), &calm, &[]).await;
        assert_eq!((expected.call_id.as_str(), expected.source.as_str()), ("talk", "kafka"));
        let only = &expected.channels[0];
        assert!(only.windows > 5 && only.talk_time.as_ref().unwrap().seconds >= 4, "{expected:?}");
        assert_eq!(expected.duration.as_ref().unwrap().seconds, 14);
        let found =
            summary(&cluster, &options(&cluster, folder.path(), &rough, vad), &rough, &[40, 85]).await;
        assert_eq!(found, expected);
    }
}
