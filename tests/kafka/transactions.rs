//! Exactly-once delivery on a real broker: whatever happens to daemons, a reader of committed records sees each window of an undisturbed run once, with the
//! same ids and the same smoothed scores.

use std::collections::BTreeSet;

use affectd::model::{Layout, Output};

use super::crash::{assert_alike, by_id, difference, names, options, records, topics};
use crate::support::PATIENCE;
use crate::support::acl;
use crate::support::call_fixture::{metric, metrics_reach};
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::{Call, Name, calls};

/// A cluster, the calls, and the events of an undisturbed run.
struct Fixture {
    cluster: Cluster,
    folder: tempfile::TempDir,
    calls: Vec<Call>,
    expected: BTreeSet<Name>,
    calm: Vec<Stored>,
}

impl Fixture {
    /// `None` with the mock cluster, whose coordinator forgets transactions of producers that are gone.
    async fn start() -> Option<Fixture> {
        let cluster = Cluster::start().await;
        if cluster.kind == Kind::Mock {
            eprintln!("not run: the mock cluster does not end the transactions of a producer that is gone");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
        let calls = calls(20, 60);
        let expected: BTreeSet<Name> = calls.iter().flat_map(|call| call.windows(1000, 500)).collect();
        topics(&cluster, "calm").await;
        cluster.produce("calm.audio", &records(&calls, 0, 1000)).await;
        let mut daemon = options(&cluster, folder.path(), "calm").start().await;
        let enough = |records: &[Stored]| records.len() >= expected.len();
        let calm = cluster.read_until("calm.emotions", PATIENCE, enough).await;
        stop(&mut daemon).await;
        topics(&cluster, "rough").await;
        Some(Fixture { cluster, folder, calls, expected, calm })
    }

    fn options(&self, delivery: &str) -> Options {
        options(&self.cluster, self.folder.path(), "rough")
            .set("kafka.delivery", delivery)
            .set("kafka.properties.transaction.timeout.ms", "3000")
    }

    /// Writes chunks `from..to` (in thousandths of each call).
    async fn produce(&self, from: usize, to: usize) {
        self.cluster.produce("rough.audio", &records(&self.calls, from, to)).await;
    }

    /// Returns how many windows are published.
    async fn published(&self) -> usize {
        names(&self.cluster.read("rough.emotions").await).len()
    }

    /// Waits until more than a few windows are published beyond the first `before`.
    async fn wait_for_more_than(&self, before: usize) {
        let enough = |records: &[Stored]| names(records).len() > before + 10;
        self.cluster.read_until("rough.emotions", PATIENCE, enough).await;
    }

    /// Waits until all windows are published, and compares them with the undisturbed run.
    async fn check(&self) -> Vec<Stored> {
        let complete = |records: &[Stored]| names(records) == self.expected;
        self.cluster.read_until("rough.emotions", PATIENCE, complete).await;
        let published = self.cluster.read("rough.emotions").await;
        let (missing, extra) = difference(&self.expected, &names(&published));
        assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, not expected {extra:?}");
        let (calm, rough) = (by_id(&self.calm), by_id(&published));
        assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        calm.iter().for_each(|(id, event)| assert_alike(event, &rough[id]));
        published
    }
}

async fn stop(daemon: &mut Daemon) {
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

#[tokio::test]
async fn daemons_killed_in_transactions_publish_each_window_once() {
    let Some(fixture) = Fixture::start().await else { return };
    // A named instance: its next start ends its open transaction and gets its partitions back at once.
    let rough = fixture.options("exactly-once").set("kafka.instance_id", "affectd-0");
    for (from, to) in [(0, 400), (400, 550), (550, 700), (700, 850)] {
        fixture.produce(from, to).await;
        let before = fixture.published().await;
        let daemon = rough.start().await;
        fixture.wait_for_more_than(before).await;
        daemon.kill().await;
    }
    fixture.produce(850, 1000).await;
    let mut daemon = rough.start().await;
    let published = fixture.check().await;
    stop(&mut daemon).await;
    assert_eq!(published.len(), fixture.expected.len(), "each window once");
}

/// A process that is stopped for longer than its session and its transaction, while another one takes its partitions.
#[tokio::test]
async fn a_daemon_that_was_stopped_for_long_publishes_nothing_twice() {
    let Some(fixture) = Fixture::start().await else { return };
    let rough = fixture.options("exactly-once");
    fixture.produce(0, 400).await;
    let mut stopped = rough.start().await;
    fixture.wait_for_more_than(0).await;
    signal(&stopped, "-STOP");
    let before = fixture.published().await;
    fixture.produce(400, 800).await;
    let mut successor = rough.start().await;
    fixture.wait_for_more_than(before).await;
    signal(&stopped, "-CONT");
    fixture.produce(800, 1000).await;
    let published = fixture.check().await;
    stop(&mut stopped).await;
    stop(&mut successor).await;
    let after = fixture.cluster.read("rough.emotions").await;
    assert_eq!((published.len(), after.len()), (fixture.expected.len(), fixture.expected.len()));
}

/// A running group changes from one mode to the other and back. Where each daemon is stopped in order, nothing is published twice.
#[tokio::test]
async fn a_group_changes_its_mode_between_two_starts() {
    let Some(fixture) = Fixture::start().await else { return };
    let steps = [
        ("at-least-once", 0, 400),
        ("exactly-once", 400, 600),
        ("at-least-once", 600, 800),
        ("exactly-once", 800, 1000),
    ];
    for (mode, from, to) in steps {
        fixture.produce(from, to).await;
        let before = fixture.published().await;
        let mut daemon = fixture.options(mode).start().await;
        fixture.wait_for_more_than(before).await;
        if to < 1000 {
            stop(&mut daemon).await;
        } else {
            let published = fixture.check().await;
            stop(&mut daemon).await;
            assert_eq!(published.len(), fixture.expected.len(), "each window once");
        }
    }
}

/// The group protocol of KIP-848, in which the broker assigns partitions. A second daemon takes over some of them, and each window is published once.
#[tokio::test]
async fn the_consumer_protocol_shares_partitions_exactly_once() {
    let Some(fixture) = Fixture::start().await else { return };
    let config = fixture.folder.path().join("rough.toml");
    let options = fixture.options("exactly-once").set("kafka.properties.group.protocol", "consumer");
    // The protocol has no session timeout of the client.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"session.timeout.ms\" = \"6000\"\n", "")).unwrap();
    fixture.produce(0, 400).await;
    let mut first = options.start().await;
    fixture.wait_for_more_than(0).await;
    let mut second = options.start().await;
    assert!(second.log().contains("partition assigned"), "{}", second.log());
    fixture.produce(400, 1000).await;
    let published = fixture.check().await;
    assert_eq!(published.len(), fixture.expected.len(), "each window once");
    stop(&mut first).await;
    stop(&mut second).await;
}

/// While the output refuses, transactions are aborted and tried again, less and less often; `/readyz` shows it, and nothing is lost or published twice.
#[tokio::test]
async fn an_output_that_refuses_for_a_while_is_tried_again_with_growing_pauses() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster has no rights");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    topics(&cluster, "rough").await;
    let calls = calls(4, 60);
    let expected: BTreeSet<Name> = calls.iter().flat_map(|call| call.windows(1000, 500)).collect();
    let options = options(&cluster, folder.path(), "rough").set("kafka.delivery", "exactly-once");
    let mut daemon = options.set("kafka.unready_after", "3s").start().await;
    acl::deny_writes(&cluster.brokers, "rough.emotions");
    cluster.produce("rough.audio", &records(&calls, 0, 1000)).await;
    daemon.wait_readyz(503, "no acknowledgement of the commit").await;
    // Pauses of 0.1, 0.2, 0.4, 0.8 and 1.6 s fit into the time; without growth there are some dozen tries.
    let aborted = metric(&daemon, "affectd_kafka_transactions_aborted_total").await;
    assert!((2.0..=8.0).contains(&aborted), "{aborted} tries");
    acl::allow_writes(&cluster.brokers, "rough.emotions");
    daemon.wait_ready().await;
    let complete = |records: &[Stored]| names(records) == expected;
    cluster.read_until("rough.emotions", PATIENCE, complete).await;
    stop(&mut daemon).await;
    assert_eq!(cluster.read("rough.emotions").await.len(), expected.len(), "each window once");
}

/// The brokers refuse a batch as a whole. Its records are not to blame: each is sent alone then, and none becomes a dead letter.
#[tokio::test]
async fn a_batch_that_is_too_large_for_the_topic_costs_no_event() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: topics of the mock cluster have no limits");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    cluster.create_topic("batch.audio", 1, &[]).await;
    cluster.create_topic("batch.emotions", 1, &[("max.message.bytes", "3000")]).await;
    cluster.create_topic("batch.dead-letters", 1, &[]).await;
    cluster.create_topic("batch.progress", 1, &[("cleanup.policy", "compact")]).await;
    let second = |number: u32| {
        let record = Record::new("call", vec![0x55; 8_000]).header("content-type", "audio/PCMU;rate=8000");
        if number == 59 { record.header("affectd-last", "true") } else { record }
    };
    cluster.produce("batch.audio", &(0..60).map(second).collect::<Vec<_>>()).await;
    let options = options(&cluster, folder.path(), "batch").set("kafka.delivery", "exactly-once");
    let mut daemon = options.set("kafka.transaction_interval", "1s").start().await;
    // A window of a second every half second.
    cluster.read_until("batch.emotions", PATIENCE, |events| events.len() >= 119).await;
    let aborted = |text: &str| !text.contains("affectd_kafka_transactions_aborted_total 0");
    metrics_reach(&daemon, aborted).await;
    stop(&mut daemon).await;
    assert_eq!(cluster.read("batch.emotions").await.len(), 119);
    assert!(cluster.read("batch.dead-letters").await.is_empty());
}

/// Large events that fit alone and not together, and one among them that does not fit. It alone becomes a dead letter.
#[tokio::test]
async fn a_record_that_is_refused_among_others_alone_becomes_a_dead_letter() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: topics of the mock cluster have no limits");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    cluster.create_topic("large.audio", 1, &[]).await;
    cluster.create_topic("large.emotions", 1, &[("max.message.bytes", "4000")]).await;
    cluster.create_topic("large.dead-letters", 1, &[]).await;
    cluster.create_topic("large.progress", 1, &[("cleanup.policy", "compact")]).await;
    // An event has the id of its stream some times.
    let id = |number: usize| format!("{number:02}{}", "x".repeat(if number == 7 { 1_500 } else { 500 }));
    let stream = |number: usize| {
        let record =
            Record::new(id(number), vec![0x55; 8_000]).header("content-type", "audio/PCMU;rate=8000");
        record.header("affectd-last", "true")
    };
    cluster.produce("large.audio", &(0..12).map(stream).collect::<Vec<_>>()).await;
    let options = options(&cluster, folder.path(), "large").set("kafka.delivery", "exactly-once");
    let options = options.set("kafka.transaction_interval", "1s").set("limits.max_id_bytes", "2000");
    let mut daemon = options.start().await;
    cluster.read_until("large.emotions", PATIENCE, |events| events.len() >= 11).await;
    stop(&mut daemon).await;
    let keys = |records: Vec<Stored>| -> Vec<String> {
        records.into_iter().map(|record| String::from_utf8(record.key.unwrap()).unwrap()).collect()
    };
    let others: Vec<String> = (0..12).filter(|number| *number != 7).map(id).collect();
    // Streams of different shards are published in any order.
    let mut published = keys(cluster.read("large.emotions").await);
    published.sort();
    assert_eq!(published, others);
    let letters = cluster.read("large.dead-letters").await;
    let error = letters[0].header("affectd-error").unwrap();
    assert!(error.contains("MessageSizeTooLarge"), "{error}");
    assert_eq!((letters[0].value.as_deref(), letters[0].header("affectd-reason")), (None, Some("event")));
    // A key of more than 1,000 bytes is left out.
    assert_eq!((letters.len(), letters[0].header("ce_subject")), (1, Some(&*id(7))));
}

fn signal(daemon: &Daemon, signal: &str) {
    let kill = std::process::Command::new("kill").arg(signal).arg(daemon.pid().to_string()).status();
    assert!(kill.unwrap().success(), "the signal reaches the daemon");
}
