//! The cluster fixture itself: records are read back and offsets are kept.

use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;

use crate::support::kafka::{Cluster, Kind, Record};

#[tokio::test]
async fn produced_records_are_read_back_unchanged() {
    let cluster = Cluster::start().await;
    cluster.create_topic("speech", 3, &[("cleanup.policy", "compact")]).await;
    let records = [
        Record::new("a", "one")
            .partition(2)
            .header("content-type", "audio/PCMU")
            .timestamp(1_700_000_000_000),
        Record::new("b", vec![0, 255, 7]).partition(0),
        Record { value: None, ..Record::new("a", "") }.partition(2),
    ];
    let places = cluster.produce("speech", &records).await;
    assert_eq!(places, [(2, 0), (0, 0), (2, 1)]);

    let stored = cluster.read("speech").await;
    let seen: Vec<_> =
        stored.iter().map(|r| (r.partition, r.offset, r.key.as_deref(), r.value.as_deref())).collect();
    let expected = [
        (0, 0, Some(&b"b"[..]), Some(&[0, 255, 7][..])),
        (2, 0, Some(&b"a"[..]), Some(&b"one"[..])),
        (2, 1, Some(&b"a"[..]), None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(stored[1].header("content-type"), Some("audio/PCMU"));
    assert_eq!(stored[1].timestamp_ms, Some(1_700_000_000_000));
}

#[tokio::test]
async fn a_group_keeps_its_offsets_and_a_reader_waits_for_more() {
    let cluster = Cluster::start().await;
    cluster.create_topic("speech", 2, &[]).await;
    let consumer: StreamConsumer = cluster
        .client()
        .set("group.id", "listeners")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&["speech"]).expect("a subscription");
    assert_eq!(cluster.committed("listeners", "speech").await, [(0, None), (1, None)].into());

    let produce = async { cluster.produce("speech", &[Record::new("a", "one").partition(1)]).await };
    let limit = Duration::from_secs(60);
    let (waited, _) =
        tokio::join!(cluster.read_until("speech", limit, |records| records.len() == 1), produce);
    assert_eq!(waited[0].value.as_deref(), Some(&b"one"[..]));

    let message = tokio::time::timeout(limit, consumer.recv()).await.expect("in time").expect("a message");
    assert_eq!((message.partition(), message.offset()), (1, 0));
    consumer.commit_message(&message, CommitMode::Sync).expect("a commit");
    assert_eq!(cluster.committed("listeners", "speech").await, [(0, None), (1, Some(1))].into());
}

#[tokio::test]
async fn the_cluster_kind_is_the_requested_one() {
    let cluster = Cluster::start().await;
    match std::env::var("AFFECTD_TEST_KAFKA").as_deref() {
        Ok("mock") => assert_eq!(cluster.kind, Kind::Mock),
        Ok("real") => assert_eq!(cluster.kind, Kind::Real),
        _ => assert!(!cluster.brokers.is_empty()),
    }
}
