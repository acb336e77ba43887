//! Models that take samples: positions and content of their windows.

use std::collections::VecDeque;
use std::sync::Arc;

use affectd::audio::{Encoding, ResamplerPlan, resample};
use affectd::stream::{Chunk, MissingAudio, Resume, ResumePoint, SplitFrame, StreamSetup};
use affectd::window::Window;
use proptest::prelude::*;
use prost::bytes::Bytes;

use crate::support::stream_fixture;
use crate::support::stream_fixture::{Feed, format, noise, plain, waveform_setup, windows_of};

fn samples(audio: &Bytes) -> Vec<f32> {
    audio.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn a_window_contains_its_samples_padded_with_zeros() {
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
fn a_hop_longer_than_the_window_skips_audio_and_a_short_tail_gives_no_window() {
    let all = noise(plain(), 9_000, 2);
    let windows = windows_of(&waveform_setup(1_000, 4_000, 0.05), plain(), &all);
    let places: Vec<_> = windows.iter().map(|window| (window.index, window.partial)).collect();
    assert_eq!(places, [(0, false), (1, false), (2, false)]);
    assert_eq!(windows[2].features, samples(&all)[8_000..]);
    assert!(windows_of(&waveform_setup(1_000, 500, 0.05), plain(), &noise(plain(), 799, 3)).is_empty());
}

#[test]
fn telephone_audio_is_resampled_to_the_model_rate() {
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
    fn any_chunking_and_any_resumption_give_the_same_waveform_windows(
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

        // Another reader continues at a position before which no audio is needed.
        let position = cut.index(frames + 1) as u64;
        let plan = ResamplerPlan::new(rate, 16_000);
        let first = setup.geometry.first_window_from(position + plan.half_width(), rate);
        let point = ResumePoint {
            format, position, sequence: None, split: SplitFrame::default(),
            missing: MissingAudio::default(), first_window: Some(0), next_windows: vec![first; 2], span: setup.geometry.span(),
        };
        let rest = audio.slice(position as usize * 4..);
        let next = Chunk { audio: rest, last: true, ..Chunk::default() };
        let resume = Resume { at: Some(point), idle_ends: VecDeque::new(), published: None };
        let mut feed = Feed::resume(&setup, format, resume, &next);
        feed.chunk(next).unwrap();
        feed.windows.sort_by_key(|window| (window.channel, window.index));
        let due: Vec<Window> = at_once.into_iter().filter(|window| window.index >= first).collect();
        prop_assert!(feed.windows == due, "from sample {position}, window {first}");
    }
}
