//! The windower of one channel, of the kind that the model asks for.
//!
//! In: samples at the model's rate. Out: its windows, of frames or of samples. Only tells the two kinds apart.

use super::geometry::WindowGeometry;
use super::sample_windower::SampleWindower;
use super::windower::{Cut, Tools, Windower};

/// What one thread shares among all its channels.
#[derive(Debug)]
pub(crate) enum ChannelTools {
    /// Of a model that takes frames.
    Frames(Box<Tools>),
    /// Of a model that takes samples.
    Samples(WindowGeometry),
}

impl ChannelTools {
    /// Where windows lie.
    pub fn geometry(&self) -> &WindowGeometry {
        match self {
            Self::Frames(tools) => &tools.geometry,
            Self::Samples(geometry) => geometry,
        }
    }
}

/// The windows of one channel in one stretch of audio.
#[derive(Debug)]
pub(crate) enum ChannelWindower {
    Frames(Windower),
    Samples(SampleWindower),
}

impl ChannelWindower {
    /// A windower whose first sample is `origin`, and which owes the windows from `next_window` on.
    pub fn new(
        geometry: &WindowGeometry,
        of_frames: bool,
        origin: u64,
        first_window: u64,
        next_window: u64,
    ) -> Self {
        match of_frames {
            true => Self::Frames(Windower::new(geometry, origin, first_window, next_window)),
            false => Self::Samples(SampleWindower::new(origin, first_window, next_window)),
        }
    }

    /// Index of the next window to be cut.
    pub fn next_window(&self) -> u64 {
        match self {
            Self::Frames(windower) => windower.next_window(),
            Self::Samples(windower) => windower.next_window(),
        }
    }

    /// Takes samples in and gives each window that they complete to `cut`.
    ///
    /// # Panics
    /// With the tools of a model of the other kind, here and in [`Self::finish`]; a stream keeps its model.
    pub fn push(&mut self, tools: &mut ChannelTools, samples: &[f32], cut: &mut impl FnMut(Cut)) {
        match (self, tools) {
            (Self::Frames(windower), ChannelTools::Frames(tools)) => windower.push(tools, samples, cut),
            (Self::Samples(windower), ChannelTools::Samples(geometry)) => {
                windower.push(geometry, samples, cut);
            }
            _ => unreachable!("the tools are of the stream's own setup"),
        }
    }

    /// Ends the stretch: gives the partial window, where there is one. Says which window comes next.
    pub fn finish(self, tools: &mut ChannelTools, cut: &mut impl FnMut(Cut)) -> u64 {
        match (self, tools) {
            (Self::Frames(windower), ChannelTools::Frames(tools)) => windower.finish(tools, cut),
            (Self::Samples(windower), ChannelTools::Samples(geometry)) => windower.finish(geometry, cut),
            _ => unreachable!("the tools are of the stream's own setup"),
        }
    }
}
