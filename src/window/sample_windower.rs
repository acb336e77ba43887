//! The windower of one channel of a model that takes samples instead of frames.
//!
//! Input: samples at the model's rate with absolute indexes, in chunks of any size.
//! Output: the samples of each window, in order.
//! Invariants: a window holds its own samples and nothing else. What is kept is at most one window and one
//! push.

use super::geometry::WindowGeometry;
use super::windower::CutWindow;

/// The windows of one channel in one segment.
#[derive(Debug)]
pub(crate) struct SampleWindower {
    /// Absolute index of `samples[0]`.
    samples_start: u64,
    /// Samples that the next windows contain.
    samples: Vec<f32>,
    /// Absolute index behind the last sample accepted.
    end: u64,
    next_window: u64,
    /// Index of the first window of the segment. It may be published as partial although no window precedes
    /// it.
    first_window: u64,
}

impl SampleWindower {
    /// Creates a windower whose first sample has the absolute index `origin`, and which produces the windows
    /// from `next_window` on.
    pub fn new(origin: u64, first_window: u64, next_window: u64) -> Self {
        Self { samples_start: origin, samples: Vec::new(), end: origin, next_window, first_window }
    }

    /// Returns the index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        self.next_window
    }

    /// Accepts samples and passes each window that they complete to `emit`.
    pub fn push(&mut self, geometry: &WindowGeometry, samples: &[f32], emit: &mut impl FnMut(CutWindow)) {
        self.samples.extend_from_slice(samples);
        self.end += samples.len() as u64;
        while self.end >= geometry.end(self.next_window) {
            emit(self.cut(geometry, false));
        }
        let keep_from = geometry.start(self.next_window).clamp(self.samples_start, self.end);
        self.samples.drain(..(keep_from - self.samples_start) as usize);
        self.samples_start = keep_from;
    }

    /// Ends the segment and passes the partial window to `emit`, where there is one. Returns the index of the
    /// next window.
    pub fn finish(mut self, geometry: &WindowGeometry, emit: &mut impl FnMut(CutWindow)) -> u64 {
        // Without audio behind the end of the previous window, that window has covered everything and no
        // partial one is cut.
        let audio_is_new =
            self.next_window == self.first_window || self.end > geometry.end(self.next_window - 1);
        if audio_is_new && self.end >= geometry.start(self.next_window) + geometry.min_length {
            emit(self.cut(geometry, true));
        }
        self.next_window
    }

    /// Cuts the next window, with 0.0 where samples are missing, and advances to the one after it.
    fn cut(&mut self, geometry: &WindowGeometry, partial: bool) -> CutWindow {
        let index = self.next_window;
        let from = (geometry.start(index) - self.samples_start) as usize;
        let to = (geometry.end(index).min(self.end) - self.samples_start) as usize;
        let mut features = self.samples[from..to].to_vec();
        features.resize(geometry.length as usize, 0.0);
        self.next_window += 1;
        CutWindow { index, partial, first_window: self.first_window, features }
    }
}
