//! The speech share of a window depends on its own samples only, for any chunking and any start of the reader.

use affectd::audio::Encoding;
use affectd::config::{Config, Vad, VadMode, Window as WindowSettings};
use affectd::evaluation::ClipFrontEnd;
use affectd::stream::{Chunk, SetupError, StreamSetup};
use affectd::vad::{Gate, VoiceActivity};
use affectd::window::Window;
use proptest::prelude::*;
use prost::bytes::Bytes;
use std::time::Duration;

use crate::support::speech_fixture::{Part, SECOND, pcm16, talk};
use crate::support::stream_fixture;
use crate::support::stream_fixture::{Feed, contract, format, setup_with};

/// Windows of 3 s every `hop_ms`, with the gate.
fn gated(hop_ms: u64) -> StreamSetup {
    let hop = Some(Duration::from_millis(hop_ms));
    let setup = setup_with(&WindowSettings { hop, ..Config::default().window });
    let vad = Vad { mode: VadMode::Gate, ..Config::default().vad };
    setup.gated(&contract(), &vad).expect("the model is at 16 kHz")
}

/// Alternating speech and silence, 18 s in total.
fn by_turns() -> Vec<f32> {
    use Part::{Silence, Speech};
    talk(&[Silence(4_300), Speech(2_000), Silence(3_900), Speech(700), Silence(4_500), Speech(2_600)])
}

/// The shares of all full windows from `first` on, of audio that begins at `origin`, in chunks of the given sizes.
fn shares(
    gate: &Gate,
    setup: &StreamSetup,
    audio: &[f32],
    (origin, first): (u64, u64),
    sizes: &[usize],
) -> Vec<f64> {
    let mut speech = VoiceActivity::new(gate, origin, first);
    let (mut rest, mut end, mut next, mut found) = (&audio[origin as usize..], origin, first, Vec::new());
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(*size));
        speech.push(gate, now);
        (rest, end) = (later, end + now.len() as u64);
        while setup.geometry.end(next) <= end {
            found.push(speech.speech_share(gate, next, false));
            next += 1;
        }
        if rest.is_empty() {
            return found;
        }
    }
    found
}

/// The share of one window, implemented independently: segments of whole hops of at least half a second, a detector for each.
fn share_of(window: &[f32], hop: usize) -> f64 {
    const FRAME: usize = 256;
    let segment = hop * (SECOND / 2).div_ceil(hop).max(1);
    let (mut speech, mut frames) = (0, 0);
    for (number, part) in window.chunks(segment).enumerate() {
        let samples: Vec<i16> = part.iter().map(|s| (s.clamp(-1.0, 1.0) * 32_767.0).round() as i16).collect();
        if number > 0 && samples.len() / FRAME < 24 {
            continue;
        }
        let mut detector = earshot::Detector::default();
        for frame in samples.chunks_exact(FRAME).take(24) {
            detector.predict_i16(frame);
        }
        for frame in samples.chunks_exact(FRAME) {
            frames += 1;
            speech += usize::from(detector.predict_i16(frame) >= 0.4);
        }
    }
    speech as f64 / frames as f64
}

#[test]
fn the_speech_share_counts_the_frames_of_the_windows_own_segments() {
    let audio = by_turns();
    for hop_ms in [100, 300, 700, 1_000, 4_000] {
        let (setup, hop) = (gated(hop_ms), hop_ms as usize * SECOND / 1_000);
        let gate = setup.gate.as_ref().expect("there is a gate");
        let found = shares(gate, &setup, &audio, (0, 0), &[audio.len()]);
        assert_eq!(found.len(), (audio.len() - 3 * SECOND) / hop + 1);
        for (index, share) in found.iter().enumerate() {
            let expected = share_of(&audio[index * hop..index * hop + 3 * SECOND], hop);
            assert!((share - expected).abs() < 1e-12, "{hop_ms} ms, window {index}: {share}, not {expected}");
        }
        assert!(found.iter().any(|share| *share > 0.3) && found.contains(&0.0), "{hop_ms} ms: {found:?}");
    }
}

#[test]
fn windows_of_silence_are_silent_and_windows_of_speech_are_not() {
    use Part::{Silence, Speech};
    let feed = |parts: &[Part]| -> Vec<(u64, bool, bool)> {
        let mut feed = Feed::new(&gated(1_000), format(Encoding::PcmS16Le, 16_000, 1));
        feed.chunk(Chunk { audio: pcm16(&talk(parts)).into(), last: true, ..Chunk::default() })
            .expect("good audio");
        feed.windows.iter().map(|window| (window.index, window.partial, window.silent)).collect()
    };
    let silent = [(0, false, true), (1, false, true), (2, true, true)];
    assert_eq!(feed(&[Silence(4_700)]), silent);
    assert_eq!(feed(&[Speech(4_700)]), silent.map(|(index, partial, _)| (index, partial, false)));
    // A partial window counts by its own length, 2.6 s here.
    assert_eq!(feed(&[Silence(5_200), Speech(400)])[3], (3, true, false));
    assert_eq!(feed(&[Silence(300), Speech(1_000)]), [(0, true, false)]);
    assert_eq!(feed(&[Silence(1_300)]), [(0, true, true)]);
}

#[test]
fn without_a_gate_and_in_evaluation_no_window_is_dropped() {
    let audio: Bytes = pcm16(&talk(&[Part::Silence(5_000)])).into();
    let pcm = format(Encoding::PcmS16Le, 16_000, 1);
    let windows = stream_fixture::windows_of(&setup_with(&Config::default().window), pcm, &audio);
    assert!(windows.len() == 3 && windows.iter().all(|window| !window.silent));
    let mut clips = ClipFrontEnd::new(&gated(1_000));
    assert_eq!(clips.windows(pcm, &audio).expect("good audio").len(), 3);
}

#[test]
fn a_rate_that_the_detector_does_not_support_is_refused_by_name() {
    let telephone = affectd::model::Contract { sample_rate_hz: 8_000, ..contract() };
    let mut setup = setup_with(&Config::default().window);
    setup.geometry.sample_rate_hz = 8_000;
    let off = setup.clone().gated(&telephone, &Config::default().vad).expect("off fits every model");
    assert_eq!(off.gate, None);
    let error = setup.gated(&telephone, &Vad { mode: VadMode::Gate, ..Config::default().vad }).unwrap_err();
    assert!(matches!(error, SetupError::VoiceActivity { rate_hz: 8_000, .. }));
    let text = error.to_string();
    assert!(text.contains("vad.mode") && text.contains("8000 Hz") && text.contains("16000 Hz"), "{text}");
}

/// Index, channel, partial or not, silent or not, by channel.
fn names(windows: &[Window]) -> Vec<(u32, u64, bool, bool)> {
    let mut names: Vec<_> = windows.iter().map(|w| (w.channel, w.index, w.partial, w.silent)).collect();
    names.sort_unstable();
    names
}

/// The same talk in another format; the second channel lags behind the first.
fn encoded(rate: u32, channels: u32) -> (affectd::audio::AudioFormat, Vec<u8>) {
    let talk = by_turns();
    let at = |frame: usize, channel: usize| {
        let place = (frame as u64 * SECOND as u64 / u64::from(rate)) as usize;
        talk[(place + talk.len() - channel * 3 * SECOND) % talk.len()]
    };
    let frames = talk.len() as u64 * u64::from(rate) / SECOND as u64;
    let samples =
        (0..frames as usize).flat_map(|frame| (0..channels as usize).map(move |channel| at(frame, channel)));
    (format(Encoding::PcmF32Le, rate, channels), samples.flat_map(f32::to_le_bytes).collect())
}

/// The windows of a stream that begins at `from`, in chunks of the given numbers of samples.
fn windows_from(setup: &StreamSetup, rate: u32, channels: u32, from: usize, sizes: &[usize]) -> Vec<Window> {
    let (format, audio) = encoded(rate, channels);
    let frame = stream_fixture::frame_bytes(format);
    let mut rest = Bytes::from(audio).slice(from * frame..);
    let mut feed = Feed::new(setup, format);
    let mut first_sample = Some(from as u64);
    for size in sizes.iter().cycle() {
        let audio = rest.split_to((size * frame).min(rest.len()));
        let last = rest.is_empty();
        feed.chunk(Chunk { first_sample, audio, last, ..Chunk::default() }).expect("good audio");
        first_sample = None;
        if last {
            break;
        }
    }
    feed.windows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_and_any_start_give_the_same_silent_windows(
        (rate, channels) in prop::sample::select(vec![(16_000, 2), (8_000, 1), (44_100, 1)]),
        hop_ms in prop::sample::select(vec![250_u64, 500, 700, 1_000, 1_500]),
        cuts in prop::collection::vec(50..30_000_usize, 1..8),
        from_ms in 0..12_000_usize,
    ) {
        let setup = gated(hop_ms);
        let whole = windows_from(&setup, rate, channels, 0, &[100_000]);
        prop_assert!(whole.iter().any(|window| window.silent) && whole.iter().any(|window| !window.silent));
        prop_assert_eq!(names(&windows_from(&setup, rate, channels, 0, &cuts)), names(&whole));

        // Another reader begins there and needs no earlier audio.
        let from = from_ms * rate as usize / 1_000;
        let later = windows_from(&setup, rate, channels, from, &cuts);
        let due: Vec<Window> = whole.into_iter().filter(|window| window.needed_from >= from as u64).collect();
        let later: Vec<Window> = later.into_iter().filter(|window| window.needed_from >= from as u64).collect();
        prop_assert!(!due.is_empty());
        prop_assert_eq!(names(&later), names(&due));
    }

    #[test]
    fn a_detector_does_not_depend_on_audio_before_its_window(
        hop_ms in prop::sample::select(vec![100_u64, 490, 700, 1_000]),
        first in 0..5_u64,
        before in 0..9_000_u64,
        sizes in prop::collection::vec(1..9_000_usize, 1..8),
    ) {
        let setup = gated(hop_ms);
        let gate = setup.gate.as_ref().expect("there is a gate");
        let audio = by_turns();
        let whole = shares(gate, &setup, &audio, (0, 0), &[audio.len()]);
        let origin = setup.geometry.start(first).saturating_sub(before);
        let later = shares(gate, &setup, &audio, (origin, first), &sizes);
        prop_assert_eq!(&later[..], &whole[first as usize..]);
    }
}
