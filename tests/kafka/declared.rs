//! What the first record of a Kafka stream declares holds for the stream: a record that declares another model, channel policy or other names
//! becomes a dead letter, and the stream goes on as if that record were missing, over a restart too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use affectd::model::{Contract, Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, ChannelPolicy, EmotionEvent, Encoding};
use prost::Message;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture;

/// What a record declares of its stream.
#[derive(Debug, Clone, Copy)]
struct Declared {
    model: &'static str,
    policy: ChannelPolicy,
    names: &'static [&'static str],
}

const NOTHING: Declared = Declared { model: "", policy: ChannelPolicy::Unspecified, names: &[] };

/// One stream: what it declares first, what a later record declares instead, and what the dead letter must say.
struct Case {
    stream_id: &'static str,
    first: Declared,
    other: Declared,
    reason: &'static str,
    /// Channels that are analysed.
    channels: usize,
}

const CASES: [Case; 3] = [
    Case {
        stream_id: "model",
        first: Declared { model: "second", ..NOTHING },
        other: Declared { model: "first", ..NOTHING },
        reason: r#"model: "first" in a stream that began with "second""#,
        channels: 2,
    },
    Case {
        stream_id: "policy",
        first: Declared { policy: ChannelPolicy::First, ..NOTHING },
        other: Declared { policy: ChannelPolicy::Split, ..NOTHING },
        reason: "channels: changed from first to split within the stream",
        channels: 1,
    },
    Case {
        stream_id: "names",
        first: Declared { names: &["agent", "customer"], ..NOTHING },
        other: Declared { names: &["customer", "agent"], ..NOTHING },
        reason: "channels: changed from split (agent, customer) to split (customer, agent)",
        channels: 2,
    },
];

/// A second of stereo µ-law at 8 kHz as a message.
fn message(stream_id: &str, seed: usize, declared: Declared) -> Record {
    let chunk = AudioChunk {
        stream_id: stream_id.into(),
        format: Some(AudioFormat { encoding: Encoding::Mulaw.into(), sample_rate_hz: 8_000, channels: 2 }),
        audio: second(seed).into(),
        model: declared.model.into(),
        channels: declared.policy.into(),
        channel_names: declared.names.iter().map(|&name| name.to_owned()).collect(),
        ..AudioChunk::default()
    };
    Record::new(stream_id, chunk.encode_to_vec())
}

/// The same as raw audio with headers.
fn raw(stream_id: &str, seed: usize, declared: Declared) -> Record {
    let mut record = Record::new(stream_id, second(seed)).header("content-type", "audio/PCMU;channels=2");
    if !declared.model.is_empty() {
        record = record.header("affectd-model", declared.model);
    }
    match declared.policy {
        ChannelPolicy::Split => record = record.header("affectd-channels", "split"),
        ChannelPolicy::First => record = record.header("affectd-channels", "first"),
        _ => {}
    }
    if declared.names.is_empty() {
        return record;
    }
    record.header("affectd-channel-names", declared.names.join(","))
}

fn second(seed: usize) -> Vec<u8> {
    (0..16_000).map(|n| (n * 7 + seed * 13) as u8).collect()
}

/// The records of one part of all streams in turns, and which of them must be refused.
///
/// The last good second of the first part is needed by later windows, so the second reader begins there: with a good record of the first stream and
/// with a refused one of the others. No record that it reads before it has resumed a stream declares what the stream is.
fn part(number: usize) -> Vec<(Record, Option<&'static str>)> {
    let good = |case: &Case, second, declared| (message(case.stream_id, second, declared), None);
    let bad = |case: &Case, seed| (message(case.stream_id, seed, case.other), Some(case.reason));
    let bad_raw = |case: &Case, seed| (raw(case.stream_id, seed, case.other), Some(case.reason));
    let turns: Vec<Vec<_>> = match number {
        0 => vec![
            CASES.iter().map(|case| good(case, 0, case.first)).collect(),
            // The same once more is no change.
            CASES.iter().flat_map(|case| [bad(case, 90), good(case, 1, case.first)]).collect(),
            CASES.iter().flat_map(|case| [bad_raw(case, 91), good(case, 2, NOTHING)]).collect(),
        ],
        _ => vec![
            CASES.iter().flat_map(|case| [bad_raw(case, 92), good(case, 3, NOTHING)]).collect(),
            CASES.iter().flat_map(|case| [good(case, 4, case.first), bad(case, 93)]).collect(),
            CASES.iter().map(|case| good(case, 5, NOTHING)).collect(),
        ],
    };
    turns.concat()
}

fn options(cluster: &Cluster, folder: &Path) -> Options {
    let mut text = format!(
        "[kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    for name in ["first", "second"] {
        let tiny = model_fixture::contract(Layout::Ntc, Output::Logits);
        let contract = Contract { name: name.into(), ..tiny };
        let sub = folder.join(name);
        std::fs::create_dir_all(&sub).unwrap();
        let path = model_fixture::write(&sub, model_fixture::graph(&contract), &contract);
        text += &format!("[[model]]\npath = {path:?}\n");
    }
    let config = folder.join("affectd.toml");
    std::fs::write(&config, text).unwrap();
    Options::new().config(config)
}

fn event(record: &Stored) -> EmotionEvent {
    EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap()
}

/// Offsets of the records that dead letters repeat, with the reasons. A record may be refused again after a restart.
fn refused(letters: &[Stored]) -> BTreeMap<i64, String> {
    let offset = |letter: &Stored| letter.header("affectd-offset").unwrap().parse().unwrap();
    letters
        .iter()
        .map(|letter| (offset(letter), letter.header("affectd-error").unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn a_record_that_declares_another_model_or_other_channels_becomes_a_dead_letter() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = options(&cluster, folder.path());
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;

    let mut expected = BTreeMap::new();
    for number in 0..2 {
        let (records, reasons): (Vec<Record>, Vec<Option<&str>>) = part(number).into_iter().unzip();
        let offsets = cluster.produce("affectd.audio", &records).await;
        let bad = offsets.iter().zip(reasons).filter_map(|((_, offset), reason)| Some((*offset, reason?)));
        expected.extend(bad);
        let mut daemon = options.start().await;
        // Windows of 1 s every 0.5 s: after n seconds 2n - 1 of each channel are whole.
        let seconds = 3 * (number + 1);
        let due: usize = CASES.iter().map(|case| case.channels * (2 * seconds - 1)).sum();
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= due).await;
        let all = |letters: &[Stored]| refused(letters).len() >= expected.len();
        cluster.read_until("affectd.dead-letters", PATIENCE, all).await;
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }

    let letters = refused(&cluster.read("affectd.dead-letters").await);
    assert_eq!(letters.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (offset, reason) in &expected {
        assert!(letters[offset].contains(reason), "{:?} should contain {reason:?}", letters[offset]);
    }
    let mut windows: BTreeMap<(String, u32), BTreeSet<u64>> = BTreeMap::new();
    for event in cluster.read("affectd.emotions").await.iter().map(event) {
        let model = if event.stream_id == "model" { "second@1.0.0" } else { "first@1.0.0" };
        assert_eq!(event.model, model, "{}", event.stream_id);
        let name =
            if event.stream_id == "names" { ["agent", "customer"][event.channel as usize] } else { "" };
        assert_eq!(event.channel_name, name, "{}", event.stream_id);
        windows.entry((event.stream_id, event.channel)).or_default().insert(event.window_index);
    }
    let channels = CASES
        .iter()
        .flat_map(|case| (0..case.channels as u32).map(move |channel| (case.stream_id.to_owned(), channel)));
    // Six good seconds: the refused ones have no place in the stream.
    assert_eq!(windows, channels.map(|channel| (channel, (0..11).collect())).collect());
}
