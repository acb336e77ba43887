//! The lag of each partition in the metrics of the daemon that reads it, and of no other.

use std::collections::BTreeSet;

use affectd::model::{Layout, Output};

use crate::support::call_fixture::metrics_reach;
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Record};
use crate::support::model_fixture;

/// Waits until the daemon exports the lag of exactly `count` partitions, and returns those of them that have caught up.
async fn partitions(daemon: &Daemon, count: usize) -> BTreeSet<String> {
    let series = |text: &str| -> Vec<String> {
        let lags = text.lines().filter(|line| line.starts_with("affectd_kafka_lag{"));
        lags.map(str::to_owned).collect()
    };
    let text = metrics_reach(daemon, |text| series(text).len() == count).await;
    series(&text).into_iter().filter_map(|line| line.strip_suffix(" 0").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_daemon_exports_the_lag_of_its_own_partitions() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 2, &[]).await;
    }
    cluster.create_topic("affectd.progress", 2, &[("cleanup.policy", "compact")]).await;
    let record = |partition| {
        let record = Record::new(format!("call-{partition}"), vec![0xff; 800]);
        let record = record.header("content-type", "audio/PCMU;rate=8000").header("affectd-last", "true");
        record.partition(partition)
    };
    cluster.produce("affectd.audio", &[record(0), record(1)]).await;
    let config = folder.path().join("affectd.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n\"statistics.interval.ms\" = \"200\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    let options = Options::new().config(config);

    let mut first = options.start().await;
    metrics_reach(&first, |text| {
        let caught_up =
            text.lines().filter(|line| line.starts_with("affectd_kafka_lag{") && line.ends_with(" 0"));
        caught_up.count() == 2
    })
    .await;
    let mut second = options.start().await;
    let (of_first, of_second) = (partitions(&first, 1).await, partitions(&second, 1).await);
    assert!(of_first.is_disjoint(&of_second), "{of_first:?} and {of_second:?}");
    for daemon in [&mut first, &mut second] {
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
}
