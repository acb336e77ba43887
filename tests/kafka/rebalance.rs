//! Partitions that move to a second daemon although the first one cannot publish what it has read.

use std::collections::BTreeSet;
use std::time::Duration;

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::acl;
use crate::support::call_fixture::{logs, metrics_reach};
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;

const STREAMS: usize = 8;

#[tokio::test]
async fn partitions_are_released_after_the_revoke_timeout_although_the_output_refuses() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster has no rights");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 4, &[]).await;
    }
    cluster.create_topic("affectd.progress", 4, &[("cleanup.policy", "compact")]).await;
    let config = folder.path().join("affectd.toml");
    // Longer than the tests wait for a start.
    let text = format!(
        "[model]\npath = {model:?}\n[limits]\ngrace_period = \"120s\"\nrevoke_timeout = \"1s\"\n[kafka]\nbrokers = {:?}\n\
         commit_interval = \"100ms\"\n[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    std::fs::write(&config, text).unwrap();
    let options = Options::new().config(config);
    let first = options.start().await;
    acl::deny_writes(&cluster.brokers, "affectd.emotions");
    let record = |number: usize| {
        let record = Record::new(format!("call-{number}"), vec![0x55; 8_000]).partition((number % 4) as i32);
        record.header("content-type", "audio/PCMU;rate=8000").header("affectd-last", "true")
    };
    cluster.produce("affectd.audio", &(0..STREAMS).map(record).collect::<Vec<_>>()).await;
    metrics_reach(&first, |text| {
        let retried = "affectd_kafka_refused_total{outcome=\"retried\"} ";
        text.lines().any(|line| line.strip_prefix(retried).is_some_and(|count| count != "0"))
    })
    .await;

    let second = options.start().await;
    logs(&first, "settled=false").await;
    logs(&second, "partition assigned").await;
    acl::allow_writes(&cluster.brokers, "affectd.emotions");
    let all = |events: &[Stored]| {
        let decode = |record: &Stored| EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap();
        events.iter().map(|record| decode(record).stream_id).collect::<BTreeSet<_>>().len() == STREAMS
    };
    cluster.read_until("affectd.emotions", Duration::from_secs(60), all).await;
    first.kill().await;
    second.kill().await;
}
