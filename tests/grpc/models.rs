//! Several models, and their replacement while streams are open: no event is lost or attributed to the wrong model, and a bad
//! file changes nothing.

use std::path::{Path, PathBuf};

use affectd::model::{Contract, Layout, Output};
use affectd::proto::EmotionEvent;
use tonic::Code;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, last, logs, metric, metric_reaches, more, noise, recognize, telephone,
};
use crate::support::daemon::{Daemon, Options};
use crate::support::model_fixture;

/// The tiny model under another name and version.
fn named(name: &str, version: &str) -> Contract {
    let tiny = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    Contract { name: name.into(), version: version.into(), ..tiny }
}

/// Replaces a model file atomically, by a rename.
fn put(path: &Path, contract: &Contract) {
    let folder = tempfile::tempdir_in(path.parent().unwrap()).unwrap();
    let written = model_fixture::write(folder.path(), model_fixture::graph(contract), contract);
    std::fs::rename(written, path).unwrap();
}

/// Starts a daemon with the given `[[model]]` entries, each the lines of its table after the path.
async fn daemon(folder: &Path, models: &[(Contract, &str)]) -> (Daemon, Vec<PathBuf>) {
    let mut text = "[engine]\ndevice = \"cpu\"\n[window]\nmin_length = \"250ms\"\n".to_owned();
    let mut paths = Vec::new();
    for (index, (contract, rest)) in models.iter().enumerate() {
        let path = folder.join(format!("{index}.onnx"));
        put(&path, contract);
        text += &format!("[[model]]\npath = {path:?}\n{rest}\n");
        paths.push(path);
    }
    let config = folder.join("config.toml");
    std::fs::write(&config, text).unwrap();
    (Options::new().config(config).start().await, paths)
}

fn hang_up(daemon: &Daemon) {
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}

const OK: &str = "affectd_model_reloads_total{outcome=\"ok\"}";
const FAILED: &str = "affectd_model_reloads_total{outcome=\"failed\"}";

fn models(events: &[EmotionEvent]) -> Vec<&str> {
    events.iter().map(|event| event.model.as_str()).collect()
}

#[tokio::test]
async fn a_stream_is_scored_by_the_model_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, _) = daemon(folder.path(), &[(named("first", "1"), ""), (named("second", "1"), "")]).await;
    let channel = connect(&daemon).await;
    for (name, expected) in [("", "first@1"), ("first", "first@1"), ("second", "second@1")] {
        let mut first = last(chunk("call", telephone(), noise(12_000, 1)));
        first.model = name.into();
        let events = recognize(&channel, vec![first]).await.good();
        assert_eq!(models(&events), [expected; 2], "{name:?}");
    }

    let mut unknown = chunk("call", telephone(), noise(800, 1));
    unknown.model = "third".into();
    let refused = recognize(&channel, vec![unknown]).await;
    let (code, message) = refused.refusal();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("\"third\"") && message.contains("first, second"), "{message}");

    let mut change = more(noise(800, 1));
    change.model = "second".into();
    let refused = recognize(&channel, vec![chunk("call", telephone(), noise(800, 1)), change]).await;
    assert!(refused.refusal().1.starts_with("model: \"second\""), "{:?}", refused.status);
}

#[tokio::test]
async fn a_reload_under_load_loses_no_event_and_each_event_names_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, paths) = daemon(folder.path(), &[(named("tiny", "1"), "")]).await;
    let channel = connect(&daemon).await;
    let calls = (0..6).map(|number| {
        let (channel, daemon) = (channel.clone(), &daemon);
        async move {
            let mut call =
                Call::begin(&channel, chunk(&format!("call-{number}"), telephone(), noise(8_000, number)))
                    .await;
            let mut events = vec![call.event().await];
            // Sends until the new model has scored a window.
            for _ in 0..2_000 {
                call.send(more(noise(4_000, number))).await;
                events.push(call.event().await);
                if events.last().unwrap().model == "tiny@2" && metric(daemon, OK).await >= 1.0 {
                    break;
                }
            }
            events.extend(call.finish().await.good());
            events
        }
    });
    let exchange = async {
        put(&paths[0], &named("tiny", "2"));
        hang_up(&daemon);
    };
    let (streams, ()) = tokio::join!(futures::future::join_all(calls), exchange);
    for events in streams {
        let indexes: Vec<u64> = events.iter().map(|event| event.window_index).collect();
        assert_eq!(indexes, (0..events.len() as u64).collect::<Vec<_>>());
        let models = models(&events);
        assert_eq!(models.last(), Some(&"tiny@2"));
        assert!(models.is_sorted(), "an old model never answers after a new one: {models:?}");
    }
}

#[tokio::test]
async fn a_model_of_another_shape_serves_new_streams_while_open_ones_finish_on_the_old_model() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, paths) = daemon(folder.path(), &[(named("tiny", "1"), "")]).await;
    let channel = connect(&daemon).await;
    let mut open = Call::begin(&channel, chunk("open", telephone(), noise(8_000, 1))).await;
    assert_eq!(open.event().await.model, "tiny@1");

    let mut other = named("tiny", "2");
    other.window.hop_samples = 2_000;
    other.labels = vec!["fear".into(), "disgust".into(), "surprise".into()];
    put(&paths[0], &other);
    hang_up(&daemon);
    metric_reaches(&daemon, OK, |reloads| reloads == 1.0).await;

    open.send(more(noise(8_000, 2))).await;
    let rest = open.finish().await.good();
    assert_eq!(models(&rest), ["tiny@1"; 2]);
    let events = recognize(&channel, vec![last(chunk("new", telephone(), noise(12_000, 1)))]).await.good();
    assert_eq!(models(&events), ["tiny@2"; 3], "a window every 0.25 s");
    assert!(other.labels.contains(&events[0].emotion), "{}", events[0].emotion);
}

#[tokio::test]
async fn a_changed_file_is_reloaded_automatically_and_a_bad_one_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, paths) = daemon(folder.path(), &[(named("tiny", "1"), "")]).await;
    let channel = connect(&daemon).await;
    let model = async |id: &str| {
        let events = recognize(&channel, vec![last(chunk(id, telephone(), noise(8_000, 1)))]).await.good();
        events[0].model.clone()
    };
    std::fs::write(&paths[0], "not a model").unwrap();
    metric_reaches(&daemon, FAILED, |reloads| reloads == 1.0).await;
    assert_eq!(model("after a bad file").await, "tiny@1");
    logs(&daemon, "kept the model in service").await;
    assert!(daemon.log().contains("0.onnx"), "{}", daemon.log());

    put(&paths[0], &named("tiny", "2"));
    metric_reaches(&daemon, OK, |reloads| reloads == 1.0).await;
    assert_eq!(model("after a good one").await, "tiny@2");
    assert_eq!(metric(&daemon, "affectd_model_info{name=\"tiny\",version=\"2\"").await, 1.0);
    for measured in ["batch_size", "queue_seconds", "inference_seconds"] {
        for version in [1, 2] {
            let series = format!("affectd_{measured}_count{{model=\"tiny@{version}\"}}");
            assert_eq!(metric(&daemon, &series).await, 1.0, "{series}: one window each");
        }
    }
    assert_eq!(metric(&daemon, "affectd_model_info{name=\"tiny\",version=\"1\"").await, 0.0);
}

#[tokio::test]
async fn a_shadow_scores_every_window_and_its_agreement_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    // The same graph under another version always agrees; one with its labels in reverse order never does.
    let mut contrary = named("contrary", "1");
    contrary.labels = vec!["disgust".into(), "fear".into(), "surprise".into()];
    // A different front end: other mel bands, so other features.
    let mut other = named("other", "1");
    other.mfcc.as_mut().unwrap().n_mels = 20;
    let models = [
        (named("tiny", "1"), ""),
        (named("tiny", "2"), "shadow = true"),
        (contrary, "shadow = true"),
        (other, "shadow = true"),
    ];
    let (daemon, _) = daemon(folder.path(), &models).await;
    let channel = connect(&daemon).await;
    let chunks = (0..20).map(|number| match number {
        0 => chunk("call", telephone(), noise(1_234, number)),
        19 => last(more(noise(2_000, number))),
        _ => more(noise(1_234, number)),
    });
    let events = recognize(&channel, chunks.collect()).await.good();
    assert!(events.iter().all(|event| event.model == "tiny@1"));
    let windows = events.len() as f64;
    let series = |model: &str, outcome: &str| {
        format!("affectd_shadow_windows_total{{model=\"{model}\",outcome=\"{outcome}\"}}")
    };
    metric_reaches(&daemon, &series("tiny@2", "agreed"), |count| count == windows).await;
    metric_reaches(&daemon, &series("contrary@1", "disagreed"), |count| count == windows).await;
    metric_reaches(&daemon, "affectd_shadow_windows_total{model=\"other@1\"", |count| count == windows).await;
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"published\"}").await, windows);
    assert_eq!(metric(&daemon, &series("tiny@2", "disagreed")).await, 0.0);
}

#[tokio::test]
async fn incompatible_models_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut slower = named("slower", "1");
    slower.window.hop_samples = 8_000;
    for (second, rest, expected) in [
        (named("tiny", "2"), "", "two models named \"tiny\""),
        (slower, "shadow = true", "serve slower as a shadow: its windows are 1s every 1s"),
    ] {
        let text: String = [(named("tiny", "1"), ""), (second, rest)]
            .iter()
            .enumerate()
            .map(|(index, (contract, rest))| {
                let path = folder.path().join(format!("{index}.onnx"));
                put(&path, contract);
                format!("[[model]]\npath = {path:?}\n{rest}\n")
            })
            .collect();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, text).unwrap();
        let output = bounded("its end", Options::new().config(config).command().output()).await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.lines().last().unwrap().contains(expected), "{stderr}");
    }
}

#[tokio::test]
async fn an_automatic_batch_size_is_measured_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    put(&path, &named("tiny", "1"));
    let options = Options::new().set("model.path", path.to_str().unwrap()).set("batch.max_size", "auto");
    let daemon = options.start().await;
    logs(&daemon, "batch size found").await;
    let log = daemon.log();
    assert!(log.contains("1: ") && log.contains("/s, 2: "), "{log}");
    let channel = connect(&daemon).await;
    let events = recognize(&channel, vec![last(chunk("call", telephone(), noise(12_000, 1)))]).await.good();
    assert_eq!(events.len(), 2);
}
