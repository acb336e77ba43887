//! Alerts over Kafka: after crashes the same ones with the same ids, and none is lost.

use std::path::Path;

use affectd::proto::{Alert, CallSummary};
use prost::Message;

use crate::support::PATIENCE;
use crate::support::call_fixture::{connect, recognize};
use crate::support::daemon::Options;
use crate::support::gated_talk::{PARTS, chunks};
use crate::support::kafka::{Cluster, Kind, Stored};
use crate::support::kafka_calls::{committed, options, records, topics, with_rules};

fn alerts(stored: &[Stored]) -> Vec<Alert> {
    stored.iter().map(|record| Alert::decode(record.value.as_deref().unwrap()).unwrap()).collect()
}

/// Every alert once, and the alerts of the summary, of a call whose reader is killed after each of the `stops`, in tenths of a second.
async fn published(
    cluster: &Cluster,
    options: &Options,
    run: &str,
    stops: &[usize],
) -> (Vec<Alert>, Vec<Alert>) {
    topics(cluster, run).await;
    let (records, audio, mut sent) = (records(), format!("{run}.audio"), 0);
    for stop in stops {
        cluster.produce(&audio, &records[sent..*stop]).await;
        sent = *stop;
        let daemon = options.start().await;
        committed(cluster, run, *stop as i64 - 15).await;
        daemon.kill().await;
    }
    cluster.produce(&audio, &records[sent..]).await;
    let mut daemon = options.start().await;
    committed(cluster, run, records.len() as i64).await;
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    let stored = cluster.read(&format!("{run}.alerts")).await;
    assert_eq!(stored[0].key.as_deref(), Some(&b"talk"[..]));
    assert_eq!(stored[0].header("ce_type"), Some("affectd.v1.Alert"));
    let calls = cluster.read(&format!("{run}.calls")).await;
    let summary = CallSummary::decode(calls[0].value.as_deref().unwrap()).unwrap();
    (alerts(&stored), summary.alerts)
}

fn once(mut alerts: Vec<Alert>) -> Vec<Alert> {
    let key = |alert: &Alert| (alert.alert_id.clone(), alert.state.clone());
    alerts.sort_by_key(key);
    alerts.dedup();
    alerts
}

async fn check(folder: &Path, cluster: &Cluster, delivery: &str) {
    let (calm, rough) = (format!("alerts-calm-{delivery}"), format!("alerts-rough-{delivery}"));
    let at = |run: &str| with_rules(options(cluster, folder, run, "gate")).set("kafka.delivery", delivery);
    let (expected, held) = published(cluster, &at(&calm), &calm, &[]).await;
    assert!(expected.len() >= 4 && expected.len() % 2 == 0, "{expected:?}");
    assert_eq!(held.len() * 2, expected.len(), "each is raised and cleared");
    // A named instance: its next start ends its open transaction.
    let rough_options = at(&rough).set("kafka.instance_id", "affectd-0");
    let (found, held_after) = published(cluster, &rough_options, &rough, &[40, 85]).await;
    if delivery == "exactly-once" {
        assert_eq!(found.len(), expected.len(), "each change once");
    }
    assert_eq!(once(found), once(expected));
    assert_eq!(held_after, held);
}

#[tokio::test]
async fn alerts_after_crashes_are_the_same_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    check(folder.path(), &cluster, "at-least-once").await;
    if cluster.kind == Kind::Mock {
        return eprintln!(
            "exactly once not run: the mock cluster does not end transactions of a producer that is gone"
        );
    }
    check(folder.path(), &cluster, "exactly-once").await;
}

/// No offset depends on a call over gRPC, so it is part of no transaction.
#[tokio::test]
async fn a_call_over_grpc_has_its_summary_and_alerts_beside_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (cluster, run) = (Cluster::start().await, "grpc-beside-transactions");
    topics(&cluster, run).await;
    let options = with_rules(options(&cluster, folder.path(), run, "gate"));
    let mut daemon = options.set("kafka.delivery", "exactly-once").start().await;
    let mut chunks = chunks(PARTS);
    chunks[0].attributes.insert("call_id".to_owned(), "talk".to_owned());
    recognize(&connect(&daemon).await, chunks).await.good();
    let enough = |records: &[Stored]| !records.is_empty();
    let calls = cluster.read_until(&format!("{run}.calls"), PATIENCE, enough).await;
    let summary = CallSummary::decode(calls[0].value.as_deref().unwrap()).unwrap();
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
    let stored = alerts(&cluster.read(&format!("{run}.alerts")).await);
    assert!(stored.len() >= 4, "{stored:?}");
    let cleared: Vec<Alert> = stored.into_iter().filter(|alert| alert.state == "cleared").collect();
    assert_eq!(once(cleared), once(summary.alerts));
}
