//! Summaries of calls over Kafka: the same after a crash, and the end of a stream is read again until its summary is delivered.

use affectd::proto::{AudioChunk, CallSummary};
use prost::Message;

use crate::support::daemon::Options;
use crate::support::gated_talk::{PARTS, chunks};
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::kafka_calls::{committed, options, records, records_of, topics};

fn summaries(stored: &[Stored]) -> Vec<CallSummary> {
    stored.iter().map(|record| CallSummary::decode(record.value.as_deref().unwrap()).unwrap()).collect()
}

/// The summary of a call whose reader is killed after each of the `stops`, in tenths of a second.
async fn summary(
    cluster: &Cluster,
    options: &Options,
    (run, records): (&str, &[Record]),
    stops: &[usize],
) -> CallSummary {
    topics(cluster, run).await;
    let (audio, mut sent) = (format!("{run}.audio"), 0);
    for stop in stops {
        cluster.produce(&audio, &records[sent..*stop]).await;
        sent = *stop;
        let daemon = options.start().await;
        committed(cluster, run, *stop as i64 - 15).await;
        daemon.kill().await;
    }
    cluster.produce(&audio, &records[sent..]).await;
    let mut daemon = options.start().await;
    // The end of the stream is committed once the summary is acknowledged.
    committed(cluster, run, records.len() as i64).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    let stored = cluster.read(&format!("{run}.calls")).await;
    assert_eq!(stored[0].key.as_deref(), Some(&b"talk"[..]));
    assert_eq!(stored[0].header("ce_type"), Some("affectd.v1.CallSummary"));
    let found = summaries(&stored);
    assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn a_summary_after_crashes_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    for vad in ["off", "gate"] {
        let (calm, rough) = (format!("calm-{vad}"), format!("rough-{vad}"));
        let records = records();
        let calm_options = options(&cluster, folder.path(), &calm, vad);
        let expected = summary(&cluster, &calm_options, (&calm, &records), &[]).await;
        assert_eq!((expected.call_id.as_str(), expected.source.as_str()), ("talk", "kafka"));
        let only = &expected.channels[0];
        assert!(only.windows > 5 && only.talk_time.as_ref().unwrap().seconds >= 4, "{expected:?}");
        assert_eq!(expected.duration.as_ref().unwrap().seconds, 14);
        let rough_options = options(&cluster, folder.path(), &rough, vad);
        let found = summary(&cluster, &rough_options, (&rough, &records), &[40, 85]).await;
        assert_eq!(found, expected);
    }
}

/// The talk with three holes: 0.1 s, which silence fills, 5 s, which ends the segment, and one more sample.
fn with_holes() -> Vec<Record> {
    let (mut chunks, mut missing) = (chunks(PARTS), 0);
    for (number, samples) in [(20, 1_600), (60, 80_000), (100, 1)] {
        missing += samples;
        chunks[number] =
            AudioChunk { first_sample: Some(number as u64 * 1_600 + missing), ..chunks[number].clone() };
    }
    records_of(chunks)
}

#[tokio::test]
async fn holes_count_once_over_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let records = with_holes();
    for (run, stops) in [("holes-calm", &[][..]), ("holes-rough", &[40, 85])] {
        let options = options(&cluster, folder.path(), run, "off");
        let audio = summary(&cluster, &options, (run, &records), stops).await.audio.unwrap();
        let lost = audio.lost.unwrap();
        assert_eq!((audio.holes, lost.seconds, lost.nanos), (3, 5, 100_000_000), "{run}");
    }
}
