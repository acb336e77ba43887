//! Places of audio: holes, late and early audio, wrong timestamps, and tracks that begin late.

use std::time::Duration;

use axum::body::Bytes;
use proptest::prelude::*;

use super::message::{Media, Track};
use super::tracks::Piece::{Audio, Hole};
use super::tracks::{Counts, Piece, Tracks};
use crate::audio::{AudioFormat, Encoding};

const IN: Track = Track::Inbound;
const OUT: Track = Track::Outbound;

fn tracks(encoding: Encoding, tracks: &[Track]) -> Tracks {
    Tracks::new(AudioFormat::new(encoding, 8_000, 1).unwrap(), tracks, Duration::from_millis(200))
}

fn media(track: Track, timestamp: u64, payload: impl Into<Bytes>) -> Media {
    Media { track, is_named: true, timestamp: Some(timestamp), payload: payload.into() }
}

fn all(tracks: &mut Tracks) -> Vec<Piece> {
    std::iter::from_fn(|| tracks.take()).collect()
}

/// 20 ms of one value.
fn ms20(value: u8) -> Bytes {
    vec![value; 160].into()
}

#[test]
fn audio_is_appended_and_only_60_ms_make_a_hole_or_a_late_chunk() {
    let mut mono = tracks(Encoding::MuLaw, &[IN]);
    // At 0, 59 ms ahead of 20, 60 ms ahead of 40, 59 ms behind 120, 60 ms behind 140.
    for at in [0, 79, 100, 61, 80, 200] {
        mono.add(&media(IN, at, ms20(1)));
    }
    let (audio, hole) = (|| Audio(ms20(1)), |ms: u64| Hole(ms * 8));
    assert_eq!(all(&mut mono), [audio(), audio(), hole(60), audio(), audio(), hole(60), audio()]);
    assert_eq!(mono.take_counts(), Counts { late: 1, holes: 2, lost_ms: 120 });
    assert_eq!(mono.take_counts(), Counts::default());
}

#[test]
fn two_tracks_are_interleaved_and_one_that_is_200_ms_behind_is_silent() {
    let mut both = tracks(Encoding::MuLaw, &[OUT, IN]);
    both.add(&media(IN, 0, vec![1; 800]));
    assert_eq!(both.take(), None);
    both.add(&media(OUT, 0, vec![2; 800]));
    assert_eq!(all(&mut both), [Audio([2, 1].repeat(800).into())]);
    both.add(&media(IN, 100, vec![1; 1_600]));
    assert_eq!(both.take(), None);
    both.add(&media(IN, 300, ms20(3)));
    assert_eq!(both.take(), None);
    both.add(&media(IN, 320, ms20(3)));
    assert_eq!(all(&mut both), [Audio([0xff, 1].repeat(160).into())]);
    // The other track goes on where the silence ends.
    both.add(&media(OUT, 120, ms20(4)));
    assert_eq!(all(&mut both), [Audio([4, 1].repeat(160).into())]);
    both.finish();
    let silent = |value, samples| Audio([0xff, value].repeat(samples).into());
    assert_eq!(all(&mut both), [silent(1, 1_280), silent(3, 160), silent(3, 160)]);
    assert_eq!(both.take_counts(), Counts::default());
}

#[test]
fn a_hole_in_all_tracks_is_a_hole_and_in_one_it_is_silence() {
    let mut both = tracks(Encoding::ALaw, &[IN, OUT]);
    for at in [0, 10_000] {
        both.add(&media(IN, at, ms20(1)));
        both.add(&media(OUT, at, ms20(2)));
    }
    let audio = || Audio([1, 2].repeat(160).into());
    let pieces = all(&mut both);
    let hole: u64 = pieces.iter().map(|piece| if let Hole(length) = piece { *length } else { 0 }).sum();
    assert_eq!((pieces.first(), pieces.last(), hole), (Some(&audio()), Some(&audio()), 79_840));
    both.add(&media(IN, 10_020, vec![1; 480]));
    both.add(&media(OUT, 10_080, ms20(2)));
    both.finish();
    let expected = [[1, 0xd5].repeat(480), [0xd5, 2].repeat(160)];
    assert_eq!(all(&mut both), expected.map(|it| Audio(it.into())));
}

#[test]
fn a_first_timestamp_that_is_a_time_of_day_is_the_start_of_the_stream() {
    let mut mono = tracks(Encoding::MuLaw, &[IN]);
    for at in [1_700_000_000_000, 1_700_000_000_020] {
        mono.add(&media(IN, at, ms20(1)));
    }
    mono.add(&Media { timestamp: None, ..media(IN, 0, ms20(2)) });
    assert_eq!(all(&mut mono), [Audio(ms20(1)), Audio(ms20(1)), Audio(ms20(2))]);
    let mut late = tracks(Encoding::MuLaw, &[IN]);
    late.add(&media(IN, 100, ms20(1)));
    let silence = Audio(vec![0xff; 800].into());
    assert_eq!((all(&mut late), late.take_counts()), (vec![silence, Audio(ms20(1))], Counts::default()));
    late.add(&media(OUT, 120, ms20(1)));
    late.add(&media(IN, u64::MAX, ms20(1)));
    assert_eq!((all(&mut late), late.take_counts().late), (vec![], 2));
    let mut later = tracks(Encoding::MuLaw, &[IN]);
    later.add(&media(IN, 201, ms20(1)));
    assert_eq!(all(&mut later), [Hole(1_608), Audio(ms20(1))]);
}

#[test]
fn a_track_that_begins_late_is_silent_before_whatever_its_timestamps_count_from() {
    // 3 s of one track before the other one begins, which counts from the start of the stream, or from its own.
    for first in [3_000, 0] {
        let mut both = tracks(Encoding::MuLaw, &[IN, OUT]);
        (0..150).for_each(|number| both.add(&media(IN, number * 20, ms20(1))));
        assert_eq!(both.without_audio().collect::<Vec<_>>(), [1]);
        for number in 0..50 {
            both.add(&media(IN, 3_000 + number * 20, ms20(1)));
            both.add(&media(OUT, first + number * 20, ms20(2)));
        }
        both.finish();
        let parts = all(&mut both).into_iter().map(|it| if let Audio(audio) = it { audio } else { panic!() });
        let samples = parts.collect::<Vec<_>>().concat();
        let other: Vec<u8> = samples.chunks(2).map(|frame| frame[1]).collect();
        let begins = other.iter().position(|sample| *sample == 2).unwrap() / 8;
        assert!((2_780..=3_000).contains(&begins), "{begins} ms");
        assert_eq!(other.iter().filter(|sample| **sample == 2).count(), 8_000, "from {first} ms");
        assert_eq!(samples.chunks(2).filter(|frame| frame[0] == 1).count(), 32_000);
        assert_eq!((both.take_counts(), both.without_audio().count()), (Counts::default(), 0));
    }
}

#[test]
fn a_single_timestamp_far_ahead_is_wrong_and_two_are_a_hole() {
    for wild in [10_040, 60_000, 3_600_000, u64::MAX] {
        let mut mono = tracks(Encoding::MuLaw, &[IN]);
        for at in [0, 20, wild, 60, 80] {
            mono.add(&media(IN, at, ms20(1)));
        }
        assert_eq!(all(&mut mono).len(), 4, "{wild}");
        assert_eq!(mono.take_counts().late, 1, "{wild}");
    }
    let mut mono = tracks(Encoding::MuLaw, &[IN]);
    for at in [0, 60_020, 60_040] {
        mono.add(&media(IN, at, ms20(1)));
    }
    assert_eq!(all(&mut mono), [Audio(ms20(1)), Hole(480_000), Audio(ms20(1)), Audio(ms20(1))]);
    assert_eq!(mono.take_counts(), Counts { late: 0, holes: 1, lost_ms: 60_000 });
    mono.add(&media(IN, 200_000, ms20(1)));
    mono.finish();
    assert_eq!((all(&mut mono), mono.take_counts().late), (vec![], 1));
}

#[test]
fn a_wrong_first_timestamp_makes_no_later_audio_late() {
    let mut mono = tracks(Encoding::MuLaw, &[IN]);
    for at in [3_600_000, 20, 40, 60, 80, 100, 120] {
        mono.add(&media(IN, at, ms20(1)));
    }
    assert_eq!((all(&mut mono).len(), mono.take_counts()), (7, Counts::default()));
}

proptest! {
    #[test]
    fn any_division_of_the_audio_gives_the_same_stream(sizes in prop::collection::vec(1_usize..800, 1..40)) {
        let mut linear = tracks(Encoding::PcmS16Le, &[IN, OUT]);
        let (mut sent, mut expected, mut found) = (0_usize, Vec::new(), Vec::new());
        for size in sizes {
            let timestamp = (sent / 16) as u64;
            let payload: Vec<u8> = (sent..sent + size).map(|at| at as u8).collect();
            linear.add(&media(IN, timestamp, payload.clone()));
            linear.add(&media(OUT, timestamp, payload.clone()));
            expected.extend(payload);
            sent += size;
            all(&mut linear).iter().for_each(|it| if let Audio(audio) = it { found.extend_from_slice(audio) });
        }
        let whole = expected.len() - expected.len() % 2;
        let expected: Vec<u8> = expected[..whole].chunks(2).flat_map(|it| [it, it].concat()).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(linear.take_counts(), Counts::default());
    }
}
