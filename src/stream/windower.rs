//! One channel at the model's rate: samples → frames, each computed once → windows of frames.
//!
//! In: samples with absolute indexes. Out: the features of each window, in order.
//! Invariants: a window's features depend on its own samples only; what is kept is frames, and of samples no more than a
//! frame and a push span. Never allocates per frame.

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
    /// One frame, `front_end.width()` values.
    row: Vec<f32>,
}

impl Tools {
    pub fn new(geometry: WindowGeometry, front_end: FrontEnd) -> Self {
        Self { geometry, computer: front_end.computer(), row: vec![0.0; front_end.width()], front_end }
    }
}

/// The windows of one channel in one stretch of audio.
#[derive(Debug)]
pub(crate) struct Windower {
    /// Absolute index of `samples[0]`.
    samples_start: u64,
    /// Samples that a frame still to be computed may need.
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
        self.samples.extend_from_slice(samples);
        self.end += samples.len() as u64;
        self.compute_frames(tools);
        while self.end >= tools.geometry.end(self.next_window) {
            let frames = tools.geometry.frames();
            cut(self.cut(tools, frames, false));
            self.compute_frames(tools);
        }
    }

    /// Ends the stretch: gives the partial window, where there is one. Says which window comes next.
    pub fn finish(mut self, tools: &mut Tools, cut: &mut impl FnMut(Cut)) -> u64 {
        let start = tools.geometry.start(self.next_window);
        let audio_is_new =
            self.next_window == self.first_window || self.end > tools.geometry.end(self.next_window - 1);
        if audio_is_new && self.end >= start + tools.geometry.min_length {
            let real = tools.geometry.frames_in(self.end - start);
            cut(self.cut(tools, real, true));
        }
        self.next_window
    }

    /// Computes every frame of the next window that the samples hold, and forgets the samples behind them.
    fn compute_frames(&mut self, tools: &mut Tools) {
        let geometry = &tools.geometry;
        let mut next = self.frames_start + (self.frames.len() / tools.row.len()) as u64;
        let last = geometry.first_frame(self.next_window) + geometry.frames() as u64;
        while next < last && next * geometry.frame_hop + geometry.frame_length <= self.end {
            let at = (next * geometry.frame_hop - self.samples_start) as usize;
            tools.computer.frame(&self.samples[at..at + geometry.frame_length as usize], &mut tools.row);
            self.frames.extend_from_slice(&tools.row);
            next += 1;
        }
        let keep_from = (next * geometry.frame_hop).min(self.end);
        if keep_from > self.samples_start {
            self.samples.drain(..(keep_from - self.samples_start) as usize);
            self.samples_start = keep_from;
        }
    }

    /// Cuts the next window with `real` frames and moves on to the one behind it.
    fn cut(&mut self, tools: &Tools, real: usize, partial: bool) -> Cut {
        let geometry = &tools.geometry;
        let width = tools.row.len();
        let size = geometry.frames() * tools.front_end.coefficients();
        let mut features = vec![0.0; size];
        let (filled, _) = features.split_at_mut(real * tools.front_end.coefficients());
        append_deltas(&tools.front_end, &self.frames[..real * width], filled);
        let index = self.next_window;
        self.next_window += 1;
        let keep_from = geometry.first_frame(self.next_window);
        let stale = ((keep_from - self.frames_start) as usize * width).min(self.frames.len());
        self.frames.drain(..stale);
        self.frames_start =
            if self.frames.is_empty() { keep_from } else { self.frames_start + (stale / width) as u64 };
        Cut { index, partial, first_window: self.first_window, features }
    }
}
