//! Files in records: they are decoded piece by piece beside other streams, within the budget of memory, and a crash in the middle loses none of their windows.

use std::collections::BTreeSet;
use std::time::Duration;

use affectd::audio::{AudioFormat, Encoding};
use affectd::proto::EmotionEvent;
use affectd::stream::Chunk;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;

use super::at_least_once::{audio, events};
use crate::support::PATIENCE;
use crate::support::call_fixture::tiny;
use crate::support::daemon::{Daemon, Options};
use crate::support::decoder_entries::file_fixture::{PCM, wav};
use crate::support::flac_bomb;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::partition_fixture::broker::{Broker, BrokerOutcome};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;
use crate::support::partition_fixture::script::run;
use crate::support::victim::Victim;

const LIMIT: Duration = Duration::from_secs(3);

fn input(stream_id: &str, format: AudioFormat, audio: impl Into<Bytes>, last: bool) -> Input {
    let chunk = Chunk { format: Some(format), audio: audio.into(), last, ..Chunk::default() };
    Input { stream_id: stream_id.into(), chunk, timestamp: 0 }
}

/// The records of a WAV file of so many samples, in parts of so many bytes.
fn file(stream_id: &str, samples: usize, part: usize) -> Vec<Input> {
    let file = wav(PCM, 16, 1, 16_000, &audio(0, samples, 16_000, 1));
    let count = file.len().div_ceil(part);
    let parts = file.chunks(part).enumerate();
    parts
        .map(|(number, part)| input(stream_id, AudioFormat::FILE, part.to_vec(), number + 1 == count))
        .collect()
}

/// Files one after the other, whose records take turns with chunks of samples.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let files = proptest::collection::vec((9_000..60_000usize, 2_000..60_000usize), 1..3);
    (files, 0..8_000usize).prop_map(|(files, length)| {
        let files = (0..).zip(files);
        let of_files = files.flat_map(|(id, (samples, part))| file(&format!("file-{id}"), samples, part));
        let pcm = AudioFormat::new(Encoding::PcmS16Le, 8_000, 1).unwrap();
        let samples = |number| input("samples", pcm, audio(number * length as u64, length, 8_000, 1), false);
        (0..).zip(of_files).flat_map(|(number, record)| [record, samples(number)]).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn readers_that_crash_publish_the_windows_of_one_that_does_not(inputs in inputs(), events in events()) {
        let setup = setup(Gating::Off);
        let (undisturbed, _) = run(&setup, &inputs, &[], &BTreeSet::new());
        prop_assert!(undisturbed.keys().any(|name| name.0 == "file-0"));
        let (published, _) = run(&setup, &inputs, &events, &BTreeSet::new());
        prop_assert_eq!(published, undisturbed);
    }
}

#[test]
fn the_records_of_a_file_settle_with_its_last_window() {
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup(Gating::Off), &mut broker);
    let records = file("file", 80_000, 60_000);
    for (offset, record) in (0..).zip(&records) {
        reader.take(offset, record);
    }
    let windows = reader.pending.len();
    assert!(records.len() == 3 && windows >= 8, "{windows} windows of {} records", records.len());
    for _ in 1..windows {
        reader.acknowledge(0, &mut broker.published);
        reader.commit(&mut broker, BrokerOutcome::Acknowledged);
        assert_eq!(reader.partition().lowest_unsettled(), 0, "the last window needs the whole file");
    }
    reader.acknowledge(0, &mut broker.published);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!(broker.committed, Some(3));
}

#[test]
fn no_commit_lies_within_a_file_although_all_its_windows_are_published() {
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup(Gating::Off), &mut broker);
    let pcm = AudioFormat::new(Encoding::PcmS16Le, 8_000, 1).unwrap();
    let mut records = file("file", 80_000, 60_000);
    // The stream between remains open, so that its record is needed.
    records.insert(1, input("samples", pcm, audio(0, 1, 8_000, 1), false));
    for (offset, record) in (0..).zip(&records) {
        reader.take(offset, record);
    }
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!(
        reader.partition().lowest_unsettled(),
        0,
        "a reader that began at 1 could not decode the file"
    );
    reader.take(records.len() as i64, &input("samples", pcm, Vec::new(), true));
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!(broker.committed, Some(records.len() as i64 + 1));
}

fn record(stream_id: &str, media: &str, file: Vec<u8>) -> Record {
    Record::new(stream_id, file).header("content-type", media).header("affectd-last", "true")
}

async fn start(cluster: &Cluster, options: Options, partitions: i32) -> Daemon {
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, partitions, &[]).await;
    }
    cluster.create_topic("affectd.progress", partitions, &[("cleanup.policy", "compact")]).await;
    let options = options.set("kafka.brokers", &cluster.brokers).set("kafka.commit_interval", "100ms");
    options.set("window.min_length", "500ms").start().await
}

fn of(stream_id: &str, events: &[Stored]) -> usize {
    let event = |record: &Stored| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
    events.iter().filter(|record| event(record).stream_id == stream_id).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_hours_become_a_dead_letter_and_minutes_take_little_memory_beside_a_stream() {
    let cluster = Cluster::start().await;
    let (_folder, options) = tiny();
    let mut daemon = start(&cluster, options.set("vad.mode", "off"), 1).await;
    let victim = Victim::start(&daemon).await;
    let before = daemon.peak_memory();
    // Decoded they take 1 GB and 38 MB.
    let hours = record("hours", "audio/flac", flac_bomb::silence(16_560));
    let minutes = record("minutes", "audio/flac", flac_bomb::silence(600));
    cluster.produce("affectd.audio", &[hours, minutes]).await;
    let letters = cluster.read_until("affectd.dead-letters", PATIENCE, |letters| !letters.is_empty()).await;
    let reason = letters[0].header("affectd-error").unwrap();
    assert!(reason.contains("3600 s of audio (audio.max_file_duration)"), "{reason}");
    // 1 s every 0.5 s; the file is a little longer than its minutes.
    let events =
        cluster.read_until("affectd.emotions", PATIENCE, |events| of("minutes", events) >= 1_200).await;
    assert!(of("hours", &events) == 0 && of("minutes", &events) <= 1_210, "{}", events.len());
    victim.stop().await.assert_p99(LIMIT);
    let taken = daemon.peak_memory() - before;
    assert!(taken < 24 << 20, "{taken} bytes more than before");
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    assert_eq!(cluster.committed("affectd", "affectd.audio").await, [(0, Some(2))].into());
}
