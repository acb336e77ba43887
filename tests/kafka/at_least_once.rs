//! At least once without a broker: whatever the chunks, the order of acknowledgements, the outcomes of commits and the instants of crashes, readers that
//! follow each other publish exactly the windows of one that was never disturbed, with the same features and the same smoothed scores.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use affectd::audio::{AudioFormat, Encoding};
use affectd::stream::Chunk;
use proptest::prelude::*;

use crate::support::partition_fixture::IDLE_MS;
use crate::support::partition_fixture::broker::{Broker, BrokerOutcome};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;
use crate::support::partition_fixture::script::{Event, run};
use crate::support::speech_fixture::Part::{Silence, Speech};
use crate::support::speech_fixture::talk;

/// Speech with pauses, repeated, at 16 kHz.
static TALK: LazyLock<Vec<f32>> = LazyLock::new(|| talk(&[Speech(1_300), Silence(1_900), Speech(1_100)]));

/// Samples `from..from + length` of a stream, as 16-bit PCM with interleaved channels.
pub fn audio(from: u64, length: usize, rate: u32, channels: usize) -> Vec<u8> {
    let step = 16_000 / u64::from(rate);
    let sample = |at: u64, channel: usize| TALK[(at * step + channel as u64 * 9_000) as usize % TALK.len()];
    let samples = (from..from + length as u64).flat_map(|at| (0..channels).map(move |c| (at, c)));
    samples.flat_map(|(at, c)| ((sample(at, c) * 32_767.0) as i16).to_le_bytes()).collect()
}

/// Chunks of up to three streams: one resampled or at the model's rate, one the other way round, one in stereo; with gaps, silences and ends.
pub fn inputs(streams: usize) -> impl Strategy<Value = Vec<Input>> {
    let record = (0..streams, 1..4_500usize, 0..20u32, 0..12u32, 0..40u32);
    proptest::collection::vec(record, 10..60).prop_map(|records| {
        let mut position = [0u64; 3];
        let mut over = [false; 3];
        let mut now = 0;
        let mut inputs = Vec::new();
        for (stream, length, gap, pause, last) in records {
            if over[stream] {
                continue;
            }
            let (rate, channels) = [(8_000, 1), (16_000, 1), (8_000, 2)][stream];
            // Rarely a short gap, more rarely a long one.
            position[stream] += match gap {
                0 => 2 * u64::from(rate),
                1 => 700,
                _ => 0,
            };
            now += if pause == 0 { 2 * IDLE_MS } else { 50 };
            over[stream] = last == 0;
            let chunk = Chunk {
                sequence: None,
                first_sample: (stream != 0 || gap < 2).then_some(position[stream]),
                format: Some(AudioFormat::new(Encoding::PcmS16Le, rate, channels as u32).unwrap()),
                audio: audio(position[stream], length, rate, channels).into(),
                last: last == 0,
            };
            position[stream] += length as u64;
            inputs.push(Input { stream_id: format!("stream-{stream}").into(), chunk, timestamp: now });
        }
        inputs
    })
}

fn outcome() -> impl Strategy<Value = BrokerOutcome> {
    prop_oneof![
        4 => Just(BrokerOutcome::Acknowledged),
        1 => Just(BrokerOutcome::OffsetLost),
        1 => Just(BrokerOutcome::AcknowledgementLost),
    ]
}

pub fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        16 => (0..64usize).prop_map(Event::Acknowledge),
        4 => Just(Event::Commit),
        4 => Just(Event::BeginCommit),
        4 => outcome().prop_map(Event::FinishCommit),
        4 => Just(Event::ShardIsSlow),
        2 => outcome().prop_map(Event::CrashInCommit),
        2 => Just(Event::Crash),
    ];
    proptest::collection::vec((0..3usize, event), 0..100)
}

/// Chunks of 8-bit audio that follow each other.
pub fn chunk(samples: usize, last: bool) -> Chunk {
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    Chunk { format, audio: vec![7; samples].into(), last, ..Chunk::default() }
}

/// A stream without an open segment may be silent over many commits, and its entry stays as it was written for the first of them.
#[test]
fn a_reader_that_dies_in_a_commit_leaves_an_entry_that_fits_also_where_its_own_was_written_long_before() {
    let setup = setup(Gating::Off);
    let (quiet, other): (Arc<str>, Arc<str>) = ("quiet".into(), "other".into());
    let input = |stream_id: &Arc<str>, timestamp, last| Input {
        stream_id: stream_id.clone(),
        chunk: chunk(80, last),
        timestamp,
    };
    let inputs = [
        input(&quiet, 0, false),
        // The segment of `quiet` ends, and its entry is written.
        input(&other, 2 * IDLE_MS, true),
        input(&other, 2 * IDLE_MS, true),
        input(&quiet, 3 * IDLE_MS, false),
    ];
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    reader.take(0, &inputs[0]);
    reader.take(1, &inputs[1]);
    assert!(reader.fall_silent(&mut broker));
    reader.finish_commit(&mut broker, BrokerOutcome::Acknowledged);
    reader.catch_up();
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    reader.take(2, &inputs[2]);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!((broker.committed, broker.progress(&quiet).next.offset), (Some(3), Some(2)));

    let (mut reader, start) = Reader::start(&setup, &mut broker);
    assert_eq!(start, 3);
    reader.take(3, &inputs[3]);
    reader.commit(&mut broker, BrokerOutcome::OffsetLost);
    assert!(broker.progress(&quiet).fitting(Some(3)).is_some(), "{:?}", broker.progress(&quiet));
}

/// Streams of 100 ms chunks, one of which has wrong timestamps.
fn talk_with_wrong_timestamps(wrong: impl Fn(i64) -> i64) -> Vec<Input> {
    let chunk_of = |number: i64, stream: i64| Input {
        stream_id: format!("stream-{stream}").into(),
        chunk: chunk(800, number == 99),
        timestamp: if stream == 0 { wrong(number) } else { 1_000_000 + 100 * number },
    };
    (0..100).flat_map(|number| (0..3).map(move |stream| chunk_of(number, stream))).collect()
}

/// The windows of a stream depend on its own timestamps alone.
#[test]
fn wrong_timestamps_of_one_stream_change_no_window_of_another() {
    let setup = setup(Gating::Off);
    let windows = |wrong: &dyn Fn(i64) -> i64| {
        let (published, _) = run(&setup, &talk_with_wrong_timestamps(wrong), &[], &BTreeSet::new());
        published.into_keys().filter(|name| name.0 != "stream-0").collect::<Vec<_>>()
    };
    let right = windows(&|number| 1_000_000 + 100 * number);
    assert!(right.len() >= 20, "{}", right.len());
    let once = |number: i64| if number == 50 { 1_600_000 } else { 1_000_000 + 100 * number };
    let wrong: [(&str, &dyn Fn(i64) -> i64); 8] = [
        ("one chunk ahead", &once),
        ("ahead from then on", &|number| 1_000_000 + 100 * number + if number < 50 { 0 } else { 600_000 }),
        ("always ahead", &|number| 1_600_000 + 100 * number),
        ("always behind", &|number| 100 * number),
        ("too fast", &|number| 1_000_000 + 1_000 * number),
        ("back and forth", &|number| 1_000_000 + 100 * number + 600_000 * (number % 2)),
        ("extreme", &|number| if number % 2 == 0 { i64::MAX } else { i64::MIN }),
        ("none", &|_| 0),
    ];
    for (name, wrong) in wrong {
        assert_eq!(windows(wrong), right, "{name}");
    }
}

/// The reader before has written progress for a commit that it did not live to see; the next one commits below that.
#[test]
fn a_commit_below_what_a_dead_reader_wrote_has_progress_that_fits() {
    let setup = setup(Gating::Off);
    let stream_id: Arc<str> = "call".into();
    let input = |seconds: usize| Input {
        stream_id: stream_id.clone(),
        chunk: chunk(8_000 * seconds, false),
        timestamp: 0,
    };
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    reader.take(0, &input(2));
    reader.take(1, &input(1));
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, BrokerOutcome::OffsetLost);
    let written = broker.progress(&stream_id).next.offset;

    let (mut reader, start) = Reader::start(&setup, &mut broker);
    assert_eq!(start, 0);
    reader.take(0, &input(2));
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!((written, broker.committed), (Some(1), Some(0)), "the windows are not acknowledged yet");
    assert!(broker.progress(&stream_id).fitting(Some(0)).is_some(), "{:?}", broker.progress(&stream_id));
}

/// Without both kinds of windows in its speech, the property below would not cover silence.
#[test]
fn the_talk_has_silent_windows_and_others() {
    let inputs: Vec<Input> = (0..30)
        .map(|number| {
            let format = AudioFormat::new(Encoding::PcmS16Le, 16_000, 1).ok();
            let audio = audio(number * 4_000, 4_000, 16_000, 1).into();
            let chunk = Chunk { format, audio, ..Chunk::default() };
            Input { stream_id: "call".into(), chunk, timestamp: 0 }
        })
        .collect();
    let published = |gating| run(&setup(gating), &inputs, &[], &BTreeSet::new()).0;
    let (spoken, all) = (published(Gating::SilenceIsDropped), published(Gating::SilenceIsPublished));
    assert!(spoken.len() >= 4 && all.len() >= spoken.len() + 3, "{} of {}", spoken.len(), all.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_that_crash_publish_the_windows_of_one_that_does_not(
        inputs in inputs(3),
        events in events(),
        gating in prop_oneof![
            2 => Just(Gating::Off),
            1 => Just(Gating::SilenceIsDropped),
            1 => Just(Gating::SilenceIsPublished),
        ],
    ) {
        let (setup, never) = (setup(gating), BTreeSet::new());
        let (calm, _) = run(&setup, &inputs, &[], &never);
        let (rough, _) = run(&setup, &inputs, &events, &never);
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }

    /// The clock decides when a stream ends; readers that follow each other must not have to agree with it.
    #[test]
    fn a_stream_that_ended_by_wall_time_ends_there_for_every_reader(
        inputs in inputs(1),
        events in events(),
        silences in proptest::collection::btree_set(0..60usize, 0..6),
    ) {
        let setup = setup(Gating::Off);
        let mut inputs = inputs;
        if let Some(last) = inputs.last_mut() {
            last.chunk.last = true;
        }
        let (rough, silent) = run(&setup, &inputs, &events, &silences);
        let (calm, all) = run(&setup, &inputs, &[], &silent);
        prop_assert_eq!(all, silent);
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }

    /// The bytes of a sample that a chunk leaves incomplete are part of the stream's progress.
    #[test]
    fn samples_that_are_split_over_records_survive_crashes(
        sizes in proptest::collection::vec(1..9_000usize, 4..40),
        channels in 1..3usize,
        events in events(),
    ) {
        let (setup, never) = (setup(Gating::Off), BTreeSet::new());
        let frame = 2 * channels;
        let frames = sizes.iter().sum::<usize>().div_ceil(frame);
        let bytes: prost::bytes::Bytes = audio(0, frames, 8_000, channels).into();
        let format = AudioFormat::new(Encoding::PcmS16Le, 8_000, channels as u32).ok();
        let of = |parts: Vec<prost::bytes::Bytes>| -> Vec<Input> {
            let count = parts.len();
            let input = |(number, audio)| Input {
                stream_id: "call".into(),
                chunk: Chunk { format, audio, last: number + 1 == count, ..Chunk::default() },
                timestamp: 0,
            };
            parts.into_iter().enumerate().map(input).collect()
        };
        let (mut rest, mut parts) = (bytes.clone(), Vec::new());
        for size in &sizes {
            parts.push(rest.split_to(*size));
        }
        parts.push(rest);
        let (whole, _) = run(&setup, &of(vec![bytes]), &[], &never);
        let (rough, _) = run(&setup, &of(parts), &events, &never);
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
        prop_assert!(rough == whole, "features or smoothed scores differ");
    }
}
