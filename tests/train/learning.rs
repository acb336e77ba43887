//! Training learns with either optimizer, and reports clearly what is wrong with its data.

use std::path::Path;

use affectd::datasets::DatasetSpec;
use affectd::model::WindowShape;
use affectd::train::architecture::{Architecture, NetworkKind, Sizes};
use affectd::train::audit;
use affectd::train::corpus::window_ranges;
use affectd::train::optimizer::Optimizer;

use crate::support::train_fixture::{speech, training};

#[test]
fn training_learns_to_separate_tones_and_noises() {
    let folder = tempfile::tempdir().unwrap();
    let data = speech(folder.path());
    for (kind, optimizer) in [
        (NetworkKind::Cnn, Optimizer::AdamW),
        (NetworkKind::Cnn, Optimizer::Sgd),
        (NetworkKind::Dense, Optimizer::Adam),
    ] {
        let mut training = training(data.clone(), kind, optimizer, 0);
        // Plain gradient descent needs more steps than the others.
        training.fit.epochs = if optimizer == Optimizer::Sgd { 12 } else { 4 };
        training.fit.mixup = if optimizer == Optimizer::Sgd { 0.4 } else { 0.0 };
        let trained = training.run().unwrap();
        let reached = trained.test.accuracy;
        assert!(reached >= 0.8, "{kind:?} with {optimizer:?}: {reached}");
    }
}

#[test]
fn windows_are_cut_as_in_serving() {
    let shape = WindowShape { length_samples: 48_000, hop_samples: 16_000 };
    let cut = |samples| -> Vec<(usize, usize)> {
        window_ranges(samples, shape, 16_000).iter().map(|range| (range.start, range.end)).collect()
    };
    assert_eq!(cut(48_000), [(0, 48_000)]);
    assert_eq!(cut(56_000), [(0, 48_000), (16_000, 56_000)]);
    assert_eq!(cut(80_000), [(0, 48_000), (16_000, 64_000), (32_000, 80_000)]);
    assert_eq!(cut(8_000), [(0, 8_000)], "a clip has at least one window");
    assert_eq!(cut(0), [(0, 0)]);
}

#[test]
fn the_cnn_is_cheap_enough_for_a_cpu() {
    let cnn = Architecture::cnn([297, 64], 6, &Sizes::default());
    assert!(cnn.operations() <= 60_000_000, "{}", cnn.operations());
}

/// Writes the toy dataset, then corrupts some of the clips labelled `joy`.
fn spoilt(folder: &Path, count: usize) -> DatasetSpec {
    let data = speech(folder);
    for index in 0..count {
        std::fs::write(folder.join(format!("joy-{index}.wav")), b"no audio at all").unwrap();
    }
    data
}

#[test]
fn clips_that_are_not_audio_are_excluded_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let trained = training(spoilt(folder.path(), 2), NetworkKind::Dense, Optimizer::Adam, 0).run().unwrap();
    let named: Vec<&str> =
        trained.audit.of(audit::FindingKind::Unreadable).map(|it| it.clip.as_str()).collect();
    assert!(named.len() == 2 && named[0].ends_with("joy-0.wav"), "{named:?}");
}

#[test]
fn too_many_clips_that_are_not_audio_stop_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let error = training(spoilt(folder.path(), 5), NetworkKind::Dense, Optimizer::Adam, 0).run().unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("5 of 84 clips") && error.contains("joy-") && error.contains("no audio"),
        "{error}"
    );
}
