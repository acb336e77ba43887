//! The folder that a training run writes: metrics, pictures, and one self-contained page.

use std::collections::BTreeMap;

use affectd::evaluation::ScoredClip;
use affectd::train::audit::{Audit, Finding, FindingKind};
use affectd::train::report::{TrainingReport, check_folder};
use affectd::train::score::Score;
use affectd::train::state::EpochRecord;

const LABELS: [&str; 6] = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"];

/// Clips of ten speakers, right about two times in three and fairly sure of it.
fn clips(count: usize) -> Vec<ScoredClip> {
    let clip = |at: usize| {
        let truth = at % LABELS.len();
        let taken_for = if at * 7 % 10 < 7 { truth } else { (truth + 1 + at / 6 % 3) % LABELS.len() };
        let sure = 0.35 + 0.6 * (at * 13 % 17) as f32 / 17.0;
        let rest = (1.0 - sure) / (LABELS.len() - 1) as f32;
        let probabilities =
            (0..LABELS.len()).map(|label| if label == taken_for { sure } else { rest }).collect();
        ScoredClip { truth, probabilities, speaker: Some(format!("speaker-{}", at / 6 % 10)) }
    };
    (0..count).map(clip).collect()
}

fn epoch(epoch: usize) -> EpochRecord {
    let done = epoch as f64 / 27.0;
    let validation = Score {
        macro_f1: 0.5,
        loss: 1.1 + 0.6 * (-4.0 * done).exp() + 0.15 * done,
        accuracy: 0.6 - 0.4 * (-5.0 * done).exp() + 0.01 * (epoch as f64).sin(),
        unweighted_average_recall: 0.59 - 0.42 * (-5.0 * done).exp() + 0.01 * (epoch as f64 * 1.3).cos(),
    };
    let learning_rate = 2e-3 * (std::f64::consts::PI * done).sin().max(0.001);
    EpochRecord { epoch, loss: 0.8 + (-3.0 * done).exp(), validation, learning_rate }
}

fn finding(kind: FindingKind, clip: &str, reason: &str) -> Finding {
    Finding { kind, clip: clip.into(), split: Some("train".into()), reason: reason.into() }
}

fn report() -> TrainingReport {
    let findings = vec![
        finding(FindingKind::Silent, "clips/1076_MTI_SAD_XX.wav", "every sample is zero"),
        finding(FindingKind::OddSampleRate, "clips/OAF_food_fear.flac", "96000 Hz, most clips have 24414 Hz"),
        finding(FindingKind::Unreadable, "clips/<script>alert(1)</script>.wav", "no audio & no sense"),
    ];
    let labels_left_out = BTreeMap::from([("surprise".to_owned(), 400)]);
    TrainingReport {
        model: "crema-d-cnn@1.0.0".into(),
        protocol: "CREMA-D, speaker-independent (63/9/19 actors)".into(),
        shares_speakers: false,
        labels: LABELS.map(str::to_owned).to_vec(),
        training_clips: 5_140,
        history: (1..=27).map(epoch).collect(),
        best_epoch: 21,
        validation: clips(735),
        test: clips(1_552),
        temperature: 1.237,
        parameters: 1_234_567,
        encoder: None,
        mflop_per_window: 43.2,
        seconds: 2_717.0,
        seed: 0,
        audit: Audit { clips: 7_427, labels_left_out, findings },
        command: ["affectd", "train", "--data", "crema-d:data", "--output", "out.onnx"]
            .map(str::to_owned)
            .to_vec(),
        settings: serde_json::json!({ "architecture": "cnn", "epochs": 27, "optimizer": "adamw" }),
    }
}

fn files(report: &TrainingReport) -> BTreeMap<String, String> {
    report.files().unwrap().into_iter().collect()
}

#[test]
fn the_figures_match_the_clips() {
    let files = files(&report());
    let metrics: serde_json::Value = serde_json::from_str(&files["metrics.json"]).unwrap();
    let right = clips(1_552).iter().filter(|clip| clip.prediction() == clip.truth).count() as f64;
    assert_eq!(metrics["test"]["accuracy"].as_f64().unwrap(), right / 1_552.0);
    assert_eq!(metrics["test"]["clips"], 1_552);
    assert!(metrics["test"]["unweighted_average_recall_interval"]["low"].as_f64().unwrap() > 0.3);
    assert_eq!(metrics["validation"]["confusion_matrix"].as_array().unwrap().len(), 6);
    assert_eq!(metrics["history"].as_array().unwrap().len(), 27);
    assert_eq!(metrics["audit"]["labels_left_out"]["surprise"], 400);
    assert_eq!(metrics["audit"]["findings"]["silent"][0]["clip"], "clips/1076_MTI_SAD_XX.wav");
    let config: serde_json::Value = serde_json::from_str(&files["config.json"]).unwrap();
    assert_eq!(config["command"][1], "train");
    assert_eq!(config["settings"]["optimizer"], "adamw");
}

#[test]
fn the_page_embeds_every_picture_and_loads_nothing() {
    let files = files(&report());
    let page = &files["index.html"];
    let pictures = files.keys().filter(|name| name.ends_with(".svg")).count();
    assert_eq!((pictures, page.matches("<svg").count()), (7, 7));
    for outside in ["http:", "https:", "<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(files["loss.svg"].starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
}

#[test]
fn the_page_warns_when_splits_share_speakers() {
    let shared = TrainingReport { shares_speakers: true, ..report() };
    assert!(files(&shared)["index.html"].contains("do not apply to other speakers"));
    assert!(!files(&report())["index.html"].contains("do not apply"));
}

#[test]
fn a_short_or_diverged_run_still_gives_a_report() {
    let diverged = EpochRecord { loss: f64::NAN, ..epoch(1) };
    for history in [vec![], vec![epoch(1)], vec![diverged, epoch(2), epoch(3)]] {
        let report = TrainingReport { history, best_epoch: 1, test: Vec::new(), ..report() };
        for (name, content) in files(&report) {
            assert!(!content.contains("NaN") && !content.contains("inf,"), "{name}: {content}");
        }
    }
}

#[test]
fn an_existing_folder_is_overwritten_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("toy-report");
    check_folder(&inside, false).unwrap();
    report().write(&inside).unwrap();
    let error = check_folder(&inside, false).unwrap_err().to_string();
    assert!(error.contains("toy-report") && error.contains("--force"), "{error}");
    check_folder(&inside, true).unwrap();
    assert!(check_folder(&inside.join("index.html"), true).is_err());
    assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 10);
}

#[test]
fn the_same_run_gives_the_same_files() {
    assert_eq!(files(&report()), files(&report()));
    // Keeps the report for inspection.
    if let Some(folder) = std::env::var_os("AFFECTD_TEST_REPORT") {
        report().write(folder.as_ref()).unwrap();
    }
}
