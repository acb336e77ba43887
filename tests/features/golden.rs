//! Features compared with librosa, torchaudio and kaldi-native-fbank: golden arrays made by `tests/golden/make_golden.py`.

use std::path::PathBuf;

use affectd::features::{FrameKind, FrontEnd, MfccOptions, features_with_deltas};
use affectd::model::Input;

/// Largest difference allowed in any value.
const TOLERANCE: f32 = 1e-3;

#[derive(serde::Deserialize)]
struct Case {
    sample_rate_hz: u32,
    input: Input,
    mfcc: MfccOptions,
}

fn read(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn array<T: npyz::Deserialize>(file: &str) -> (Vec<u64>, Vec<T>) {
    let bytes = read(file);
    let array = npyz::NpyFile::new(&bytes[..]).expect("a .npy header");
    (array.shape().to_vec(), array.into_vec().expect("values of that type"))
}

fn check(name: &str) {
    let case: Case = serde_json::from_slice(&read(&format!("{name}.json"))).expect("options of a case");
    let kind = if case.input == Input::Mfcc { FrameKind::Mfcc } else { FrameKind::LogMel };
    let (_, signal) = array::<i16>(&format!("signal_{}.npy", case.sample_rate_hz));
    let samples: Vec<f32> = signal.iter().map(|sample| f32::from(*sample) / 32768.0).collect();

    let front_end = FrontEnd::new(&case.mfcc, case.sample_rate_hz, kind).expect("options that can be built");
    let ours = features_with_deltas(&front_end, &samples);

    let (shape, theirs) = array::<f32>(&format!("{name}.npy"));
    let frames = front_end.frames(samples.len());
    assert_eq!(shape, [frames as u64, front_end.coefficients() as u64]);
    assert_eq!(ours.len(), theirs.len());
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name}: {frames} frames, worst difference {worst:e}");
    assert!(worst < TOLERANCE, "{name} differs by {worst}");
}

#[test]
fn mfcc_at_16_khz_matches_librosa() {
    check("contract_16k");
}

#[test]
fn mfcc_at_8_khz_matches_librosa() {
    check("telephone_8k");
}

#[test]
fn mfcc_on_the_htk_scale_with_an_offset_and_a_plain_dct() {
    check("htk_offset_16k");
}

#[test]
fn log_mel_in_decibel_of_magnitudes_under_a_hamming_taper() {
    check("log_mel_db_16k");
}

#[test]
fn a_transform_of_odd_length() {
    check("odd_length_16k");
}

#[test]
fn deltas_of_first_and_second_order() {
    check("deltas_16k");
}

#[test]
fn kaldi_frames_with_mean_removal_and_pre_emphasis() {
    check("kaldi_16k");
}

#[test]
fn mfcc_of_torchaudio() {
    check("torchaudio_16k");
}

#[test]
fn mfcc_of_torchaudio_on_the_htk_scale_at_8_khz() {
    check("torchaudio_htk_8k");
}

#[test]
fn mfcc_of_kaldi_native_fbank() {
    check("kaldi_native_16k");
}

#[test]
fn filter_banks_of_kaldi_native_fbank() {
    check("kaldi_native_fbank_16k");
}

#[test]
fn mfcc_of_kaldi_native_fbank_at_8_khz() {
    check("kaldi_native_8k");
}
