//! MFCC and log-mel features: samples in, frames out.
//!
//! In data order: [`MfccOptions`] (what a frame is) → [`FrontEnd`] (tables, built once) → [`FrameComputer`] (one
//! frame at a time) → [`append_deltas`] (inside one window). A frame depends on its own `n_fft` samples and on
//! nothing else, so it may be computed once and shared by every window that owns it.

mod check;
mod dct;
mod deltas;
mod front_end;
mod mel;
mod options;
mod taper;

pub use check::*;
pub use deltas::*;
pub use front_end::*;
pub use mel::*;
pub use options::*;
