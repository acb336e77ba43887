//! What a telephone line does to samples: 8 kHz and µ-law (ITU-T G.711).
//!
//! In: samples at any rate. Out: the line's bytes, or what is heard of them at the rate that went in. Both ways go through
//! the resampler that serves: training, evaluation and a real call of 8 kHz see the same in the bands above 4 kHz.

use std::sync::Arc;

use prost::bytes::Bytes;

use crate::audio::encode;
use crate::audio::{AudioFormat, Encoding, Planar, ResamplerPlan, decode, resample};
use crate::proto;

/// Rate of a telephone line.
pub const TELEPHONE_RATE_HZ: u32 = 8_000;

/// A line for samples at one rate.
#[derive(Debug, Clone)]
pub struct Telephone {
    there: Arc<ResamplerPlan>,
    back: Arc<ResamplerPlan>,
}

impl Telephone {
    /// For samples at `sample_rate_hz`.
    #[must_use]
    pub fn new(sample_rate_hz: u32) -> Self {
        let plan = |from, to| Arc::new(ResamplerPlan::new(from, to));
        Self { there: plan(sample_rate_hz, TELEPHONE_RATE_HZ), back: plan(TELEPHONE_RATE_HZ, sample_rate_hz) }
    }

    /// What the line carries: µ-law, one byte a sample.
    #[must_use]
    pub fn carried(&self, samples: &[f32]) -> Bytes {
        encode(&[resample(&self.there, samples)], proto::Encoding::Mulaw)
    }

    /// What is heard at the other end, at the rate that went in.
    #[must_use]
    pub fn heard(&self, samples: &[f32]) -> Vec<f32> {
        let format =
            AudioFormat::new(Encoding::MuLaw, TELEPHONE_RATE_HZ, 1).expect("a telephone's format is valid");
        let mut planar = Planar::new();
        decode(format, &self.carried(samples), &mut planar).expect("every byte is a µ-law sample");
        planar.channels().first().map_or_else(Vec::new, |samples| resample(&self.back, samples))
    }
}
