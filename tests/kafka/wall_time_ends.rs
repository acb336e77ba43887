//! Ends of streams by wall time, without a broker: each is written before it applies, and repeated where the stream is read again.

use crate::at_least_once::chunk;
use crate::support::partition_fixture::Published;
use crate::support::partition_fixture::broker::{Broker, BrokerOutcome};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;

/// What is read while the progress of an end by wall time is on its way would move the stream past that end.
#[test]
fn a_partition_is_not_read_while_a_stream_ends_by_wall_time() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let input = Input { stream_id: "call".into(), chunk: chunk(6_000, false), timestamp: 0 };
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    reader.take(0, &input);
    assert!(reader.fall_silent(&mut broker));
    assert!(!reader.partition().is_readable());
    reader.catch_up();
    assert!(reader.pending.is_empty(), "the segment ends after its progress is written");
    reader.finish_commit(&mut broker, BrokerOutcome::Acknowledged);
    assert!(reader.partition().is_readable());
    reader.catch_up();
    assert_eq!(reader.pending.len(), 1, "the partial window");
    assert_eq!(broker.progress("call").next.idle_ends, [6_000]);
    assert!(!reader.fall_silent(&mut broker), "it has ended");
}

/// A stream id that is used again has positions of its own: those at which the second stream ended are not those of the first.
#[test]
fn an_end_by_wall_time_is_repeated_in_the_stream_that_ended_and_in_no_other_with_its_id() {
    let input = |samples, last| Input { stream_id: "call".into(), chunk: chunk(samples, last), timestamp: 0 };
    // The first stream goes past the position at which the second one ends.
    let inputs = [input(8_000, false), input(8_000, true), input(6_000, false), input(7_000, true)];
    let setup = setup(Gating::Off);
    let published = |crash: bool| {
        let mut broker = Broker::exactly_once();
        let (mut reader, _) = Reader::start(&setup, &mut broker);
        (0..3).for_each(|offset| reader.take(offset, &inputs[offset as usize]));
        assert!(reader.fall_silent(&mut broker));
        reader.finish_commit(&mut broker, BrokerOutcome::Acknowledged);
        reader.catch_up();
        let mut from = 3;
        if crash {
            // No window is acknowledged, so all is read again.
            (reader, from) = Reader::start(&setup, &mut broker);
            assert_eq!(from, 0);
        }
        (from..4).for_each(|offset| reader.take(offset as i64, &inputs[offset]));
        let mut none = Published::default();
        reader.acknowledge_all(&mut none);
        reader.commit(&mut broker, BrokerOutcome::Acknowledged);
        broker.publications.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(published(true), published(false));
}

/// Streams that fall silent together end with one commit. After a commit with an unknown outcome none of them ends: its record could not name the offset
/// that the group has committed.
#[test]
fn streams_end_by_wall_time_together_and_not_after_a_commit_with_an_unknown_outcome() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    for number in 0..50 {
        let stream_id = format!("call-{number}").into();
        reader.take(number, &Input { stream_id, chunk: chunk(6_000, number == 0), timestamp: 0 });
    }
    reader.acknowledge(0, &mut broker.published);
    reader.commit(&mut broker, BrokerOutcome::AcknowledgementLost);
    reader.silence_passes();
    assert!(reader.partition().wall_time_commit().is_none());
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    let commit = reader.partition().wall_time_commit().unwrap();
    assert_eq!((commit.offset, commit.progress.len()), (None, 49));
}
