//! Windows: where they lie, and how samples of one channel become the features of each.
//!
//! In data order: [`WindowGeometry`] (arithmetic on sample indexes) → `ChannelWindower` (samples to windows of frames or of samples) → [`Window`] (a window
//! with its channel and times). A window's features depend on nothing outside the window.

mod activity;
mod channel_windower;
mod error;
mod geometry;
mod options;
mod sample_windower;
#[expect(clippy::module_inception, reason = "the type gives the file its name")]
mod window;
mod windower;

pub use activity::Activity;
pub(crate) use channel_windower::{ChannelScratch, ChannelWindower};
pub use error::GeometryError;
pub use geometry::{MAX_HOP, WindowGeometry, WindowSpan, milliseconds, time_of, whole_samples};
pub use options::Options;
pub use window::Window;
pub(crate) use window::{needed_from, window};
pub(crate) use windower::{CutWindow, FrameScratch};
