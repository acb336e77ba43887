//! Validation of a contract by itself, without its graph.
//!
//! Input: the JSON of a contract. Output: a [`Contract`] whose entries are valid by themselves and consistent with each
//! other, or an error that names the first entry that is not. Invariants: no file is read and no graph is loaded.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Contract, Input, Layout, OutOfDomain, TrainingLogits};
use crate::features::{MfccOptions, OptionsError};

/// The version of the contract's JSON schema that this program reads and writes.
const SCHEMA: u32 = 1;
/// The most labels, and the most values: every event and every report names all of them.
const MAX_NAMES: usize = 1_000;
/// The longest window and hop, in samples: ten minutes at 16 kHz, and 38 MB.
const MAX_SAMPLES: usize = 9_600_000;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// The most values of one window: 64 MiB of 32-bit floats, a thousand times a window of the built-in model.
const MAX_WINDOW_VALUES: usize = 1 << 24;

/// Why a JSON text is not a valid contract.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The text is not JSON, an entry is missing, or a value has the wrong type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// An entry has a value that is not allowed.
    #[error("{key} = {value}: must be {allowed}")]
    Value {
        /// The key of the entry, such as `window.hop_samples`.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// The feature options are invalid.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

impl Contract {
    /// Parses a contract from JSON and validates it. The text may begin with a byte-order mark, which editors on Windows
    /// write.
    ///
    /// # Errors
    /// Returns an error for the first entry that is missing, unknown inside `mfcc`, or inconsistent with the others.
    pub fn parse(json: &str) -> Result<Self, ContractError> {
        Self::from_value(serde_json::from_str(json.trim_start_matches('\u{feff}'))?)
    }

    /// Parses the contract of an encoder as [`Self::parse`] does. The entries that only a classifier has may be absent.
    ///
    /// # Errors
    /// As [`Self::parse`].
    #[cfg(feature = "train")]
    pub fn parse_front_end(json: &str) -> Result<Self, ContractError> {
        let mut value: serde_json::Value = serde_json::from_str(json.trim_start_matches('\u{feff}'))?;
        if let Some(entries) = value.as_object_mut() {
            let absent = serde_json::json!({
                "schema": SCHEMA, "name": "encoder", "version": "0", "labels": ["frames"], "output": "logits",
            });
            for (key, value) in absent.as_object().into_iter().flatten() {
                entries.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Self::from_value(value)
    }

    fn from_value(mut value: serde_json::Value) -> Result<Self, ContractError> {
        if let Some(mfcc) = value.get_mut("mfcc").and_then(serde_json::Value::as_object_mut) {
            require_disabled(
                mfcc.remove("center"),
                "mfcc.center",
                "false: frames begin at sample 0, without padding",
            )?;
            require_disabled(
                mfcc.remove("top_db"),
                "mfcc.top_db",
                "absent: it makes a frame depend on all others",
            )?;
        }
        let contract: Self = serde_json::from_value(value)?;
        contract.check()?;
        Ok(contract)
    }

    /// Validates every entry by itself and against the others.
    ///
    /// # Errors
    /// Returns an error for the first entry that is invalid.
    pub fn check(&self) -> Result<(), ContractError> {
        require(self.schema == SCHEMA, "schema", self.schema, &SCHEMA.to_string())?;
        require(!self.name.trim().is_empty(), "name", "\"\"", "a name")?;
        require(!self.version.trim().is_empty(), "version", "\"\"", "a version")?;
        for (key, text) in [("name", &self.name), ("version", &self.version)] {
            let bytes = text.len();
            require(bytes <= MAX_NAME_BYTES, key, format!("{bytes} bytes"), "at most 256 bytes")?;
        }
        require(!self.labels.is_empty(), "labels", "[]", "at least one emotion")?;
        check_count("labels", self.labels.len())?;
        check_count("values", self.values.len())?;
        check_names("labels", &self.labels)?;
        check_names("values", &self.values)?;
        let temperature = self.temperature;
        require(temperature.is_finite() && temperature > 0.0, "temperature", temperature, "above 0")?;
        self.check_training_statistics()?;
        let rate = self.sample_rate_hz;
        require((1_000..=192_000).contains(&rate), "sample_rate_hz", rate, "1000 to 192000")?;
        let window = self.window;
        require(window.length_samples > 0, "window.length_samples", window.length_samples, "above 0")?;
        let fits = window.length_samples.max(window.hop_samples) <= MAX_SAMPLES;
        let found = format!("{} and {}", window.length_samples, window.hop_samples);
        require(
            fits,
            "window.length_samples and window.hop_samples",
            found,
            &format!("at most {MAX_SAMPLES}"),
        )?;
        require(window.hop_samples > 0, "window.hop_samples", window.hop_samples, "above 0")?;
        match (&self.mfcc, self.input) {
            (_, Input::Waveform) => {
                require(self.layout == Layout::Ns, "layout", self.layout.name(), "NS for a waveform")
            }
            (None, _) => require(false, "mfcc", "absent", "present, because input is not \"waveform\""),
            (Some(mfcc), _) => self.check_frames(mfcc),
        }
    }

    /// Validates the entries that describe the training data for decisions about a stream.
    fn check_training_statistics(&self) -> Result<(), ContractError> {
        if let Some(OutOfDomain { threshold }) = self.out_of_domain {
            require(threshold.is_finite(), "ood.threshold", threshold, "a finite 32-bit number")?;
        }
        let Some(TrainingLogits { mean_logits, variance }) = &self.adaptation else { return Ok(()) };
        let (key, labels) = ("adaptation.mean_logits", self.labels.len());
        let found = format!("{} numbers", mean_logits.len());
        require(mean_logits.len() == labels, key, found, &format!("{labels} numbers, one for each label"))?;
        let not_finite = mean_logits.iter().find(|logit| !logit.is_finite());
        not_finite.map_or(Ok(()), |logit| require(false, key, logit, "finite 32-bit numbers"))?;
        let variance = variance.unwrap_or(1.0);
        require(variance.is_finite() && variance > 0.0, "adaptation.variance", variance, "above 0")
    }

    fn check_frames(&self, mfcc: &MfccOptions) -> Result<(), ContractError> {
        mfcc.check(self.sample_rate_hz)?;
        let (length, hop) = (self.window.length_samples, self.window.hop_samples);
        require(self.layout != Layout::Ns, "layout", "NS", "NTC, NCT, N1TC or N1CT for frames")?;
        let needs_cepstrum = self.input == Input::Mfcc;
        require(
            !needs_cepstrum || mfcc.n_mfcc > 0,
            "mfcc.n_mfcc",
            mfcc.n_mfcc,
            "above 0 for input \"mfcc\"",
        )?;
        let whole = format!("a multiple of mfcc.hop_length ({})", mfcc.hop_length);
        require(length.is_multiple_of(mfcc.hop_length), "window.length_samples", length, &whole)?;
        require(hop.is_multiple_of(mfcc.hop_length), "window.hop_samples", hop, &whole)?;
        let fits = format!("at least mfcc.n_fft ({})", mfcc.n_fft);
        require(length >= mfcc.n_fft, "window.length_samples", length, &fits)?;
        let frames = 1 + (length - mfcc.n_fft) / mfcc.hop_length;
        let allowed = format!("{frames}, which is 1 + ({length} - {}) / {}", mfcc.n_fft, mfcc.hop_length);
        let found = self.frames.map_or("absent".to_owned(), |frames| frames.to_string());
        require(self.frames == Some(frames), "frames", found, &allowed)?;
        let (coefficients, most) = (self.coefficients(), MAX_WINDOW_VALUES);
        let allowed = format!("at most {most} values a window, and {coefficients} coefficients make more");
        require(frames.saturating_mul(coefficients) <= most, "frames", frames, &allowed)
    }

    /// Returns the number of values in one row of the graph's input, deltas included; 1 for a waveform.
    #[must_use]
    pub fn coefficients(&self) -> usize {
        let Some(mfcc) = &self.mfcc else { return 1 };
        match self.input {
            Input::Mfcc => mfcc.n_mfcc * (1 + mfcc.deltas),
            Input::LogMel => mfcc.n_mels * (1 + mfcc.deltas),
            Input::Waveform => 1,
        }
    }

    /// Returns the number of rows of one window: frames, or samples of a waveform.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self.input {
            Input::Waveform => self.window.length_samples,
            Input::Mfcc | Input::LogMel => self.frames.unwrap_or_default(),
        }
    }

    /// Returns the name and version as events carry them, such as `crema-d-cnn@1.0.0`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Layout {
    /// Returns the layout's name in the contract, such as `NTC`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ntc => "NTC",
            Self::Nct => "NCT",
            Self::N1tc => "N1TC",
            Self::N1ct => "N1CT",
            Self::Ns => "NS",
        }
    }
}

fn require(holds: bool, key: &'static str, value: impl Display, allowed: &str) -> Result<(), ContractError> {
    if holds {
        return Ok(());
    }
    Err(ContractError::Value { key, value: value.to_string(), allowed: allowed.to_owned() })
}

/// Requires an allowed number of names.
fn check_count(key: &'static str, count: usize) -> Result<(), ContractError> {
    require(count <= MAX_NAMES, key, format!("{count} names"), &format!("at most {MAX_NAMES} names"))
}

/// Requires that no name is empty and none stands twice.
fn check_names(key: &'static str, names: &[String]) -> Result<(), ContractError> {
    let mut seen = BTreeSet::new();
    for name in names {
        let bytes = name.len();
        require(
            bytes <= MAX_NAME_BYTES,
            key,
            format!("a name of {bytes} bytes"),
            "names of at most 256 bytes",
        )?;
        require(!name.trim().is_empty(), key, format!("{names:?}"), "names that are not empty")?;
        require(seen.insert(name), key, format!("{name:?} twice"), "names that differ")?;
    }
    Ok(())
}

/// Rejects an option of another front end unless it is absent, null or false.
///
/// Contracts written for librosa or torchaudio may carry options that this front end does not implement. An option that
/// is switched off has no effect and is accepted; ignoring one that is switched on would change the features silently.
fn require_disabled(
    found: Option<serde_json::Value>,
    key: &'static str,
    allowed: &str,
) -> Result<(), ContractError> {
    match found {
        None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => Ok(()),
        Some(value) => require(false, key, value, allowed),
    }
}
