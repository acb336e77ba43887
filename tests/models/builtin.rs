//! The built-in model loads, and its labels hold for speakers and recordings that it was not trained on.

use std::path::Path;

use affectd::config::{Config, LoadOptions};
use affectd::datasets::{self, Clip, DatasetSpec, Split};
use affectd::evaluation::{EvaluationPlan, Report};
use affectd::model::{Model, ModelSource};

fn config() -> Config {
    let flags = vec![("engine.device".to_owned(), "cpu".to_owned(), "test".to_owned())];
    affectd::config::load(&LoadOptions { flags, ..LoadOptions::default() }).unwrap().config
}

#[test]
fn the_built_in_model_is_the_default() {
    let config = config();
    assert_eq!(ModelSource::configured(config.default_model().path.as_deref()), ModelSource::BuiltIn);
    let mut model = Model::load(ModelSource::BuiltIn, &config.engine).unwrap();
    assert_eq!(model.contract.labels, ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]);
    let window = model.contract.rows() * model.contract.coefficients();
    let mut out = Vec::new();
    let features: Vec<f32> = (0..window * 3).map(|at| (at as f32 * 0.1).cos()).collect();
    model.sessions[0].run(&features, 3, &mut out).unwrap();
    for row in out.chunks_exact(6) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4, "{row:?}");
    }
}

#[test]
fn the_scores_of_a_window_do_not_depend_on_the_rest_of_the_batch() {
    let mut model = Model::load(ModelSource::BuiltIn, &config().engine).unwrap();
    let (rows, columns) = (model.contract.rows(), model.contract.coefficients());
    let full = |seed: usize| -> Vec<f32> {
        (0..rows * columns).map(|at| (at as f32 * (0.37 + seed as f32 * 0.01)).sin() * 4.0).collect()
    };
    let mut partial = full(0);
    partial[rows / 2 * columns..].fill(0.0);
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    model.sessions[0].run(&partial, 1, &mut alone).unwrap();
    for neighbours in [1, 6, 31] {
        let batch = (0..neighbours).map(full).chain([partial.clone()]).collect::<Vec<_>>().concat();
        model.sessions[0].run(&batch, neighbours + 1, &mut together).unwrap();
        for (alone, together) in alone.iter().zip(&together[neighbours * 6..]) {
            assert!((alone - together).abs() < 1e-5, "{alone} is not {together} beside {neighbours} others");
        }
    }
}

/// Returns the report of the built-in model on every `stride`-th clip of a dataset; `None`, with a line that says so, where it is not there.
async fn report(name: &str, folder: &str, split: Split, stride: usize) -> Option<Report> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    if !data.is_dir() {
        eprintln!("did not run: {} is not there", data.display());
        return None;
    }
    let config = config();
    let model = Model::load(ModelSource::BuiltIn, &config.engine).unwrap();
    let spec = DatasetSpec::parse(&format!("{name}:{}", data.display())).unwrap();
    let known = |clip: &Clip| model.contract.labels.contains(&clip.emotion);
    let clips: Vec<_> =
        datasets::load(&spec, split).unwrap().into_iter().filter(known).step_by(stride).collect();
    let plan = EvaluationPlan { clips, ..EvaluationPlan::default() };
    Some(affectd::offline::evaluation::evaluate(model, &config, plan, |_| {}).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_model_recognises_emotions_of_unseen_speakers() {
    let Some(report) = report("crema-d", "crema-d-reconstructed", Split::Test, 8).await else { return };
    assert_eq!((report.clips, report.skipped), (195, 0));
    assert!(report.accuracy >= 0.57, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_model_is_better_than_chance_and_calibrated_outside_its_training_corpus() {
    for (name, folder, stride) in [("emo-db", "emo-db", 2), ("tess", "tess", 13)] {
        let Some(report) = report(name, folder, Split::All, stride).await else { continue };
        assert!(report.unweighted_average_recall >= 0.42, "{name} {report}");
        assert!(report.expected_calibration_error <= 0.15, "{name} {report}");
    }
}
