//! Audio of 8 kHz and a model of 16 kHz: the content of the mel bands above the telephone band, and that training,
//! evaluation and a real call at 8 kHz produce the same features.

use affectd::audio::{AudioFormat, Encoding, decode_bytes};
use affectd::config::Config;
use affectd::evaluation::{ClipFrontEnd, TELEPHONE_RATE_HZ, Telephone};
use affectd::features::{FrontEnd, features_with_deltas};
use affectd::model::Contract;
use affectd::stream::StreamSetup;
use affectd::window::Window;

use crate::support::stream_fixture::{format, windows_of};

const SPEECH: [&[u8]; 4] = [
    include_bytes!("../../deploy/samples/calm.wav"),
    include_bytes!("../../deploy/samples/angry.wav"),
    include_bytes!("../../deploy/samples/cheerful.wav"),
    include_bytes!("../../deploy/samples/sad.wav"),
];

/// 64 mel bands up to 7,400 Hz, as natural logarithms over a floor of 1e-10: ln(1e-10) is -23.03.
fn setup() -> StreamSetup {
    let json = serde_json::json!({
        "schema": 1, "name": "bands", "version": "1.0.0", "labels": ["anger", "neutral"],
        "input": "log_mel", "layout": "NTC", "output": "logits", "sample_rate_hz": 16_000,
        "window": {"length_samples": 48_000, "hop_samples": 16_000}, "frames": 297,
        "mfcc": {"win_length": 400, "hop_length": 160, "n_fft": 512, "window": "hann", "n_mels": 64,
                 "f_min_hz": 20.0, "f_max_hz": 7400.0, "mel_scale": "slaney", "mel_norm": "slaney",
                 "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 64, "dct_norm": "ortho", "deltas": 0}
    });
    let contract = Contract::parse(&json.to_string()).expect("the contract is right");
    let (window, audio) = (Config::default().window, Config::default().audio);
    StreamSetup::new(&contract, &window, &audio).expect("the windows fit")
}

fn speech(file: &[u8]) -> Vec<f32> {
    let recording = decode_bytes(file.to_vec(), None).expect("a sample");
    assert_eq!(recording.sample_rate_hz, 16_000);
    recording.channels.into_iter().next().expect("a channel")
}

fn front_end(setup: &StreamSetup) -> &FrontEnd {
    setup.front_end.as_ref().expect("a front end")
}

/// The windows of the telephone signal, as a call at 8 kHz.
fn served(setup: &StreamSetup, samples: &[f32]) -> Vec<Window> {
    let call: AudioFormat = format(Encoding::MuLaw, TELEPHONE_RATE_HZ, 1);
    windows_of(setup, call, &Telephone::new(16_000).encode(samples))
}

/// The largest difference between two windows of 64 bands, over the given frames.
fn difference(one: &[f32], other: &[f32], frames: std::ops::Range<usize>) -> f32 {
    let range = frames.start * 64..frames.end * 64;
    one[range.clone()].iter().zip(&other[range]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The first band that lies wholly above 4.2 kHz (it begins at 4,244 Hz), well inside the resampler's stop band.
const EMPTY_FROM: usize = 53;

#[test]
fn mel_bands_above_the_telephone_band_are_at_the_log_floor() {
    let setup = setup();
    let floor = 1e-10_f32.ln();
    let (mut lowest, mut highest, mut at_floor, mut count) = (f32::MAX, f32::MIN, 0, 0);
    let mut carried = f32::MIN;
    for file in SPEECH {
        for window in served(&setup, &speech(file)) {
            let real = if window.partial { 100 } else { 297 };
            for frame in window.features.chunks_exact(64).take(real) {
                for value in &frame[EMPTY_FROM..] {
                    (lowest, highest) = (lowest.min(*value), highest.max(*value));
                    at_floor += usize::from(*value <= floor + 0.01);
                    count += 1;
                }
                carried = frame[..40].iter().copied().fold(carried, f32::max);
            }
        }
    }
    let share = at_floor as f32 / count as f32;
    println!(
        "above 4.2 kHz: {lowest:.2} to {highest:.2}, {:.1} % at the floor; below up to {carried:.2}",
        share * 100.0
    );
    assert!(lowest >= floor - 1e-3);
    assert!(
        share > 0.99 && highest < carried - 20.0,
        "what is left of images lies far below speech: {highest}"
    );
}

#[test]
fn training_and_serving_get_the_same_telephone_features() {
    let setup = setup();
    let telephone = Telephone::new(16_000);
    for file in SPEECH {
        let samples = speech(file);
        // Like training: the telephone effect on the samples of each window alone.
        for window in served(&setup, &samples).into_iter().filter(|window| !window.partial) {
            let start = window.index as usize * 16_000;
            let own = telephone.round_trip(&samples[start..start + 48_000]);
            let trained = features_with_deltas(front_end(&setup), &own);
            // The filters reach 20 ms: at a window edge they see silence where a call continues.
            let inner = difference(&trained, &window.features, 2..295);
            assert!(inner < 2e-2, "window {}: {inner}", window.index);
        }
    }
}

#[test]
fn a_clip_with_the_telephone_effect_equals_a_call_at_8_khz() {
    let setup = setup();
    let telephone = Telephone::new(16_000);
    let samples = &speech(SPEECH[0])[..48_000];
    let trained = features_with_deltas(front_end(&setup), &telephone.round_trip(samples));
    let served = served(&setup, samples);
    assert_eq!(served.len(), 1);
    assert!(difference(&trained, &served[0].features, 0..297) < 1e-4);
    let call = format(Encoding::MuLaw, TELEPHONE_RATE_HZ, 1);
    let evaluated = ClipFrontEnd::new(&setup).windows(call, &telephone.encode(samples));
    assert_eq!(evaluated, Ok(vec![served[0].features.clone()]));
}
