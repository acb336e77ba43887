//! What a model file says of itself: the JSON under `metadata_props["affectd.contract"]`.
//!
//! In: JSON from the file or its sidecar. Out: a checked [`Contract`]. Never touches the graph (see `check`).

use serde::{Deserialize, Serialize};

use crate::features::MfccOptions;

/// Key of the contract in the ONNX file's `metadata_props`.
pub const METADATA_KEY: &str = "affectd.contract";

/// A model's contract: labels, front end, window, provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// Version of this layout; 1.
    pub schema: u32,
    /// The model's name, part of every event's id.
    pub name: String,
    /// The model's version, part of every event's id.
    pub version: String,
    /// Emotions in the order of the output.
    pub labels: Vec<String>,
    /// Names of the real values in the order of the graph's output `values`, such as arousal and valence; none for most models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What the graph takes.
    pub input: Input,
    /// Order of the input's axes.
    pub layout: Layout,
    /// What the graph gives.
    pub output: Output,
    /// Sample rate of the audio that the features are computed from.
    pub sample_rate_hz: u32,
    /// Length and hop of a window.
    pub window: WindowShape,
    /// Frames of one window; absent for waveform models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// The front end; absent for waveform models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<MfccOptions>,
    /// Divides the logits before softmax; already inside the graph where `output` is probabilities.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Where the model comes from and what it reached.
    #[serde(default)]
    pub provenance: Provenance,
}

fn one() -> f64 {
    1.0
}

/// What the graph takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Mel-frequency cepstral coefficients.
    Mfcc,
    /// Logarithmic mel energies.
    LogMel,
    /// Samples.
    Waveform,
}

/// Order of the input's axes: batch `N`, frames `T`, coefficients `C`, samples `S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// `[batch, frames, coefficients]`
    Ntc,
    /// `[batch, coefficients, frames]`
    Nct,
    /// `[batch, 1, frames, coefficients]`
    N1tc,
    /// `[batch, 1, coefficients, frames]`
    N1ct,
    /// `[batch, samples]`
    Ns,
}

/// What the graph gives: `[batch, labels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// After softmax.
    Probabilities,
    /// Before softmax.
    Logits,
}

/// Length and hop of a window in samples, both whole numbers of frame hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowShape {
    /// Samples of one window.
    pub length_samples: usize,
    /// Samples from one window to the next.
    pub hop_samples: usize,
}

/// Where a model comes from and what it reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Data it was trained on.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// How the data was split.
    #[serde(default)]
    pub protocol: String,
    /// Measured figures by name, such as `accuracy`.
    #[serde(default)]
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// When it was trained, RFC 3339.
    #[serde(default)]
    pub trained_at: String,
    /// Seed of the training run.
    #[serde(default)]
    pub seed: u64,
}
