//! Progress records of several writers: only those of the writer of the last commit count, and their loss is noticed.

use std::sync::Arc;

use affectd::audio::{AudioFormat, Encoding};
use affectd::stream::Chunk;

use crate::support::partition_fixture::broker::{Broker, BrokerOutcome};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;

/// Two seconds of a stream at 8 kHz.
fn input(stream_id: &str, last: bool) -> Input {
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    let chunk = Chunk { format, audio: vec![7; 16_000].into(), last, ..Chunk::default() };
    Input { stream_id: stream_id.into(), chunk, timestamp: 0 }
}

/// Reads the next records of "call" and publishes all of its windows.
fn read(reader: &mut Reader, broker: &mut Broker, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        reader.take(offset, &input("call", false));
    }
    while !reader.pending.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
}

/// A process that was stopped goes on: its progress is written, its commit is refused.
#[test]
fn the_progress_of_a_reader_whose_commit_is_refused_does_not_count() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut stopped, _) = Reader::start(&setup, &mut broker);
    read(&mut stopped, &mut broker, 0..2);
    stopped.commit(&mut broker, BrokerOutcome::Acknowledged);
    read(&mut stopped, &mut broker, 2..4);
    stopped.begin_commit();

    let (mut successor, start) = Reader::start(&setup, &mut broker);
    read(&mut successor, &mut broker, start as i64..8);
    successor.commit(&mut broker, BrokerOutcome::Acknowledged);
    let (committed, expected) = (broker.committed, broker.progress("call").next);

    stopped.finish_commit(&mut broker, BrokerOutcome::OffsetLost);
    assert_ne!(broker.progress("call").next, expected, "the newest record is the one of the stopped process");
    assert_eq!(broker.committed, committed);
    assert_eq!(broker.resolved()[0].open["call"], expected);
}

/// The stream ended before the process was stopped; its id was used again since.
#[test]
fn the_tombstone_of_a_reader_that_was_replaced_does_not_count() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut stopped, _) = Reader::start(&setup, &mut broker);
    stopped.take(0, &input("call", false));
    stopped.commit(&mut broker, BrokerOutcome::Acknowledged);
    stopped.take(1, &input("call", true));
    read(&mut stopped, &mut broker, 0..0);
    stopped.begin_commit();
    stopped.finish_commit(&mut broker, BrokerOutcome::AcknowledgementLost);
    stopped.begin_commit();

    let (mut successor, start) = Reader::start(&setup, &mut broker);
    assert_eq!(start, 2);
    successor.commit(&mut broker, BrokerOutcome::Acknowledged);
    read(&mut successor, &mut broker, 2..4);
    successor.commit(&mut broker, BrokerOutcome::Acknowledged);
    broker.write_tombstone("call", "reader-1");
    let [all, _] = broker.resolved();
    assert!(all.open["call"].state.is_some(), "{all:?}");
    assert_eq!((all.lost.len(), all.missing), (0, 0));
}

#[test]
fn a_deleted_progress_topic_is_noticed() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    read(&mut reader, &mut broker, 0..4);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    assert_eq!(broker.resolved()[0].open.len(), 1);
    broker.delete_progress();
    let [all, _] = broker.resolved();
    assert_eq!((all.open.len(), all.missing), (0, 1));
}

/// With `kafka.on_lost_progress = "restart"` the streams begin anew, and their old records are deleted.
#[test]
fn void_records_are_deleted_once_a_commit_makes_them_unnecessary() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    read(&mut reader, &mut broker, 0..4);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    let committed = broker.committed;

    broker.reset_offset(0);
    assert_eq!(broker.resolved()[0].lost.len(), 1, "no entry fits a reset offset");
    let void: Vec<Arc<str>> = vec!["call".into()];
    let (mut reader, start) = Reader::start_with_void(&setup, &mut broker, void);
    assert_eq!(start, 0);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    let [all, compacted] = broker.resolved();
    for resolved in [all, compacted] {
        assert!(
            resolved.open.is_empty() && resolved.lost.is_empty() && resolved.missing == 0,
            "{resolved:?}"
        );
    }
    assert_ne!(committed, broker.committed);
}

/// A daemon of an older version commits without metadata and writes records that name no writer.
#[test]
fn records_and_commits_of_an_older_version_are_read() {
    let (setup, mut broker) = (setup(Gating::Off), Broker::default());
    let (mut reader, _) = Reader::start(&setup, &mut broker);
    read(&mut reader, &mut broker, 0..4);
    reader.commit(&mut broker, BrokerOutcome::Acknowledged);
    let expected = broker.progress("call").next;
    broker.forget_writers();
    let (mut reader, start) = Reader::start(&setup, &mut broker);
    assert_eq!(Some(start as i64), broker.committed);
    assert_eq!(broker.resolved()[0].open["call"], expected);
    // Its first commit is refused, and yet another reader finds the entry of the old version.
    read(&mut reader, &mut broker, start as i64..8);
    reader.commit(&mut broker, BrokerOutcome::OffsetLost);
    for resolved in broker.resolved() {
        assert!(resolved.open["call"].same_position(&expected), "{resolved:?}");
    }
}
