//! The validated configuration, one struct a section: what each stage is given, and nothing else.
//!
//! In: nothing (see `load`). Out: plain values that need no further check. Never reads a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::kafka::Kafka;
use super::limits::Limits;
use super::vad::Vad;
use super::values::Values;
use crate::audio::ChannelPolicy;

/// Everything the daemon was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[model]`, or each `[[model]]`; at least one serves.
    pub models: Vec<Model>,
    /// `[audio]`
    pub audio: Audio,
    /// `[window]`
    pub window: Window,
    /// `[vad]`
    pub vad: Vad,
    /// `[batch]`
    pub batch: Batch,
    /// `[engine]`
    pub engine: Engine,
    /// `[grpc]`
    pub grpc: Grpc,
    /// `[http]`
    pub http: Http,
    /// `[kafka]`; `None` while `kafka.brokers` is not set.
    pub kafka: Option<Kafka>,
    /// `[publish]`
    pub publish: Publish,
    /// `[limits]`
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        super::load(&super::LoadOptions::default()).expect("the defaults are valid").config
    }
}

impl Config {
    /// The model of streams that name none, and of every command that takes one.
    #[must_use]
    pub fn default_model(&self) -> &Model {
        let serving = self.models.iter().find(|model| model.role == Role::Serving);
        serving.expect("the configuration was refused without one")
    }

    pub(super) fn from_values(values: &Values) -> Self {
        Self {
            models: values.models(),
            audio: Audio {
                idle_timeout: values.duration("audio.idle_timeout"),
                max_gap: values.duration("audio.max_gap"),
                channels: ChannelPolicy::from_name(&values.text("audio.channels")).unwrap_or_default(),
                max_chunk_bytes: values.size("audio.max_chunk_bytes"),
                max_file_bytes: values.size("audio.max_file_bytes"),
            },
            window: Window {
                hop: values.optional_duration("window.hop"),
                min_length: values.duration("window.min_length"),
            },
            vad: Vad::from_values(values),
            batch: Batch {
                max_size: values.optional_size("batch.max_size"),
                max_delay: values.duration("batch.max_delay"),
                queue_size: values.size("batch.queue_size"),
                max_age: values.optional_duration("batch.max_age"),
            },
            engine: Engine::from_values(values),
            grpc: Grpc { address: values.address("grpc.address") },
            http: Http { address: values.address("http.address") },
            kafka: values.optional_text("kafka.brokers").map(|brokers| Kafka::from_values(brokers, values)),
            publish: Publish {
                kafka_for_grpc: values.boolean("publish.kafka_for_grpc"),
                uncertain_below: values.share("publish.uncertain_below"),
                smoothing: Smoothing::from_values(values),
            },
            limits: Limits::from_values(values),
        }
    }
}

/// `[model]`, or one of `[[model]]`
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// `path`: an ONNX file; `None` means the model built into the binary.
    pub path: Option<PathBuf>,
    /// `shadow`, `topic`: whom it is for.
    pub role: Role,
}

/// What a model is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Answers streams; the first such model is the default one.
    Serving,
    /// Sees the windows of the default model, so that it can be compared.
    Shadow {
        /// Where its events go; `None` for nowhere.
        topic: Option<String>,
    },
}

/// `[audio]`
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// `audio.idle_timeout` (30 s): a stream without chunks for so long ends.
    pub idle_timeout: Duration,
    /// `audio.max_gap` (1 s): the longest jump of `first_sample` that becomes silence.
    pub max_gap: Duration,
    /// `audio.channels` (split): what a stream that does not say has done with its channels.
    pub channels: ChannelPolicy,
    /// `audio.max_chunk_bytes` (1 MiB): the largest chunk of raw samples.
    pub max_chunk_bytes: usize,
    /// `audio.max_file_bytes` (64 MiB): the largest file, whole or spread over chunks.
    pub max_file_bytes: usize,
}

/// `[window]`
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// `window.hop`: overrides the model's hop; a whole number of frames.
    pub hop: Option<Duration>,
    /// `window.min_length` (1 s): the shortest partial window that is published.
    pub min_length: Duration,
}

/// `[batch]`
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `batch.max_size` (32): windows that go to the model together, at most; `None` for `auto`: found by trying when a model is loaded.
    pub max_size: Option<usize>,
    /// `batch.max_delay` (0): how long a batch that is not full may wait for more windows.
    pub max_delay: Duration,
    /// `batch.queue_size` (256): windows that may wait for a batch before the front end waits.
    pub queue_size: usize,
    /// `batch.max_age` (none): windows of gRPC streams that wait for longer are dropped; those of Kafka never.
    pub max_age: Option<Duration>,
}

/// `[engine]`
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    /// `engine.library`: path of ONNX Runtime's shared library; final where it is set.
    pub library: Option<PathBuf>,
    /// `engine.device` (`auto`).
    pub device: Device,
    /// `engine.sessions` (0: one a core, or one on a GPU): models that run side by side.
    pub sessions: usize,
    /// `engine.threads` (1): threads inside one session.
    pub threads: usize,
    /// `engine.spinning` (false): whether those threads keep their core busy between runs.
    pub spinning: bool,
    /// `engine.cpu_arena` (true): whether the engine keeps the CPU memory of a run for the next one.
    pub cpu_arena: bool,
    /// `engine.gpu_memory_limit_bytes` (none): what the engine may take of a GPU's memory for each session.
    pub gpu_memory_limit_bytes: Option<usize>,
}

impl Engine {
    fn from_values(values: &Values) -> Self {
        let device = match values.text("engine.device").as_str() {
            "cpu" => Device::Cpu,
            "cuda" => Device::Cuda,
            "tensorrt" => Device::TensorRt,
            _ => Device::Auto,
        };
        Self {
            library: values.path("engine.library"),
            device,
            sessions: values.size("engine.sessions"),
            threads: values.size("engine.threads"),
            spinning: values.boolean("engine.spinning"),
            cpu_arena: values.boolean("engine.cpu_arena"),
            gpu_memory_limit_bytes: values.optional_size("engine.gpu_memory_limit_bytes"),
        }
    }
}

/// `engine.device`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A GPU where one is usable, else the CPU; the log says which and why.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, or an error.
    Cuda,
    /// The same through TensorRT, or an error.
    TensorRt,
}

impl Device {
    /// As the configuration and `affectd_model_info` have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

/// `[grpc]`
#[derive(Debug, Clone, PartialEq)]
pub struct Grpc {
    /// `grpc.address` (127.0.0.1:50051)
    pub address: SocketAddr,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// `http.address` (127.0.0.1:8080)
    pub address: SocketAddr,
}

/// `[publish]`
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// `publish.kafka_for_grpc` (true): with Kafka on, events of gRPC streams go to the topic too.
    pub kafka_for_grpc: bool,
    /// `publish.uncertain_below` (0): a window whose best probability is lower is published as `uncertain`.
    pub uncertain_below: f64,
    /// How the decision is smoothed; `None` for not at all.
    pub smoothing: Option<Smoothing>,
}

/// `publish.smoothing` and `publish.smoothing_windows`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smoothing {
    /// `publish.smoothing` (off)
    pub method: SmoothingMethod,
    /// `publish.smoothing_windows` (5): windows of a channel that count, the newest one included; at least 1.
    pub windows: usize,
}

impl Smoothing {
    fn from_values(values: &Values) -> Option<Self> {
        let method = match values.text("publish.smoothing").as_str() {
            "exponential" => SmoothingMethod::Exponential,
            "median" => SmoothingMethod::Median,
            _ => return None,
        };
        Some(Self { method, windows: values.size("publish.smoothing_windows") })
    }
}

/// `publish.smoothing`, where it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmoothingMethod {
    /// Newer windows weigh more, by an exponential.
    Exponential,
    /// The middle one counts.
    Median,
}
