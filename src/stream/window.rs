//! What a stream gives: one window of one channel.
//!
//! In: a cut of the windower, and whether it is silent. Out: the same with its channel, its times, and the first source sample that it needs. Pure.

use std::time::Duration;

use super::StreamSetup;
use super::geometry::time_of;
use super::windower::Cut;
use crate::audio::ResamplerPlan;

/// One window of one channel, ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Channel of the stream, from 0.
    pub channel: u32,
    /// Index of the window, counted from the stream's start.
    pub index: u64,
    /// Start, from the stream's start.
    pub start: Duration,
    /// End; the true one for a partial window.
    pub end: Duration,
    /// The shorter last window of a stretch.
    pub partial: bool,
    /// Holds too little speech to be analysed. Never where no gate is set up.
    pub silent: bool,
    /// Start of the first window of the window's stretch: no two stretches of a stream that give windows share it.
    pub stretch: Duration,
    /// First source sample that the window needs.
    pub needed_from: u64,
    /// `[frames, coefficients]`; rows of 0.0 where frames are missing.
    pub features: Vec<f32>,
}

/// A cut window with its channel and times; `partial_end` is the end of a partial one.
pub(super) fn window(
    setup: &StreamSetup,
    plan: &ResamplerPlan,
    channel: usize,
    (cut, silent): (Cut, bool),
    partial_end: Duration,
) -> Window {
    let rate = setup.geometry.sample_rate_hz;
    Window {
        channel: channel as u32,
        index: cut.index,
        start: time_of(setup.geometry.start(cut.index), rate),
        end: if cut.partial { partial_end } else { time_of(setup.geometry.end(cut.index), rate) },
        partial: cut.partial,
        silent,
        stretch: time_of(setup.geometry.start(cut.first_window), rate),
        needed_from: needed_from(setup, plan, cut.index),
        features: cut.features,
    }
}

pub(super) fn needed_from(setup: &StreamSetup, plan: &ResamplerPlan, index: u64) -> u64 {
    setup.geometry.needed_from(index, plan.source_rate_hz(), plan.half_width())
}
