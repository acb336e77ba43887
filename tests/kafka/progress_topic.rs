//! The progress topic refuses records for a while, is deleted while a daemon runs, and is gone at a start.

use std::path::Path;

use affectd::model::{Layout, Output};

use crate::support::PATIENCE;
use crate::support::acl;
use crate::support::call_fixture::{bounded, metrics_reach};
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;

/// A real cluster; `None` with the mock, which has no rights and deletes no topics.
async fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster has no rights and deletes no topics");
        return None;
    }
    Some(cluster)
}

/// A daemon on topics of its own, whose names begin with its delivery mode.
async fn options(cluster: &Cluster, folder: &Path, delivery: &str) -> Options {
    for topic in ["audio", "emotions", "dead-letters"] {
        cluster.create_topic(&format!("{delivery}.{topic}"), 1, &[]).await;
    }
    cluster.create_topic(&format!("{delivery}.progress"), 1, &[("cleanup.policy", "compact")]).await;
    let model = model_fixture::tiny(folder, Layout::Ntc, Output::Logits);
    Options::new()
        .set("model.path", model.to_str().unwrap())
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.group_id", delivery)
        .set("kafka.delivery", delivery)
        .set("kafka.commit_interval", "100ms")
        .set("kafka.unready_after", "1s")
        .set("kafka.input_topic", &format!("{delivery}.audio"))
        .set("kafka.output_topic", &format!("{delivery}.emotions"))
        .set("kafka.dead_letter_topic", &format!("{delivery}.dead-letters"))
        .set("kafka.progress_topic", &format!("{delivery}.progress"))
}

/// A second of a call: one window, and one more with the second before.
fn second() -> Record {
    Record::new("call", vec![0x55; 8_000]).header("content-type", "audio/PCMU;rate=8000")
}

fn last() -> Record {
    second().header("affectd-last", "true")
}

/// Waits until the group has committed an offset that is right.
async fn committed(cluster: &Cluster, delivery: &str, is_right: impl Fn(i64) -> bool) {
    let committed = async {
        loop {
            let offsets = cluster.committed(delivery, &format!("{delivery}.audio")).await;
            if offsets[&0].is_some_and(&is_right) {
                return;
            }
        }
    };
    bounded("a commit", committed).await;
}

async fn stop(mut daemon: Daemon) {
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

#[tokio::test]
async fn a_progress_topic_that_refuses_or_is_deleted_stops_no_daemon_and_loses_nothing() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    for delivery in ["at-least-once", "exactly-once"] {
        let daemon = options(&cluster, folder.path(), delivery).await.start().await;
        let [input, progress] = ["audio", "progress"].map(|topic| format!("{delivery}.{topic}"));
        acl::deny_writes(&cluster.brokers, &progress);
        cluster.produce(&input, &[second(), second(), second()]).await;
        daemon.wait_readyz(503, "no acknowledgement of the commit").await;
        acl::allow_writes(&cluster.brokers, &progress);
        daemon.wait_ready().await;
        committed(&cluster, delivery, |offset| offset > 0).await;

        cluster.delete_topic(&progress).await;
        cluster.produce(&input, &[second(), last()]).await;
        committed(&cluster, delivery, |offset| offset == 5).await;
        assert_eq!(cluster.read(&format!("{delivery}.emotions")).await.len(), 9, "{}", daemon.log());
        stop(daemon).await;
    }
}

#[tokio::test]
async fn a_progress_topic_that_is_gone_stops_the_daemon_unless_streams_may_begin_anew() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    for delivery in ["at-least-once", "exactly-once"] {
        let options = options(&cluster, folder.path(), delivery).await;
        let [input, output, progress] =
            ["audio", "emotions", "progress"].map(|topic| format!("{delivery}.{topic}"));
        cluster.produce(&input, &[second(), second(), second()]).await;
        let daemon = options.start().await;
        committed(&cluster, delivery, |offset| offset > 0).await;
        stop(daemon).await;
        cluster.delete_topic(&progress).await;

        let mut daemon = options.start_unready().await;
        assert_eq!(daemon.ended().await.code(), Some(1), "{}", daemon.log());
        let log = daemon.log();
        for named in [&*progress, "1 streams", "kafka.on_lost_progress"] {
            assert!(log.contains(named), "the log should name {named}:\n{log}");
        }

        let daemon = options.clone().set("kafka.on_lost_progress", "restart").start().await;
        metrics_reach(&daemon, |text| text.contains("affectd_kafka_lost_progress_total 1")).await;
        cluster.produce(&input, &[last()]).await;
        committed(&cluster, delivery, |offset| offset == 4).await;
        stop(daemon).await;
        // Nothing is left that a start with the default would stop at.
        stop(options.start().await).await;
        let windows = |events: &[Stored]| events.len() > 5;
        cluster.read_until(&output, PATIENCE, windows).await;
    }
}
