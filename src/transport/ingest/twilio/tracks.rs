//! Joins the tracks of a call to one stream with a channel for each.
//!
//! Input: audio of each track with its timestamp, in order. Output: interleaved audio, and places without audio. Pure. Invariants: what is
//! returned follows directly on what was returned before; all channels have the same length; positions count from the start of the stream.
//!
//! A track's audio is appended. Only a timestamp that is 60 ms or more ahead of what was appended leaves a hole, because timestamps vary by a few
//! milliseconds; audio that is 60 ms or more behind is dropped. A track is at most 200 ms behind the other one: what is missing is silence. A track
//! that begins behind the other one by a second or more counts its time from its own start, so its audio follows where the other one is. A timestamp that is
//! ten seconds or more ahead counts only where the next one of its track confirms it: a single wrong one would make all later audio late.

use std::time::Duration;

use axum::body::Bytes;
use prost::bytes::BytesMut;

use super::message::{Media, Track};
use super::track_audio::{Part, TrackAudio};
use crate::audio::{AudioFormat, Encoding};

/// The difference in milliseconds at which a timestamp counts.
const TOLERANCE_MS: u64 = 60;
/// How far a track may be behind the other one, in milliseconds.
const FURTHEST_BEHIND_MS: u64 = 200;
/// A timestamp that is this far ahead, in milliseconds, waits for the next one.
const LEAP_MS: u64 = 10_000;
/// A timestamp that is further ahead, in milliseconds, is wrong: no call is as long.
const FURTHEST_AHEAD_MS: u64 = 24 * 60 * 60 * 1_000;
/// A track whose first timestamp is this far behind what it was filled up to, in milliseconds, counts its time from its own start.
const LATE_START_MS: u64 = 800;
/// A first timestamp above this one, in milliseconds, counts from another origin than the start of the stream: Plivo sends the time of day.
const LATEST_START_MS: u64 = 60_000;

/// The next part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Interleaved sample frames.
    Audio(Bytes),
    /// Sample frames without audio in any channel.
    Hole(u64),
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Audio that came too late.
    pub late: u64,
    /// Places where audio of a track is missing between its other audio.
    pub holes: u64,
    /// The length of these places in milliseconds.
    pub lost_ms: u64,
}

/// The tracks of one stream.
#[derive(Debug)]
pub(super) struct Tracks {
    sample_bytes: usize,
    rate: u64,
    /// One sample of silence.
    silence: Bytes,
    /// In the order of the channels.
    tracks: Vec<TrackAudio>,
    /// The timestamp of the start of the stream, once one is known.
    origin: Option<u64>,
    /// A hole at the start of at most this many samples is silence: the windows then begin at the start.
    longest_lead: u64,
    /// Samples that were taken before the first audio; `None` behind it.
    lead: Option<u64>,
    counts: Counts,
}

impl Tracks {
    /// Returns tracks without audio, in the order of their channels, each with audio of one channel in `format`. A hole at the start that is no
    /// longer than `longest_lead` becomes silence.
    pub fn new(format: AudioFormat, tracks: &[Track], longest_lead: Duration) -> Self {
        let silence: &'static [u8] = match format.encoding() {
            Encoding::MuLaw => &[0xff],
            Encoding::ALaw => &[0xd5],
            _ => &[0, 0],
        };
        let rate = format.sample_rate_hz().into();
        let lead_ms = u64::try_from(longest_lead.as_millis()).unwrap_or(u64::MAX);
        Self {
            sample_bytes: silence.len(),
            rate,
            silence: Bytes::from_static(silence),
            tracks: tracks.iter().map(|track| TrackAudio::new(*track)).collect(),
            origin: None,
            longest_lead: lead_ms.saturating_mul(rate) / 1_000,
            lead: Some(0),
            counts: Counts::default(),
        }
    }

    /// Appends audio of a track. Audio of a track that the stream does not have counts as late.
    pub fn add(&mut self, media: &Media) {
        let Some(index) = self.tracks.iter().position(|it| it.track == media.track) else {
            self.counts.late += 1;
            return;
        };
        let Some(timestamp) = media.timestamp else { return self.append(index, &media.payload) };
        let at = self.position_of(index, timestamp);
        let (leap, furthest) = (self.samples(LEAP_MS), self.samples(FURTHEST_AHEAD_MS));
        let track = &mut self.tracks[index];
        let ahead = at.saturating_sub(track.end);
        let is_leap = track.has_begun && (leap..=furthest).contains(&ahead);
        match track.leap.take() {
            Some((before, payload)) if is_leap && at >= before => self.place(index, before, &payload),
            before => {
                self.counts.late += u64::from(before.is_some());
                if is_leap {
                    self.tracks[index].leap = Some((at, media.payload.clone()));
                    return;
                }
            }
        }
        self.place(index, at, &media.payload);
    }

    fn append(&mut self, index: usize, payload: &Bytes) {
        self.fill(self.tracks[index].end);
        self.tracks[index].append(payload, self.sample_bytes);
    }

    /// Returns the next part of the stream that all tracks have.
    pub fn take(&mut self) -> Option<Piece> {
        let length = self.tracks.iter().map(|track| track.first_len(self.sample_bytes)).min()??;
        let parts: Vec<Part> =
            self.tracks.iter_mut().map(|track| track.take(length, self.sample_bytes)).collect();
        if self.is_hole(&parts, length) {
            return Some(Piece::Hole(length));
        }
        if let [Part::Audio(audio)] = parts.as_slice() {
            return Some(Piece::Audio(audio.clone()));
        }
        Some(Piece::Audio(self.interleave(&parts, length)))
    }

    /// Returns whether parts have no audio, unless they are the beginning of a stream that begins with silence.
    fn is_hole(&mut self, parts: &[Part], length: u64) -> bool {
        if parts.iter().any(|part| matches!(part, Part::Audio(_))) {
            self.lead = None;
            return false;
        }
        self.lead = self.lead.map(|lead| lead.saturating_add(length));
        self.lead.is_none_or(|lead| lead > self.longest_lead)
    }

    /// Makes all tracks equally long, so that everything can be taken.
    pub fn finish(&mut self) {
        self.counts.late += self.tracks.iter_mut().filter_map(|track| track.leap.take()).count() as u64;
        let end = self.tracks.iter().map(|track| track.end).max().unwrap_or(0);
        self.tracks.iter_mut().for_each(|track| track.extend_to(end));
    }

    /// Returns the numbers of the channels whose tracks have had no audio.
    pub fn without_audio(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.tracks).filter(|(_, track)| !track.has_begun).map(|(channel, _)| channel)
    }

    /// Returns what was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    fn samples(&self, milliseconds: u64) -> u64 {
        let samples = u128::from(milliseconds) * u128::from(self.rate) / 1_000;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    /// Returns the sample of the stream at which audio of a track with this timestamp begins.
    fn position_of(&mut self, index: usize, timestamp: u64) -> u64 {
        // An origin that is long behind the timestamps was wrong.
        let known = self.origin.filter(|origin| timestamp.saturating_add(LATEST_START_MS) >= *origin);
        let origin = known.unwrap_or(if timestamp > LATEST_START_MS { timestamp } else { 0 });
        self.origin = Some(origin);
        let (at, late_start) = (self.samples(timestamp.saturating_sub(origin)), self.samples(LATE_START_MS));
        let track = &mut self.tracks[index];
        let is_late = at.saturating_add(late_start) <= track.end;
        let start = *track.start.get_or_insert(if is_late { track.end - at } else { 0 });
        at.saturating_add(start)
    }

    /// Appends audio of a track that begins at `at`, behind a hole where that is ahead of what was appended. Audio that is late or whose place is wrong counts as
    /// late.
    fn place(&mut self, index: usize, at: u64, payload: &Bytes) {
        let (tolerance, furthest) = (self.samples(TOLERANCE_MS), self.samples(FURTHEST_AHEAD_MS));
        let track = &mut self.tracks[index];
        let furthest = track.end.saturating_add(furthest);
        if at.saturating_add(tolerance) <= track.end || at > furthest {
            self.counts.late += 1;
            return;
        }
        if at >= track.end.saturating_add(tolerance) {
            if track.has_audio {
                self.counts.holes += 1;
                self.counts.lost_ms += (at - track.end) * 1_000 / self.rate;
            }
            track.extend_to(at);
        }
        self.append(index, payload);
    }

    /// Extends the tracks that are too far behind the beginning of a payload: its end would drop long payloads of tracks that take turns.
    fn fill(&mut self, begin: u64) {
        let least = begin.saturating_sub(FURTHEST_BEHIND_MS * self.rate / 1_000);
        self.tracks.iter_mut().for_each(|track| track.extend_to(least));
    }

    fn interleave(&self, parts: &[Part], length: u64) -> Bytes {
        let size = self.sample_bytes;
        let mut out = BytesMut::with_capacity(length as usize * size * parts.len());
        for at in (0..length as usize).map(|sample| sample * size) {
            for part in parts {
                out.extend_from_slice(match part {
                    Part::Audio(audio) => &audio[at..at + size],
                    Part::Silence(_) => &self.silence,
                });
            }
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Piece::{Audio, Hole};
    use super::*;

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
            let parts =
                all(&mut both).into_iter().map(|it| if let Audio(audio) = it { audio } else { panic!() });
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
}
