//! Exactly once without a broker: whatever the chunks, the cuts of transactions, their aborts and the instants of crashes, each window is published once, with
//! the features and the smoothed scores of an undisturbed run.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::at_least_once::{audio, chunk, events, inputs};
use crate::support::partition_fixture::broker::{Broker, BrokerOutcome, Mode};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;
use crate::support::partition_fixture::script::{Event, run, run_as};

/// The offset stays at the chunk of "held", and "call" ends and begins anew behind it.
#[test]
fn windows_above_the_committed_offset_are_not_published_again() {
    let (setup, never) = (setup(Gating::Off), BTreeSet::new());
    let input = |stream_id: &str, samples, last| Input {
        stream_id: stream_id.into(),
        chunk: chunk(samples, last),
        timestamp: 0,
    };
    let mut inputs = vec![input("held", 80, false)];
    for _ in 0..3 {
        inputs.push(input("call", 16_000, false));
        inputs.push(input("call", 16_000, true));
    }
    let mut broker = Broker::exactly_once();
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    for (offset, input) in inputs.iter().enumerate() {
        reader.take(offset as i64, input);
    }
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!(broker.committed, Some(0), "the chunk of \"held\" is needed");
    let entry = broker.progress("call").next;
    assert_eq!(entry.later_epochs.iter().map(|later| later.begins_at).collect::<Vec<_>>(), [1, 3, 5]);

    let published = broker.published.len();
    let (mut reader, start) = Reader::start(&setup, &mut broker);
    assert_eq!(start, 0);
    // The second reader crashes in the middle, so the third one depends on what the second one has repeated.
    for (offset, input) in inputs.iter().enumerate().take(4) {
        reader.take(offset as i64, input);
    }
    assert!(reader.pending.is_empty(), "all is published already");
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    for (offset, input) in inputs.iter().enumerate() {
        reader.take(offset as i64, input);
    }
    assert!(reader.pending.is_empty(), "all is published already");
    assert_eq!(published, run(&setup, &inputs[1..3], &[], &never).0.len());
}

/// The offset does not move while a window needs the first chunk, but the progress does.
#[test]
fn progress_is_written_where_only_windows_have_moved() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::exactly_once());
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    reader.take(0, &Input { stream_id: "call".into(), chunk: chunk(20_000, false), timestamp: 0 });
    assert!(reader.pending.len() >= 2);
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
        let before = broker.progress_or_none("call");
        reader.commit(&mut broker, BrokerOutcome::Acknowledged);
        assert_eq!(broker.committed, Some(0));
        assert_ne!(broker.progress_or_none("call"), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_that_crash_publish_each_window_once(
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
        let (broker, _) = run_as(Mode::ExactlyOnce, &setup, &inputs, &events, &never);
        let (count, rough) = (broker.publications.len(), broker.published);
        prop_assert_eq!(count, calm.len(), "each window is published once");
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }

    /// Ids are used again while an earlier offset holds the commit.
    #[test]
    fn epochs_that_follow_each_other_are_published_once(
        lengths in proptest::collection::vec((1..9_000usize, 0..4u32, 0..2usize), 10..50),
        events in events(),
    ) {
        let (setup, never) = (setup(Gating::Off), BTreeSet::new());
        let mut from = 0;
        let inputs: Vec<Input> = lengths.into_iter().map(|(length, last, stream)| {
            from += length as u64;
            let chunk = affectd::stream::Chunk {
                audio: audio(from, length, 8_000, 1).into(),
                format: affectd::audio::AudioFormat::new(affectd::audio::Encoding::PcmS16Le, 8_000, 1).ok(),
                last: last == 0,
                ..Default::default()
            };
            Input { stream_id: format!("stream-{stream}").into(), chunk, timestamp: 0 }
        }).collect();
        // Windows of different epochs have the same name.
        let publications = |events: &[(usize, Event)]| {
            let (broker, _) = run_as(Mode::ExactlyOnce, &setup, &inputs, events, &never);
            let mut all = broker.publications;
            all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            all
        };
        prop_assert!(publications(&events) == publications(&[]), "published windows differ");
    }

    /// A group may change from one mode to the other and back.
    #[test]
    fn readers_of_both_modes_that_follow_each_other_lose_nothing(inputs in inputs(3), events in events()) {
        let (setup, never) = (setup(Gating::Off), BTreeSet::new());
        let (calm, _) = run(&setup, &inputs, &[], &never);
        let rough = run_as(Mode::Alternating, &setup, &inputs, &events, &never).0.published;
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }
}
