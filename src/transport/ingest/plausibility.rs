//! Recognises audio that was decoded with the wrong encoding, such as µ-law that is declared as 16-bit linear audio.
//!
//! Input: the audio of a call. Output: once, whether it can be speech. Pure.
//!
//! Speech is seldom as loud as −8 dBFS, and its neighbouring samples are much alike. Bytes that are read with the wrong encoding are louder, or
//! their samples are unrelated. Both are measured over the first second of each channel that is not silent. With the samples of `deploy/samples` at
//! 8 kHz, speech has a correlation of 0.85 at up to −10 dBFS; µ-law as linear audio 0.52 at −5 dBFS, linear audio as A-law 0.03 at −12 dBFS.

use crate::audio::{self, AudioFormat, Planar};

/// Root mean square above which samples that are little alike are no speech, and that above which unrelated ones are not.
const LOUD: (f64, f64) = (0.4, 0.2);
/// Correlation of neighbouring samples below which loud audio is no speech, and that of fairly loud audio.
const ALIKE: (f64, f64) = (0.75, 0.3);
/// Root mean square of a message that is not silent.
const AUDIBLE: f64 = 0.02;

/// The measure of one call.
#[derive(Debug)]
pub(super) struct Plausibility {
    format: AudioFormat,
    channels: Vec<Sums>,
    planar: Planar,
}

/// Sums over the samples of one channel.
#[derive(Debug, Clone, Default)]
struct Sums {
    samples: u64,
    squares: f64,
    /// Products of neighbouring samples.
    products: f64,
}

impl Plausibility {
    pub fn new(format: AudioFormat) -> Self {
        let channels = vec![Sums::default(); usize::from(format.channels())];
        Self { format, channels, planar: Planar::new() }
    }

    /// Adds whole sample frames. Returns whether a channel is plausible once it is long enough; `None` before.
    pub fn add(&mut self, audio: &[u8]) -> Option<bool> {
        // The session refuses audio that cannot be decoded.
        audio::decode(self.format, audio, &mut self.planar).ok()?;
        let second = u64::from(self.format.sample_rate_hz());
        for (sums, samples) in self.channels.iter_mut().zip(self.planar.channels()) {
            sums.add(samples);
        }
        let mut long = self.channels.iter().filter(|sums| sums.samples >= second).peekable();
        long.peek()?;
        Some(long.all(Sums::is_plausible))
    }
}

impl Sums {
    fn add(&mut self, samples: &[f32]) {
        let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        if squares < AUDIBLE.powi(2) * samples.len() as f64 {
            return;
        }
        self.samples += samples.len() as u64;
        self.squares += squares;
        self.products += samples.windows(2).map(|pair| f64::from(pair[0]) * f64::from(pair[1])).sum::<f64>();
    }

    fn is_plausible(&self) -> bool {
        let loudness = (self.squares / self.samples as f64).sqrt();
        let alike = self.products / self.squares;
        !(loudness > LOUD.0 && alike < ALIKE.0 || loudness > LOUD.1 && alike < ALIKE.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding::{self, ALaw, MuLaw, PcmS16Le};

    /// A sample of speech at 8 kHz with a gain, in an encoding.
    fn speech(gain: f32, encoding: Encoding) -> Vec<u8> {
        let voice =
            audio::decode_bytes(&include_bytes!("../../../deploy/samples/angry.wav")[..], None).unwrap();
        assert_eq!(voice.sample_rate_hz, 16_000);
        let pairs = voice.channels[0].chunks_exact(2);
        let samples: Vec<f32> = pairs.map(|pair| (pair[0] + pair[1]) / 2.0 * gain).collect();
        let encoding = AudioFormat::new(encoding, 8_000, 1).unwrap().to_proto().unwrap().encoding();
        audio::encode(&[samples], encoding).to_vec()
    }

    fn plausible(audio: &[u8], encoding: Encoding) -> Option<bool> {
        let mut measure = Plausibility::new(AudioFormat::new(encoding, 8_000, 1).unwrap());
        audio.chunks_exact(320).find_map(|audio| measure.add(audio))
    }

    #[test]
    fn speech_is_plausible_at_any_level() {
        for encoding in [MuLaw, ALaw, PcmS16Le] {
            for gain in [0.3, 1.0, 2.0] {
                assert_eq!(plausible(&speech(gain, encoding), encoding), Some(true), "{encoding:?} {gain}");
            }
        }
        assert_eq!(plausible(&[0xff; 80_000], MuLaw), None);
    }

    #[test]
    fn audio_with_another_encoding_is_not_plausible() {
        for (is, declared) in [(MuLaw, PcmS16Le), (ALaw, PcmS16Le), (PcmS16Le, MuLaw), (PcmS16Le, ALaw)] {
            for gain in [0.1, 1.0, 2.0] {
                assert_eq!(
                    plausible(&speech(gain, is), declared),
                    Some(false),
                    "{is:?} as {declared:?} {gain}"
                );
            }
        }
    }
}
