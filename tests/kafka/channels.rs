//! Channel policy and names on Kafka: those of the first record apply to the whole stream, also after a restart.

use std::collections::BTreeSet;

use affectd::model::{Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, ChannelPolicy, EmotionEvent, Encoding};
use prost::Message;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture;

/// A second of stereo µ-law at 8 kHz.
fn second(seed: usize) -> Vec<u8> {
    (0..16_000).map(|n| (n * 7 + seed * 13) as u8).collect()
}

/// Raw bytes; the first record has additional headers.
fn raw(stream_id: &str, number: usize, first: &[(&str, &str)]) -> Record {
    let record = Record::new(stream_id, second(number)).header("content-type", "audio/PCMU;channels=2");
    if number > 0 {
        return record;
    }
    first.iter().fold(record, |record, (name, value)| record.header(name, *value))
}

/// Messages; the first one requests the mean of the channels.
fn mixed(stream_id: &str, number: usize) -> Record {
    let policy = if number == 0 { ChannelPolicy::Mix } else { ChannelPolicy::Unspecified };
    let chunk = AudioChunk {
        stream_id: stream_id.into(),
        format: Some(AudioFormat { encoding: Encoding::Mulaw.into(), sample_rate_hz: 8_000, channels: 2 }),
        audio: second(number).into(),
        channels: policy.into(),
        ..AudioChunk::default()
    };
    Record::new(stream_id, chunk.encode_to_vec())
}

fn event(record: &Stored) -> EmotionEvent {
    EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn channel_policy_and_names_survive_a_restart() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;
    let options = |configured: &str| {
        Options::new()
            .set("kafka.brokers", &cluster.brokers)
            .set("kafka.commit_interval", "100ms")
            .set("kafka.properties.session.timeout.ms", "6000")
            .set("model.path", model.to_str().unwrap())
            .set("audio.channels", configured)
    };
    let named = [("affectd-channel-names", "agent, customer")];
    let first = [("affectd-channels", "first"), named[0]];

    // The second reader never reads the records with the policy, and its configuration has another one.
    for (part, configured) in [(0..3, "split"), (3..6, "mix")] {
        let records: Vec<Record> = part
            .clone()
            .flat_map(|number| {
                [raw("named", number, &named), raw("first", number, &first), mixed("mixed", number)]
            })
            .collect();
        cluster.produce("affectd.audio", &records).await;
        let mut daemon = options(configured).start().await;
        // Windows of 1 s every 0.5 s in four channels: after n seconds 2n - 1 windows of each channel are complete.
        let due = 4 * (2 * part.end - 1);
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= due).await;
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }

    let published = cluster.read("affectd.emotions").await;
    let mut found = BTreeSet::new();
    for record in &published {
        let event = event(record);
        let header = record.header("ce_channelname");
        assert_eq!(header.unwrap_or_default(), event.channel_name, "{}", event.stream_id);
        found.insert((event.stream_id, event.channel, event.channel_name, event.window_index));
    }
    let expected = [("named", 0, "agent"), ("named", 1, "customer"), ("first", 0, "agent"), ("mixed", 0, "")]
        .into_iter()
        .flat_map(|(id, channel, name)| {
            (0..11).map(move |index| (id.to_owned(), channel, name.to_owned(), index))
        });
    assert_eq!(found, expected.collect());
}
