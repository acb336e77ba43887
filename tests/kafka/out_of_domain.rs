//! The out-of-domain state over Kafka: it is part of the stream's progress, so that the next reader goes on with it.

use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::PATIENCE;
use crate::support::call_fixture::{OUT_OF_DOMAIN_LEVEL, loud, metric_reaches, soft};
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record};
use crate::support::model_fixture;

const GAUGE: &str = "affectd_out_of_domain_streams";

/// Raw µ-law, a second.
fn record(audio: Vec<u8>) -> Record {
    Record::new("call", audio).header("content-type", "audio/PCMU")
}

#[tokio::test]
async fn the_next_reader_counts_the_stream_and_logs_it_no_second_time() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (contract, graph) = model_fixture::with_out_of_domain(OUT_OF_DOMAIN_LEVEL);
    let model = model_fixture::write(folder.path(), graph, &contract);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let options = Options::new()
        .set("model.path", model.to_str().unwrap())
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.commit_interval", "100ms")
        .set("publish.out_of_domain_after", "3s");
    for (reader, logged) in [(0_u64, 1), (1, 0)] {
        let seconds = (5 * reader..5 * reader + 5).map(|second| record(loud(8_000, second)));
        cluster.produce("affectd.audio", &seconds.collect::<Vec<_>>()).await;
        let mut daemon = options.start().await;
        // Windows of 1 s every 0.5 s: after n seconds 2n - 1 are complete.
        let due = (2 * 5 * (reader + 1) - 1) as usize;
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= due).await;
        metric_reaches(&daemon, GAUGE, |streams| streams == 1.0).await;
        let lines = daemon.log().matches("a channel is out of domain").count();
        assert_eq!(lines, logged, "reader {reader}: {}", daemon.log());
        if reader == 1 {
            let quiet: Vec<Record> = (0..3).map(|second| record(soft(8_000, second))).collect();
            cluster.produce("affectd.audio", &quiet).await;
            metric_reaches(&daemon, GAUGE, |streams| streams == 0.0).await;
        }
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }
    let events = cluster.read("affectd.emotions").await;
    let event = |at: usize| EmotionEvent::decode(events[at].value.as_deref().unwrap()).unwrap();
    assert!((0..19).all(|at| event(at).out_of_domain_score.unwrap() > OUT_OF_DOMAIN_LEVEL));
}
