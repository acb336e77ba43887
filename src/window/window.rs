//! A window: the unit of audio that the model classifies.
//!
//! Input: a window as a windower cut it.
//! Output: the same with its channel, its times, and the first source sample that it depends on.

use std::time::Duration;

use super::Activity;
use super::geometry::{WindowGeometry, time_of};
use super::windower::CutWindow;
use crate::audio::ResamplerPlan;

/// One window of one channel, ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Channel of the stream, from 0.
    pub channel: u32,
    /// Index of the window, counted from the start of the stream.
    pub index: u64,
    /// Start time, relative to the start of the stream.
    pub start: Duration,
    /// End time, relative to the start of the stream; for a partial window, the end of its audio.
    pub end: Duration,
    /// Whether this is the shorter last window of a segment.
    pub partial: bool,
    /// Whether the window has too little speech to be analysed. Always false without a gate.
    pub silent: bool,
    /// Start time of the first window of the same segment. It identifies the segment: no two segments of a
    /// stream that produce windows share it.
    pub segment: Duration,
    /// The first source sample that the window depends on. Chunks that end at or before it are not needed for
    /// this window.
    pub needed_from: u64,
    /// What is measured for the summary of the stream's call; `None` where there is no summary.
    pub activity: Option<Box<Activity>>,
    /// `[frames, coefficients]`, with rows of 0.0 where frames are missing; for models that take samples,
    /// `[samples]`.
    pub features: Vec<f32>,
}

/// Converts the window that a windower cut to a [`Window`] that is not silent. `partial_end` is the end of the
/// window where it is partial.
pub(crate) fn window(
    geometry: &WindowGeometry,
    plan: &ResamplerPlan,
    channel: usize,
    cut: CutWindow,
    partial_end: Duration,
) -> Window {
    let rate = geometry.sample_rate_hz;
    Window {
        channel: channel as u32,
        index: cut.index,
        start: time_of(geometry.start(cut.index), rate),
        end: if cut.partial { partial_end } else { time_of(geometry.end(cut.index), rate) },
        partial: cut.partial,
        silent: false,
        activity: None,
        segment: time_of(geometry.start(cut.first_window), rate),
        needed_from: needed_from(geometry, plan, cut.index),
        features: cut.features,
    }
}

/// Returns the first source sample that the window `index` depends on.
pub(crate) fn needed_from(geometry: &WindowGeometry, plan: &ResamplerPlan, index: u64) -> u64 {
    geometry.needed_from(index, plan.source_rate_hz(), plan.half_width())
}
