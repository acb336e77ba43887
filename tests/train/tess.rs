//! Training on a small subset of real speech, if the data is present: both networks learn it, and the exported files agree with the
//! trainer.

use std::path::{Path, PathBuf};

use affectd::config::Config;
use affectd::datasets::{DatasetSpec, DatasetSplits, Protocol};
use affectd::train::architecture::NetworkKind;
use affectd::train::corpus::{Corpus, Recipe};
use affectd::train::measure::MeasuredModel;
use affectd::train::optimizer::Optimizer;
use affectd::train::{Identity, Training};

use crate::support::train_fixture::training;

const CLIPS_A_FOLDER: usize = 30;
const FOLDERS: [(&str, &str, &str); 6] = [
    ("OAF_angry", "anger", "OAF"),
    ("OAF_happy", "happiness", "OAF"),
    ("OAF_Sad", "sadness", "OAF"),
    ("YAF_angry", "anger", "YAF"),
    ("YAF_happy", "happiness", "YAF"),
    ("YAF_sad", "sadness", "YAF"),
];

/// A manifest of some clips of both actresses in three emotions, or `None` if TESS is not present.
fn part_of_tess(folder: &Path) -> Option<DatasetSpec> {
    let tess = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/tess");
    if !tess.is_dir() {
        eprintln!("did not run: {} is not there", tess.display());
        return None;
    }
    let mut rows = String::from("path,label,speaker\n");
    for (name, emotion, actress) in FOLDERS {
        let entries = std::fs::read_dir(tess.canonicalize().unwrap().join(name)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in &paths[..CLIPS_A_FOLDER] {
            rows.push_str(&format!("{},{emotion},{actress}\n", path.display()));
        }
    }
    let manifest = folder.join("part.csv");
    std::fs::write(&manifest, rows).unwrap();
    Some(DatasetSpec::parse(&format!("manifest:{}", manifest.display())).unwrap())
}

fn learns(kind: NetworkKind, epochs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let Some(data) = part_of_tess(folder.path()) else { return };
    let mut run = Training { recipe: Recipe::of(kind), ..training(data, kind, Optimizer::AdamW, 0) };
    // Both speakers are in all splits: the test shows that the trainer learns, and nothing about unseen speakers.
    run.selection.protocol = Protocol::Random { seed: 0 };
    run.fit.epochs = epochs;
    let trained = run.run().unwrap();
    assert!(trained.test.accuracy >= 0.9, "{kind:?}: {:?}", trained.test);

    let path = folder.path().join("part.onnx");
    trained.write(&path, &Identity { name: "part".into(), version: "0.0.1".into(), data: None }).unwrap();
    let (DatasetSplits { test, .. }, _) = run.selection.splits(&run.recipe).unwrap();
    let test = Corpus::read(&test, &trained.labels, &run.recipe, "test").unwrap();
    let mut file = MeasuredModel::load(&path, &Config::default().engine).unwrap();
    assert_eq!(file.score(&test).unwrap().accuracy, trained.test.accuracy);
}

#[test]
fn the_dense_net_learns_a_part_of_tess() {
    learns(NetworkKind::Dense, 20);
}

#[test]
fn the_cnn_learns_a_part_of_tess() {
    learns(NetworkKind::Cnn, 6);
}
