//! Load over Kafka: `affectd load` matches events with their streams and counts what the daemon counts; a backlog does not delay streams over gRPC.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::call_fixture::{metric, noise, tiny};
use crate::support::kafka::{Cluster, Record};
use crate::support::load_report::{PUBLISHED, WINDOWS_OF_2_S, assert_sound, number, report};
use crate::support::victim::Victim;

/// The backlog: streams, their length in seconds, and the windows of each, one every half second.
const STREAMS: usize = 8;
const SECONDS: usize = 60;
const WINDOWS: usize = 2 * SECONDS - 1;
/// The time at which the backlog was written, in ms.
const LONG_AGO: i64 = 1_700_000_000_000;

#[tokio::test]
async fn a_backlog_is_read_to_its_end_beside_a_stream_over_grpc_that_it_does_not_delay() {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 4, &[]).await;
    }
    cluster.create_topic("affectd.progress", 4, &[("cleanup.policy", "compact")]).await;
    let (_folder, options) = tiny();
    let options = options.set("kafka.brokers", &cluster.brokers).set("publish.kafka_for_grpc", "false");
    let daemon = options.start().await;
    let victim = Victim::start(&daemon).await;
    let record = |number: usize| {
        let (stream, second) = (number % STREAMS, number / STREAMS);
        let record = Record::new(format!("call-{stream}"), noise(8_000, number as u64));
        let record = record.partition((stream % 4) as i32).timestamp(LONG_AGO + 1_000 * second as i64);
        let record = record.header("content-type", "audio/PCMU;rate=8000");
        if second + 1 == SECONDS { record.header("affectd-last", "true") } else { record }
    };
    let begun = Instant::now();
    cluster.produce("affectd.audio", &(0..STREAMS * SECONDS).map(record).collect::<Vec<_>>()).await;
    let all = STREAMS * WINDOWS;
    let events = cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= all).await;
    assert_eq!(events.len(), all);
    // A window behind the backlog would wait for most of the time that the backlog takes, on a slow machine too.
    let limit = (begun.elapsed() / 3).max(Duration::from_secs(1));
    victim.stop().await.assert_p99(limit);
}

#[tokio::test]
async fn events_are_matched_with_their_streams() {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "other.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 2, &[]).await;
    }
    cluster.create_topic("affectd.progress", 2, &[("cleanup.policy", "compact")]).await;
    let (_folder, options) = tiny();
    let options = options.set("kafka.brokers", &cluster.brokers).set("kafka.output_topic", "other.emotions");
    let daemon = options.start().await;
    let target = format!("kafka://{}/affectd.audio", cluster.brokers);
    let options =
        ["--target", &target, "--output-topic", "other.emotions", "--streams", "3", "--seconds", "2"];

    let real_time = report(&[&options[..], &["--speed", "real-time"]].concat()).await;
    assert_sound(&real_time, 3);
    assert_eq!(real_time["windows"], 3 * WINDOWS_OF_2_S, "{real_time}");
    assert_eq!(number(&real_time, "audio_seconds"), 6.0);

    // A topic accepts any amount of audio, so the events that return limit the pace of a stream.
    let max = report(&[&options[..], &["--speed", "max"]].concat()).await;
    assert_sound(&max, 3);
    assert_eq!(number(&real_time, "windows") + number(&max, "windows"), metric(&daemon, PUBLISHED).await);
    let open_end = 3.0 * 30.0;
    assert!(number(&max, "audio_seconds") <= number(&max, "windows") * 0.5 + open_end, "{max}");
}
