//! Valid but unusual audio (offset, clipped, silent, in tiny chunks or with gaps) still produces all windows.

use std::f32::consts::TAU;

use affectd::audio::{AudioFormat, Encoding};
use affectd::config::Config;
use affectd::model::{Model, ModelSource};
use affectd::stream::{Chunk, StreamSetup};
use affectd::window::Window;
use prost::bytes::Bytes;

use crate::support::stream_fixture::{Feed, contract, format, noise, plain, setup, windows_of};

/// 4.3 s of a voice-like signal.
fn voice() -> Vec<f32> {
    let sample = |n: usize| {
        let seconds = n as f32 / 16_000.0;
        let pitch = 140.0 + 30.0 * (TAU * 0.7 * seconds).sin();
        let tone: f32 = (1..9).map(|k| (TAU * pitch * k as f32 * seconds).sin() / k as f32).sum();
        0.2 * tone * (1.0 + (TAU * 3.0 * seconds).sin())
    };
    (0..68_800).map(sample).collect()
}

fn floats(samples: &[f32]) -> Bytes {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn names(windows: &[Window]) -> Vec<(u64, bool)> {
    windows.iter().map(|window| (window.index, window.partial)).collect()
}

/// Mean of coefficient `at` over the frames of all windows.
fn mean(windows: &[Window], at: usize) -> f32 {
    let rows = windows.iter().flat_map(|window| window.features.chunks_exact(40));
    let filled: Vec<f32> = rows.filter(|row| row.iter().any(|it| *it != 0.0)).map(|row| row[at]).collect();
    filled.iter().sum::<f32>() / filled.len() as f32
}

#[test]
fn a_dc_offset_and_clipping_keep_all_windows_and_finite_features() {
    let setup = setup();
    let clean = voice();
    let change = |change: &dyn Fn(f32) -> f32| clean.iter().map(|it| change(*it)).collect::<Vec<f32>>();
    let expected = windows_of(&setup, plain(), &floats(&clean));
    assert_eq!(names(&expected), [(0, false), (1, false), (2, true)]);
    for (what, samples) in [
        ("offset", change(&|it| it + 0.4)),
        ("offset alone", vec![0.7; clean.len()]),
        ("clipped", change(&|it| (it * 20.0).clamp(-1.0, 1.0))),
        ("far beyond full scale", change(&|it| it * 65_000.0)),
        ("silence", vec![0.0; clean.len()]),
        ("a square wave", change(&|it| it.signum())),
        ("too soft for 16 bits", change(&|it| it * 1e-9)),
        ("subnormal", vec![f32::from_bits(1); clean.len()]),
    ] {
        let windows = windows_of(&setup, plain(), &floats(&samples));
        assert_eq!(names(&windows), names(&expected), "{what}");
        assert!(windows.iter().all(|it| it.features.iter().all(|value| value.is_finite())), "{what}");
    }
}

/// An offset leaks into the lowest mel bands, unless the front end subtracts the mean of each frame.
#[test]
fn a_dc_offset_changes_the_cepstrum_unless_the_front_end_removes_it() {
    let clean = voice();
    let offset: Vec<f32> = clean.iter().map(|it| it + 0.05).collect();
    for remove_dc in [false, true] {
        let mut contract = contract();
        contract.mfcc.as_mut().expect("it has frames").remove_dc = remove_dc;
        let (window, audio) = (Config::default().window, Config::default().audio);
        let setup = StreamSetup::new(&contract, &window, &audio).expect("the windows fit");
        let [clean, offset] = [&clean, &offset].map(|samples| windows_of(&setup, plain(), &floats(samples)));
        let moved = (1..13).map(|at| (mean(&clean, at) - mean(&offset, at)).abs()).fold(0.0, f32::max);
        println!("remove_dc = {remove_dc}: c1 to c12 move by at most {moved}");
        assert!(if remove_dc { moved < 1e-3 } else { (0.1..2.0).contains(&moved) }, "{moved}");
    }
}

#[test]
fn the_built_in_model_scores_all_odd_audio() {
    let engine = affectd::config::Engine { sessions: 1, ..Config::default().engine };
    let mut model = Model::load(ModelSource::BuiltIn, &engine).unwrap();
    let config = Config::default();
    let setup = StreamSetup::new(&model.contract, &config.window, &config.audio).unwrap();
    let clean = voice();
    let mut out = Vec::new();
    for samples in [
        vec![0.0; 48_000],
        vec![0.9; 48_000],
        clean.iter().map(|it| it + 0.5).collect(),
        clean.iter().map(|it| (it * 50.0).clamp(-1.0, 1.0)).collect(),
        clean.iter().map(|it| it * 65_000.0).collect(),
    ] {
        for window in windows_of(&setup, plain(), &floats(&samples)) {
            model.sessions[0].run(&window.features, 1, &mut out).unwrap();
            assert!(
                (out.iter().sum::<f32>() - 1.0).abs() < 1e-4 && out.iter().all(|it| *it >= 0.0),
                "{out:?}"
            );
        }
    }
}

#[test]
fn empty_chunks_and_chunks_of_one_sample_are_accepted() {
    let setup = setup();
    let format = format(Encoding::PcmS16Le, 8_000, 2);
    let audio = noise(format, 8_000 * 31 / 10, 1);
    let expected = windows_of(&setup, format, &audio);
    let mut feed = Feed::new(&setup, format);
    assert_eq!(feed.audio(Bytes::new()).samples, 0);
    for part in audio.chunks(4) {
        feed.audio(Bytes::copy_from_slice(part));
        feed.audio(Bytes::new());
    }
    feed.end();
    let sorted = |mut windows: Vec<Window>| {
        windows.sort_by_key(|window| (window.channel, window.index));
        windows
    };
    assert!(sorted(feed.windows) == sorted(expected));
    // A stream of one sample, and one of none.
    for frames in [0, 1] {
        assert!(windows_of(&setup, format, &noise(format, frames, 1)).is_empty());
    }
}

#[test]
fn chunks_out_of_order_are_dropped_and_a_gap_becomes_silence() {
    let setup = setup();
    let audio = noise(plain(), 64_000, 2);
    let at = |sequence, from: usize, to: usize| Chunk {
        sequence: Some(sequence),
        first_sample: Some(from as u64),
        audio: audio.slice(from * 4..to * 4),
        ..Chunk::default()
    };
    let mut feed = Feed::new(&setup, plain());
    feed.chunk(at(0, 0, 16_000)).unwrap();
    // The third chunk arrives before the second one, which is then too late.
    feed.chunk(at(2, 24_000, 40_000)).unwrap();
    assert!(feed.chunk(at(1, 16_000, 24_000)).unwrap().duplicate);
    feed.chunk(at(3, 40_000, 64_000)).unwrap();
    feed.end();
    let mut holed = audio.to_vec();
    holed[16_000 * 4..24_000 * 4].fill(0);
    assert!(feed.windows == windows_of(&setup, plain(), &holed.into()));
}

#[test]
fn one_chunk_of_50_mb_gives_the_windows_of_small_chunks() {
    let mut setup = setup();
    setup.max_chunk_bytes = 64 << 20;
    setup.channels.policy = affectd::audio::ChannelPolicy::First;
    let format: AudioFormat = format(Encoding::PcmS32Le, 192_000, 8);
    let audio = noise(format, 50_000_000 / 32, 3);
    let expected = {
        let mut feed = Feed::new(&setup, format);
        for part in audio.chunks(32 * 192_000) {
            feed.audio(Bytes::copy_from_slice(part));
        }
        feed.end();
        feed.windows
    };
    let at_once = windows_of(&setup, format, &audio);
    assert_eq!(at_once.len(), 7, "8.1 s");
    assert!(at_once == expected);
}
