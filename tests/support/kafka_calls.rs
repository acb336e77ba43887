//! A call over Kafka: the configuration of a daemon with topics of its own, rules of alerts, and the records of a talk.
//!
//! Input: a cluster and the name of a run. Output: options, topics and records. Every wait is bounded.

use std::path::Path;

use affectd::proto::AudioChunk;
use prost::Message;

use super::call_fixture::bounded;
use super::daemon::Options;
use super::gated_talk::{PARTS, chunks, model};
use super::kafka::{Cluster, Record};

/// A daemon with the model of the talk and the topics of `run`; calls end 200 ms after their last stream.
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

/// Creates the topics of `run`.
pub async fn topics(cluster: &Cluster, run: &str) {
    for topic in ["audio", "emotions", "calls", "alerts", "dead-letters"] {
        cluster.create_topic(&format!("{run}.{topic}"), 1, &[]).await;
    }
    cluster.create_topic(&format!("{run}.progress"), 1, &[("cleanup.policy", "compact")]).await;
}

/// The talk as records of one call.
pub fn records() -> Vec<Record> {
    records_of(chunks(PARTS))
}

/// Chunks as records of one call, with fixed times.
pub fn records_of(mut chunks: Vec<AudioChunk>) -> Vec<Record> {
    let attributes = [("call_id".to_owned(), "talk".to_owned())].into();
    chunks[0] = AudioChunk { attributes, ..chunks[0].clone() };
    let record = |(at, chunk): (i64, AudioChunk)| {
        Record::new("call", chunk.encode_to_vec()).timestamp(1_700_000_000_000 + at * 100)
    };
    (0..).zip(chunks).map(record).collect()
}

/// Waits until the group of `run` has committed `offset`.
pub async fn committed(cluster: &Cluster, run: &str, offset: i64) {
    let wait = async {
        let topic = format!("{run}.audio");
        while cluster.committed(run, &topic).await[&0].is_none_or(|at| at < offset) {}
    };
    bounded("a commit", wait).await;
}

/// A rule that the tiny model satisfies with every analysed window, and one on the silence in the middle of the talk.
pub fn with_rules(options: Options) -> Options {
    let rules = [
        ("0.name", "calm"),
        ("0.kind", "emotion"),
        ("0.emotion", "anger"),
        ("0.below", "0.5"),
        ("0.for", "1s"),
        ("1.name", "quiet"),
        ("1.kind", "non_talk"),
        ("1.for", "2s"),
        ("1.cool_down", "0s"),
    ];
    rules.iter().fold(options, |options, (key, value)| options.set(&format!("alert.{key}"), value))
}
