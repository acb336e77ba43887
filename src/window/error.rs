//! Why windows cannot be placed for a model.

use std::time::Duration;

use super::geometry::MAX_HOP;

/// Why windows cannot be placed for a model. The operator has to change the model or the configuration.
#[derive(Debug, thiserror::Error)]
pub enum GeometryError {
    /// The model takes frames and its contract has no front end.
    #[error("serve model {model}: it has no \"mfcc\" options in its contract")]
    NoFrontEnd {
        /// The model's name.
        model: String,
    },
    /// `window.hop` is too long, or not a whole number of frames, or of samples where the model takes those.
    #[error(
        "use window.hop = {hop:?}: allowed is a whole multiple of the model's frame hop, {frame:?}, up to {MAX_HOP:?}"
    )]
    Hop {
        /// The configured hop.
        hop: Duration,
        /// The time from one frame to the next.
        frame: Duration,
    },
}
