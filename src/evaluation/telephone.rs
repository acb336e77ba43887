//! Simulation of a telephone line: 8 kHz and µ-law (ITU-T G.711).
//!
//! Input: samples at any rate. Output: the encoded bytes, or the decoded samples at the input's rate. Invariants: both
//! directions use the resampler of the daemon, so that training, evaluation and real 8 kHz calls have the same features in
//! the bands above 4 kHz.

use std::sync::Arc;

use prost::bytes::Bytes;

use crate::audio::encode;
use crate::audio::{AudioFormat, Encoding, Planar, ResamplerPlan, decode, resample};
use crate::proto;

/// The sample rate of a telephone line, in Hz.
pub const TELEPHONE_RATE_HZ: u32 = 8_000;

/// A simulated telephone line for samples at one rate.
#[derive(Debug, Clone)]
pub struct Telephone {
    to_telephone_rate: Arc<ResamplerPlan>,
    to_original_rate: Arc<ResamplerPlan>,
}

impl Telephone {
    /// Creates a line for samples at `sample_rate_hz`.
    #[must_use]
    pub fn new(sample_rate_hz: u32) -> Self {
        let plan = |from, to| Arc::new(ResamplerPlan::new(from, to));
        Self {
            to_telephone_rate: plan(sample_rate_hz, TELEPHONE_RATE_HZ),
            to_original_rate: plan(TELEPHONE_RATE_HZ, sample_rate_hz),
        }
    }

    /// Resamples to 8 kHz and encodes in µ-law, one byte per sample.
    #[must_use]
    pub fn encode(&self, samples: &[f32]) -> Bytes {
        encode(&[resample(&self.to_telephone_rate, samples)], proto::Encoding::Mulaw)
    }

    /// Encodes and decodes the samples, and resamples the result to the original rate.
    #[must_use]
    pub fn round_trip(&self, samples: &[f32]) -> Vec<f32> {
        let format =
            AudioFormat::new(Encoding::MuLaw, TELEPHONE_RATE_HZ, 1).expect("a telephone's format is valid");
        let mut planar = Planar::new();
        decode(format, &self.encode(samples), &mut planar).expect("every byte is a µ-law sample");
        planar.channels().first().map_or_else(Vec::new, |samples| resample(&self.to_original_rate, samples))
    }
}
