//! The section `[window]` of the configuration.
//!
//! Input: values that serde reads. Output: what replaces or completes the window of a model's contract.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Optional, PositiveDuration};

/// How a stream is cut into windows, beside what the model's contract defines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Time from the start of one window to the start of the next, a whole number of frames up to 1 minute; the model's own
    /// hop where it is not set.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"500ms")]
    pub hop: Option<Duration>,
    /// Shortest partial window that is published.
    #[serde(with = "As::<PositiveDuration>")]
    pub min_length: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { hop: None, min_length: Duration::from_secs(1) }
    }
}
