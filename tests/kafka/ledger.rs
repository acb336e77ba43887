//! At least once without a broker: whatever the chunks, the order of acknowledgements and the instants of crashes, readers that follow
//! each other publish exactly the windows of one that was never disturbed, with the same features and the same smoothed scores.

use std::sync::Arc;

use affectd::audio::{AudioFormat, Encoding};
use affectd::stream::Chunk;
use proptest::prelude::*;

use crate::support::ledger_fixture::{Broker, Event, IDLE_MS, Input, Reader, run, setup};

/// Chunks of three streams: one at the model's rate, one resampled, one in stereo; with gaps, silences and ends.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let record = (0..3usize, 1..4_500usize, 0..20u32, 0..12u32, 0..40u32);
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
            let wave = |at: u64| ((at as f64 * 0.05).sin() * 60.0 + (at % 97) as f64) as i64 as u8;
            let from = position[stream] * channels as u64;
            let audio: Vec<u8> = (from..from + (length * channels) as u64).map(wave).collect();
            let chunk = Chunk {
                sequence: None,
                first_sample: (stream != 0 || gap < 2).then_some(position[stream]),
                format: Some(AudioFormat::new(Encoding::MuLaw, rate, channels as u32).unwrap()),
                audio: audio.into(),
                last: last == 0,
            };
            position[stream] += length as u64;
            inputs.push(Input { stream_id: format!("stream-{stream}").into(), chunk, timestamp: now });
        }
        inputs
    })
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        8 => (0..64usize).prop_map(Event::Acknowledge),
        4 => Just(Event::Commit),
        1 => Just(Event::CrashInCommit),
        1 => Just(Event::Crash),
    ];
    proptest::collection::vec((0..3usize, event), 0..80)
}

/// A stream without an open segment may be silent over many commits, and its entry stays as it was written for the first of them.
#[test]
fn a_reader_that_dies_in_a_commit_leaves_an_entry_that_fits_also_where_its_own_was_written_long_before() {
    let setup = setup();
    let (quiet, other): (Arc<str>, Arc<str>) = ("quiet".into(), "other".into());
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    let input = |stream_id: &Arc<str>, timestamp, last| Input {
        stream_id: stream_id.clone(),
        chunk: Chunk { format, audio: vec![7; 80].into(), last, ..Chunk::default() },
        timestamp,
    };
    let inputs = [
        input(&quiet, 0, false),
        // Quiet's segment ends by the partition's time, and its entry is written.
        input(&other, 2 * IDLE_MS, true),
        input(&other, 2 * IDLE_MS, true),
        input(&quiet, 3 * IDLE_MS, false),
    ];
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &broker);
    reader.take(0, &inputs[0]);
    reader.take(1, &inputs[1]);
    reader.end_segment(&quiet);
    reader.commit(&mut broker, false);
    reader.take(2, &inputs[2]);
    reader.commit(&mut broker, false);
    assert_eq!((broker.committed, broker.progress[&quiet].next.offset), (Some(3), Some(2)));

    let (mut reader, start) = Reader::start(&setup, &broker);
    assert_eq!(start, 3);
    reader.take(3, &inputs[3]);
    reader.commit(&mut broker, true);
    assert!(broker.progress[&quiet].fitting(Some(3)).is_some(), "{:?}", broker.progress[&quiet]);
}

/// The reader before has written progress for a commit that it did not live to see; the next one commits below that.
#[test]
fn a_commit_below_what_a_dead_reader_wrote_has_progress_that_fits() {
    let setup = setup();
    let stream_id: Arc<str> = "call".into();
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    let chunk = |seconds: usize| Chunk { format, audio: vec![7; 8_000 * seconds].into(), ..Chunk::default() };
    let input = |seconds| Input { stream_id: stream_id.clone(), chunk: chunk(seconds), timestamp: 0 };
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &broker);
    reader.take(0, &input(2));
    reader.take(1, &input(1));
    while !reader.under_way.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, true);
    let written = broker.progress[&stream_id].next.offset;

    let (mut reader, start) = Reader::start(&setup, &broker);
    assert_eq!(start, 0);
    reader.take(0, &input(2));
    reader.commit(&mut broker, false);
    assert_eq!((written, broker.committed), (Some(1), Some(0)), "the windows are not acknowledged yet");
    assert!(broker.progress[&stream_id].fitting(Some(0)).is_some(), "{:?}", broker.progress[&stream_id]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_that_crash_publish_the_windows_of_one_that_does_not(inputs in inputs(), events in events()) {
        let setup = setup();
        let calm = run(&setup, &inputs, &[]);
        let rough = run(&setup, &inputs, &events);
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }
}
