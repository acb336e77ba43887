//! A model that takes samples, on the command line and behind a real daemon.

use affectd::model::{Contract, Output};
use affectd::proto;

use crate::support::call_fixture::{Call, chunk, connect, format, last, more, shapes};
use crate::support::daemon::Options;
use crate::support::model_fixture::{self, waveform};

#[test]
fn a_waveform_model_passes_verify_and_analyze_and_has_no_features() {
    let folder = tempfile::tempdir().unwrap();
    let contract = waveform::contract(Output::Logits);
    let model = model_fixture::write(folder.path(), waveform::graph(&contract), &contract);
    let (model, file) = (model.to_str().unwrap(), "deploy/samples/call-stereo-mulaw.wav");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_affectd"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("AFFECTD_CONFIG");
        command.output().unwrap()
    };
    assert!(run(&["model", "verify", model]).status.success());
    let analyzed = run(&["analyze", file, "--model", model, "--format", "jsonl"]);
    let lines = String::from_utf8(analyzed.stdout).unwrap();
    // 14.5 s in windows of 7,998 samples every 3,999, two channels.
    assert_eq!(lines.lines().count(), 2 * 28, "{lines}");
    let features = run(&["features", file, "--model", model]);
    assert_eq!(features.status.code(), Some(1));
    let stderr = String::from_utf8(features.stderr).unwrap();
    assert!(stderr.contains("the model's input is a waveform: it has no features"), "{stderr}");
    // A hop that is not a whole number of samples is a configuration error.
    let hop = run(&["analyze", file, "--model", model, "--set", "window.hop=100us"]);
    assert_eq!(hop.status.code(), Some(64));
    assert!(String::from_utf8(hop.stderr).unwrap().contains("window.hop"));
}

/// Floats of a level for each third of a second.
fn thirds(levels: [f32; 3]) -> Vec<u8> {
    levels.into_iter().flat_map(|level| [level; 2_666]).flat_map(f32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_waveform_model_serves_streams() {
    let folder = tempfile::tempdir().unwrap();
    for output in [Output::Logits, Output::Probabilities] {
        let contract: Contract = waveform::contract(output);
        let model = model_fixture::write(folder.path(), waveform::graph(&contract), &contract);
        let daemon = Options::new()
            .set("model.path", model.to_str().unwrap())
            .set("engine.device", "cpu")
            .set("window.min_length", "250ms")
            .start()
            .await;
        let float = format(proto::Encoding::PcmF32le, 8_000, 1);
        // Two seconds of 7,998 samples each: windows of one second every half second.
        let audio = [thirds([0.1, 0.9, -0.2]), thirds([0.8, -0.9, 0.0])].concat();
        let mut call = Call::begin(&connect(&daemon).await, chunk("call", float, &audio[..10_000])).await;
        call.send(last(more(&audio[10_000..]))).await;
        let events = call.rest().await.good();
        let windows: Vec<_> = shapes(&events).iter().map(|shape| (shape.1, shape.2)).collect();
        assert_eq!(windows, [(0, false), (1, false), (2, false)]);
        let emotions: Vec<&str> = events.iter().map(|event| event.emotion.as_str()).collect();
        assert_eq!((emotions[0], emotions[2]), ("neutral", "anger"));
        let expected = model_fixture::expected(&[0.1, 0.9, -0.2], 1.0);
        for (score, expected) in events[0].scores.iter().zip(expected) {
            assert!((score.probability - expected).abs() < 1e-4, "{output:?}: {:?}", events[0].scores);
        }
    }
}
