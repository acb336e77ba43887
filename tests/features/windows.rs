//! Positions, order and content of the windows of one stream, without a daemon.

use std::time::Duration;

use affectd::audio::{AudioFormat, Encoding};
use affectd::config::{self, Config};
use affectd::stream::{BadChunk, Chunk, FURTHEST_SAMPLE, SetupError, StreamSetup};
use affectd::window::{GeometryError, Window};
use prost::bytes::Bytes;

use crate::support::stream_fixture::{
    Feed, contract, format, frame_bytes, noise, of_segment, plain, setup, setup_with, windows_of,
};

const RATE: usize = 16_000;

fn window_settings(hop: Option<f64>, min_length: f64) -> config::Window {
    config::Window { hop: hop.map(Duration::from_secs_f64), min_length: Duration::from_secs_f64(min_length) }
}

/// Index, start and end in seconds, partial or not.
fn shape(windows: &[Window]) -> Vec<(u64, f64, f64, bool)> {
    let shape = |w: &Window| (w.index, w.start.as_secs_f64(), w.end.as_secs_f64(), w.partial);
    windows.iter().map(shape).collect()
}

/// `seconds` of audio that starts with the first sample of `audio`.
fn first(audio: &Bytes, format: AudioFormat, seconds: f64) -> Bytes {
    let frames = (seconds * f64::from(format.sample_rate_hz())).round() as usize;
    audio.slice(..frames * frame_bytes(format))
}

fn between(audio: &Bytes, from: usize, to: usize) -> Bytes {
    audio.slice(from * frame_bytes(plain())..to * frame_bytes(plain()))
}

fn at(first_sample: usize, audio: Bytes) -> Chunk {
    Chunk { first_sample: Some(first_sample as u64), audio, ..Chunk::default() }
}

fn numbered(sequence: u64, audio: Bytes) -> Chunk {
    Chunk { sequence: Some(sequence), audio, ..Chunk::default() }
}

#[test]
fn a_window_contains_the_frames_that_lie_entirely_inside_it() {
    let setup = setup();
    assert_eq!(setup.geometry.frames(), 297);
    let audio = noise(plain(), 4 * RATE, 1);
    let windows = windows_of(&setup, plain(), &audio);
    let samples: Vec<f32> = audio.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let mut computer = setup.front_end.as_ref().expect("a front end").computer();
    for window in &windows {
        assert_eq!(window.features.len(), 297 * 40);
        let start = window.index as usize * RATE;
        for (t, row) in window.features.chunks_exact(40).enumerate() {
            let mut expected = vec![0.0; 40];
            let from = start + t * 160;
            computer.frame(&samples[from..from + 512], &mut expected);
            assert_eq!(row, expected, "window {}, frame {t}", window.index);
        }
    }
    assert_eq!(windows.len(), 2);
}

#[test]
fn windows_start_a_hop_apart_from_the_streams_start() {
    let audio = noise(plain(), 5 * RATE, 2);
    let expected = [(0, 0.0, 3.0, false), (1, 1.0, 4.0, false), (2, 2.0, 5.0, false)];
    assert_eq!(shape(&windows_of(&setup(), plain(), &audio)), expected);
}

#[test]
fn the_configured_hop_overrides_the_hop_of_the_model() {
    let audio = noise(plain(), 4 * RATE, 3);
    let halved = windows_of(&setup_with(&window_settings(Some(0.5), 1.0)), plain(), &audio);
    assert_eq!(shape(&halved), [(0, 0.0, 3.0, false), (1, 0.5, 3.5, false), (2, 1.0, 4.0, false)]);
    let usual = windows_of(&setup(), plain(), &audio);
    assert_eq!(halved[2].features, usual[1].features, "the same second, whatever its index");
    // Hops longer than a window skip audio.
    let wide =
        windows_of(&setup_with(&window_settings(Some(4.0), 1.0)), plain(), &noise(plain(), 8 * RATE, 3));
    assert_eq!(shape(&wide), [(0, 0.0, 3.0, false), (1, 4.0, 7.0, false)]);
}

#[test]
fn a_hop_that_is_not_a_whole_number_of_frames_is_refused() {
    for seconds in [0.015, 0.010_001, 0.004] {
        let window = window_settings(Some(seconds), 1.0);
        let error = StreamSetup::new(&contract(), &window, &Config::default().audio).unwrap_err();
        assert!(matches!(error, SetupError::Geometry(GeometryError::Hop { .. })), "{error}");
        assert!(error.to_string().contains("window.hop") && error.to_string().contains("10ms"), "{error}");
    }
}

#[test]
fn the_last_window_is_partial_if_it_has_new_audio_and_the_minimum_length() {
    for (rate, encoding) in [
        (16_000, Encoding::PcmS16Le),
        (8_000, Encoding::MuLaw),
        (44_100, Encoding::PcmS16Le),
        (48_000, Encoding::PcmS24Le),
    ] {
        let format = format(encoding, rate, 1);
        let audio = noise(format, 5 * rate as usize, 4);
        for (seconds, min_length, expected) in [
            (0.0, 1.0, vec![]),
            (0.99, 1.0, vec![]),
            (1.0, 1.0, vec![(0, 0.0, 1.0, true)]),
            (2.5, 1.0, vec![(0, 0.0, 2.5, true)]),
            (3.0, 1.0, vec![(0, 0.0, 3.0, false)]),
            (3.5, 1.0, vec![(0, 0.0, 3.0, false), (1, 1.0, 3.5, true)]),
            (4.0, 1.0, vec![(0, 0.0, 3.0, false), (1, 1.0, 4.0, false)]),
            (3.5, 2.6, vec![(0, 0.0, 3.0, false)]),
            (0.5, 0.5, vec![(0, 0.0, 0.5, true)]),
        ] {
            let setup = setup_with(&window_settings(None, min_length));
            let windows = windows_of(&setup, format, &first(&audio, format, seconds));
            assert_eq!(shape(&windows), expected, "{seconds} s at {rate} Hz, at least {min_length} s");
        }
    }
}

#[test]
fn one_sample_past_a_window_is_new_audio() {
    let audio = noise(plain(), 3 * RATE + 1, 5);
    let windows = windows_of(&setup(), plain(), &audio);
    let end = 48_001.0 / 16_000.0;
    assert_eq!(windows.len(), 2);
    assert!(windows[1].partial && (windows[1].end.as_secs_f64() - end).abs() < 1e-8);
}

#[test]
fn missing_frames_are_rows_of_zeros() {
    let audio = noise(plain(), 4 * RATE, 6);
    let whole = windows_of(&setup(), plain(), &audio);
    let cut = windows_of(&setup(), plain(), &first(&audio, plain(), 3.5));
    assert_eq!((cut[1].index, cut[1].partial), (1, true));
    // 2.5 s are 1 + (40,000 − 512) / 160 frames.
    let (real, missing) = cut[1].features.split_at(247 * 40);
    assert_eq!(real, &whole[1].features[..247 * 40]);
    assert!(missing.iter().all(|value| *value == 0.0) && missing.len() == 50 * 40);
    assert!(real.chunks_exact(40).all(|row| row.iter().any(|value| *value != 0.0)));
}

#[test]
fn chunks_at_or_below_the_last_accepted_sequence_are_dropped() {
    let audio = noise(plain(), 4 * RATE, 7);
    let part = |k: usize| between(&audio, k * RATE, (k + 1) * RATE);
    let mut feed = Feed::new(&setup(), plain());
    let mut dropped = 0;
    for (sequence, k) in [(5, 0), (5, 0), (6, 1), (4, 3), (6, 1), (7, 2), (8, 3), (0, 0)] {
        dropped += u32::from(feed.chunk(numbered(sequence, part(k))).unwrap().duplicate);
    }
    feed.end();
    assert_eq!(dropped, 4);
    assert_eq!(feed.windows, windows_of(&setup(), plain(), &audio));
}

#[test]
fn a_jump_in_sequence_alone_is_counted_and_adds_no_audio() {
    let audio = noise(plain(), 3 * RATE, 8);
    let mut feed = Feed::new(&setup(), plain());
    let mut missing = Vec::new();
    for (sequence, k) in [(1, 0), (4, 1), (5, 2)] {
        let chunk = numbered(sequence, between(&audio, k * RATE, (k + 1) * RATE));
        missing.push(feed.chunk(chunk).unwrap().missing_chunks);
    }
    assert_eq!(missing, [0, 2, 0]);
    assert_eq!(feed.windows, windows_of(&setup(), plain(), &audio));
}

#[test]
fn overlapping_audio_is_trimmed() {
    let audio = noise(plain(), 4 * RATE, 9);
    let mut feed = Feed::new(&setup(), plain());
    for (from, to) in [(0, 20_000), (16_000, 30_000), (5_000, 7_000), (0, 40_000), (40_000, 64_000)] {
        feed.chunk(at(from, between(&audio, from, to))).unwrap();
    }
    feed.end();
    assert_eq!(feed.windows, windows_of(&setup(), plain(), &audio));
}

#[test]
fn a_gap_up_to_max_gap_becomes_silence() {
    let audio = noise(plain(), 5 * RATE, 10);
    let (before, after) = (2 * RATE, 3 * RATE);
    let mut feed = Feed::new(&setup(), plain());
    feed.chunk(at(0, between(&audio, 0, before))).unwrap();
    feed.chunk(at(after, between(&audio, after, 5 * RATE))).unwrap();
    feed.end();
    let mut silenced = audio.to_vec();
    silenced[before * 4..after * 4].fill(0);
    assert_eq!(feed.windows, windows_of(&setup(), plain(), &silenced.into()));
}

#[test]
fn a_longer_gap_ends_the_segment_and_the_next_window_starts_after_it() {
    let audio = noise(plain(), 14 * RATE, 11);
    let whole = windows_of(&setup(), plain(), &audio);
    let before = 4 * RATE + RATE / 2;
    // One sample more than a second; in the middle between two starts; at a start.
    for (resumes_at, first_window) in [(before + RATE + 1, 6), (7 * RATE + 4_000, 8), (8 * RATE, 8)] {
        let mut feed = Feed::new(&setup(), plain());
        feed.chunk(at(0, between(&audio, 0, before))).unwrap();
        feed.chunk(at(resumes_at, between(&audio, resumes_at, 13 * RATE))).unwrap();
        feed.end();
        let mut expected = windows_of(&setup(), plain(), &between(&audio, 0, before));
        assert_eq!(shape(&expected)[2], (2, 2.0, 4.5, true));
        expected.extend(of_segment(first_window as u64, &whole[first_window..=10]));
        assert_eq!(feed.windows, expected, "goes on at {resumes_at}");
    }
}

#[test]
fn the_segment_after_a_gap_has_its_own_partial_window() {
    let audio = noise(plain(), 2 * RATE, 12);
    let mut feed = Feed::new(&setup(), plain());
    feed.chunk(at(0, audio.clone())).unwrap();
    feed.chunk(at(20 * RATE + 1, between(&audio, 0, 2 * RATE - 2))).unwrap();
    feed.end();
    // 1.0 s less one sample remains after the first start: too short.
    assert_eq!(shape(&feed.windows), [(0, 0.0, 2.0, true)]);
    feed.chunk(at(30 * RATE, audio)).unwrap();
    feed.end();
    assert_eq!(shape(&feed.windows)[1..], [(30, 30.0, 32.0, true)]);
}

#[test]
fn positions_and_indexes_continue_after_an_idle_end() {
    let audio = noise(plain(), 12 * RATE, 13);
    let whole = windows_of(&setup(), plain(), &audio);
    let mut feed = Feed::new(&setup(), plain());
    let cut = 3 * RATE + RATE / 2;
    feed.audio(between(&audio, 0, cut));
    feed.end();
    feed.end();
    assert_eq!(shape(&feed.windows), [(0, 0.0, 3.0, false), (1, 1.0, 3.5, true)]);
    let place = feed.position().unwrap();
    assert_eq!((place.position, place.first_window, place.open), (cut as u64, None, false));
    assert_eq!(place.next_windows, [2], "what was given is not owed again");
    feed.audio(between(&audio, cut, 12 * RATE));
    feed.end();
    assert_eq!(feed.windows[2..], of_segment(4, &whole[4..]));
}

#[test]
fn last_ends_the_stream_and_its_duplicate_does_not() {
    let audio = noise(plain(), 2 * RATE, 14);
    let mut feed = Feed::new(&setup(), plain());
    feed.chunk(numbered(1, between(&audio, 0, RATE))).unwrap();
    feed.chunk(Chunk { last: true, ..numbered(1, Bytes::new()) }).unwrap();
    assert_eq!(feed.windows, []);
    feed.chunk(Chunk { last: true, ..numbered(2, between(&audio, RATE, 2 * RATE)) }).unwrap();
    assert_eq!(shape(&feed.windows), [(0, 0.0, 2.0, true)]);
}

#[test]
fn without_a_minimum_length_every_clip_has_a_window() {
    let mut setup = setup();
    setup.geometry = setup.geometry.any_length();
    for seconds in [0.032, 0.1, 0.9, 1.0, 2.9, 3.0] {
        let windows = windows_of(&setup, plain(), &first(&noise(plain(), 3 * RATE, 15), plain(), seconds));
        assert_eq!(shape(&windows), [(0, 0.0, seconds, seconds < 3.0)]);
    }
}

#[test]
fn a_refused_chunk_leaves_the_stream_unchanged() {
    let audio = noise(plain(), 3 * RATE, 16);
    let mut feed = Feed::new(&setup(), plain());
    feed.chunk(numbered(0, between(&audio, 0, RATE))).unwrap();
    let place = feed.position();
    let nan: Bytes = f32::NAN.to_le_bytes().to_vec().into();
    let far = Chunk { first_sample: Some(FURTHEST_SAMPLE + 1), ..numbered(1, between(&audio, 0, RATE)) };
    let other = Chunk { format: Some(format(Encoding::PcmF32Le, 8_000, 1)), ..numbered(1, Bytes::new()) };
    let refused = [
        numbered(1, nan),
        Chunk { last: true, ..numbered(1, Bytes::from_static(&[0; 7])) },
        numbered(1, vec![0; setup().max_chunk_bytes + 4].into()),
        Chunk { first_sample: Some(u64::MAX), ..far.clone() },
        far,
        other,
    ];
    for chunk in refused {
        let error: BadChunk = feed.chunk(chunk).unwrap_err();
        assert_eq!(feed.position(), place, "{error}");
    }
    feed.chunk(numbered(1, between(&audio, RATE, 3 * RATE))).unwrap();
    assert_eq!(feed.windows, windows_of(&setup(), plain(), &audio));
}

#[test]
fn the_highest_allowed_first_sample_is_accepted() {
    for format in [plain(), format(Encoding::MuLaw, 8_000, 1), format(Encoding::PcmS16Le, 192_000, 1)] {
        let mut feed = Feed::new(&setup(), format);
        let audio = noise(format, 5 * format.sample_rate_hz() as usize / 2, 17);
        feed.chunk(Chunk { first_sample: Some(FURTHEST_SAMPLE), audio, ..Chunk::default() }).unwrap();
        feed.end();
        assert!(!feed.windows.is_empty());
    }
}
