//! The flags of `affectd train` that say how training windows are changed.
//!
//! In: arguments. Out: strengths, by what suits the kind of network where nothing is said. Never changes a window.

use crate::train::architecture::NetworkKind;
use crate::train::augment::Strength;
use crate::train::waveform::WaveformStrength;

/// How training windows are changed. Where nothing is said, by what suits the kind of network.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Augmentation")]
pub(super) struct AugmentationArgs {
    /// Change neither samples nor features, but for what is asked for here
    #[arg(long)]
    no_augmentation: bool,
    /// Share of windows that pass a telephone line, 8 kHz and µ-law [default: 0.2 for cnn, 0.5 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    telephone: Option<f32>,
    /// Share of windows with white noise [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    noise: Option<f32>,
    /// Lowest and highest signal-to-noise ratio of that noise [default: 5 30]
    #[arg(long, value_name = "DB", num_args = 2, allow_negative_numbers = true)]
    noise_snr_db: Option<Vec<f32>>,
    /// Largest gain or loss [default: 0]
    #[arg(long, value_name = "DB", value_parser = amount)]
    gain_db: Option<f32>,
    /// Share of windows played at 0.9 to 1.1 times their speed and pitch [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    speed: Option<f32>,
    /// Share of windows at 0.9 to 1.1 times their pitch, at the same pace [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pitch: Option<f32>,
    /// Largest stretch left out at the start [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = amount)]
    shift_seconds: Option<f32>,
    /// Largest logarithm of a change of tempo [default: 0.12 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    tempo: Option<f32>,
    /// Largest logarithm of a stretch of the mel axis, as by another vocal tract [default: 0.06 for cnn, 0 for dense]
    #[arg(long, value_name = "LN", value_parser = amount)]
    warp: Option<f32>,
    /// Largest shift of the mel axis, as a share of its bands [default: 0.03 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    band_shift: Option<f32>,
    /// How strongly the spectrum's tilt, curvature and ripple and the range from soft to loud are changed, as a multiple
    /// of what suits the cnn [default: 1 for cnn, 0 for dense]
    #[arg(long, value_name = "FACTOR", value_parser = amount)]
    colour: Option<f32>,
    /// Share of windows that get a noise floor in their mel bands [default: 0.15 for cnn, 0 for dense]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    noise_floor: Option<f32>,
    /// Most frames left out in a row [default: 30 for cnn, 0 for dense]
    #[arg(long, value_name = "FRAMES")]
    frame_mask: Option<usize>,
    /// Largest share of neighbouring mel bands left out [default: 0.18 for cnn, 0 for dense]
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

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// A number of at least 0.
pub(super) fn amount(text: &str) -> Result<f32, String> {
    let amount = text.parse().ok().filter(|it: &f32| it.is_finite() && *it >= 0.0);
    amount.ok_or_else(|| "expected a number of at least 0".to_owned())
}
