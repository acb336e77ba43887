//! The windower of one channel, of the kind that the input of the model requires.
//!
//! Input: samples at the model's rate.
//! Output: windows of frames or of samples.
//! Invariants: this module only selects the kind; [`Windower`] and [`SampleWindower`] do the work.

use super::geometry::WindowGeometry;
use super::sample_windower::SampleWindower;
use super::windower::{CutWindow, FrameScratch, Windower};

/// The tables and buffers that all channels of a thread share.
#[derive(Debug)]
pub(crate) enum ChannelScratch {
    /// For a model that takes frames.
    Frames(Box<FrameScratch>),
    /// For a model that takes samples.
    Samples(WindowGeometry),
}

impl ChannelScratch {
    /// Returns the windows of the model.
    pub fn geometry(&self) -> &WindowGeometry {
        match self {
            Self::Frames(scratch) => &scratch.geometry,
            Self::Samples(geometry) => geometry,
        }
    }
}

/// The windows of one channel in one segment.
#[derive(Debug)]
pub(crate) enum ChannelWindower {
    Frames(Windower),
    Samples(SampleWindower),
}

impl ChannelWindower {
    /// Creates a windower whose first sample has the absolute index `origin`, and which produces the windows
    /// from `next_window` on.
    pub fn new(
        geometry: &WindowGeometry,
        of_frames: bool,
        origin: u64,
        first_window: u64,
        next_window: u64,
    ) -> Self {
        if of_frames {
            Self::Frames(Windower::new(geometry, origin, first_window, next_window))
        } else {
            Self::Samples(SampleWindower::new(origin, first_window, next_window))
        }
    }

    /// Returns the index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        match self {
            Self::Frames(windower) => windower.next_window(),
            Self::Samples(windower) => windower.next_window(),
        }
    }

    /// Accepts samples and passes each window that they complete to `emit`.
    ///
    /// # Panics
    /// Where `scratch` belongs to a model of the other kind. A stream keeps its model, so this does not
    /// occur. The same applies to [`Self::finish`].
    pub fn push(&mut self, scratch: &mut ChannelScratch, samples: &[f32], emit: &mut impl FnMut(CutWindow)) {
        match (self, scratch) {
            (Self::Frames(windower), ChannelScratch::Frames(scratch)) => {
                windower.push(scratch, samples, emit)
            }
            (Self::Samples(windower), ChannelScratch::Samples(geometry)) => {
                windower.push(geometry, samples, emit);
            }
            _ => unreachable!("the scratch belongs to the setup of the stream"),
        }
    }

    /// Ends the segment and passes the partial window to `emit`, where there is one. Returns the index of the
    /// next window.
    pub fn finish(self, scratch: &mut ChannelScratch, emit: &mut impl FnMut(CutWindow)) -> u64 {
        match (self, scratch) {
            (Self::Frames(windower), ChannelScratch::Frames(scratch)) => windower.finish(scratch, emit),
            (Self::Samples(windower), ChannelScratch::Samples(geometry)) => windower.finish(geometry, emit),
            _ => unreachable!("the scratch belongs to the setup of the stream"),
        }
    }
}
