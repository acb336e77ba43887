//! The properties of a decoded clip that the audit examines.
//!
//! Input: an audio file. Output: sample rate, length, peak, and a hash of the samples.

use std::path::Path;

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audio::{Recording, decode_bytes};

/// The UUID namespace of sample hashes; an arbitrary constant.
const SAMPLES: Uuid = Uuid::from_u128(0x6d1a_3f0c_9f57_4d0e_8a34_5e21_77c0_b9d4);

/// The properties of a decoded clip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClipProperties {
    /// The sample rate of the file, in Hz.
    pub sample_rate_hz: u32,
    /// The length of the clip.
    pub seconds: f64,
    /// The highest absolute sample of all channels; full scale is 1.
    pub peak: f32,
    /// A hash of the decoded samples, which does not depend on the file format.
    pub content: Uuid,
}

impl ClipProperties {
    /// Reads and decodes the file at `path`.
    ///
    /// # Errors
    /// Returns the reason where the file cannot be read or decoded.
    pub fn file(path: &Path) -> Result<Self, String> {
        Self::bytes(&std::fs::read(path).map_err(|error| error.to_string())?)
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// Returns the reason where the file cannot be decoded.
    pub fn bytes(bytes: &[u8]) -> Result<Self, String> {
        decode_bytes(Bytes::copy_from_slice(bytes), None)
            .map(|recording| Self::of(&recording))
            .map_err(|error| error.problem.to_string())
    }

    fn of(recording: &Recording) -> Self {
        let samples = || recording.channels.iter().flatten();
        let mut bytes: Vec<u8> = recording.sample_rate_hz.to_le_bytes().to_vec();
        bytes.push(recording.channels.len() as u8);
        bytes.extend(samples().flat_map(|sample| sample.to_le_bytes()));
        let length = recording.channels.first().map_or(0, Vec::len);
        Self {
            sample_rate_hz: recording.sample_rate_hz,
            seconds: length as f64 / f64::from(recording.sample_rate_hz),
            peak: samples().fold(0.0, |peak, sample| sample.abs().max(peak)),
            content: Uuid::new_v5(&SAMPLES, &bytes),
        }
    }
}
