//! Perturbations of clips before an evaluation: a gain and a simulated telephone line. They show how robust a model is on
//! audio that differs from its training data.
//!
//! Input: a labelled clip. Output: the perturbed clip, as samples. Invariants: a clip that cannot be decoded is returned
//! unchanged, so that the evaluator skips it with the decoder's reason.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clip::mixed_down;
use super::{LabelledClip, TELEPHONE_RATE_HZ, Telephone};
use crate::audio::encode;
use crate::audio::{AudioFormat, Encoding};
use crate::proto;

/// A gain, followed by a simulated telephone line; both are optional.
#[derive(Debug, Default)]
pub struct Perturbation {
    /// The gain in dB: samples are multiplied by `10^(gain_db / 20)`, quantized to 16 bits and clipped.
    pub gain_db: Option<f64>,
    /// Whether samples are resampled to 8 kHz and encoded in µ-law (ITU-T G.711).
    pub telephone: bool,
    /// The number of clips that held samples beyond full scale.
    clipped: AtomicU64,
}

impl Perturbation {
    /// Creates a perturbation.
    pub fn new(gain_db: Option<f64>, telephone: bool) -> Self {
        Self { gain_db, telephone, clipped: AtomicU64::new(0) }
    }

    /// Returns the number of clips that were clipped at full scale so far.
    pub fn clipped(&self) -> u64 {
        self.clipped.load(Ordering::Relaxed)
    }

    /// Returns the perturbed clip.
    pub fn apply(&self, clip: LabelledClip) -> LabelledClip {
        if self.gain_db.is_none() && !self.telephone {
            return clip;
        }
        match mixed_down(clip.format, &clip.audio) {
            Ok((samples, rate_hz)) => self.perturb(clip, samples, rate_hz),
            Err(_) => clip,
        }
    }

    fn perturb(&self, clip: LabelledClip, mut samples: Vec<f32>, rate_hz: u32) -> LabelledClip {
        let factor = 10.0_f64.powf(self.gain_db.unwrap_or(0.0) / 20.0) as f32;
        samples.iter_mut().for_each(|it| *it *= factor);
        if samples.iter().any(|it| it.abs() > 1.0) {
            self.clipped.fetch_add(1, Ordering::Relaxed);
            samples.iter_mut().for_each(|it| *it = it.clamp(-1.0, 1.0));
        }
        let (format, audio) = if self.telephone {
            let audio = Telephone::new(rate_hz).encode(&samples);
            (AudioFormat::new(Encoding::MuLaw, TELEPHONE_RATE_HZ, 1), audio)
        } else {
            let audio = encode(&[samples], proto::Encoding::PcmS16le);
            (AudioFormat::new(Encoding::PcmS16Le, rate_hz, 1), audio)
        };
        match format {
            Ok(format) => LabelledClip { format, audio, ..clip },
            Err(_) => clip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(samples: &[f32]) -> LabelledClip {
        LabelledClip {
            id: "one".into(),
            label: "anger".into(),
            speaker: None,
            format: AudioFormat::new(Encoding::PcmS16Le, 16_000, 1).expect("a valid format"),
            audio: encode(&[samples.to_vec()], proto::Encoding::PcmS16le),
        }
    }

    fn samples(clip: &LabelledClip) -> Vec<f32> {
        mixed_down(clip.format, &clip.audio).expect("samples").0
    }

    #[test]
    fn a_gain_scales_and_clips() {
        let perturbation = Perturbation::new(Some(20.0), false);
        let perturbed = samples(&perturbation.apply(clip(&[0.01, -0.05, 0.5])));
        for (found, wanted) in perturbed.iter().zip([0.1, -0.5, 1.0]) {
            assert!((found - wanted).abs() < 1e-3, "{perturbed:?}");
        }
        assert_eq!(perturbation.clipped(), 1);
        assert_eq!(Perturbation::new(Some(-20.0), false).clipped(), 0);
    }

    #[test]
    fn a_telephone_keeps_what_lies_below_4_khz() {
        let tone = |hz: f32| -> Vec<f32> {
            (0..16_000).map(|at| 0.5 * (std::f32::consts::TAU * hz * at as f32 / 16_000.0).sin()).collect()
        };
        let power = |hz| {
            let perturbed = Perturbation::new(None, true).apply(clip(&tone(hz)));
            assert_eq!((perturbed.format.sample_rate_hz(), perturbed.audio.len()), (8_000, 8_000));
            samples(&perturbed).iter().map(|it| it * it).sum::<f32>() / 8_000.0
        };
        assert!((power(1_000.0) - 0.125).abs() < 0.01, "{}", power(1_000.0));
        assert!(power(5_000.0) < 1e-3, "{}", power(5_000.0));
    }

    #[test]
    fn the_default_perturbation_changes_nothing() {
        let clip = clip(&[0.1, 0.2]);
        assert_eq!(Perturbation::default().apply(clip.clone()).audio, clip.audio);
    }
}
