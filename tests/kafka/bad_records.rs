//! Bad records become dead letters with a reason, while their stream and other streams continue.

use std::collections::BTreeSet;

use affectd::model::{Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, EmotionEvent, Encoding};
use prost::Message;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::{Name, calls};

fn chunk(stream_id: &str, encoding: i32, rate: u32, channels: u32, audio: Vec<u8>) -> Record {
    let chunk = AudioChunk {
        stream_id: stream_id.into(),
        format: Some(AudioFormat { encoding, sample_rate_hz: rate, channels }),
        audio: audio.into(),
        ..AudioChunk::default()
    };
    Record::new(stream_id, chunk.encode_to_vec())
}

/// A stream that ends inside a sample.
fn odd_end(stream_id: &str) -> Record {
    let format = AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz: 16_000, channels: 1 };
    let audio = vec![0; 321].into();
    let chunk = AudioChunk {
        stream_id: stream_id.into(),
        format: Some(format),
        audio,
        last: true,
        ..AudioChunk::default()
    };
    Record::new(stream_id, chunk.encode_to_vec())
}

/// A message with a channel policy as a number.
fn policy(stream_id: &str, number: i32) -> Record {
    let chunk = AudioChunk { stream_id: stream_id.into(), channels: number, ..AudioChunk::default() };
    Record::new(stream_id, chunk.encode_to_vec())
}

/// A separate stream of one channel.
fn names(stream_id: &str) -> Record {
    Record::new(stream_id, vec![0; 160]).header("content-type", "audio/PCMU")
}

/// A first chunk without a stream's id.
fn first() -> AudioChunk {
    let format = AudioFormat { encoding: Encoding::Mulaw.into(), sample_rate_hz: 8_000, channels: 1 };
    AudioChunk { format: Some(format), audio: vec![0; 800].into(), ..AudioChunk::default() }
}

/// A chunk of a stream of its own, which declares too much.
fn declared(chunk: AudioChunk) -> Record {
    Record::new("declares", chunk.encode_to_vec())
}

fn large_attributes() -> std::collections::HashMap<String, String> {
    [("name".to_owned(), "x".repeat(9_000))].into()
}

fn never() -> affectd::proto::Timestamp {
    affectd::proto::Timestamp { seconds: i64::MAX, nanos: 0 }
}

/// Records that cannot be analysed, each with the text that its dead letter must contain.
fn bad_records(stream_id: &str) -> Vec<(Record, &'static str)> {
    let pcm = i32::from(Encoding::PcmS16le);
    let float = i32::from(Encoding::PcmF32le);
    let key = || Record::new(stream_id, vec![0; 160]);
    vec![
        (Record::new(stream_id, "not a message"), "AudioChunk"),
        (Record { value: None, ..key() }, "value"),
        (chunk(stream_id, 99, 16_000, 1, vec![0; 320]), "encoding"),
        (chunk(stream_id, pcm, 4_000, 1, vec![0; 320]), "4000"),
        (chunk(stream_id, pcm, 16_000, 9, vec![0; 360]), "channels"),
        (odd_end("odd"), "odd byte count"),
        (chunk("nan", float, 16_000, 1, f32::NAN.to_le_bytes().to_vec()), "NaN"),
        (chunk(stream_id, float, 16_000, 1, vec![0; 320]), "format"),
        (key().header("content-type", "audio/L16"), "rate"),
        (key().header("content-type", "image/png"), "image/png"),
        (key().header("content-type", "audio/PCMU").header("affectd-first-sample", "soon"), "soon"),
        (key().header("content-type", "audio/PCMU").header("affectd-last", "perhaps"), "perhaps"),
        (
            key().header("content-type", "audio/PCMU").header("affectd-channels", "both"),
            "split, mix or first",
        ),
        (policy(stream_id, 9), "CHANNEL_POLICY_FIRST"),
        (names("names").header("affectd-channel-names", "agent,customer"), "one for each of 1 channels"),
        (
            Record::new("k".repeat(300), vec![0; 160]).header("content-type", "audio/PCMU"),
            "stream_id: 300 bytes",
        ),
        (declared(AudioChunk { stream_id: "é".repeat(100_000), ..first() }), "stream_id: 200000 bytes"),
        (declared(AudioChunk { attributes: large_attributes(), ..first() }), "attributes: 9004 bytes"),
        (
            key().header("content-type", "audio/PCMU").header("affectd-attribute-name", "x".repeat(9_000)),
            "attributes: 9004",
        ),
        (
            declared(AudioChunk { captured_at: Some(never()), ..first() }),
            "captured_at: 9223372036854775807 s",
        ),
        (declared(AudioChunk { model: "m".repeat(300), ..first() }), "model: \"mmm"),
        (
            declared(AudioChunk { channel_names: vec!["n".repeat(300)], ..first() }),
            "channel_names: 300 bytes",
        ),
        (key().header("content-type", "x".repeat(50_000)), "50000 bytes"),
        (Record { key: None, ..key() }.header("content-type", "audio/PCMU"), "key"),
    ]
}

fn name(record: &Stored) -> Name {
    let event: EmotionEvent = EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
    (event.stream_id, event.channel, event.window_index, event.partial)
}

#[tokio::test]
async fn bad_records_become_dead_letters_and_do_not_affect_other_streams() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;

    // Two good calls, and the bad records in the middle of the first one.
    let calls = calls(2, 40);
    let expected: BTreeSet<Name> = calls.iter().flat_map(|call| call.windows(1000, 500)).collect();
    let bad = bad_records(&calls[0].stream_id);
    let good = |range: std::ops::Range<usize>| {
        range.flat_map(|number| {
            calls.iter().filter(move |call| number < call.chunks).map(move |call| call.record(number))
        })
    };
    let mut records: Vec<Record> = good(0..20).collect();
    records.extend(bad.iter().map(|(record, _)| record.clone()));
    records.extend(good(20..60));
    let places = cluster.produce("affectd.audio", &records).await;

    let mut daemon = Options::new()
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.commit_interval", "100ms")
        .set("model.path", model.to_str().unwrap())
        .set("window.min_length", "500ms")
        .start()
        .await;
    let names = |records: &[Stored]| records.iter().map(name).collect::<BTreeSet<_>>();
    let events =
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= expected.len()).await;
    assert_eq!(names(&events), expected);
    let letters =
        cluster.read_until("affectd.dead-letters", PATIENCE, |letters| letters.len() >= bad.len()).await;

    for ((record, reason), letter) in bad.iter().zip(&in_order_of_offset(letters)) {
        let error = letter.header("affectd-error").unwrap();
        assert!(error.contains(reason), "{error:?} should name {reason:?}");
        assert!(error.len() < 800, "{} bytes repeat the record: {error}", error.len());
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value), "a null value stays null");
        assert_eq!(letter.header("affectd-topic"), Some("affectd.audio"));
        assert_eq!(letter.header("affectd-partition"), Some("0"));
        for (header, value) in &record.headers {
            assert_eq!(letter.header(header).map(str::as_bytes), Some(value.as_slice()));
        }
    }

    // All offsets are committed: good chunks, bad records, ended streams.
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    let end = places.len() as i64;
    assert_eq!(cluster.committed("affectd", "affectd.audio").await, [(0, Some(end))].into());
    assert!(newest_progress(&cluster).await.is_empty(), "ended streams leave no progress");
}

fn in_order_of_offset(mut letters: Vec<Stored>) -> Vec<Stored> {
    letters.sort_by_key(|letter| letter.header("affectd-offset").unwrap().parse::<i64>().unwrap());
    letters
}

/// The progress records that compaction would keep.
async fn newest_progress(cluster: &Cluster) -> Vec<Vec<u8>> {
    let mut newest = std::collections::BTreeMap::new();
    for record in cluster.read("affectd.progress").await {
        match record.value {
            Some(value) => newest.insert(record.key, value),
            None => newest.remove(&record.key),
        };
    }
    newest.into_values().collect()
}
