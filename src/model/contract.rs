//! The contract of a model: the JSON under `metadata_props["affectd.contract"]` of its ONNX file.
//!
//! Input: JSON from the ONNX file or its sidecar. Output: a [`Contract`] with labels, front end, window and provenance.
//! Invariants: these types hold data only; `check` validates the values and `graph` compares them with the graph.

use serde::{Deserialize, Serialize};

use crate::features::MfccOptions;

/// The key of the contract in the `metadata_props` of an ONNX file.
pub const METADATA_KEY: &str = "affectd.contract";

/// The contract of a model: labels, front end, window and provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// The version of the contract's JSON schema; 1.
    pub schema: u32,
    /// The model's name; it is part of every event id.
    pub name: String,
    /// The model's version; it is part of every event id.
    pub version: String,
    /// The emotions in the order of the graph's output.
    pub labels: Vec<String>,
    /// Names of the real values in the order of the graph's output `values`, such as arousal and valence; none for most models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What the graph's input holds.
    pub input: Input,
    /// The order of the input's axes.
    pub layout: Layout,
    /// What the graph's output holds.
    pub output: Output,
    /// The sample rate, in Hz, of the audio that the features are computed from.
    pub sample_rate_hz: u32,
    /// The length and the hop of a window.
    pub window: WindowShape,
    /// The number of frames in one window; absent for waveform models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// The options of the front end; absent for waveform models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfcc: Option<MfccOptions>,
    /// The softmax temperature, by which the logits are divided. Where `output` is `probabilities`, the graph has
    /// applied it already.
    #[serde(default = "one")]
    pub temperature: f64,
    /// How the graph's output `ood` is judged; absent for models without that output.
    #[serde(default, rename = "ood", skip_serializing_if = "Option::is_none")]
    pub out_of_domain: Option<OutOfDomain>,
    /// What the adaptation to a stream needs of the training data; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptation: Option<TrainingLogits>,
    /// The training data of the model and its scores.
    #[serde(default)]
    pub provenance: Provenance,
}

fn one() -> f64 {
    1.0
}

/// What the input of a graph holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Mel-frequency cepstral coefficients.
    Mfcc,
    /// Logarithms of mel band energies.
    LogMel,
    /// Samples from -1 to 1.
    Waveform,
}

/// The order of the input's axes: batch `N`, frames `T`, coefficients `C`, samples `S`.
///
/// The axis of size 1 may stand in another place than the name says, as in `[batch, frames, coefficients, 1]` of Keras:
/// the values have the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// `[batch, frames, coefficients]`
    Ntc,
    /// `[batch, coefficients, frames]`
    Nct,
    /// `[batch, 1, frames, coefficients]`, or `[batch, frames, coefficients, 1]`
    #[serde(alias = "NTC1")]
    N1tc,
    /// `[batch, 1, coefficients, frames]`, or `[batch, coefficients, frames, 1]`
    #[serde(alias = "NCT1")]
    N1ct,
    /// `[batch, samples]`, `[batch, 1, samples]` or `[batch, samples, 1]`
    #[serde(alias = "N1S", alias = "NS1")]
    Ns,
}

/// What the output of a graph holds; its shape is `[batch, labels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Class probabilities, after the softmax.
    Probabilities,
    /// Logits, before the softmax.
    Logits,
}

/// The length and the hop of a window, in samples; both are whole multiples of the frame hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowShape {
    /// The number of samples in one window.
    pub length_samples: usize,
    /// The number of samples from the start of one window to the start of the next.
    pub hop_samples: usize,
}

/// How the out-of-domain score of a window is judged. The score is the graph's output `ood`, `[batch]` or `[batch, 1]`: the larger it is, the less the
/// window resembles the training data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutOfDomain {
    /// A window with a higher score is out of domain.
    pub threshold: f32,
}

/// The logits of the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingLogits {
    /// The mean logit of each label. The logit of a label is the natural logarithm of its probability, which counts as at least 0.0001, less the mean of
    /// these logarithms over the labels of the window.
    pub mean_logits: Vec<f32>,
    /// The variance of the logits of one speaker who acts all emotions, the mean over speakers and labels; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<f32>,
}

/// The training data of a model and its scores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The names of the datasets that the model was trained on.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// How the data was split into training, validation and test clips.
    #[serde(default)]
    pub protocol: String,
    /// Measured scores by name, such as `test_accuracy`.
    #[serde(default)]
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// The time of the training, as RFC 3339.
    #[serde(default)]
    pub trained_at: String,
    /// The seed of the training run.
    #[serde(default)]
    pub seed: u64,
}
