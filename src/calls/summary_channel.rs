//! The part of a call's summary that concerns one channel.
//!
//! Input: the totals of the channels of all streams of a call. Output: the channels by name, each with its summary. Pure. Times are milliseconds from
//! the start of the call.

use super::summary::{time, totals};
use super::talk::{self, Span};
use super::valence::{self, Weighed};
use super::{EndedStream, loudness};
use crate::proto;
use crate::stream::{ChannelTotals, CountedWindow, LoudnessTotals};

/// Channels with the same audio are the same if their beginnings are less than this many milliseconds apart: streams of one call begin one after the other.
const SAME_TIME: u64 = 1_000;

/// One channel of the call, joined over its streams.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub name: String,
    analysed: bool,
    pub has_speech: bool,
    has_valence: bool,
    sounds: bool,
    fingerprint: u64,
    emotions: Vec<String>,
    /// Each is the windows of streams that follow one another, with times from the start of the call.
    sequences: Vec<Vec<Weighed>>,
    pub speech: Vec<Span>,
    /// Where its first stream begins.
    begin: u64,
    loudness: LoudnessTotals,
}

/// Joins the channels of all streams, given with the start of each stream: those with the same name are one channel.
pub(super) fn join<'a>(streams: impl Iterator<Item = (u64, &'a EndedStream)>) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    for (offset, stream) in streams {
        for (number, totals) in (0..).zip(totals(stream)) {
            let Some(totals) = totals.filter(|_| !is_absent(stream, number)) else { continue };
            let name = match stream.info.channel_name(number) {
                "" => number.to_string(),
                name => name.to_owned(),
            };
            let known = channels.iter().position(|channel| channel.name == name);
            let at = known.unwrap_or_else(|| {
                channels.push(Channel { name, begin: offset, ..Channel::default() });
                channels.len() - 1
            });
            channels[at].add(offset, totals);
        }
    }
    for channel in &mut channels {
        // Two streams of one channel may overlap during a transfer.
        channel.speech = talk::union(std::mem::take(&mut channel.speech));
    }
    channels
}

impl Channel {
    fn add(&mut self, offset: u64, totals: &ChannelTotals) {
        self.analysed |= totals.analysed;
        self.has_speech |= totals.has_speech;
        self.has_valence |= totals.has_valence;
        self.sounds |= totals.sounds;
        self.fingerprint = crate::vad::add_to_fingerprint(self.fingerprint, totals.fingerprint);
        let mut index_of = |emotion: &String| {
            let known = self.emotions.iter().position(|known| known == emotion);
            known.unwrap_or_else(|| {
                self.emotions.push(emotion.clone());
                self.emotions.len() - 1
            })
        };
        let emotions: Vec<Option<u8>> =
            totals.emotions.iter().map(|it| u8::try_from(index_of(it)).ok()).collect();
        let shifted = totals.windows.iter().map(|window| CountedWindow {
            start: window.start + offset,
            end: window.end + offset,
            emotion: window.emotion.and_then(|emotion| *emotions.get(usize::from(emotion))?),
            valence: window.valence,
        });
        self.add_windows(&shifted.collect::<Vec<_>>());
        let speech = talk::cleaned(&totals.speech);
        self.speech.extend(speech.into_iter().map(|(start, end)| (start + offset, end + offset)));
        loudness::join(&mut self.loudness, &totals.loudness);
    }

    /// Adds the windows of a stream. A window counts up to the next one of its own stream: another stream may speak at the same time.
    fn add_windows(&mut self, windows: &[CountedWindow]) {
        let windows = valence::weighed(windows);
        let begin = windows.first().map_or(0, |first| first.window.start);
        let ends_before =
            |sequence: &&mut Vec<Weighed>| sequence.last().is_none_or(|last| last.window.end <= begin);
        match self.sequences.iter_mut().find(ends_before) {
            Some(sequence) => sequence.extend(windows),
            None => self.sequences.push(windows),
        }
    }

    /// Returns the summary of the channel. `duration`, of the call, and `all_talk`, the talk time of all channels, are in milliseconds.
    pub fn summary(&self, duration: u64, all_talk: u64) -> proto::ChannelSummary {
        let talk = talk::total(&self.speech);
        let summary = proto::ChannelSummary {
            name: self.name.clone(),
            analysed: self.analysed,
            talk_time: self.has_speech.then(|| time(talk)),
            talk_share: self
                .has_speech
                .then(|| if all_talk == 0 { 0.0 } else { talk as f64 / all_talk as f64 }),
            loudness: Some(proto::Loudness {
                integrated_lufs: loudness::integrated(&self.loudness),
                max_short_term_lufs: loudness::max_short_term(&self.loudness),
            }),
            ..proto::ChannelSummary::default()
        };
        if self.analysed { self.with_emotions(summary, duration) } else { summary }
    }

    fn with_emotions(&self, summary: proto::ChannelSummary, duration: u64) -> proto::ChannelSummary {
        let windows = &self.sequences.concat();
        let name = |emotion: u8| self.emotions.get(usize::from(emotion)).cloned().unwrap_or_default();
        let shares = self.emotions.iter().cloned().zip(valence::shares(windows, self.emotions.len()));
        let shares: Vec<_> = shares.map(|(emotion, share)| proto::EmotionShare { emotion, share }).collect();
        let largest = shares.iter().filter(|it| it.share > 0.0).max_by(|a, b| a.share.total_cmp(&b.share));
        let periods: Vec<_> = self.sequences.iter().map(|sequence| valence::periods(sequence)).collect();
        let longest = periods.iter().filter_map(|(longest, _)| *longest).max_by_key(|it| it.end - it.start);
        let changes = periods.iter().map(|(_, changes)| changes).sum();
        let known = self.has_valence;
        let mut summary = proto::ChannelSummary {
            windows: windows.len() as u64,
            dominant_emotion: largest.map(|it| it.emotion.clone()).unwrap_or_default(),
            emotion_shares: shares,
            longest: longest.map(|it| proto::EmotionPeriod {
                emotion: name(it.emotion),
                start: Some(time(it.start)),
                end: Some(time(it.end)),
            }),
            changes,
            valence: valence::mean(windows, (0.0, f64::INFINITY)).filter(|_| known),
            valence_trend: valence::trend(windows, duration).filter(|_| known),
            ..summary
        };
        if known {
            let bounds = [0, 1, 2, 3].map(|quarter| (duration * quarter / 4, duration * (quarter + 1) / 4));
            let scored = bounds.into_iter().zip(valence::quarters(windows, duration));
            let quarter = |((start, end), score)| proto::ValenceQuarter {
                start: Some(time(start)),
                end: Some(time(end)),
                score,
            };
            summary.valence_by_quarter = scored.map(quarter).collect();
        }
        summary
    }
}

/// Returns the channels without those whose audio is that of an earlier one at the same time.
pub(super) fn distinct(channels: &[Channel]) -> Vec<&Channel> {
    let mut distinct: Vec<&Channel> = Vec::new();
    for channel in channels {
        let is_same = |other: &&Channel| {
            other.fingerprint == channel.fingerprint && other.begin.abs_diff(channel.begin) < SAME_TIME
        };
        if !channel.sounds || !distinct.iter().any(is_same) {
            distinct.push(channel);
        }
    }
    distinct
}

fn is_absent(stream: &EndedStream, channel: u32) -> bool {
    stream.info.call.as_ref().is_some_and(|call| call.is_absent(channel))
}
