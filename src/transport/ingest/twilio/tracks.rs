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
