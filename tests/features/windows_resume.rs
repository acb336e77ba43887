//! Whoever goes on in the middle of a stream, from the first chunk that is still needed, gives the windows of the undisturbed run,
//! bit by bit. The rules by which a reader settles chunks and keeps its place are written here a second time.

use std::collections::VecDeque;

use affectd::audio::{AudioFormat, ChannelPolicy, Encoding};
use affectd::config::Window as WindowSettings;
use affectd::stream::{Chunk, Resume, ResumePoint, StreamPosition, StreamSetup};
use affectd::window::Window;
use proptest::prelude::*;

use crate::support::stream_fixture::{Feed, format, noise, setup_with};

/// What happens to a stream; lengths in milliseconds.
#[derive(Debug, Clone)]
enum Step {
    /// Audio that follows what came before.
    Audio(u64),
    /// Audio that says where it begins: so much behind (or before) the end of what came before.
    Jump(i64, u64),
    /// Nothing came for long.
    Idle,
}

/// One step with where the stream stood before and after it, and what it gave.
struct Moment {
    chunk: Option<Chunk>,
    before: Option<StreamPosition>,
    after: Option<StreamPosition>,
    windows: Vec<Window>,
}

fn samples(format: AudioFormat, ms: u64) -> u64 {
    ms * u64::from(format.sample_rate_hz()) / 1_000
}

fn undisturbed(setup: &StreamSetup, format: AudioFormat, steps: &[Step]) -> Vec<Moment> {
    let mut feed = Feed::new(setup, format);
    let mut moments = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let before = feed.position();
        let position = before.as_ref().map_or(0, |place| place.position);
        let chunk = match step {
            Step::Idle => None,
            Step::Audio(ms) => Some((None, *ms)),
            Step::Jump(by, ms) => {
                let by = samples(format, by.unsigned_abs()) as i64 * by.signum();
                Some((Some(position.saturating_add_signed(by)), *ms))
            }
        };
        let chunk = chunk.map(|(first_sample, ms)| {
            let audio = noise(format, samples(format, ms) as usize, number as u64 + 1);
            Chunk { sequence: Some(number as u64), first_sample, audio, ..Chunk::default() }
        });
        match &chunk {
            Some(chunk) => drop(feed.chunk(chunk.clone()).unwrap()),
            None => feed.end(),
        }
        let windows = std::mem::take(&mut feed.windows);
        moments.push(Moment { chunk, before, after: feed.position(), windows });
    }
    moments
}

/// The lowest window of each channel that is not acknowledged, where all up to `acknowledged` are.
fn owed(given: &[u64], moments: &[Moment], acknowledged: usize) -> Vec<u64> {
    let windows: Vec<&Window> = moments.iter().flat_map(|moment| &moment.windows).collect();
    let under_way = &windows[acknowledged.min(windows.len())..];
    let lowest = |(channel, given): (usize, &u64)| {
        let indexes = under_way.iter().filter(|window| window.channel as usize == channel);
        indexes.map(|window| window.index).min().unwrap_or(*given)
    };
    given.iter().enumerate().map(lowest).collect()
}

/// Stops the reader after `cut` steps with `acknowledged` windows out, goes on with another, and compares.
fn resumes(setup: &StreamSetup, format: AudioFormat, moments: &[Moment], cut: usize, acknowledged: usize) {
    let (read, unread) = moments.split_at(cut);
    let Some(position) = read.last().and_then(|moment| moment.after.clone()) else { return };
    let windows: Vec<&Window> = read.iter().flat_map(|moment| &moment.windows).collect();
    let under_way = windows[acknowledged.min(windows.len())..].iter().map(|window| window.needed_from);
    let needed = under_way.fold(position.needed_from, u64::min);
    let unsettled = |moment: &Moment| {
        moment.chunk.is_some() && moment.after.as_ref().is_some_and(|place| place.position > needed)
    };
    let from = read.iter().position(unsettled).unwrap_or(cut);
    let Some(next) = moments[from..].iter().position(|moment| moment.chunk.is_some()) else { return };
    let begin = if from < cut { moments[from].before.clone() } else { Some(position.clone()) };
    let Some(begin) = begin else { return };

    let next_windows = owed(&position.next_windows, read, acknowledged);
    let idle_ends: VecDeque<u64> = read
        .iter()
        .filter(|moment| moment.chunk.is_none())
        .filter_map(|moment| Some(moment.before.as_ref()?.position))
        .filter(|end| *end > begin.position || (*end == begin.position && begin.first_window.is_some()))
        .collect();
    let point = ResumePoint {
        format,
        position: begin.position,
        sequence: begin.sequence,
        split: begin.split.clone(),
        missing: begin.missing,
        first_window: begin.first_window,
        next_windows: next_windows.clone(),
        span: setup.geometry.span(),
    };
    let resume = Resume { at: Some(point), idle_ends, published: None };
    let first_chunk = moments[from + next].chunk.as_ref().unwrap();
    let mut feed = Feed::resume(setup, format, resume, first_chunk);
    for chunk in moments[from..cut.max(from)].iter().filter_map(|moment| moment.chunk.as_ref()) {
        feed.chunk(chunk.clone()).unwrap();
    }
    for moment in unread {
        match &moment.chunk {
            Some(chunk) => drop(feed.chunk(chunk.clone()).unwrap()),
            None => feed.end(),
        }
    }
    // An idle end is repeated before the next chunk. Where none follows, the reader ends the silent stream again, by wall time.
    if unread.is_empty() && moments.last().is_some_and(|moment| moment.chunk.is_none()) {
        feed.end();
    }
    let due = |window: &&Window| window.index >= next_windows[window.channel as usize];
    let expected: Vec<&Window> = moments.iter().flat_map(|moment| &moment.windows).filter(due).collect();
    let found: Vec<&Window> = feed.windows.iter().collect();
    let names = |windows: &[&Window]| -> Vec<_> {
        windows.iter().map(|w| (w.channel, w.index, w.partial, w.start, w.end, w.needed_from)).collect()
    };
    assert_eq!(names(&found), names(&expected), "cut after {cut}, {acknowledged} out, from {from}");
    assert!(found == expected, "cut after {cut}: the features differ");
    assert_eq!(feed.position(), moments.last().and_then(|moment| moment.after.clone()));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (50..1_500_u64).prop_map(Step::Audio),
        2 => (-400..1_000_i64, 50..1_500_u64).prop_map(|(by, ms)| Step::Jump(by, ms)),
        1 => (1_001..3_000_i64, 50..1_500_u64).prop_map(|(by, ms)| Step::Jump(by, ms)),
        1 => Just(Step::Idle),
    ];
    prop::collection::vec(step, 6..14)
}

fn formats() -> impl Strategy<Value = AudioFormat> {
    prop::sample::select(vec![
        format(Encoding::PcmF32Le, 16_000, 1),
        format(Encoding::MuLaw, 8_000, 2),
        format(Encoding::PcmS16Le, 44_100, 1),
        format(Encoding::PcmS16Le, 48_000, 1),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_that_is_resumed_gives_the_windows_of_the_undisturbed_run(
        format in formats(),
        steps in steps(),
        cut in any::<prop::sample::Index>(),
        acknowledged in any::<prop::sample::Index>(),
        half_hop in any::<bool>(),
    ) {
        let hop = half_hop.then(|| std::time::Duration::from_millis(500));
        let setup = setup_with(&WindowSettings { hop, min_length: std::time::Duration::from_secs(1) });
        let moments = undisturbed(&setup, format, &steps);
        let cut = cut.index(moments.len()) + 1;
        let windows: usize = moments[..cut].iter().map(|moment| moment.windows.len()).sum();
        for acknowledged in [windows, acknowledged.index(windows + 1), 0] {
            resumes(&setup, format, &moments, cut, acknowledged);
        }
    }
}

/// Every source rate, and one that shares no divisor with the model's: a reader that begins in the middle of the stream gives the
/// features of the first run bit by bit, so labels and scores are those of the first run too.
#[test]
fn a_replayed_window_equals_the_first_at_every_rate_and_under_every_policy() {
    let steps = [Step::Audio(1_300), Step::Audio(2_150), Step::Audio(1_333), Step::Audio(1_700)];
    for rate in [8_000, 11_025, 22_050, 24_414, 44_100, 48_000, 96_000, 191_999, 192_000] {
        for policy in [ChannelPolicy::Split, ChannelPolicy::Mix, ChannelPolicy::First] {
            let mut setup = setup_with(&affectd::config::Config::default().window);
            setup.channels.policy = policy;
            setup.max_chunk_bytes = 4 << 20;
            let format = format(Encoding::PcmS16Le, rate, 2);
            let moments = undisturbed(&setup, format, &steps);
            let given: Vec<usize> = moments.iter().map(|moment| moment.windows.len()).collect();
            let channels = if policy == ChannelPolicy::Split { 2 } else { 1 };
            assert_eq!(given, [0, channels, channels, 2 * channels], "{rate} Hz, {policy:?}");
            for cut in 1..steps.len() {
                let out: usize = given[..cut].iter().sum();
                for acknowledged in [0, out] {
                    resumes(&setup, format, &moments, cut, acknowledged);
                }
            }
        }
    }
}

#[test]
fn one_channel_may_be_behind_the_other_when_a_stretch_ends() {
    let setup = setup_with(&affectd::config::Config::default().window);
    let stereo = format(Encoding::MuLaw, 8_000, 2);
    let steps = [Step::Audio(3_500), Step::Audio(1_500), Step::Idle, Step::Audio(4_000)];
    let moments = undisturbed(&setup, stereo, &steps);
    let before_the_end: usize = moments[..3].iter().map(|moment| moment.windows.len()).sum();
    for acknowledged in 0..=before_the_end {
        resumes(&setup, stereo, &moments, 3, acknowledged);
    }
}

#[test]
fn a_reader_that_cuts_other_windows_begins_a_new_stretch_at_the_next_whole_one() {
    let hop = |seconds| {
        setup_with(&WindowSettings {
            hop: Some(std::time::Duration::from_secs(seconds)),
            min_length: std::time::Duration::from_secs(1),
        })
    };
    let format = format(Encoding::PcmF32Le, 16_000, 1);
    let moments = undisturbed(&hop(1), format, &[Step::Audio(5_500), Step::Audio(9_500)]);
    let left = moments[0].after.clone().unwrap();
    let point = ResumePoint {
        format,
        position: left.position,
        sequence: left.sequence,
        split: left.split,
        missing: left.missing,
        first_window: left.first_window,
        next_windows: left.next_windows,
        span: left.span,
    };
    let resume = Resume { at: Some(point), idle_ends: VecDeque::new(), published: None };
    let chunk = moments[1].chunk.clone().unwrap();
    let mut feed = Feed::resume(&hop(2), format, resume, &chunk);
    feed.chunk(chunk).unwrap();
    let found: Vec<_> = feed.windows.iter().map(|window| (window.index, window.start.as_secs())).collect();
    // From 5.5 s on, windows of 3 s every 2 s: those that begin at 6, 8, 10 and 12 s.
    assert_eq!(found, [(3, 6), (4, 8), (5, 10), (6, 12)]);
}
