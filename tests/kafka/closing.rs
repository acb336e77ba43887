//! Streams that end by idle time: after several timeouts they are closed, and nothing of them is left, in memory or in the progress topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use affectd::model::{Layout, Output};

use super::at_least_once::chunk;
use crate::support::PATIENCE;
use crate::support::call_fixture::metrics_reach;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record};
use crate::support::model_fixture;
use crate::support::partition_fixture::broker::{Broker, BrokerOutcome, Mode};
use crate::support::partition_fixture::input::{Gating, Input, setup};
use crate::support::partition_fixture::reader::Reader;

const ALL: BrokerOutcome = BrokerOutcome::Acknowledged;

/// Returns a reader whose only stream has ended its segment by idle time, with all of it committed.
fn idle_stream(delivery: Mode) -> (Reader, Broker) {
    let mut broker = if delivery == Mode::ExactlyOnce { Broker::exactly_once() } else { Broker::default() };
    let (mut reader, _) = Reader::start(&setup(Gating::Off), &mut broker);
    talk(&mut reader, &mut broker, 0);
    assert_eq!((broker.committed, position(&broker)), (Some(1), Some(6_000)));
    (reader, broker)
}

/// Reads a chunk of 6,000 samples, ends the segment by idle time, and commits all of it.
fn talk(reader: &mut Reader, broker: &mut Broker, offset: i64) {
    reader.take(offset, &Input { stream_id: "call".into(), chunk: chunk(6_000, false), timestamp: 0 });
    assert!(reader.fall_silent(broker));
    reader.finish_commit(broker, ALL);
    reader.catch_up();
    reader.acknowledge_all(&mut broker.published);
    reader.commit(broker, ALL);
    assert_eq!(broker.committed, Some(offset + 1));
}

/// Returns the position at which the next reader goes on with the stream; `None` where it begins anew.
fn position(broker: &Broker) -> Option<u64> {
    let [all, compacted] = broker.resolved();
    let of = |open: &std::collections::HashMap<Arc<str>, affectd::kafka::ProgressEntry>| {
        open.get("call").and_then(|entry| entry.state.as_ref()).map(|state| state.position)
    };
    assert_eq!(of(&all.open), of(&compacted.open));
    of(&all.open)
}

#[test]
fn a_stream_that_is_silent_for_several_timeouts_leaves_nothing() {
    for delivery in [Mode::AtLeastOnce, Mode::ExactlyOnce] {
        let (mut reader, mut broker) = idle_stream(delivery);
        reader.close_silent(3);
        reader.commit(&mut broker, ALL);
        assert_eq!(position(&broker), Some(6_000), "not closed yet");
        reader.close_silent(5);
        reader.begin_commit();
        assert!(reader.is_committing() && !reader.partition().is_readable());
        reader.finish_commit(&mut broker, ALL);
        reader.catch_up();
        assert!(reader.partition().is_readable());
        assert!(broker.is_deleted("call"));
        reader.commit(&mut broker, ALL);
        reader.begin_commit();
        assert!(!reader.is_committing(), "nothing is left to be committed");
        talk(&mut reader, &mut broker, 1);
        assert_eq!(position(&broker), Some(6_000), "the id begins anew");
    }
}

/// Whatever became of the commit, this reader and the next one agree on where the stream goes on.
#[test]
fn a_reader_that_dies_while_it_closes_a_stream_leaves_a_stream_that_begins_anew_or_goes_on() {
    for delivery in [Mode::AtLeastOnce, Mode::ExactlyOnce] {
        for outcome in [BrokerOutcome::OffsetLost, BrokerOutcome::AcknowledgementLost] {
            let (mut reader, mut broker) = idle_stream(delivery);
            reader.close_silent(5);
            reader.commit(&mut broker, outcome);
            let left = position(&broker).unwrap_or(0);
            if outcome == BrokerOutcome::AcknowledgementLost {
                assert_eq!(left, 0);
            }
            let (mut next, start) = Reader::start(&setup(Gating::Off), &mut broker);
            assert_eq!(start, 1);
            talk(&mut next, &mut broker, 1);
            assert_eq!(position(&broker), Some(left + 6_000), "{delivery:?} {outcome:?}");
        }
    }
}

#[test]
fn a_commit_whose_outcome_is_not_known_is_repeated_before_the_partition_is_read_on() {
    let (mut reader, mut broker) = idle_stream(Mode::AtLeastOnce);
    reader.close_silent(5);
    reader.commit(&mut broker, BrokerOutcome::OffsetLost);
    assert!(!reader.partition().is_readable());
    reader.commit(&mut broker, ALL);
    assert!(reader.partition().is_readable() && broker.is_deleted("call"));
}

#[test]
fn a_chunk_that_arrives_before_the_commit_continues_the_stream() {
    let (mut reader, mut broker) = idle_stream(Mode::AtLeastOnce);
    reader.close_silent(5);
    talk(&mut reader, &mut broker, 1);
    assert_eq!(position(&broker), Some(12_000));
}

/// A reader that finds a stream without an open segment, and reads nothing of it, closes it too.
#[test]
fn a_stream_that_an_earlier_reader_left_is_closed_too() {
    let (_, mut broker) = idle_stream(Mode::AtLeastOnce);
    let (mut next, _) = Reader::start(&setup(Gating::Off), &mut broker);
    next.commit(&mut broker, ALL);
    assert_eq!(position(&broker), Some(6_000));
    next.close_silent(5);
    next.commit(&mut broker, ALL);
    assert!(broker.is_deleted("call"));
}

#[tokio::test]
async fn hundreds_of_streams_that_end_by_idle_time_are_freed() {
    const STREAMS: usize = 600;
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 4, &[]).await;
    }
    cluster.create_topic("affectd.progress", 4, &[("cleanup.policy", "compact")]).await;
    let record = |number: usize| {
        let record = Record::new(format!("call-{number}"), vec![0x55; 8_000]).partition((number % 4) as i32);
        record.header("content-type", "audio/PCMU;rate=8000")
    };
    cluster.produce("affectd.audio", &(0..STREAMS).map(record).collect::<Vec<_>>()).await;
    let config = folder.path().join("affectd.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[audio]\nidle_timeout = \"1s\"\n[kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    let mut daemon = Options::new().config(config).start().await;
    cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= STREAMS).await;
    // The newest record of each stream is its tombstone.
    let deleted = |records: &[crate::support::kafka::Stored]| {
        let newest: BTreeMap<_, _> = records.iter().map(|record| (&record.key, &record.value)).collect();
        newest.len() == STREAMS && newest.values().all(|value| value.is_none())
    };
    cluster.read_until("affectd.progress", PATIENCE, deleted).await;
    metrics_reach(&daemon, |text| text.lines().any(|line| line == "affectd_streams_active 0")).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}
