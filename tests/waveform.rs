//! Models that take samples: where their windows lie, what is in them, and one behind a real daemon.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod call_fixture;
mod model_fixture;
mod stream_fixture;
mod support;

use std::collections::VecDeque;
use std::sync::Arc;

use affectd::audio::{Encoding, ResamplerPlan, resample};
use affectd::model::{Contract, Output};
use affectd::proto;
use affectd::stream::{Chunk, Resume, ResumePoint, StreamSetup, Window};
use call_fixture::{Call, chunk, connect, last, more, shapes};
use model_fixture::waveform;
use proptest::prelude::*;
use prost::bytes::Bytes;
use stream_fixture::{Feed, format, noise, plain, waveform_setup, windows_of};
use support::daemon::Options;

fn samples(audio: &Bytes) -> Vec<f32> {
    audio.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn a_window_is_its_samples_and_what_is_missing_is_zero() {
    let audio = noise(plain(), 5_001, 1);
    let windows = windows_of(&waveform_setup(2_000, 1_333, 0.05), plain(), &audio);
    let all = samples(&audio);
    let places: Vec<_> = windows.iter().map(|window| (window.index, window.partial)).collect();
    assert_eq!(places, [(0, false), (1, false), (2, false), (3, true)]);
    for window in &windows {
        let start = window.index as usize * 1_333;
        let end = all.len().min(start + 2_000);
        assert_eq!(window.features[..end - start], all[start..end], "window {}", window.index);
        assert!(window.features[end - start..].iter().all(|sample| *sample == 0.0));
        assert_eq!(window.features.len(), 2_000);
    }
}

#[test]
fn hops_longer_than_a_window_leave_audio_out_and_short_tails_give_nothing() {
    let all = noise(plain(), 9_000, 2);
    let windows = windows_of(&waveform_setup(1_000, 4_000, 0.05), plain(), &all);
    let places: Vec<_> = windows.iter().map(|window| (window.index, window.partial)).collect();
    assert_eq!(places, [(0, false), (1, false), (2, false)]);
    assert_eq!(windows[2].features, samples(&all)[8_000..]);
    assert!(windows_of(&waveform_setup(1_000, 500, 0.05), plain(), &noise(plain(), 799, 3)).is_empty());
}

#[test]
fn telephone_audio_reaches_the_model_at_its_own_rate() {
    let telephone = format(Encoding::MuLaw, 8_000, 1);
    let audio = noise(telephone, 3_000, 4);
    let windows = windows_of(&waveform_setup(2_000, 2_000, 0.05), telephone, &audio);
    let mut planar = affectd::audio::Planar::new();
    affectd::audio::decode(telephone, &audio, &mut planar).unwrap();
    let expected = resample(&Arc::new(ResamplerPlan::new(8_000, 16_000)), &planar.channels()[0]);
    assert_eq!(windows.iter().flat_map(|window| window.features.clone()).collect::<Vec<_>>(), expected);
}

/// The windows of `audio` in chunks of `size` samples.
fn in_chunks(
    setup: &StreamSetup,
    format: affectd::audio::AudioFormat,
    audio: &Bytes,
    size: usize,
) -> Vec<Window> {
    let mut feed = Feed::new(setup, format);
    for part in audio.chunks(size * stream_fixture::frame_bytes(format)) {
        feed.audio(Bytes::copy_from_slice(part));
    }
    feed.end();
    feed.windows.sort_by_key(|window| (window.channel, window.index));
    feed.windows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_and_any_resumption_give_the_same_windows(
        rate in prop::sample::select(vec![8_000_u32, 16_000, 44_100]),
        length in 1..3_000_usize,
        hop in 50..4_000_usize,
        frames in 0..20_000_usize,
        size in 1..5_000_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let setup = waveform_setup(length, hop, 0.01);
        let format = format(Encoding::PcmS16Le, rate, 2);
        let audio = noise(format, frames, 5);
        let at_once = in_chunks(&setup, format, &audio, usize::MAX >> 8);
        prop_assert!(in_chunks(&setup, format, &audio, size.max(40)) == at_once, "in chunks of {size}");

        // Another reader goes on where nothing before the position is needed any more.
        let position = cut.index(frames + 1) as u64;
        let plan = ResamplerPlan::new(rate, 16_000);
        let first = setup.geometry.first_window_from(position + plan.reach(), rate);
        let point = ResumePoint {
            format, position, sequence: None, first_window: Some(0),
            next_windows: vec![first; 2], span: setup.geometry.span(),
        };
        let rest = audio.slice(position as usize * 4..);
        let next = Chunk { audio: rest, last: true, ..Chunk::default() };
        let resume = Resume { at: Some(point), idle_ends: VecDeque::new() };
        let mut feed = Feed::resume(&setup, format, resume, &next);
        feed.chunk(next).unwrap();
        feed.windows.sort_by_key(|window| (window.channel, window.index));
        let due: Vec<Window> = at_once.into_iter().filter(|window| window.index >= first).collect();
        prop_assert!(feed.windows == due, "from sample {position}, window {first}");
    }
}

#[test]
fn a_waveform_model_is_verified_analyses_a_recording_and_has_no_features() {
    let folder = tempfile::tempdir().unwrap();
    let contract = waveform::contract(Output::Logits);
    let model = model_fixture::write(folder.path(), waveform::graph(&contract), &contract);
    let (model, file) = (model.to_str().unwrap(), "deploy/samples/call-stereo-mulaw.wav");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_affectd"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("AFFECTD_CONFIG");
        command.output().unwrap()
    };
    assert!(run(&["model", "verify", model]).status.success());
    let analyzed = run(&["analyze", file, "--model", model, "--format", "jsonl"]);
    let lines = String::from_utf8(analyzed.stdout).unwrap();
    // 14.5 s in windows of 7,998 samples every 3,999, two channels.
    assert_eq!(lines.lines().count(), 2 * 28, "{lines}");
    let features = run(&["features", file, "--model", model]);
    assert_eq!(features.status.code(), Some(1));
    let said = String::from_utf8(features.stderr).unwrap();
    assert!(said.contains("the model's input is a waveform: it has no features"), "{said}");
    // A hop that is no whole number of samples is a matter of configuration.
    let hop = run(&["analyze", file, "--model", model, "--set", "window.hop=100us"]);
    assert_eq!(hop.status.code(), Some(64));
    assert!(String::from_utf8(hop.stderr).unwrap().contains("window.hop"));
}

/// Floats of a level for each third of a second.
fn thirds(levels: [f32; 3]) -> Vec<u8> {
    levels.into_iter().flat_map(|level| [level; 2_666]).flat_map(f32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_waveform_model_answers_streams() {
    let folder = tempfile::tempdir().unwrap();
    for output in [Output::Logits, Output::Probabilities] {
        let contract: Contract = waveform::contract(output);
        let model = model_fixture::write(folder.path(), waveform::graph(&contract), &contract);
        let daemon = Options::new()
            .set("model.path", model.to_str().unwrap())
            .set("engine.device", "cpu")
            .set("window.min_length", "250ms")
            .start()
            .await;
        let float = call_fixture::format(proto::Encoding::PcmF32le, 8_000, 1);
        // 7,998 samples a second: windows of them, every half.
        let audio = [thirds([0.1, 0.9, -0.2]), thirds([0.8, -0.9, 0.0])].concat();
        let mut call = Call::begin(&connect(&daemon).await, chunk("call", float, &audio[..10_000])).await;
        call.send(last(more(&audio[10_000..]))).await;
        let events = call.rest().await.good();
        let windows: Vec<_> = shapes(&events).iter().map(|shape| (shape.1, shape.2)).collect();
        assert_eq!(windows, [(0, false), (1, false), (2, false)]);
        let emotions: Vec<&str> = events.iter().map(|event| event.emotion.as_str()).collect();
        assert_eq!((emotions[0], emotions[2]), ("neutral", "anger"));
        let expected = model_fixture::expected(&[0.1, 0.9, -0.2], 1.0);
        for (score, expected) in events[0].scores.iter().zip(expected) {
            assert!((score.probability - expected).abs() < 1e-4, "{output:?}: {:?}", events[0].scores);
        }
    }
}
