//! MFCC and log-mel features: from samples to frames.
//!
//! In data order: [`MfccOptions`] defines a frame, [`FrontEnd`] holds the tables and is built once,
//! [`FrameComputer`] computes many frames at a time with one frame per SIMD lane, and [`append_deltas`] adds
//! the derivatives inside one window.
//!
//! Invariants: a frame depends on its own `n_fft` samples and on nothing else. It may therefore be computed
//! once and shared by all windows that contain it.

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
