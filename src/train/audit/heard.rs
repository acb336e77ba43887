//! What one clip sounds like.
//!
//! In: an audio file. Out: the few figures that tell whether it can be used, and a name for its very samples. Never
//! judges.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::cache::{Cache, Entry};
use crate::audio::{Recording, decode_bytes};

/// Names samples; any constant would do.
const SAMPLES: Uuid = Uuid::from_u128(0x6d1a_3f0c_9f57_4d0e_8a34_5e21_77c0_b9d4);

/// A clip as it sounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClipProperties {
    /// Samples a second of one channel, in the file.
    pub sample_rate_hz: u32,
    /// How long it is.
    pub seconds: f64,
    /// Its highest sample, of any channel; full scale is 1.
    pub peak: f32,
    /// The same for the same samples, whatever file they come in.
    pub content: Uuid,
}

impl ClipProperties {
    /// Reads and decodes the file at `path`, or takes what the cache knows of the same bytes.
    ///
    /// # Errors
    /// Why it cannot be heard.
    pub fn file(path: &Path, cache: Option<&Cache>) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        match cache {
            Some(cache) => cache.get_or(&bytes, Self::bytes),
            None => Self::bytes(&bytes),
        }
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    /// Why it cannot be heard.
    pub fn bytes(bytes: &[u8]) -> Result<Self, String> {
        decode_bytes(bytes, None)
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

/// As JSON.
impl Entry for ClipProperties {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
