//! With the gate, the sounds of telephone calls without speech give no window, and speech gives its windows.

use affectd::audio::{Encoding, decode_file, encode};
use affectd::config::{Config, Vad, VadMode};
use affectd::stream::{Chunk, StreamSetup};
use prost::bytes::Bytes;
use std::path::{Path, PathBuf};

use crate::support::call_sounds::{RATE, sounds};
use crate::support::stream_fixture::{Feed, contract, format, waveform_setup};

/// Windows of 3 s every second, with the gate. The model takes samples, so no features are computed.
fn gated() -> StreamSetup {
    let vad = Vad { mode: VadMode::Gate, ..Config::default().vad };
    waveform_setup(48_000, 16_000, 1.0).gated(&contract(), &vad).expect("the model is at 16 kHz")
}

/// Index and silence of each window of a call through µ-law, in order.
fn windows(setup: &StreamSetup, samples: &[f32], rate: u32) -> Vec<(u64, bool)> {
    let mut feed = Feed::new(setup, format(Encoding::MuLaw, rate, 1));
    let audio: Bytes = encode(&[samples.to_vec()], affectd::proto::Encoding::Mulaw);
    feed.chunk(Chunk { audio, last: true, ..Chunk::default() }).expect("good audio");
    feed.windows.iter().map(|window| (window.index, window.silent)).collect()
}

#[test]
fn tones_keys_facsimile_and_melodies_give_no_window_at_any_level() {
    let setup = gated();
    let mut wrong = Vec::new();
    for (name, samples) in sounds() {
        for level_db in [-30.0_f32, -23.0, -16.0, -10.0, -3.0] {
            let gain = 10.0_f32.powf(level_db / 20.0);
            let samples: Vec<f32> = samples.iter().map(|sample| sample * gain).collect();
            let windows = windows(&setup, &samples, RATE as u32);
            assert!(windows.len() >= 5, "{name}: {windows:?}");
            let kept: Vec<u64> =
                windows.iter().filter(|(_, silent)| !silent).map(|(index, _)| *index).collect();
            if !kept.is_empty() {
                wrong.push(format!("{name} at {level_db} dB: windows {kept:?} of {}", windows.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_sample_speech_gives_its_windows_through_a_telephone_too() {
    let setup = gated();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples");
    for name in ["angry.wav", "calm.wav", "cheerful.wav", "sad.wav", "call-stereo-mulaw.wav"] {
        let recording = decode_file(folder.join(name)).expect("a sample");
        for samples in &recording.channels {
            let windows = windows(&setup, samples, recording.sample_rate_hz);
            assert!(windows.len() > 3 && windows.iter().any(|(_, silent)| !silent), "{name}: {windows:?}");
            let silent = windows.iter().filter(|(_, silent)| *silent).count();
            assert!(recording.channels.len() > 1 || silent == 0, "{name}: {windows:?}");
        }
    }
}

#[test]
fn recorded_call_sounds_give_no_window() {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/audio");
    let folder = std::env::var_os("AFFECTD_CASES").map_or_else(default, PathBuf::from);
    if !folder.is_dir() {
        println!("did not run: {} is not there", folder.display());
        return;
    }
    for name in ["call_busy.wav", "call_dtmf.wav", "call_ringback.wav"] {
        let recording = decode_file(folder.join(name)).expect("good audio");
        let windows = windows(&gated(), &recording.channels[0], recording.sample_rate_hz);
        assert!(!windows.is_empty() && windows.iter().all(|(_, silent)| *silent), "{name}: {windows:?}");
    }
}
