//! Properties of features of any signal: frames depend on their own samples only and are always finite.

use affectd::features::{
    FrameKind, FrontEnd, MfccOptions, OptionsError, append_deltas, features, features_with_deltas,
};
use proptest::prelude::*;

fn options(deltas: usize) -> MfccOptions {
    let json = format!(
        r#"{{"win_length": 200, "hop_length": 80, "n_fft": 256, "window": "hann", "n_mels": 24, "f_min_hz": 20.0,
        "f_max_hz": 3800.0, "mel_scale": "slaney", "mel_norm": "slaney", "log": "ln", "log_floor": 1e-10,
        "n_mfcc": 13, "deltas": {deltas}}}"#
    );
    serde_json::from_str(&json).expect("options as in a contract")
}

fn front_end(deltas: usize) -> FrontEnd {
    FrontEnd::new(&options(deltas), 8_000, FrameKind::Mfcc).expect("options that can be built")
}

#[test]
fn the_frame_count_of_a_window_follows_the_documented_formula() {
    let front_end = front_end(0);
    let counted = [0, 255, 256, 335, 336, 8_000].map(|samples| front_end.frames(samples));
    assert_eq!(counted, [0, 0, 1, 1, 2, 1 + (8_000 - 256) / 80]);
    assert!(features(&front_end, &[0.0; 255]).is_empty());
    assert!(features_with_deltas(&front_end, &[]).is_empty());
    assert_eq!(features(&front_end, &[0.0; 336]).len(), 2 * 13);
}

#[test]
fn digital_silence_is_at_the_floor_in_every_band() {
    let log_mel = FrontEnd::new(&options(0), 8_000, FrameKind::LogMel).unwrap();
    for value in features(&log_mel, &[0.0; 2_000]) {
        assert!((value - 1e-10_f32.ln()).abs() < 1e-4, "{value}");
    }
    for frame in features(&front_end(0), &[0.0; 2_000]).chunks(13) {
        let mean_only = 24.0_f32.sqrt() * 1e-10_f32.ln();
        assert!((frame[0] - mean_only).abs() < 1e-2, "{}", frame[0]);
        assert!(frame[1..].iter().all(|value| value.abs() < 1e-3), "{frame:?}");
    }
}

#[test]
fn a_constant_has_zero_deltas_and_a_cepstrum_needs_coefficients() {
    let front_end = front_end(2);
    assert_eq!((front_end.width(), front_end.coefficients()), (13, 39));
    let mut out = vec![1.0; 3 * 39];
    append_deltas(&front_end, &[5.0; 3 * 13], &mut out);
    for row in out.chunks(39) {
        assert!(row[..13].iter().all(|value| *value == 5.0));
        assert!(row[13..].iter().all(|value| value.abs() < 1e-5), "{row:?}");
    }
    let none = MfccOptions { n_mfcc: 0, ..options(0) };
    let refused = FrontEnd::new(&none, 8_000, FrameKind::Mfcc).unwrap_err();
    assert!(matches!(refused, OptionsError::OutOfRange { key: "n_mfcc", .. }), "{refused}");
    assert!(FrontEnd::new(&none, 8_000, FrameKind::LogMel).is_ok());
}

/// Options that go through every part of the computer: each kind of transform, each step before and after it.
fn every_kind() -> [(MfccOptions, FrameKind); 6] {
    let usual = MfccOptions::default();
    let kaldi = MfccOptions { remove_dc: true, pre_emphasis: Some(0.97), ..usual.clone() };
    let magnitudes = MfccOptions { power: 1.0, n_fft: 400, n_mels: 23, n_mfcc: 13, ..usual.clone() };
    let offset = MfccOptions { log_floor: None, log_offset: Some(1e-6), win_length: 333, ..usual.clone() };
    [
        (MfccOptions { n_fft: 441, ..usual.clone() }, FrameKind::Mfcc),
        (MfccOptions { n_fft: 1_024, ..usual.clone() }, FrameKind::LogMel),
        (usual, FrameKind::Mfcc),
        (kaldi, FrameKind::Mfcc),
        (magnitudes, FrameKind::Mfcc),
        (offset, FrameKind::Mfcc),
    ]
}

#[test]
fn frames_computed_in_groups_equal_frames_computed_alone() {
    let samples: Vec<f32> = (0..9_000_u32).map(|n| (n.wrapping_mul(n) % 997) as f32 / 997.0 - 0.4).collect();
    for (options, kind) in every_kind() {
        let front_end = FrontEnd::new(&options, 16_000, kind).expect("options that can be built");
        let (width, hop, n_fft) = (front_end.width(), front_end.hop_length(), front_end.n_fft());
        let together = features(&front_end, &samples);
        let mut computer = front_end.computer();
        let mut alone = vec![0.0; width];
        for (t, frame) in together.chunks_exact(width).enumerate() {
            computer.frame(&samples[t * hop..t * hop + n_fft], &mut alone);
            assert_eq!(frame, alone, "frame {t} of {options:?}");
        }
        for group in [1, 3, 10, 17] {
            let (mut grouped, mut from) = (vec![0.0; together.len()], 0);
            for out in grouped.chunks_mut(group * width) {
                computer.frames(&samples[from * hop..], out);
                from += group;
            }
            assert_eq!(together, grouped, "groups of {group}, {options:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_is_finite(samples in prop::collection::vec(-1.0_f32..=1.0, 256..1_200)) {
        let matrix = features_with_deltas(&front_end(2), &samples);
        prop_assert!(matrix.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_frame_depends_on_its_own_samples_alone(
        samples in prop::collection::vec(-1.0_f32..=1.0, 500..1_200),
        skipped_frames in 0_usize..3,
    ) {
        let front_end = front_end(0);
        let all = features(&front_end, &samples);
        let later = features(&front_end, &samples[skipped_frames * front_end.hop_length()..]);
        prop_assert_eq!(&all[skipped_frames * front_end.width()..], &later[..]);
    }

    #[test]
    fn a_frame_does_not_depend_on_the_previous_frame(
        first in prop::collection::vec(-1.0_f32..=1.0, 256),
        second in prop::collection::vec(-1.0_f32..=1.0, 256),
    ) {
        let front_end = front_end(0);
        let mut used = front_end.computer();
        let (mut ignored, mut again, mut fresh) = ([0.0; 13], [0.0; 13], [0.0; 13]);
        used.frame(&first, &mut ignored);
        used.frame(&second, &mut again);
        front_end.computer().frame(&second, &mut fresh);
        prop_assert_eq!(again, fresh);
    }
}
