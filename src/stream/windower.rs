//! One channel at the model's rate: samples → frames, each computed once → windows of frames.
//!
//! In: samples with absolute indexes. Out: the features of each window, in order.
//! Invariants: a window's features depend on its own samples only; what is kept is frames, and of samples no more than
//! those of the frames that are computed at once. Never allocates per frame.

use super::geometry::WindowGeometry;
use crate::features::{FrameComputer, FrontEnd, append_deltas};

/// The features of one window, `[frames, coefficients]`, rows of 0.0 behind the last real frame.
#[derive(Debug)]
pub(crate) struct Cut {
    pub index: u64,
    pub partial: bool,
    /// First window of its stretch.
    pub first_window: u64,
    pub features: Vec<f32>,
}

/// What one thread shares among all its channels.
#[derive(Debug)]
pub(crate) struct Tools {
    pub geometry: WindowGeometry,
    pub front_end: FrontEnd,
    pub computer: FrameComputer,
    /// The samples that a channel kept and those that came, in one piece.
    joined: Vec<f32>,
}

impl Tools {
    pub fn new(geometry: WindowGeometry, front_end: FrontEnd) -> Self {
        Self { geometry, computer: front_end.computer(), joined: Vec::new(), front_end }
    }
}

/// The windows of one channel in one stretch of audio.
#[derive(Debug)]
pub(crate) struct Windower {
    /// Absolute index of `samples[0]`.
    samples_start: u64,
    /// Samples that frames still to be computed need: fewer frames than are computed at once.
    samples: Vec<f32>,
    /// Absolute index behind the last sample seen.
    end: u64,
    /// Index of the first row of `frames`, counted from the stream's start.
    frames_start: u64,
    /// Frames without deltas, row after row.
    frames: Vec<f32>,
    next_window: u64,
    /// First window of the stretch: published as partial though no window precedes it.
    first_window: u64,
}

impl Windower {
    /// A windower whose first sample is `origin`, and which owes the windows from `next_window` on.
    pub fn new(geometry: &WindowGeometry, origin: u64, first_window: u64, next_window: u64) -> Self {
        Self {
            samples_start: origin,
            samples: Vec::new(),
            end: origin,
            frames_start: geometry.first_frame(next_window),
            frames: Vec::new(),
            next_window,
            first_window,
        }
    }

    /// Index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        self.next_window
    }

    /// Takes samples in and gives each window that they complete to `cut`.
    pub fn push(&mut self, tools: &mut Tools, samples: &[f32], cut: &mut impl FnMut(Cut)) {
        tools.joined.clear();
        tools.joined.extend_from_slice(&self.samples);
        tools.joined.extend_from_slice(samples);
        self.end += samples.len() as u64;
        while self.end >= tools.geometry.end(self.next_window) {
            self.compute_frames(tools, 1);
            let frames = tools.geometry.frames();
            cut(self.cut(tools, frames, false));
        }
        let group = tools.computer.group_size();
        let next = self.compute_frames(tools, group);
        self.keep_samples(tools, next, group);
    }

    /// Ends the stretch: gives the partial window, where there is one. Says which window comes next.
    pub fn finish(mut self, tools: &mut Tools, cut: &mut impl FnMut(Cut)) -> u64 {
        let start = tools.geometry.start(self.next_window);
        let audio_is_new =
            self.next_window == self.first_window || self.end > tools.geometry.end(self.next_window - 1);
        if audio_is_new && self.end >= start + tools.geometry.min_length {
            let real = tools.geometry.frames_in(self.end - start);
            tools.joined.clone_from(&self.samples);
            self.compute_frames(tools, 1);
            cut(self.cut(tools, real, true));
        }
        self.next_window
    }

    /// Computes the frames of the next window that the joined samples hold, in groups of `group`: fewer wait for the others.
    /// Gives the first frame that is still to be computed.
    fn compute_frames(&mut self, tools: &mut Tools, group: usize) -> u64 {
        let Tools { geometry, front_end, computer, joined } = tools;
        let width = front_end.width();
        let next = self.frames_start + (self.frames.len() / width) as u64;
        let missing = geometry.first_frame(self.next_window) + geometry.frames() as u64 - next;
        let start = next * geometry.frame_hop;
        let ready = geometry.frames_in(self.end.saturating_sub(start)).min(missing as usize);
        let ready = ready - ready % group;
        if ready == 0 {
            return next;
        }
        // At once as much as a window takes: growing by doubling would hold nearly twice that for as long as the stream lives.
        self.frames.reserve_exact((geometry.frames() * width).saturating_sub(self.frames.len()));
        let computed = self.frames.len();
        self.frames.resize(computed + ready * width, 0.0);
        computer.frames(&joined[(start - self.samples_start) as usize..], &mut self.frames[computed..]);
        next + ready as u64
    }

    /// Keeps the joined samples from the frame `next` on.
    fn keep_samples(&mut self, tools: &Tools, next: u64, group: usize) {
        let geometry = &tools.geometry;
        let keep_from = (next * geometry.frame_hop).min(self.end).max(self.samples_start);
        self.samples.clear();
        self.samples
            .reserve_exact((geometry.frame_length + (group as u64 - 1) * geometry.frame_hop) as usize);
        self.samples.extend_from_slice(&tools.joined[(keep_from - self.samples_start) as usize..]);
        self.samples_start = keep_from;
    }

    /// Cuts the next window with `real` frames and moves on to the one behind it.
    fn cut(&mut self, tools: &Tools, real: usize, partial: bool) -> Cut {
        let geometry = &tools.geometry;
        let (width, coefficients) = (tools.front_end.width(), tools.front_end.coefficients());
        let index = self.next_window;
        self.next_window += 1;
        let keep_from = geometry.first_frame(self.next_window);
        let stale = ((keep_from - self.frames_start) as usize * width).min(self.frames.len());
        let mut features;
        if coefficients == width {
            // The window takes the frames as they are, and those that the next one needs too are copied: fewer than its own.
            let mut kept = Vec::with_capacity(geometry.frames() * width);
            kept.extend_from_slice(&self.frames[stale..]);
            features = std::mem::replace(&mut self.frames, kept);
            features.truncate(real * width);
        } else {
            features = Vec::with_capacity(geometry.frames() * coefficients);
            features.resize(real * coefficients, 0.0);
            append_deltas(&tools.front_end, &self.frames[..real * width], &mut features);
            self.frames.drain(..stale);
        }
        features.resize(geometry.frames() * coefficients, 0.0);
        self.frames_start =
            if self.frames.is_empty() { keep_from } else { self.frames_start + (stale / width) as u64 };
        Cut { index, partial, first_window: self.first_window, features }
    }
}
