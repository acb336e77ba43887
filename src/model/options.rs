//! The section `[engine]` of the configuration.
//!
//! Input: values that serde reads. Output: how ONNX Runtime is loaded and what it may use.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Count, FilePath, Optional, choice};

/// The inference engine, ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineOptions {
    /// Path of ONNX Runtime's shared library; where it is set, no other place is searched.
    #[serde(with = "As::<Optional<FilePath>>")]
    #[schemars(example = &"/opt/onnxruntime/lib/libonnxruntime.so")]
    pub library: Option<PathBuf>,
    /// Device that the model runs on; `auto` uses a GPU where one is usable, else the CPU.
    pub device: Device,
    /// Sessions that run side by side; 0 means one for each core, or one on a GPU.
    #[serde(with = "As::<Count<0, 1024>>")]
    pub sessions: usize,
    /// Threads inside one session.
    #[serde(with = "As::<Count<1, 1024>>")]
    pub threads: usize,
    /// Whether these threads keep their core busy between runs.
    pub spinning: bool,
    /// Whether the engine keeps the CPU memory of a run for the next one.
    pub cpu_arena: bool,
    /// GPU memory that each session may use, in bytes; all of it where it is not set.
    #[serde(with = "As::<Optional<Count<{ 1 << 20 }, { 1 << 44 }>>>")]
    #[schemars(example = 2_147_483_648_u64)]
    pub gpu_memory_limit_bytes: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            library: None,
            device: Device::Auto,
            sessions: 0,
            threads: 1,
            spinning: false,
            cpu_arena: true,
            gpu_memory_limit_bytes: None,
        }
    }
}

choice! {
    /// Values of `engine.device`.
    pub enum Device {
        /// A GPU where one is usable, else the CPU; the log states which and why.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// An NVIDIA GPU through CUDA; an error where there is none.
        Cuda = "cuda",
        /// An NVIDIA GPU through TensorRT; an error where there is none.
        TensorRt = "tensorrt",
    }
}
