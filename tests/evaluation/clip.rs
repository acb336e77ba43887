//! A clip is split like a stream: the same features, at least one window, channels mixed down.

use affectd::audio::{AudioFormat, Encoding};
use affectd::config::LoadOptions;
use affectd::evaluation::ClipFrontEnd;
use affectd::features::{FrameKind, FrontEnd, features_with_deltas};
use affectd::model::{Contract, Layout, Output};
use affectd::stream::StreamSetup;

use crate::support::model_fixture::contract;

fn front_end() -> (Contract, ClipFrontEnd) {
    let contract = contract(Layout::Ntc, Output::Logits);
    let config = affectd::config::load(&LoadOptions::default()).unwrap().config;
    let setup = StreamSetup::new(&contract, &config.window, &config.audio).unwrap();
    (contract, ClipFrontEnd::new(&setup))
}

fn noise(samples: usize) -> Vec<f32> {
    (0..samples).map(|at| ((at * at) as f32 * 0.37).sin() * 0.3).collect()
}

fn windows(channels: u32, samples: &[f32]) -> Result<Vec<Vec<f32>>, String> {
    let format = AudioFormat::new(Encoding::PcmF32Le, 8000, channels).unwrap();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    front_end().1.windows(format, &bytes.into())
}

#[test]
fn clip_windows_equal_stream_windows() {
    // 1 s windows every 0.5 s at 8 kHz; frames of 256 samples every 80.
    let (contract, _) = front_end();
    let features = FrontEnd::new(contract.mfcc.as_ref().unwrap(), 8000, FrameKind::Mfcc).unwrap();
    for (samples, starts) in [(256, 1), (7999, 1), (8000, 1), (8001, 2), (12000, 2), (12001, 3), (20000, 4)] {
        let audio = noise(samples);
        let cut = windows(1, &audio).unwrap();
        assert_eq!(cut.len(), starts, "{samples} samples");
        for (index, window) in cut.iter().enumerate() {
            let real =
                features_with_deltas(&features, &audio[index * 4000..samples.min(index * 4000 + 8000)]);
            assert_eq!(window.len(), 97 * 8);
            assert_eq!(window[..real.len()], real, "window {index} of {samples} samples");
            assert!(
                window[real.len()..].iter().all(|value| *value == 0.0),
                "missing frames are rows of zero"
            );
        }
    }
}

#[test]
fn a_clip_shorter_than_one_frame_is_refused() {
    assert!(windows(1, &noise(255)).unwrap_err().contains("shorter than one frame (256 samples at 8000 Hz)"));
    assert!(windows(1, &[]).is_err());
}

#[test]
fn clip_channels_are_mixed_down() {
    let mono = noise(9000);
    let stereo: Vec<f32> = mono.iter().flat_map(|sample| [sample * 1.5, sample * 0.5]).collect();
    let (one, two) = (windows(1, &mono).unwrap(), windows(2, &stereo).unwrap());
    assert_eq!(one.len(), two.len());
    let far = |(one, two): (&f32, &f32)| (one - two).abs() > 1e-3;
    assert!(!one.concat().iter().zip(&two.concat()).any(far));
}
