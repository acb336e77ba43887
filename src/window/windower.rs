//! The windower of one channel of a model that takes frames: from samples to frames, and from frames to
//! windows.
//!
//! Input: samples at the model's rate with absolute indexes, in chunks of any size.
//! Output: the features of each window, in order.
//! Invariants: the features of a window depend on its own samples only. What is kept are frames, and of the
//! samples no more than those of the frames that are computed together. No memory is allocated per frame.
//!
//! Each frame is computed once, although windows overlap: a frame depends on its own samples only, so all
//! windows that contain it share it.

use super::geometry::WindowGeometry;
use crate::features::{FrameComputer, FrontEnd, append_deltas};

/// A window of one channel, before it has times. Rows of 0.0 follow the last real frame.
#[derive(Debug)]
pub(crate) struct CutWindow {
    /// Index of the window, counted from the start of the stream.
    pub index: u64,
    /// Whether this is the shorter last window of a segment.
    pub partial: bool,
    /// Index of the first window of the segment.
    pub first_window: u64,
    /// `[frames, coefficients]`, or the samples themselves for models that take them.
    pub features: Vec<f32>,
}

/// The tables and buffers that all channels of a thread share.
#[derive(Debug)]
pub(crate) struct FrameScratch {
    pub geometry: WindowGeometry,
    pub front_end: FrontEnd,
    pub computer: FrameComputer,
    /// The samples that a channel kept, followed by those that it received.
    joined: Vec<f32>,
}

impl FrameScratch {
    /// Creates the buffers for a model.
    pub fn new(geometry: WindowGeometry, front_end: FrontEnd) -> Self {
        Self { geometry, computer: front_end.computer(), joined: Vec::new(), front_end }
    }
}

/// The windows of one channel in one segment.
#[derive(Debug)]
pub(crate) struct Windower {
    /// Absolute index of `samples[0]`.
    samples_start: u64,
    /// Samples of frames that are still to be computed: fewer frames than are computed together.
    samples: Vec<f32>,
    /// Absolute index behind the last sample accepted.
    end: u64,
    /// Index of the first row of `frames`, counted from the start of the stream.
    frames_start: u64,
    /// Frames without deltas, row after row.
    frames: Vec<f32>,
    /// Index of the next window to be cut.
    next_window: u64,
    /// Index of the first window of the segment. It may be published as partial although no window precedes
    /// it.
    first_window: u64,
}

impl Windower {
    /// Creates a windower whose first sample has the absolute index `origin`, and which produces the windows
    /// from `next_window` on.
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

    /// Returns the index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        self.next_window
    }

    /// Accepts samples and passes each window that they complete to `emit`.
    pub fn push(&mut self, scratch: &mut FrameScratch, samples: &[f32], emit: &mut impl FnMut(CutWindow)) {
        scratch.joined.clear();
        scratch.joined.extend_from_slice(&self.samples);
        scratch.joined.extend_from_slice(samples);
        self.end += samples.len() as u64;
        while self.end >= scratch.geometry.end(self.next_window) {
            self.compute_frames(scratch, 1);
            let frames = scratch.geometry.frames();
            emit(self.cut(scratch, frames, false));
        }
        let group = scratch.computer.group_size();
        let next = self.compute_frames(scratch, group);
        self.keep_samples(scratch, next, group);
    }

    /// Ends the segment and passes the partial window to `emit`, where there is one. Returns the index of the
    /// next window.
    ///
    /// A partial window must have at least `min_length` samples.
    pub fn finish(mut self, scratch: &mut FrameScratch, emit: &mut impl FnMut(CutWindow)) -> u64 {
        let start = scratch.geometry.start(self.next_window);
        // Without audio behind the end of the previous window, that window has covered everything and no
        // partial one is cut.
        let audio_is_new =
            self.next_window == self.first_window || self.end > scratch.geometry.end(self.next_window - 1);
        if audio_is_new && self.end >= start + scratch.geometry.min_length {
            let real = scratch.geometry.frames_in(self.end - start);
            scratch.joined.clone_from(&self.samples);
            self.compute_frames(scratch, 1);
            emit(self.cut(scratch, real, true));
        }
        self.next_window
    }

    /// Computes those frames of the next window whose samples are in `joined`, in multiples of `group`.
    /// Returns the index of the first frame that is not computed yet.
    ///
    /// A frame takes as long as a full SIMD group. While no window is complete, frames therefore wait until
    /// they fill groups; the frames of a complete window are computed with `group = 1`, that is, all of them.
    fn compute_frames(&mut self, scratch: &mut FrameScratch, group: usize) -> u64 {
        let FrameScratch { geometry, front_end, computer, joined } = scratch;
        let width = front_end.width();
        let next = self.frames_start + (self.frames.len() / width) as u64;
        let missing = geometry.first_frame(self.next_window) + geometry.frames() as u64 - next;
        let start = next * geometry.frame_hop;
        let ready = geometry.frames_in(self.end.saturating_sub(start)).min(missing as usize);
        let ready = ready - ready % group;
        if ready == 0 {
            return next;
        }
        // The capacity is reserved for a whole window at once. Growth by doubling would hold nearly twice the
        // memory for as long as the stream is open.
        self.frames.reserve_exact((geometry.frames() * width).saturating_sub(self.frames.len()));
        let computed = self.frames.len();
        self.frames.resize(computed + ready * width, 0.0);
        computer.frames(&joined[(start - self.samples_start) as usize..], &mut self.frames[computed..]);
        next + ready as u64
    }

    /// Keeps the samples of `joined` from the frame `next` on.
    fn keep_samples(&mut self, scratch: &FrameScratch, next: u64, group: usize) {
        let geometry = &scratch.geometry;
        let keep_from = (next * geometry.frame_hop).min(self.end).max(self.samples_start);
        self.samples.clear();
        self.samples
            .reserve_exact((geometry.frame_length + (group as u64 - 1) * geometry.frame_hop) as usize);
        self.samples.extend_from_slice(&scratch.joined[(keep_from - self.samples_start) as usize..]);
        self.samples_start = keep_from;
    }

    /// Cuts the next window with `real` frames and advances to the one after it.
    ///
    /// Without deltas, the buffer of frames itself becomes the window and moves to the batcher; the frames
    /// that the next window shares with it are copied to a new buffer. The obvious alternative, to copy the
    /// window out and drain the old frames, copies more: a window has more frames than it shares with the
    /// next one, and draining moves the shared ones as well. With deltas the window has other contents than
    /// the frames, so it is computed into a new buffer and the frames stay.
    fn cut(&mut self, scratch: &FrameScratch, real: usize, partial: bool) -> CutWindow {
        let geometry = &scratch.geometry;
        let (width, coefficients) = (scratch.front_end.width(), scratch.front_end.coefficients());
        let index = self.next_window;
        self.next_window += 1;
        let keep_from = geometry.first_frame(self.next_window);
        let stale = ((keep_from - self.frames_start) as usize * width).min(self.frames.len());
        let mut features;
        if coefficients == width {
            let mut kept = Vec::with_capacity(geometry.frames() * width);
            kept.extend_from_slice(&self.frames[stale..]);
            features = std::mem::replace(&mut self.frames, kept);
            features.truncate(real * width);
        } else {
            features = Vec::with_capacity(geometry.frames() * coefficients);
            features.resize(real * coefficients, 0.0);
            append_deltas(&scratch.front_end, &self.frames[..real * width], &mut features);
            self.frames.drain(..stale);
        }
        features.resize(geometry.frames() * coefficients, 0.0);
        self.frames_start =
            if self.frames.is_empty() { keep_from } else { self.frames_start + (stale / width) as u64 };
        CutWindow { index, partial, first_window: self.first_window, features }
    }
}
