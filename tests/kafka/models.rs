//! Models on Kafka: requested by header or field, kept over a restart, and a shadow with its own topic.

use std::collections::BTreeSet;
use std::path::Path;

use affectd::model::{Contract, Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, EmotionEvent, Encoding};
use prost::Message;

use crate::support::PATIENCE;
use crate::support::call_fixture;
use crate::support::daemon::Options;
use crate::support::kafka::{Cluster, Record, Stored};
use crate::support::model_fixture;
use crate::support::streams::{Name, calls};

/// A second of 8 kHz µ-law.
fn second(seed: usize) -> Vec<u8> {
    (0..8_000).map(|n| (n * 7 + seed * 13) as u8).collect()
}

/// Raw bytes, a second each; the first one names the model.
fn raw(stream_id: &str, number: usize) -> Record {
    let record = Record::new(stream_id, second(number)).header("content-type", "audio/PCMU");
    if number == 0 { record.header("affectd-model", "second") } else { record }
}

/// Messages, a second each; the first one has the attributes.
fn message(stream_id: &str, number: usize) -> Record {
    let mut chunk = AudioChunk {
        stream_id: stream_id.into(),
        format: Some(AudioFormat { encoding: Encoding::Mulaw.into(), sample_rate_hz: 8_000, channels: 1 }),
        audio: second(number).into(),
        ..AudioChunk::default()
    };
    if number == 0 {
        chunk.attributes.insert("caller".into(), "0042".into());
    }
    Record::new(stream_id, chunk.encode_to_vec())
}

fn config(cluster: &Cluster, folder: &Path) -> Options {
    let mut text = format!(
        "[window]\nmin_length = \"500ms\"\n[kafka]\nbrokers = {:?}\ncommit_interval = \"100ms\"\n\
         [kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n",
        cluster.brokers
    );
    for (name, version, rest) in
        [("first", "1", ""), ("second", "1", ""), ("first", "2", "shadow = true\ntopic = \"trial\"")]
    {
        let tiny = model_fixture::contract(Layout::Ntc, Output::Logits);
        let contract = Contract { name: name.into(), version: version.into(), ..tiny };
        let sub = folder.join(format!("{name}-{version}"));
        std::fs::create_dir_all(&sub).unwrap();
        let path = model_fixture::write(&sub, model_fixture::graph(&contract), &contract);
        text += &format!("[[model]]\npath = {path:?}\n{rest}\n");
    }
    let config = folder.join("affectd.toml");
    std::fs::write(&config, text).unwrap();
    Options::new().config(config)
}

fn event(record: &Stored) -> EmotionEvent {
    EmotionEvent::decode(record.value.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_stream_keeps_its_model_and_attributes_over_a_restart_and_a_shadow_has_its_own_topic() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = config(&cluster, folder.path());
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters", "trial"] {
        cluster.create_topic(topic, 1, &[]).await;
    }
    cluster.create_topic("affectd.progress", 1, &[("cleanup.policy", "compact")]).await;

    // Two readers, one after the other: the second one never reads the chunks that name the model.
    for part in [0..4, 4..8] {
        let records: Vec<Record> =
            part.clone().flat_map(|number| [raw("raw", number), message("message", number)]).collect();
        cluster.produce("affectd.audio", &records).await;
        let mut daemon = options.start().await;
        // Windows of 1 s every 0.5 s: after n seconds of each stream 2n - 1 are complete.
        let due = 2 * (2 * part.end - 1);
        cluster.read_until("affectd.emotions", PATIENCE, |events| events.len() >= due).await;
        daemon.terminate();
        assert!(daemon.ended().await.success(), "{}", daemon.log());
    }

    let events: Vec<EmotionEvent> = cluster.read("affectd.emotions").await.iter().map(event).collect();
    let models = |id: &str| -> BTreeSet<&str> {
        events.iter().filter(|event| event.stream_id == id).map(|event| event.model.as_str()).collect()
    };
    assert_eq!((models("raw"), models("message")), (["second@1"].into(), ["first@1"].into()));
    for event in events.iter().filter(|event| event.stream_id == "message") {
        assert_eq!(
            event.attributes.get("caller").map(String::as_str),
            Some("0042"),
            "{}",
            event.window_index
        );
    }
    let windows = |events: &mut dyn Iterator<Item = &EmotionEvent>| -> BTreeSet<u64> {
        events.map(|event| event.window_index).collect()
    };
    let of_default = windows(&mut events.iter().filter(|event| event.stream_id == "message"));
    let trial: Vec<EmotionEvent> = cluster.read("trial").await.iter().map(event).collect();
    assert!(trial.iter().all(|event| event.stream_id == "message" && event.model == "first@2"));
    assert_eq!(windows(&mut trial.iter()), of_default);
    assert_eq!(of_default, (0..15).collect());
}

#[tokio::test]
async fn a_record_with_an_unknown_model_becomes_a_dead_letter() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = config(&cluster, folder.path()).start().await;
    let record = Record::new("call", second(0)).header("content-type", "audio/PCMU");
    cluster.produce("affectd.audio", &[record.header("affectd-model", "third")]).await;
    let letters = cluster.read_until("affectd.dead-letters", PATIENCE, |letters| !letters.is_empty()).await;
    let reason = letters[0].header("affectd-error").unwrap();
    assert!(reason.contains("\"third\" is not served; allowed is first, second"), "{reason}");
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());
}

/// Replaces a model file atomically, by a rename.
fn put(path: &Path, version: &str) {
    let tiny = model_fixture::contract(Layout::Ntc, Output::Logits);
    let contract = Contract { version: version.into(), ..tiny };
    let folder = tempfile::tempdir_in(path.parent().unwrap()).unwrap();
    let written = model_fixture::write(folder.path(), model_fixture::graph(&contract), &contract);
    std::fs::rename(written, path).unwrap();
}

#[tokio::test]
async fn a_reload_under_load_publishes_every_window_once() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    put(&path, "1");
    for topic in ["affectd.audio", "affectd.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 3, &[]).await;
    }
    cluster.create_topic("affectd.progress", 3, &[("cleanup.policy", "compact")]).await;
    let options = Options::new()
        .set("model.path", path.to_str().unwrap())
        .set("window.min_length", "500ms")
        .set("kafka.brokers", &cluster.brokers)
        .set("kafka.commit_interval", "50ms");
    let mut daemon = options.start().await;
    let calls = calls(12, 80);
    let expected: BTreeSet<Name> = calls.iter().flat_map(|call| call.windows(1000, 500)).collect();
    let records = |from: usize, to: usize| -> Vec<Record> {
        let number = |number: usize| {
            calls.iter().filter(move |call| number < call.chunks).map(move |call| call.record(number))
        };
        (from..to).flat_map(number).collect()
    };

    let load = async {
        for from in (0..90).step_by(10) {
            cluster.produce("affectd.audio", &records(from, from + 10)).await;
            if from == 30 {
                // In the middle of all streams, while some windows are pending and some are published.
                let published = "affectd_windows_total{outcome=\"published\"}";
                call_fixture::metric_reaches(&daemon, published, |n| n >= 1.0).await;
                put(&path, "2");
                let pid = daemon.pid().to_string();
                assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
            }
            if from == 60 {
                call_fixture::metric_reaches(&daemon, "affectd_model_reloads_total{outcome=\"ok\"}", |n| {
                    n >= 1.0
                })
                .await;
            }
        }
    };
    let all = |events: &[Stored]| events.len() >= expected.len();
    let ((), events) = tokio::join!(load, cluster.read_until("affectd.emotions", PATIENCE, all));
    daemon.terminate();
    assert!(daemon.ended().await.success(), "{}", daemon.log());

    let events: Vec<EmotionEvent> = events.iter().map(event).collect();
    let name =
        |event: &EmotionEvent| (event.stream_id.clone(), event.channel, event.window_index, event.partial);
    assert_eq!(events.iter().map(name).collect::<BTreeSet<_>>(), expected);
    assert_eq!(cluster.read("affectd.emotions").await.len(), expected.len(), "each window once");
    for call in &calls {
        let own = events.iter().filter(|event| event.stream_id == call.stream_id);
        let models: Vec<&str> = own.map(|event| event.model.as_str()).collect();
        assert!(models.is_sorted(), "an old model never answers after a new one: {models:?}");
        assert_eq!(models.last(), Some(&"tiny@2"));
    }
    assert!(events.iter().any(|event| event.model == "tiny@1"), "the old model answered too");
}
