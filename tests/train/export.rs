//! A trained network and its exported file compute the same function, and padding changes neither.

use affectd::config::Config;
use affectd::datasets::{Split, load};
use affectd::model::{Model, ModelSource, load_contract};
use affectd::train::architecture::NetworkKind;
use affectd::train::batch::{self, BatchShape};
use affectd::train::corpus::{Corpus, LabelledWindow};
use affectd::train::network::Dropout;
use affectd::train::onnx::{GraphProto, ModelProto};
use affectd::train::{Identity, Trained};
use burn::tensor::Device;
use prost::Message;

use crate::support::train_fixture::{speech, trained};

fn toy() -> Identity {
    Identity { name: "toy".into(), version: "0.0.1".into(), data: None }
}

fn all_windows(trained: &Trained) -> Vec<LabelledWindow> {
    let clips = load(&trained.training.selection.data[0], Split::All).unwrap();
    Corpus::read(&clips, &trained.labels, &trained.training.recipe, "all").unwrap().windows
}

fn padded(trained: &Trained, windows: &[LabelledWindow]) -> Vec<f32> {
    let size = trained.training.recipe.frames() * trained.training.recipe.coefficients();
    let mut features = vec![9.0; windows.len() * size];
    for (window, out) in windows.iter().zip(features.chunks_exact_mut(size)) {
        window.write_padded(out);
    }
    features
}

fn exported_equals_trainer(kind: NetworkKind) {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), kind, 1);
    let path = folder.path().join("toy.onnx");
    trained.write(&path, &toy()).unwrap();
    let mut model = Model::load(ModelSource::File(path), &Config::default().engine).unwrap();
    let windows = all_windows(&trained);
    let frames = trained.training.recipe.frames();
    let coefficients = trained.training.recipe.coefficients();
    assert!(windows.iter().any(|window| window.features.len() < frames * coefficients), "some are padded");
    let mut found = Vec::new();
    model.sessions[0].run(&padded(&trained, &windows), windows.len(), &mut found).unwrap();
    let wanted: Vec<f64> = trained.probabilities(&windows).concat();
    assert_eq!(found.len(), wanted.len());
    let furthest = found.iter().zip(&wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(furthest < 1e-4, "{kind:?}: probabilities differ by {furthest}");
    let spread = wanted.iter().copied().fold(0.0, f64::max);
    assert!(spread > 0.6, "{kind:?} has learnt nothing: no probability above {spread}");
}

#[test]
fn an_exported_cnn_gives_the_trainers_probabilities() {
    exported_equals_trainer(NetworkKind::Cnn);
}

#[test]
fn an_exported_dense_net_gives_the_trainers_probabilities() {
    exported_equals_trainer(NetworkKind::Dense);
}

#[test]
fn the_exported_file_contains_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), NetworkKind::Dense, 1);
    let path = folder.path().join("toy.onnx");
    trained.write(&path, &toy()).unwrap();
    let contract = load_contract(&path).unwrap();
    assert_eq!((contract.name.as_str(), contract.version.as_str()), ("toy", "0.0.1"));
    assert_eq!(contract.labels, ["fear", "joy", "neutral"]);
    assert_eq!(contract.frames, Some(97));
    assert_eq!(contract.provenance.metrics["test_accuracy"], trained.test.accuracy);
    assert_eq!(contract.provenance.trained_at.as_bytes()[10], b'T', "{}", contract.provenance.trained_at);
}

#[test]
fn padding_changes_no_logit() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [NetworkKind::Cnn, NetworkKind::Dense] {
        let trained = trained(folder.path(), kind, 2);
        let (coefficients, labels) = (trained.training.recipe.coefficients(), trained.labels.len());
        let short =
            all_windows(&trained).into_iter().find(|it| it.features.len() < 70 * coefficients).unwrap();
        let logits = |frames| {
            let shape = BatchShape { frames, coefficients, labels };
            let input = batch::features(std::slice::from_ref(&short), shape, &Device::flex());
            let seen = trained.fitted.network.encode(trained.fitted.front.apply(input));
            let logits = trained.fitted.network.forward(seen, &mut Dropout::none());
            logits.try_into_vec_as::<f32>().unwrap()
        };
        let alone = logits(short.features.len() / coefficients);
        for frames in [97, 150] {
            for (alone, padded) in alone.iter().zip(logits(frames)) {
                assert!(
                    (alone - padded).abs() < 1e-4,
                    "{kind:?} at {frames} frames: {alone} is not {padded}"
                );
            }
        }
    }
}

#[test]
fn a_gain_does_not_change_the_logits() {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), NetworkKind::Cnn, 3);
    let mut windows = all_windows(&trained);
    let before = trained.probabilities(&windows);
    let coefficients = trained.training.recipe.coefficients();
    // Half the amplitude: each log energy falls by ln 4, which an orthonormal DCT puts into coefficient 0 alone.
    let step = 4.0_f32.ln() * (coefficients as f32).sqrt();
    for window in &mut windows {
        window.features.iter_mut().step_by(coefficients).for_each(|it| *it -= step);
    }
    for (before, after) in before.concat().iter().zip(trained.probabilities(&windows).concat()) {
        assert!((before - after).abs() < 1e-4, "{before} is not {after}");
    }
}

fn graph(trained: &Trained) -> GraphProto {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toy.onnx");
    trained.write(&path, &toy()).unwrap();
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap().graph.unwrap()
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let [first, again, other] = [5, 5, 6].map(|seed| graph(&trained(folder.path(), NetworkKind::Cnn, seed)));
    assert_eq!(first, again);
    assert_ne!(first, other);
}
