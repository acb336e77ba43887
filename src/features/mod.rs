//! MFCC and log-mel features: samples in, frames out.
//!
//! In data order: [`MfccOptions`] (what a frame is) → [`FrontEnd`] (tables, built once) → [`FrameComputer`] (many
//! frames at a time, a frame a lane) → [`append_deltas`] (inside one window). A frame depends on its own `n_fft` samples and on
//! nothing else, so it may be computed once and shared by every window that owns it.

mod butterflies;
mod check;
mod computer;
mod dct;
mod deltas;
mod fourier;
mod front_end;
mod gather;
mod logarithm;
mod mel;
mod options;
mod spectrum;
mod taper;

pub use check::*;
pub use computer::*;
pub use deltas::*;
pub use front_end::*;
pub use options::*;
