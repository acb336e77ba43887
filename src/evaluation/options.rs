//! The section `[evaluation]` of the configuration.
//!
//! Input: values that serde reads. Output: the limits of evaluations in the daemon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Count};

/// Limits of evaluations that clients request of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Most evaluations at the same time.
    #[serde(with = "As::<Count<1, 1024>>")]
    pub max_concurrent: usize,
    /// Most clips of one evaluation.
    #[serde(with = "As::<Count<1, 10_000_000>>")]
    pub max_clips: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_concurrent: 2, max_clips: 50_000 }
    }
}
