//! How much of each window of one channel is speech.
//!
//! In: the channel's samples at the model's rate, without a gap. Out: the share of each window, in order. Memory: 21 kB where the
//! hop is half a second or more.

use super::Gate;
use super::lane::Lane;

/// The speech of one channel in one stretch of audio.
#[derive(Debug)]
pub struct Speech {
    /// Window `n` begins with a segment of lane `(n − first_window) % lanes`.
    lanes: Vec<Lane>,
    first_window: u64,
    /// Absolute index behind the last sample seen.
    end: u64,
}

impl Speech {
    /// For a channel whose first sample is `origin`, and whose windows are asked for from `first_window` on, which begins no earlier.
    #[must_use]
    pub fn new(gate: &Gate, origin: u64, first_window: u64) -> Self {
        let skip = |lane: u64| ((first_window + lane) * gate.hop).saturating_sub(origin);
        let lanes = (0..gate.lanes).map(|lane| Lane::new(gate, skip(lane))).collect();
        Self { lanes, first_window, end: origin }
    }

    /// Takes the next samples in.
    pub fn push(&mut self, gate: &Gate, samples: &[f32]) {
        self.end += samples.len() as u64;
        self.lanes.iter_mut().for_each(|lane| lane.push(gate, samples));
    }

    /// The share of speech in window `index`, all of whose samples are in; 1 where it is too short to tell. A partial window must be
    /// the last one that is asked for; every other one is asked for once, in order.
    pub fn share(&mut self, gate: &Gate, index: u64, partial: bool) -> f64 {
        let samples = if partial { self.end.saturating_sub(index * gate.hop) } else { gate.length };
        let lane = (index - self.first_window) % gate.lanes;
        self.lanes[lane as usize].take(gate, gate.frames_in(samples), partial).unwrap_or(1.0)
    }
}
