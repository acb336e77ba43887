//! One channel of a model that takes samples as they are: samples → windows of samples.
//!
//! In: samples at the model's rate with absolute indexes. Out: the samples of each window, in order.
//! Invariants: a window holds its own samples and nothing else; what is kept is at most a window and a push. Never computes a
//! feature.

use super::geometry::WindowGeometry;
use super::windower::Cut;

/// The windows of one channel in one stretch of audio.
#[derive(Debug)]
pub(crate) struct SampleWindower {
    /// Absolute index of `samples[0]`.
    samples_start: u64,
    /// Samples that a window still to be cut may need.
    samples: Vec<f32>,
    /// Absolute index behind the last sample seen.
    end: u64,
    next_window: u64,
    /// First window of the stretch: published as partial though no window precedes it.
    first_window: u64,
}

impl SampleWindower {
    /// A windower whose first sample is `origin`, and which owes the windows from `next_window` on.
    pub fn new(origin: u64, first_window: u64, next_window: u64) -> Self {
        Self { samples_start: origin, samples: Vec::new(), end: origin, next_window, first_window }
    }

    /// Index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        self.next_window
    }

    /// Takes samples in and gives each window that they complete to `cut`.
    pub fn push(&mut self, geometry: &WindowGeometry, samples: &[f32], cut: &mut impl FnMut(Cut)) {
        self.samples.extend_from_slice(samples);
        self.end += samples.len() as u64;
        while self.end >= geometry.end(self.next_window) {
            cut(self.cut(geometry, false));
        }
        let keep_from = geometry.start(self.next_window).clamp(self.samples_start, self.end);
        self.samples.drain(..(keep_from - self.samples_start) as usize);
        self.samples_start = keep_from;
    }

    /// Ends the stretch: gives the partial window, where there is one. Says which window comes next.
    pub fn finish(mut self, geometry: &WindowGeometry, cut: &mut impl FnMut(Cut)) -> u64 {
        let audio_is_new =
            self.next_window == self.first_window || self.end > geometry.end(self.next_window - 1);
        if audio_is_new && self.end >= geometry.start(self.next_window) + geometry.min_length {
            cut(self.cut(geometry, true));
        }
        self.next_window
    }

    /// Cuts the next window, 0.0 where samples are missing, and moves on to the one behind it.
    fn cut(&mut self, geometry: &WindowGeometry, partial: bool) -> Cut {
        let index = self.next_window;
        let from = (geometry.start(index) - self.samples_start) as usize;
        let to = (geometry.end(index).min(self.end) - self.samples_start) as usize;
        let mut features = self.samples[from..to].to_vec();
        features.resize(geometry.length as usize, 0.0);
        self.next_window += 1;
        Cut { index, partial, first_window: self.first_window, features }
    }
}
