//! The section `[model]` of the configuration, or each entry of `[[model]]`.
//!
//! Input: values that serde reads. Output: which file a model comes from and the role it has.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::EngineOptions;
use crate::options::{As, Count, FilePath, Optional, PositiveDuration, Topic};
use crate::stream::{InputBounds, Summaries};
use crate::{audio, batch, vad, window};

/// A model that the daemon loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelOptions {
    /// ONNX file of the model; the built-in model where it is not set.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/models/emotion.onnx")]
    pub path: Option<PathBuf>,
    /// Whether the model is a shadow: it analyses the windows of the default model and never replies to a stream.
    pub shadow: bool,
    /// Topic of a shadow's events; they are not published where it is not set.
    #[serde(with = "As::<Optional<Topic>>")]
    #[schemars(example = &"affectd.shadow")]
    pub topic: Option<String>,
    /// Most bytes of each file of the model: the ONNX file, its sidecar, and files with weights outside it.
    #[serde(with = "As::<Count<1, { 2 << 30 }>>")]
    pub max_bytes: usize,
    /// Longest time in which the model must be loaded and pass its trial. Beyond it a start fails, and a reload keeps the model in service.
    #[serde(with = "As::<PositiveDuration>")]
    pub load_timeout: Duration,
}

impl Default for ModelOptions {
    fn default() -> Self {
        let LoadLimits { max_bytes, timeout } = LoadLimits::default();
        Self { path: None, shadow: false, topic: None, max_bytes, load_timeout: timeout }
    }
}

/// The bounds of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Most bytes of each file (`model.max_bytes`).
    pub max_bytes: usize,
    /// The longest time that it may take (`model.load_timeout`).
    pub timeout: Duration,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { max_bytes: 2 << 30, timeout: Duration::from_secs(600) }
    }
}

/// A model of the configuration in its role.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredModel {
    /// An ONNX file; `None` means the model built into the binary.
    pub path: Option<PathBuf>,
    /// What the model is for.
    pub role: Role,
    /// The bounds of its load.
    pub limits: LoadLimits,
}

/// What a model is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It replies to streams; the first such model is the default one.
    Serving,
    /// It analyses the windows of the default model, for comparison.
    Shadow {
        /// The topic of its events; `None` means that they are not published.
        topic: Option<String>,
    },
}

impl From<ModelOptions> for ConfiguredModel {
    fn from(ModelOptions { path, shadow, topic, max_bytes, load_timeout }: ModelOptions) -> Self {
        let role = if shadow { Role::Shadow { topic } } else { Role::Serving };
        Self { path, role, limits: LoadLimits { max_bytes, timeout: load_timeout } }
    }
}

/// What the reloader needs of the configuration: the models, and how their streams are cut, gated, batched and run.
#[derive(Debug, Clone)]
pub struct ReloaderOptions {
    /// `[model]`, or each `[[model]]`; at least one serves.
    pub models: Vec<ConfiguredModel>,
    /// `[window]`
    pub window: window::Options,
    /// `[audio]`
    pub audio: audio::Options,
    /// `[vad]`
    pub vad: vad::Options,
    /// `[batch]`
    pub batch: batch::Options,
    /// `[engine]`
    pub engine: EngineOptions,
    /// The bounds of what a stream declares.
    pub bounds: InputBounds,
    /// Which streams a summary is made of (`calls.summaries`).
    pub summaries: Summaries,
    /// Chunks that the inboxes of all shards hold: as many chunks of one model may be on their way to the shards or wait there.
    pub shard_capacity: usize,
}
