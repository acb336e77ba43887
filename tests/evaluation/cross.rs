//! `affectd evaluate --cross`: each pair has the figures of an evaluation that is restricted to the shared labels, and bad pairs are refused in one line.

use std::path::{Path, PathBuf};

use affectd::evaluation::{CrossCell, CrossReport, Report};
use affectd::model::{Contract, Layout, Output, Provenance};

use crate::service::{affectd, dataset, report, tone, wav};
use crate::support::model_fixture;

/// Writes the tiny model under a name, with these labels.
fn model(folder: &Path, name: &str, labels: [&str; 3]) -> String {
    let tiny = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    let provenance = Provenance { datasets: vec![format!("data of {name}")], ..Provenance::default() };
    let labels = labels.map(str::to_owned).to_vec();
    let contract = Contract { name: name.to_owned(), labels, provenance, ..tiny };
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    let path = model_fixture::write(&folder, model_fixture::graph(&contract), &contract);
    path.to_str().unwrap().to_owned()
}

/// A second corpus, with other labels and other speakers.
fn calls(folder: &Path) -> PathBuf {
    let mut rows = "path,label,speaker\n".to_owned();
    for (at, label) in ["anger", "fear", "sadness", "fear", "anger", "calm"].into_iter().enumerate() {
        let name = format!("call-{at}.wav");
        wav(&folder.join(&name), 8_000, 1, &tone(8_000, 1.2, 200.0 + 350.0 * at as f64, 8_000.0));
        rows += &format!("{name},{label},speaker-{}\n", at % 2);
    }
    let manifest = folder.join("calls.csv");
    std::fs::write(&manifest, rows).unwrap();
    manifest
}

/// Two models and two corpora as flags.
struct Matrix {
    models: [String; 2],
    corpora: [String; 2],
}

fn matrix(folder: &Path) -> Matrix {
    Matrix {
        models: [
            model(folder, "first", ["anger", "neutral", "sadness"]),
            model(folder, "second", ["fear", "sadness", "anger"]),
        ],
        corpora: [dataset(folder), calls(folder)].map(|path| format!("manifest:{}", path.display())),
    }
}

impl Matrix {
    fn flags(&self) -> Vec<&str> {
        let models = self.models.iter().flat_map(|model| ["--model", model.as_str()]);
        let corpora = self.corpora.iter().flat_map(|corpus| ["--data", corpus.as_str()]);
        ["evaluate", "--cross"].into_iter().chain(models).chain(corpora).collect()
    }
}

fn cell<'a>(found: &'a CrossReport, model: &str, corpus: &str) -> &'a CrossCell {
    let is_it = |cell: &&CrossCell| cell.model == format!("{model}@1.0.0") && cell.corpus == corpus;
    found.cells.iter().find(is_it).unwrap()
}

/// What both reports must agree on: `skipped` differs where clips are left out before.
fn figures(report: &Report) -> (u64, f64, f64, f64, &[Vec<u64>]) {
    let Report { clips, unweighted_average_recall, expected_calibration_error, surest_half_accuracy, .. } =
        report;
    let confusion = report.confusion_matrix.as_slice();
    (*clips, *unweighted_average_recall, *expected_calibration_error, *surest_half_accuracy, confusion)
}

#[test]
fn each_pair_has_the_figures_of_an_evaluation_over_the_shared_labels() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = matrix(folder.path());
    let output = affectd(&[&matrix.flags()[..], &["--format", "json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.matches("broken.wav").count(), 1, "each corpus is read once: {stderr}");
    let found: CrossReport = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = found.corpora.iter().map(|corpus| corpus.corpus.as_str()).collect();
    assert_eq!((names, found.cells.len()), (vec!["clips", "calls"], 4));
    assert_eq!(found.models[1].trained_on, ["data of second"]);
    let expected = [
        ("first", "clips", "anger,neutral,sadness", 1),
        ("first", "calls", "anger,sadness", 3),
        ("second", "clips", "sadness,anger", 3),
        ("second", "calls", "fear,sadness,anger", 1),
    ];
    for (at, (name, corpus, shared, left_out)) in expected.into_iter().enumerate() {
        let cell = cell(&found, name, corpus);
        assert_eq!((cell.labels.join(","), cell.left_out), (shared.to_owned(), left_out), "{name} {corpus}");
        assert!((cell.chance - 1.0 / cell.labels.len() as f64).abs() < 1e-12);
        let (model, data) = (&matrix.models[at / 2], &matrix.corpora[at % 2]);
        let flags =
            ["evaluate", "--format", "json", "--model", model, "--data", data, "--only-labels", shared];
        assert_eq!(figures(&cell.report), figures(&report(&affectd(&flags))), "{name} {corpus}");
    }
}

#[test]
fn the_tables_name_models_corpora_and_what_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = matrix(folder.path());
    let output = affectd(&matrix.flags());
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "unweighted average recall\n",
        "expected calibration error\n",
        "accuracy of the surest half\n",
        "data of first",
        "first@1.0.0 on calls: clips and answers are restricted to the shared labels anger, sadness (chance 0.500); 3 clips",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn renamed_and_selected_labels_apply_to_all_corpora_together() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = matrix(folder.path());
    // Only one of the corpora has clips of calm.
    let labels = ["--map-label", "calm=neutral", "--only-labels", "anger,neutral", "--format", "json"];
    let output = affectd(&[&matrix.flags()[..], &labels].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: CrossReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(cell(&found, "first", "calls").labels, ["anger", "neutral"]);
    assert_eq!(cell(&found, "second", "calls").labels, ["anger"]);
}

/// The only line on stderr of a command that ends with exit code 2.
fn refused(arguments: &[&str]) -> String {
    let output = affectd(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{stderr}");
    stderr
}

#[test]
fn a_pair_without_a_shared_label_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = matrix(folder.path());
    let other = model(folder.path(), "other", ["joy", "trust", "surprise"]);
    let line = refused(&[&matrix.flags()[..], &["--model", &other]].concat());
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains("model other@1.0.0 and corpus calls share no label") && line.contains("joy"),
        "{line}"
    );
}

#[test]
fn flags_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let matrix = matrix(folder.path());
    let [first, second] = matrix.corpora.each_ref().map(String::as_str);
    let line = refused(&["evaluate", "--data", first, "--data", second]);
    assert!(line.contains("--data is given 2 times: more than one needs --cross"), "{line}");
    let line = refused(&[&matrix.flags()[..], &["--split", "all,test,all"]].concat());
    assert!(line.contains("--split names 3 splits for 2 corpora"), "{line}");
    for flags in [["--server", "grpc://127.0.0.1:1"], ["--streams", "mixed"], ["--predictions", "x.csv"]] {
        let text = refused(&[&["evaluate", "--cross", "--data", first], &flags[..]].concat());
        assert!(text.contains("--cross") && text.contains(flags[0]), "{text}");
    }
}
