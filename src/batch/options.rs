//! The section `[batch]` of the configuration.
//!
//! Input: values that serde reads. Output: how windows are put together for the model.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{AnyDuration, As, Count, CountOrAuto, Optional, PositiveDuration};

/// How pending windows are combined into batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Most windows in one batch; `auto` measures several sizes for 2 s whenever a model is loaded and takes the best.
    #[serde(with = "As::<CountOrAuto<1, 65_536>>")]
    pub max_size: Option<usize>,
    /// How long a batch that is not full waits for more windows.
    #[serde(with = "As::<AnyDuration>")]
    pub max_delay: Duration,
    /// Pending windows at which the front end waits until a batch is taken.
    #[serde(with = "As::<Count<1, 1_000_000>>")]
    pub queue_size: usize,
    /// Age at which pending windows are dropped, never those of Kafka; no limit where it is not set.
    #[serde(with = "As::<Optional<PositiveDuration>>")]
    #[schemars(example = &"2s")]
    pub max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_size: Some(super::DEFAULT_SIZE),
            max_delay: Duration::ZERO,
            queue_size: 256,
            max_age: None,
        }
    }
}
