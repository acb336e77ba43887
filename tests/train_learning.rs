//! Training learns, with either optimizer, and says clearly what is wrong with its data.

#![cfg(feature = "train")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod train_fixture;

use affectd::evaluation::datasets::DatasetSpec;
use affectd::model::WindowShape;
use affectd::train::architecture::{Architecture, Kind};
use affectd::train::corpus::window_ranges;
use affectd::train::optimizer::Optimizer;
use train_fixture::{speech, training};

#[test]
fn tones_and_noises_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = speech(folder.path());
    for (kind, optimizer) in
        [(Kind::Cnn, Optimizer::AdamW), (Kind::Cnn, Optimizer::Sgd), (Kind::Dense, Optimizer::Adam)]
    {
        let mut training = training(data.clone(), kind, optimizer, 0);
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
    let cnn = Architecture::cnn([297, 64], 6);
    assert!(cnn.operations() <= 60_000_000, "{}", cnn.operations());
}

#[test]
fn a_clip_that_is_no_audio_is_named() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    std::fs::write(folder.path().join("joy-3.wav"), b"no audio at all").unwrap();
    let data =
        DatasetSpec::parse(&format!("manifest:{}", folder.path().join("clips.csv").display())).unwrap();
    let error = training(data, Kind::Dense, Optimizer::Adam, 0).run().unwrap_err();
    assert!(format!("{error:#}").contains("joy-3.wav"), "{error:#}");
}
