//! Features after resampling, compared with soxr at "very high quality": golden arrays made by
//! `tests/golden/make_golden.py`.

use std::path::PathBuf;
use std::sync::Arc;

use affectd::audio::{ResamplerPlan, resample};
use affectd::features::{FrameKind, FrontEnd, MfccOptions, features};

/// Largest difference allowed in c1 to c12.
const TOLERANCE: f32 = 0.02;

fn array<T: npyz::Deserialize>(file: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let array = npyz::NpyFile::new(&bytes[..]).expect("a .npy header");
    array.into_vec().expect("values of that type")
}

/// The largest difference in c1 to c12 of speech received at `rate_hz`.
fn worst(rate_hz: u32, f_max_hz: f64) -> f32 {
    let source = array::<i16>(&format!("resample_{rate_hz}.npy"));
    let source: Vec<f32> = source.iter().map(|sample| f32::from(*sample) / 32768.0).collect();
    let samples = resample(&Arc::new(ResamplerPlan::new(rate_hz, 16_000)), &source);
    let options = MfccOptions { f_max_hz, ..MfccOptions::default() };
    let front_end = FrontEnd::new(&options, 16_000, FrameKind::Mfcc).expect("options that can be built");
    let ours = features(&front_end, &samples);
    let theirs = array::<f32>(&format!("resample_{rate_hz}_mfcc.npy"));
    assert_eq!(ours.len() / front_end.width(), theirs.len() / 12, "frames at {rate_hz} Hz");
    let pairs = ours.chunks_exact(front_end.width()).zip(theirs.chunks_exact(12));
    let differences = pairs.flat_map(|(ours, theirs)| ours[1..13].iter().zip(theirs));
    differences.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn downsampling_to_the_model_rate_matches_soxr() {
    for rate_hz in [48_000, 44_100, 24_414, 22_050] {
        let worst = worst(rate_hz, 7_400.0);
        println!("{rate_hz} Hz: worst difference {worst}");
        assert!(worst < TOLERANCE, "{rate_hz} Hz differs by {worst}");
    }
}

#[test]
fn upsampling_from_telephone_rates_matches_soxr() {
    let worst = worst(8_000, 3_800.0);
    println!("8000 Hz: worst difference {worst}");
    assert!(worst < TOLERANCE, "8000 Hz differs by {worst}");
}
