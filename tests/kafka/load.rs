//! `affectd load` over Kafka: events are matched with their streams, and both sides count the same.

use crate::support::call_fixture::{metric, tiny};
use crate::support::kafka::Cluster;
use crate::support::load_report::{PUBLISHED, WINDOWS_OF_2_S, assert_sound, number, report};

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
