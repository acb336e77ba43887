//! Partitions that move to a second daemon: how long that takes while streams are open, and that it happens although the first one cannot publish what it
//! has read, or an answer of the coordinator is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use affectd::model::{Layout, Output};
use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::PATIENCE;
use crate::support::acl;
use crate::support::call_fixture::{bounded, logs, metric_reaches, metrics_reach};
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Kind, Record, Stored};
use crate::support::model_fixture;

const STREAMS: usize = 8;
const PARTITIONS: usize = 8;
/// The audio of one chunk at the pace of speech.
const CHUNK: Duration = Duration::from_millis(250);

/// A daemon on topics whose names begin with `run`.
async fn options(cluster: &Cluster, model: &Path, run: &str) -> Options {
    for topic in ["audio", "emotions", "dead-letters"] {
        cluster.create_topic(&format!("{run}.{topic}"), PARTITIONS as i32, &[]).await;
    }
    let compacted = [("cleanup.policy", "compact")];
    cluster.create_topic(&format!("{run}.progress"), PARTITIONS as i32, &compacted).await;
    Options::new()
        .set("model.path", model.to_str().unwrap())
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.group_id", run)
        .set("kafka.input_topic", &format!("{run}.audio"))
        .set("kafka.output_topic", &format!("{run}.emotions"))
        .set("kafka.dead_letter_topic", &format!("{run}.dead-letters"))
        .set("kafka.progress_topic", &format!("{run}.progress"))
}

/// Writes chunks of two streams to each partition, at the pace of speech and without an end.
async fn speak(cluster: &Cluster, run: &str) {
    let record = |stream: usize| {
        let audio = vec![0x55; CHUNK.as_millis() as usize * 8];
        let record = Record::new(format!("call-{stream}"), audio).partition((stream % PARTITIONS) as i32);
        record.header("content-type", "audio/PCMU;rate=8000")
    };
    let records: Vec<Record> = (0..2 * PARTITIONS).map(record).collect();
    let mut ticks = tokio::time::interval(CHUNK);
    loop {
        ticks.tick().await;
        cluster.produce(&format!("{run}.audio"), &records).await;
    }
}

fn assigned(daemon: &Daemon) -> usize {
    daemon.log().matches("partition assigned").count()
}

async fn has_assigned(daemon: &Daemon, partitions: usize) {
    let assigned = async {
        while assigned(daemon) < partitions {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    bounded("partitions", assigned).await;
}

/// Returns the time in which a second daemon has half of the partitions.
async fn time_to_half(options: &Options) -> Duration {
    let first = options.start().await;
    has_assigned(&first, PARTITIONS).await;
    // Streams are open, and their progress is committed.
    metric_reaches(&first, "affectd_kafka_commits_total", |commits| commits >= 2.0).await;
    metric_reaches(&first, "affectd_windows_total", |windows| windows > 0.0).await;
    let (before, started) = (assigned(&first), Instant::now());
    let mut second = options.start_unready().await;
    has_assigned(&second, PARTITIONS / 2).await;
    let taken = started.elapsed();
    let log = second.log();
    assert!(log.lines().any(|line| line.contains("partition assigned") && !line.contains("streams=0")));
    second.terminate();
    assert!(second.ended().await.success(), "{}", second.log());
    has_assigned(&first, before + PARTITIONS / 2).await;
    taken
}

#[tokio::test]
async fn a_second_daemon_takes_half_of_the_partitions_while_streams_are_open() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the time of the mock cluster is no measure");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for delivery in ["at-least-once", "exactly-once"] {
        let options = options(&cluster, &model, delivery).await.set("kafka.delivery", delivery);
        let taken = tokio::select! {
            taken = time_to_half(&options) => taken,
            () = speak(&cluster, delivery) => unreachable!("it has no end"),
        };
        eprintln!("{delivery}: half of the partitions after {taken:.1?}");
    }
}

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
    cluster.read_until("affectd.emotions", PATIENCE, all).await;
    first.kill().await;
    second.kill().await;
}

/// The consumer protocol (KIP-848): the coordinator tells the first daemon to release partitions, and that answer to a heartbeat is lost.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_although_an_answer_of_the_coordinator_is_lost() {
    let mut cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster cannot be stopped");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let options = options(&cluster, &model, "lost")
        .await
        .set("kafka.properties.group.protocol", "consumer")
        .set("kafka.properties.statistics.interval.ms", "1000")
        .set("kafka.properties.debug", "cgrp")
        .env("RUST_LOG", "info,librdkafka=debug");
    let mut first = options.start().await;
    has_assigned(&first, PARTITIONS).await;
    let mut second = options.start_unready().await;
    // It is a member now. The answer to the next heartbeat of the first daemon takes partitions from it, and comes after the heartbeat's timeout of 1 s.
    logs(&second, "ConsumerGroupHeartbeat response received").await;
    cluster.control("pause");
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    cluster.control("resume");
    has_assigned(&second, PARTITIONS / 2).await;
    for daemon in [&mut first, &mut second] {
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
}

/// The consumer protocol: the brokers refuse a second member of one instance id until the session of the first one has timed out.
#[tokio::test]
async fn a_daemon_waits_until_its_instance_id_is_free() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster has no static members of this protocol");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for delivery in ["at-least-once", "exactly-once"] {
        let options = options(&cluster, &model, delivery)
            .await
            .set("kafka.delivery", delivery)
            .set("kafka.instance_id", "affectd-0")
            .set("kafka.properties.group.protocol", "consumer");
        let first = options.start().await;
        has_assigned(&first, PARTITIONS).await;
        first.kill().await;
        let mut second = options.start().await;
        has_assigned(&second, PARTITIONS).await;
        assert!(second.log().contains("UnreleasedInstanceId"), "{}", second.log());
        second.terminate();
        assert!(second.ended().await.success(), "{}", second.log());
    }
}

/// With names, a killed daemon has its partitions back at once: the session of the killed one, of minutes here, is not waited for and no partition moves.
#[tokio::test]
async fn a_static_member_that_was_killed_has_its_partitions_back_within_its_session() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster assigns static members anew");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let options =
        options(&cluster, &model, "static").await.set("kafka.properties.session.timeout.ms", "300000");
    let named = |name: &str| options.clone().set("kafka.instance_id", name);
    let mut first = named("affectd-0").start().await;
    has_assigned(&first, PARTITIONS).await;
    let second = named("affectd-1").start().await;
    has_assigned(&second, PARTITIONS / 2).await;
    let revoked = |daemon: &Daemon| daemon.log().matches("partitions revoked").count();
    let before = revoked(&first);
    second.kill().await;
    let mut again = named("affectd-1").start().await;
    has_assigned(&again, PARTITIONS / 2).await;
    assert_eq!(revoked(&first), before, "{}", first.log());
    for daemon in [&mut again, &mut first] {
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
}

/// The right to be a member is missing at the start, and is withdrawn for a while later: no daemon ends, and each window is published once.
#[tokio::test]
async fn a_group_that_refuses_its_members_for_a_while_is_waited_for() {
    let cluster = Cluster::start().await;
    if cluster.kind == Kind::Mock {
        eprintln!("not run: the mock cluster has no rights");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for protocol in ["classic", "consumer"] {
        let options = options(&cluster, &model, protocol)
            .await
            .set("kafka.delivery", "exactly-once")
            .set("kafka.unready_after", "1s")
            .set("kafka.properties.group.protocol", protocol);
        let [input, output] = ["audio", "emotions"].map(|topic| format!("{protocol}.{topic}"));
        acl::set_members_allowed(&cluster.brokers, protocol, false);
        let mut daemon = options.start_unready().await;
        logs(&daemon, "GroupAuthorizationFailed").await;
        daemon.wait_readyz(503, "joining the group").await;
        acl::set_members_allowed(&cluster.brokers, protocol, true);
        has_assigned(&daemon, PARTITIONS).await;

        let second = || Record::new("call", vec![0x55; 8_000]).header("content-type", "audio/PCMU;rate=8000");
        cluster.produce(&input, &[second(), second()]).await;
        cluster.read_until(&output, PATIENCE, |events| events.len() == 3).await;
        acl::set_members_allowed(&cluster.brokers, protocol, false);
        let unready = async {
            while daemon.get("/readyz").await.unwrap().0 == 200 {
                cluster.produce(&input, &[second()]).await;
            }
        };
        bounded("an unready daemon", unready).await;
        acl::set_members_allowed(&cluster.brokers, protocol, true);
        cluster.produce(&input, &[second().header("affectd-last", "true")]).await;
        let seconds = cluster.read(&input).await.len();
        let events = 2 * seconds - 1;
        cluster.read_until(&output, PATIENCE, |found| found.len() >= events).await;
        assert_eq!(cluster.read(&output).await.len(), events, "{}", daemon.log());
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
}
