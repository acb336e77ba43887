//! The data augmentation flags of `affectd train`.
//!
//! Input: arguments. Output: the strength of each augmentation; where a flag is absent, the default of the architecture.

use crate::train::architecture::NetworkKind;
use crate::train::augment::Strength;
use crate::train::waveform::WaveformStrength;

/// The augmentation of training windows. The defaults depend on the architecture.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Augmentation")]
pub(super) struct AugmentationArgs {
    /// Disable all augmentations that are not set explicitly
    #[arg(long)]
    no_augmentation: bool,
    /// Share of windows with a simulated telephone line, 8 kHz and µ-law [default: 0.2 for cnn, 0.5 for
    /// dense and encoder]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    telephone: Option<f32>,
    /// Share of windows with added white noise [default: 0.3 for encoder, otherwise 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    noise: Option<f32>,
    /// Lowest and highest signal-to-noise ratio of the white noise [default: 5 30]
    #[arg(long, value_name = "DB", num_args = 2, allow_negative_numbers = true)]
    noise_snr_db: Option<Vec<f32>>,
    /// Maximum gain or attenuation [default: 6 for encoder, otherwise 0]
    #[arg(long, value_name = "DB", value_parser = amount)]
    gain_db: Option<f32>,
    /// Share of windows with speed perturbation: 0.9 to 1.1 times the tempo and pitch
    /// [default: 0.5 for encoder, otherwise 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    speed: Option<f32>,
    /// Share of windows with a pitch shift by a factor of 0.9 to 1.1, at the same tempo [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pitch: Option<f32>,
    /// Maximum time removed from the start of a window [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = amount)]
    shift_seconds: Option<f32>,
    /// Maximum natural logarithm of the tempo factor [default: 0.12 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    tempo: Option<f32>,
    /// Maximum natural logarithm of the warping factor of the mel axis (vocal tract length perturbation)
    /// [default: 0.06 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    warp: Option<f32>,
    /// Maximum shift of the mel axis, as a share of its bands [default: 0.03 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    band_shift: Option<f32>,
    /// Strength of the changes of spectral tilt, curvature, ripple and dynamic range, as a multiple of the cnn's defaults
    /// [default: 1 for cnn, 0 for dense]
    #[arg(long, value_name = "FACTOR", value_parser = amount)]
    colour: Option<f32>,
    /// Share of windows with an added noise floor in the mel bands [default: 0.15 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    noise_floor: Option<f32>,
    /// Maximum number of consecutive frames masked (SpecAugment) [default: 30 for cnn, 0 for dense]
    #[arg(long, value_name = "FRAMES")]
    frame_mask: Option<usize>,
    /// Maximum share of neighbouring mel bands masked (SpecAugment) [default: 0.18 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    band_mask: Option<f32>,
}

impl AugmentationArgs {
    pub fn waveform(&self, kind: NetworkKind) -> WaveformStrength {
        let none = WaveformStrength::NONE;
        let base = if self.no_augmentation { none } else { WaveformStrength::of(kind) };
        WaveformStrength {
            telephone: self.telephone.unwrap_or(base.telephone),
            noise: self.noise.unwrap_or(base.noise),
            noise_snr_db: self
                .noise_snr_db
                .as_ref()
                .map_or(base.noise_snr_db, |it| (it[0].min(it[1]), it[0].max(it[1]))),
            gain_db: self.gain_db.unwrap_or(base.gain_db),
            speed: self.speed.unwrap_or(base.speed),
            pitch: self.pitch.unwrap_or(base.pitch),
            shift_seconds: self.shift_seconds.unwrap_or(base.shift_seconds),
        }
    }

    /// Returns whether the pitch of some windows is shifted.
    pub fn shifts_pitch(&self) -> bool {
        self.pitch.is_some_and(|share| share > 0.0)
    }

    /// Returns the first given flag that augments features and not samples.
    pub fn flag_of_features(&self) -> Option<&'static str> {
        let flags = [
            ("--tempo", self.tempo.is_some()),
            ("--warp", self.warp.is_some()),
            ("--band-shift", self.band_shift.is_some()),
            ("--colour", self.colour.is_some()),
            ("--noise-floor", self.noise_floor.is_some()),
            ("--frame-mask", self.frame_mask.is_some()),
            ("--band-mask", self.band_mask.is_some()),
        ];
        flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    pub fn features(&self, kind: NetworkKind) -> Strength {
        let base = if self.no_augmentation { Strength::NONE } else { Strength::of(kind) };
        let coloured = |factor| Strength::of(NetworkKind::Cnn).with_colour(factor);
        let Strength { tilt, curve, ripple, dynamics, .. } = self.colour.map_or(base, coloured);
        Strength {
            tempo: self.tempo.unwrap_or(base.tempo),
            warp: self.warp.unwrap_or(base.warp),
            shift: self.band_shift.unwrap_or(base.shift),
            tilt,
            curve,
            ripple,
            dynamics,
            noise_floor: self.noise_floor.unwrap_or(base.noise_floor),
            frame_mask: self.frame_mask.unwrap_or(base.frame_mask),
            band_mask: self.band_mask.unwrap_or(base.band_mask),
        }
    }
}

/// Parses a number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Parses a number of at least 0.
pub(super) fn amount(text: &str) -> Result<f32, String> {
    let amount = text.parse().ok().filter(|it: &f32| it.is_finite() && *it >= 0.0);
    amount.ok_or_else(|| "expected a number of at least 0".to_owned())
}
