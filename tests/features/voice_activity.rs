//! Whether a window is silent depends on its own samples only, for any chunking and any start of the reader.

use affectd::audio::Encoding;
use affectd::config::{Config, Vad, VadMode, Window as WindowSettings};
use affectd::evaluation::ClipFrontEnd;
use affectd::stream::{Chunk, SetupError, StreamSetup};
use affectd::vad::{SpeechCounter, VoiceActivity};
use affectd::window::Window;
use proptest::prelude::*;
use prost::bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

use crate::support::speech_fixture::{Part, SECOND, pcm16, talk};
use crate::support::stream_fixture;
use crate::support::stream_fixture::{Feed, contract, format, setup_with};

/// Samples of a frame of the detector.
const FRAME: usize = 256;

/// Windows of 3 s every `hop_ms`, with the gate.
fn gated(hop_ms: u64) -> StreamSetup {
    gated_at(hop_ms, Config::default().vad.min_speech)
}

/// Windows of 3 s every `hop_ms`, with a gate of this share.
fn gated_at(hop_ms: u64, min_speech: f64) -> StreamSetup {
    let hop = Some(Duration::from_millis(hop_ms));
    let setup = setup_with(&WindowSettings { hop, ..Config::default().window });
    let vad = Vad { mode: VadMode::Gate, min_speech, ..Config::default().vad };
    setup.gated(&contract(), &vad).expect("the model is at 16 kHz")
}

/// Alternating speech and silence, 18 s in total.
fn by_turns() -> Vec<f32> {
    use Part::{Silence, Speech};
    talk(&[Silence(4_300), Speech(2_000), Silence(3_900), Speech(700), Silence(4_500), Speech(2_600)])
}

/// Whether each window from `first` on is silent, of audio that begins at `origin`, in chunks of the given sizes. The
/// last window is partial where it has at least `partial_from` samples.
fn silent(
    setup: &StreamSetup,
    audio: &[f32],
    (origin, first): (u64, u64),
    sizes: &[usize],
    partial_from: u64,
) -> Vec<bool> {
    let gate = setup.gate.as_ref().expect("there is a gate");
    let (mut activity, mut counter) = (VoiceActivity::new(origin, first), SpeechCounter::default());
    let (mut rest, mut end, mut next, mut found) = (&audio[origin as usize..], origin, first, Vec::new());
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(*size));
        activity.push(gate, now);
        (rest, end) = (later, end + now.len() as u64);
        while setup.geometry.end(next) <= end {
            found.push(activity.is_silent(gate, &mut counter, next, false));
            next += 1;
        }
        if rest.is_empty() {
            break;
        }
    }
    if setup.geometry.start(next) + partial_from <= end {
        found.push(activity.is_silent(gate, &mut counter, next, true));
    }
    found
}

/// Counts the frames of speech independently: in blocks of whole hops of at least half a second, with a new detector for
/// each, and every block as a whole.
#[derive(Default)]
struct Reference {
    /// The frames of speech by the start and the end of a block.
    counts: HashMap<(usize, usize), usize>,
}

impl Reference {
    /// The frames of speech in the block from `start` to `end`.
    fn speech(&mut self, audio: &[f32], (start, end): (usize, usize)) -> usize {
        *self.counts.entry((start, end)).or_insert_with(|| {
            let samples = audio[start..end].iter().map(|s| (s.clamp(-1.0, 1.0) * 32_767.0).round_ties_even());
            let samples: Vec<i16> = samples.map(|s| s as i16).collect();
            if samples.iter().all(|sample| sample.unsigned_abs() <= 16) {
                return 0;
            }
            let mut detector = earshot::Detector::default();
            for frame in samples.chunks_exact(FRAME).take(24) {
                detector.predict_i16(frame);
            }
            samples.chunks_exact(FRAME).filter(|frame| detector.predict_i16(frame) >= 0.4).count()
        })
    }

    /// Whether each window is silent.
    fn silent(
        &mut self,
        setup: &StreamSetup,
        audio: &[f32],
        min_speech: f64,
        partial_from: u64,
    ) -> Vec<bool> {
        let (length, hop) = (3 * SECOND, setup.geometry.hop as usize);
        let block = hop * (SECOND / 2).div_ceil(hop).max(1);
        let mut found = Vec::new();
        for start in (0..audio.len()).step_by(hop) {
            let end = audio.len().min(start + length);
            if ((end - start) as u64) < partial_from {
                break;
            }
            let blocks = (start..end).step_by(block).map(|from| (from, end.min(from + block)));
            let blocks: Vec<_> =
                blocks.filter(|(from, to)| *from == start || (to - from) / FRAME >= 24).collect();
            let frames: usize = blocks.iter().map(|(from, to)| (to - from) / FRAME).sum();
            let speech: usize = blocks.into_iter().map(|block| self.speech(audio, block)).sum();
            found.push(frames > 0 && (speech as f64 / frames as f64) < min_speech);
            if end - start < length {
                break;
            }
        }
        found
    }
}

#[test]
fn a_window_is_silent_where_all_its_blocks_together_have_too_few_frames_of_speech() {
    let audio = by_turns();
    for hop_ms in [100, 300, 700, 1_000, 2_000, 4_000, 5_000] {
        let (mut reference, mut both) = (Reference::default(), (false, false));
        for min_speech in [0.0, 0.1, 0.35, 0.6, 1.0] {
            let setup = gated_at(hop_ms, min_speech);
            let expected = reference.silent(&setup, &audio, min_speech, 300);
            assert_eq!(
                silent(&setup, &audio, (0, 0), &[audio.len()], 300),
                expected,
                "{hop_ms} ms, {min_speech}"
            );
            both = (both.0 || expected.contains(&true), both.1 || expected.contains(&false));
        }
        assert_eq!(both, (true, true), "{hop_ms} ms");
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
    let off = Vad { mode: VadMode::Off, ..Config::default().vad };
    assert_eq!(setup.clone().gated(&telephone, &off).expect("off fits every model").gate, None);
    let silence = setup.clone().gated(&telephone, &Config::default().vad);
    assert!(silence.expect("digital silence has no rate").gate.is_some());
    let error = setup.gated(&telephone, &Vad { mode: VadMode::Gate, ..Config::default().vad }).unwrap_err();
    assert!(matches!(error, SetupError::VoiceActivity { rate_hz: 8_000, .. }));
    let text = error.to_string();
    assert!(text.contains("vad.mode") && text.contains("8000 Hz") && text.contains("16000 Hz"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Loud audio, then digital silence from second `from` to second `to`, then loud audio again; windows of 3 s every second.
    #[test]
    fn by_default_the_windows_inside_digital_silence_are_silent_in_any_chunks(
        from in 0..6_u64,
        length in 0..9_u64,
        sizes in prop::collection::vec(1..40_000_usize, 1..5),
        half in any::<bool>(),
    ) {
        let loud = |seconds: u64| (0..seconds * SECOND as u64).map(|at| if at % 9 < 4 { 0.1 } else { -0.1 });
        let step = 1.0 / 32_768.0;
        let quiet = (0..length * SECOND as u64).map(|at| if at % 2 == 0 { 9.0 * step } else { 7.0 * step });
        let mut audio: Vec<f32> = loud(from).chain(quiet).chain(loud(2)).collect();
        audio.truncate(audio.len() - if half { SECOND / 2 } else { 0 });
        let setup = setup_with(&Config::default().window).gated(&contract(), &Config::default().vad).unwrap();
        let found = silent(&setup, &audio, (0, 0), &sizes, SECOND as u64);
        let inside = |window: usize| (from..=(from + length).saturating_sub(3)).contains(&(window as u64));
        for (window, silent) in found.into_iter().enumerate() {
            prop_assert_eq!(silent, length >= 3 && inside(window), "window {}", window);
        }
    }
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
    fn any_chunking_start_and_end_give_the_decisions_of_the_whole_blocks(
        hop_ms in prop::sample::select(vec![100_u64, 490, 700, 1_000, 2_000, 5_000]),
        min_speech in prop::sample::select(vec![0.02, 0.1, 0.3, 0.7]),
        first in 0..3_u64,
        before in 0..9_000_u64,
        end in 250_000..288_000_usize,
        sizes in prop::collection::vec(1..9_000_usize, 1..8),
    ) {
        let setup = gated_at(hop_ms, min_speech);
        let audio = &by_turns()[..end];
        let expected = Reference::default().silent(&setup, audio, min_speech, 4_000);
        let origin = setup.geometry.start(first).saturating_sub(before);
        let found = silent(&setup, audio, (origin, first), &sizes, 4_000);
        prop_assert_eq!(&found[..], &expected[first as usize..]);
    }
}
