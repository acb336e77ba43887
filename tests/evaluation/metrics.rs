//! The reported metrics equal those of scikit-learn and hand-computed values, and are deterministic.

use affectd::evaluation::{Interval, Metrics, Report, ScoredClip};
use affectd::proto;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    labels: Vec<String>,
    truth: Vec<usize>,
    probabilities: Vec<Vec<f32>>,
    accuracy: f64,
    unweighted_average_recall: f64,
    macro_f1: f64,
    confusion_matrix: Vec<Vec<u64>>,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    expected_calibration_error: f64,
}

fn close(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() < 1e-9
}

/// Made with scikit-learn 1.9.1 and numpy 2.4.6, see `golden/make.py`.
#[test]
fn metrics_match_scikit_learn() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    assert_eq!(golden.len(), 3);
    for case in golden {
        let clips: Vec<ScoredClip> = case
            .truth
            .iter()
            .zip(case.probabilities)
            .map(|(truth, probabilities)| ScoredClip { truth: *truth, probabilities, speaker: None })
            .collect();
        let found = Metrics::of(&case.labels, &clips);
        assert!(close(found.accuracy, case.accuracy), "{found:?}");
        assert!(close(found.unweighted_average_recall, case.unweighted_average_recall), "{found:?}");
        assert!(close(found.macro_f1, case.macro_f1), "{} is not {}", found.macro_f1, case.macro_f1);
        assert_eq!(found.confusion_matrix, case.confusion_matrix);
        let calibration = found.expected_calibration_error;
        assert!((calibration - case.expected_calibration_error).abs() < 1e-6, "{calibration}");
        for (at, class) in found.per_class.iter().enumerate() {
            assert!(close(class.precision, case.precision[at]), "{class:?}");
            assert!(close(class.recall, case.recall[at]), "{class:?}");
            assert!(close(class.f1, case.f1[at]), "{class:?}");
            assert_eq!((&class.label, class.support), (&case.labels[at], case.support[at]));
        }
    }
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("label-{at}")).collect()
}

fn clip(truth: usize, prediction: usize, speaker: &str) -> ScoredClip {
    let mut probabilities = vec![0.1; 3];
    probabilities[prediction] = 0.8;
    ScoredClip { truth, probabilities, speaker: Some(speaker.to_owned()) }
}

#[test]
fn a_small_case_matches_hand_computed_values() {
    // Truth 0: right, right, taken for 1. Truth 1: right. Label 2 never occurs.
    let clips = [clip(0, 0, "a"), clip(0, 0, "a"), clip(0, 1, "b"), clip(1, 1, "b")];
    let metrics = Metrics::of(&labels(3), &clips);
    assert_eq!(metrics.confusion_matrix, [[2, 1, 0], [0, 1, 0], [0, 0, 0]]);
    assert!(close(metrics.accuracy, 3.0 / 4.0));
    assert!(close(metrics.unweighted_average_recall, (2.0 / 3.0 + 1.0) / 2.0));
    assert!(close(metrics.macro_f1, (0.8 + 2.0 / 3.0) / 2.0));
    // All confidences are 0.8, three of four are right.
    assert!((metrics.expected_calibration_error - 0.05).abs() < 1e-6);
}

#[test]
fn the_interval_is_bootstrapped_over_speakers() {
    // One speaker all right, one all wrong: resamples of two speakers score 0, 1/2 or 1.
    let split: Vec<_> = (0..20).map(|at| clip(0, at / 10, if at < 10 { "a" } else { "b" })).collect();
    let metrics = Metrics::of(&labels(3), &split);
    assert_eq!(metrics.accuracy_interval, Some(Interval { low: 0.0, high: 1.0 }));

    // The same clips, each speaker half right: no resample differs.
    let even: Vec<_> = (0..20).map(|at| clip(0, at % 2, if at < 10 { "a" } else { "b" })).collect();
    let interval = Metrics::of(&labels(3), &even).accuracy_interval;
    assert_eq!(interval, Some(Interval { low: 0.5, high: 0.5 }));

    // With one speaker there is no interval.
    assert_eq!(Metrics::of(&labels(3), &split[..10]).accuracy_interval, None);
}

#[test]
fn an_evaluation_without_clips_succeeds() {
    let metrics = Metrics::of(&labels(3), &[]);
    assert_eq!((metrics.accuracy, metrics.macro_f1, metrics.expected_calibration_error), (0.0, 0.0, 0.0));
}

#[test]
fn the_report_keeps_its_keys_through_the_protocol() {
    let clips = [clip(0, 0, "a"), clip(0, 1, "b"), clip(1, 1, "b")];
    let metrics = Metrics::of(&labels(3), &clips);
    let report = Report::new("tiny@1.0.0".into(), labels(3), metrics, 2, 1.5);
    let json = serde_json::to_value(&report).unwrap();
    for key in [
        "clips",
        "skipped",
        "accuracy",
        "unweighted_average_recall",
        "macro_f1",
        "labels",
        "confusion_matrix",
        "per_class",
        "seconds",
    ] {
        assert!(json.get(key).is_some(), "{key}: {json}");
    }
    assert_eq!((&json["clips"], &json["skipped"]), (&3.into(), &2.into()));
    assert_eq!(json["confusion_matrix"][0], serde_json::json!([1, 1, 0]), "rows are the truth");
    assert_eq!(Report::from(proto::Report::from(report.clone())), report);
    let table = report.to_string();
    assert!(table.contains("tiny@1.0.0: 3 clips, 2 skipped"), "{table}");
    assert!(table.contains("accuracy                    0.6667"), "{table}");
}

proptest! {
    #[test]
    fn metrics_do_not_depend_on_the_order_of_the_clips(
        picks in prop::collection::vec((0_usize..3, 0_usize..3, 0_usize..4), 1..60),
        turn in 0_usize..60,
    ) {
        let mut clips: Vec<_> =
            picks.iter().map(|(truth, prediction, speaker)| clip(*truth, *prediction, &speaker.to_string())).collect();
        let before = Metrics::of(&labels(3), &clips);
        let turn = turn % clips.len();
        clips.rotate_left(turn);
        let after = Metrics::of(&labels(3), &clips);
        prop_assert_eq!(&before.confusion_matrix, &after.confusion_matrix);
        prop_assert_eq!(before.accuracy_interval, after.accuracy_interval);
        if let Some(Interval { low, high }) = before.accuracy_interval {
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0);
        }
    }
}
