//! The MFCC options of a model's contract, in the terms of librosa and torchaudio.
//!
//! Input: the JSON of the contract.
//! Output: plain values, which [`MfccOptions::check`] validates.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The front end of a model: the entry `mfcc` of its contract. Log-mel models use all options but those of
/// the DCT.
///
/// Frames are those of `librosa.feature.mfcc(center=False)`: frame `t` consists of the samples
/// `[t·hop_length, t·hop_length + n_fft)`, with the window function of `win_length` samples centred in it.
///
/// Kaldi's MFCC and filter banks correspond to `window` povey, `pre_emphasis` 0.97, `remove_dc`, `mel_scale`
/// kaldi, `mel_norm` none and `log_floor` 1.1920929e-7 on samples with full scale ±1, without dither, without
/// energy as the first coefficient (`use_energy` false) and without a lifter (`cepstral_lifter` 0; a lifter
/// only scales the coefficients, which the normalisation in the model's graph undoes). Kaldi aligns the
/// window function with the start of the frame, so its frame `t` is the frame here of the samples from
/// `t·hop_length − (n_fft − win_length)/2` on. Samples of 16 bits that are read as integers add `2·ln 32768`
/// to each band.
///
/// `center: true` and `top_db` of librosa are refused by name when the JSON is read: both would make a frame
/// depend on audio outside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct MfccOptions {
    /// Length of the window function in samples, at most `n_fft`.
    pub win_length: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Length of a frame and of its Fourier transform in samples.
    pub n_fft: usize,
    /// Shape of the window function.
    pub window: Taper,
    /// Number of mel bands.
    pub n_mels: usize,
    /// Lower edge of the lowest mel band in hertz.
    pub f_min_hz: f64,
    /// Upper edge of the highest mel band in hertz, at most half the sample rate.
    pub f_max_hz: f64,
    /// Conversion between hertz and mel.
    pub mel_scale: MelScale,
    /// Scaling of each mel band.
    pub mel_norm: MelNorm,
    /// Exponent of the magnitude spectrum: 1 (magnitude) or 2 (power).
    #[serde(default = "default_power")]
    pub power: f64,
    /// Logarithm of the mel energies.
    pub log: Log,
    /// `max(x, log_floor)` before the logarithm, as in librosa.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_floor: Option<f64>,
    /// `x + log_offset` before the logarithm, as in torchaudio. Excludes `log_floor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_offset: Option<f64>,
    /// Number of cepstral coefficients, at most `n_mels`. Unused by log-mel models.
    #[serde(default)]
    pub n_mfcc: usize,
    /// Scaling of the type-2 DCT.
    #[serde(default)]
    pub dct_norm: DctNorm,
    /// Orders of deltas appended to each frame: 0, 1 (delta) or 2 (delta and delta-delta).
    #[serde(default)]
    pub deltas: usize,
    /// Coefficient of the first-order pre-emphasis of the samples under the window function, as in Kaldi
    /// (0.97 is usual).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_emphasis: Option<f64>,
    /// Whether the mean of the samples under the window function is subtracted first, as in Kaldi.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove_dc: bool,
}

impl Default for MfccOptions {
    /// 40 MFCCs of 40 mel bands at 16 kHz, 25 ms every 10 ms. The bands end at 7.4 kHz, because MP3 at low
    /// bit rates has no content above.
    fn default() -> Self {
        Self {
            win_length: 400,
            hop_length: 160,
            n_fft: 512,
            window: Taper::Hann,
            n_mels: 40,
            f_min_hz: 20.0,
            f_max_hz: 7_400.0,
            mel_scale: MelScale::Slaney,
            mel_norm: MelNorm::Slaney,
            power: default_power(),
            log: Log::Ln,
            log_floor: Some(1e-10),
            log_offset: None,
            n_mfcc: 40,
            dct_norm: DctNorm::Ortho,
            deltas: 0,
            pre_emphasis: None,
            remove_dc: false,
        }
    }
}

fn default_power() -> f64 {
    2.0
}

impl Serialize for MfccOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for MfccOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entries = serde_json::Map::deserialize(deserializer)?;
        for key in ["center", "top_db"] {
            match entries.remove(key) {
                // Switched off, as in a contract.
                None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => {}
                Some(value) => return Err(de::Error::custom(refusal(key, &value))),
            }
        }
        Self::deserialize(serde_json::Value::Object(entries)).map_err(de::Error::custom)
    }
}

/// Returns the error for an option of librosa that is not supported.
fn refusal(key: &str, value: &serde_json::Value) -> String {
    format!(
        "mfcc.{key} = {value}: not supported, because a frame must not depend on audio outside it; remove {key}"
    )
}

/// Shape of the window function. It is called taper here, because a window is the audio that the model
/// classifies. Hann and Hamming are periodic, as in `scipy.signal.get_window(fftbins=True)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Taper {
    /// `0.5 − 0.5·cos`.
    Hann,
    /// `0.54 − 0.46·cos`.
    Hamming,
    /// The window function of Kaldi: the symmetric Hann window to the power 0.85.
    Povey,
}

/// Conversion between hertz and mel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above (`htk=False` in librosa).
    Slaney,
    /// `2595·log10(1 + f/700)` (`htk=True` in librosa).
    Htk,
    /// The formula of HTK, with the sides of the triangles straight in mel instead of hertz.
    Kaldi,
}

/// Scaling of each mel band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelNorm {
    /// Equal area: each triangle is multiplied by `2 / (upper − lower)`.
    Slaney,
    /// Each triangle has a peak of 1.
    None,
}

/// Logarithm of the mel energies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// The natural logarithm.
    Ln,
    /// Decibels of a power: `10·log10(x)`.
    Db,
}

/// Scaling of the type-2 DCT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DctNorm {
    /// Orthonormal: SciPy's `norm="ortho"`.
    #[default]
    Ortho,
    /// SciPy's `norm=None`: twice the plain sum.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"win_length": 400, "hop_length": 160, "n_fft": 512, "window": "hann", "n_mels": 40,
        "f_min_hz": 20.0, "f_max_hz": 7400.0, "mel_scale": "slaney", "mel_norm": "slaney", "power": 2.0,
        "log": "ln", "log_floor": 1e-10, "n_mfcc": 40, "dct_norm": "ortho", "deltas": 0EXTRA}"#;

    fn parse(extra: &str) -> Result<MfccOptions, String> {
        serde_json::from_str(&JSON.replace("EXTRA", extra)).map_err(|error| error.to_string())
    }

    #[test]
    fn json_survives_the_round_trip() {
        let options = parse("").unwrap();
        let written = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<MfccOptions>(&written).unwrap(), options);
    }

    #[test]
    fn options_that_use_audio_outside_the_frame_are_refused_by_name() {
        assert!(parse(", \"center\": true").unwrap_err().contains("mfcc.center = true"));
        assert!(parse(", \"top_db\": 80.0").unwrap_err().contains("mfcc.top_db = 80.0"));
        assert!(parse(", \"center\": false, \"top_db\": null").is_ok());
    }

    #[test]
    fn unknown_and_missing_keys_are_named() {
        assert!(parse(", \"n_mell\": 1").unwrap_err().contains("n_mell"));
        let error = serde_json::from_str::<MfccOptions>("{}").unwrap_err().to_string();
        assert!(error.contains("win_length"), "{error}");
    }
}
