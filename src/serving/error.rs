//! Why a model cannot be put into service.

use crate::model::{EngineError, ModelError};
use crate::stream::SetupError;
use crate::window::WindowSpan;

/// Why a model cannot be put into service.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// It cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its windows cannot be cut.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Streams could not tell it from another one.
    #[error("serve two models named {0:?}: give one of them another name in its contract")]
    SameName(String),
    /// Its windows cannot be compared with those of the default model.
    #[error(
        "serve {shadow} as a shadow: its windows are {:?} every {:?}, those of the default model {:?} every {:?}",
        its.length, its.hop, of.length, of.hop
    )]
    OtherWindows {
        /// The shadow's name.
        shadow: String,
        /// Its windows.
        its: WindowSpan,
        /// Those of the default model.
        of: WindowSpan,
    },
    /// It failed in the search for a batch size.
    #[error("find a batch size: {0}")]
    Sweep(EngineError),
    /// Loading panicked.
    #[error("load a model: the engine panicked")]
    Panicked,
}
