//! The audio of one track, with silence where it has none.
//!
//! Input: payloads in order, and positions up to which there is none. Output: parts of any requested length. Pure. Invariant: the parts follow each
//! other without a gap.

use std::collections::VecDeque;

use axum::body::Bytes;
use prost::bytes::BytesMut;

use super::message::Track;

/// The audio of one track that is not returned yet. Positions and lengths are in samples.
#[derive(Debug)]
pub(super) struct TrackAudio {
    pub track: Track,
    /// Behind its last part.
    pub end: u64,
    pieces: VecDeque<Part>,
    /// The start of a sample that the last payload left incomplete.
    split: BytesMut,
    /// Whether the last part is audio, so that missing audio behind it is lost.
    pub has_audio: bool,
    /// Whether it has had audio at all.
    pub has_begun: bool,
    /// The position that its timestamps count from; `None` before the first one.
    pub start: Option<u64>,
    /// Audio whose timestamp is far ahead, with its position: the next timestamp decides whether it counts.
    pub leap: Option<(u64, Bytes)>,
}

#[derive(Debug)]
pub(super) enum Part {
    Audio(Bytes),
    Silence(u64),
}

impl TrackAudio {
    pub fn new(track: Track) -> Self {
        let (pieces, split) = (VecDeque::new(), BytesMut::new());
        Self { track, end: 0, pieces, split, has_audio: false, has_begun: false, start: None, leap: None }
    }

    /// Returns the length of the first part; `None` where everything was taken.
    pub fn first_len(&self, sample_bytes: usize) -> Option<u64> {
        self.pieces.front().map(|part| part.len(sample_bytes))
    }

    /// Appends a payload; a sample may be split over two.
    pub fn append(&mut self, payload: &Bytes, sample_bytes: usize) {
        let mut audio = payload.clone();
        if !self.split.is_empty() || !audio.len().is_multiple_of(sample_bytes) {
            self.split.extend_from_slice(payload);
            let whole = self.split.len() - self.split.len() % sample_bytes;
            audio = self.split.split_to(whole).freeze();
        }
        let samples = (audio.len() / sample_bytes) as u64;
        if samples > 0 {
            self.end += samples;
            (self.has_audio, self.has_begun) = (true, true);
            self.pieces.push_back(Part::Audio(audio));
        }
    }

    /// Appends silence up to a position. Does nothing where the track is as long already.
    pub fn extend_to(&mut self, end: u64) {
        let missing = end.saturating_sub(self.end);
        if missing == 0 {
            return;
        }
        // The rest of the sample was lost too.
        self.split.clear();
        self.end = end;
        self.has_audio = false;
        match self.pieces.back_mut() {
            Some(Part::Silence(length)) => *length += missing,
            _ => self.pieces.push_back(Part::Silence(missing)),
        }
    }

    /// Takes `length` samples off the first part, which has as many.
    pub fn take(&mut self, length: u64, sample_bytes: usize) -> Part {
        let taken = match self.pieces.front_mut() {
            Some(Part::Audio(audio)) => Part::Audio(audio.split_to(length as usize * sample_bytes)),
            Some(Part::Silence(left)) => {
                *left -= length;
                Part::Silence(length)
            }
            None => Part::Silence(0),
        };
        if self.pieces.front().is_some_and(|part| part.len(sample_bytes) == 0) {
            self.pieces.pop_front();
        }
        taken
    }
}

impl Part {
    pub fn len(&self, sample_bytes: usize) -> u64 {
        match self {
            Self::Audio(audio) => (audio.len() / sample_bytes) as u64,
            Self::Silence(length) => *length,
        }
    }
}
