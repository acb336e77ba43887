//! The files beside a trained model: the 8-bit one, and several models joined in one.

use std::path::{Path, PathBuf};

use affectd::config::{Config, Engine};
use affectd::datasets::Split;
use affectd::model::{Layout, Output};
use affectd::train::architecture::NetworkKind;
use affectd::train::corpus::Corpus;
use affectd::train::int8;
use affectd::train::join::{self, Ensemble};
use affectd::train::measure::MeasuredModel;
use affectd::train::{Identity, Trained};

use crate::support::model_fixture;
use crate::support::train_fixture::trained;

fn engine() -> Engine {
    Config::default().engine
}

fn named(name: &str) -> Identity {
    Identity { name: name.into(), version: "0.0.1".into(), data: None }
}

fn written(folder: &Path, kind: NetworkKind, name: &str) -> (Trained, PathBuf) {
    let trained = trained(folder, kind, 1);
    let path = folder.join(format!("{name}.onnx"));
    trained.write(&path, &named(name)).unwrap();
    (trained, path)
}

/// All clips as the features of a model.
fn clips(trained: &Trained) -> Corpus {
    let training = &trained.training;
    let clips = affectd::datasets::load(&training.selection.data[0], Split::All).unwrap();
    Corpus::read(&clips, &trained.labels, &training.recipe, "all").unwrap()
}

#[test]
fn two_models_join_into_the_mean_of_their_logarithms() {
    let folder = tempfile::tempdir().unwrap();
    let (cnn, cnn_path) = written(folder.path(), NetworkKind::Cnn, "cnn");
    let (dense, dense_path) = written(folder.path(), NetworkKind::Dense, "dense");
    let path = folder.path().join("both.onnx");
    // The one that sees more coefficients decides what the whole sees, in whatever order they come.
    let parts = Ensemble::read(&[dense_path.clone(), cnn_path.clone()]).unwrap();
    join::write(&parts, &cnn.training.selection, None, &path, &named("both"), &engine()).unwrap();

    let contract = affectd::model::load_contract(&path).unwrap();
    assert_eq!((contract.name.as_str(), contract.coefficients()), ("both", 64));
    let (wide, narrow) = (clips(&cnn), clips(&dense));
    let first = MeasuredModel::load(&cnn_path, &engine()).unwrap().logits(&wide.windows).unwrap();
    let second = MeasuredModel::load(&dense_path, &engine()).unwrap().logits(&narrow.windows).unwrap();
    let both = MeasuredModel::load(&path, &engine()).unwrap().logits(&wide.windows).unwrap();
    for ((first, second), both) in first.iter().zip(&second).zip(&both) {
        let mean: Vec<f32> = first.iter().zip(second).map(|(a, b)| (a + b) / 2.0).collect();
        let wanted = affectd::train::score::softmax(&mean, contract.temperature);
        for (wanted, found) in wanted.iter().zip(both) {
            assert!((wanted - f64::from(found.exp())).abs() < 1e-4, "{wanted} is not {}", found.exp());
        }
    }
}

#[test]
fn the_contract_states_the_mean_logits_of_the_validation_windows() {
    let folder = tempfile::tempdir().unwrap();
    let (trained, path) = written(folder.path(), NetworkKind::Dense, "dense");
    let training = &trained.training;
    let (splits, _) = training.selection.splits(&training.recipe).unwrap();
    let corpus = Corpus::read(&splits.validation, &trained.labels, &training.recipe, "validation").unwrap();
    let logarithms = MeasuredModel::load(&path, &engine()).unwrap().logits(&corpus.windows).unwrap();
    let stated = affectd::model::load_contract(&path).unwrap().adaptation.unwrap();
    for (label, stated) in stated.mean_logits.iter().enumerate() {
        let centred = |row: &Vec<f32>| {
            affectd::publish::adaptation::logits(&row.iter().map(|log| log.exp()).collect::<Vec<f32>>())
                [label]
        };
        let mean = logarithms.iter().map(centred).sum::<f32>() / logarithms.len() as f32;
        assert!((mean - stated).abs() < 0.01, "label {label}: {stated} stated, {mean} found");
    }
    assert!(stated.variance.is_none_or(|variance| variance > 0.0), "{stated:?}");
}

#[test]
fn incompatible_models_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let (_, cnn) = written(folder.path(), NetworkKind::Cnn, "cnn");
    let alone = Ensemble::read(std::slice::from_ref(&cnn)).unwrap_err();
    assert!(format!("{alone:#}").contains("at least two files"), "{alone:#}");
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models/crema-d-cnn.onnx");
    let other = Ensemble::read(&[cnn, built_in]).unwrap_err();
    assert!(format!("{other:#}").contains("differ in labels, window, front end or layout"), "{other:#}");
    let logits = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Logits);
    let refused = Ensemble::read(&[logits.clone(), logits]).unwrap_err();
    assert!(format!("{refused:#}").contains("only \"probabilities\" can be joined"), "{refused:#}");
}

#[test]
fn the_8_bit_file_has_its_own_name_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (trained, path) = written(folder.path(), NetworkKind::Dense, "dense");
    let beside = int8::path_beside(&path);
    assert_eq!(beside, folder.path().join("dense-int8.onnx"));
    let int8 = int8::write(&path, &beside, &trained.training.selection, None, &engine()).unwrap();
    let contract = affectd::model::load_contract(&int8.path).unwrap();
    assert_eq!(contract.name, "dense-int8");
    assert_eq!(contract.provenance.metrics["test_accuracy"], int8.test[1].accuracy);
    let lost = int8.validation[0].accuracy - int8.validation[1].accuracy;
    assert!(lost.abs() <= 0.1, "{int8:?}");
}
