//! Sounds that are not speech: noise to add to speech, and sounds that a detector may mistake for speech.
//!
//! Input: lengths and levels.
//! Output: samples at 16 kHz.
//! Invariants: the result is deterministic.

use std::f32::consts::TAU;

use super::row::{RATE, spoken};

/// Root mean square of speech: −26 dB relative to full scale.
pub const LEVEL: f32 = 0.05;
/// Number of voices in the babble.
const VOICES: usize = 8;

/// A small random number generator (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Returns an approximately normal number with mean 0 and standard deviation 1: the sum of twelve uniform
    /// ones.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// Noise that is added to speech.
#[derive(Clone, Copy)]
pub enum Noise<'a> {
    White,
    /// Several other clips at once.
    Babble(&'a [Vec<f32>]),
}

impl Noise<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Babble(_) => "babble",
        }
    }

    fn samples(self, length: usize) -> Vec<f32> {
        let mut random = Random(2);
        match self {
            Self::White => (0..length).map(|_| random.normal()).collect(),
            Self::Babble(clips) => {
                let mut sum = vec![0.0; length];
                for _ in 0..VOICES {
                    let mut at = 0;
                    while at < length {
                        let clip = &clips[random.below(clips.len())];
                        let gain = spoken(clip).1;
                        sum[at..].iter_mut().zip(clip).for_each(|(sum, sample)| *sum += sample * gain);
                        at += clip.len();
                    }
                }
                sum
            }
        }
    }
}

/// Adds noise `ratio_db` below [`LEVEL`] to the samples.
pub fn with_noise(samples: &[f32], noise: Noise<'_>, ratio_db: f32) -> Vec<f32> {
    let noise = to_level(noise.samples(samples.len()), LEVEL * 10.0_f32.powf(-ratio_db / 20.0));
    samples.iter().zip(noise).map(|(sample, noise)| sample + noise).collect()
}

/// Scales the samples to a root mean square of `level`.
fn to_level(mut samples: Vec<f32>, level: f32) -> Vec<f32> {
    let mean = samples.iter().map(|s| f64::from(s * s)).sum::<f64>() / samples.len() as f64;
    let gain = level / mean.sqrt() as f32;
    samples.iter_mut().for_each(|sample| *sample *= gain);
    samples
}

/// Returns sounds of `seconds` seconds without speech, by name.
pub fn without_speech(seconds: usize) -> Vec<(&'static str, Vec<f32>)> {
    let length = seconds * RATE;
    let wave = |of: &dyn Fn(f32) -> f32| (0..length).map(|at| of(at as f32 / RATE as f32)).collect();
    let ringing =
        |t: f32| if t % 6.0 < 2.0 { (TAU * 440.0 * t).sin() + (TAU * 480.0 * t).sin() } else { 0.0 };
    let hum = |t: f32| (1..8).map(|k| (TAU * 50.0 * k as f32 * t).sin() / k as f32).sum();
    let sounds = [
        ("key clicks", clicks(length)),
        ("a ringing line (440 and 480 Hz, 2 s in 6)", wave(&ringing)),
        ("mains hum (50 Hz and harmonics)", wave(&hum)),
        ("a melody of plucked notes", melody(length)),
    ];
    let mut random = Random(3);
    let hiss = |samples: Vec<f32>, random: &mut Random| -> Vec<f32> {
        to_level(samples, LEVEL / 2.5).into_iter().map(|sample| sample + 1e-4 * random.normal()).collect()
    };
    sounds.into_iter().map(|(name, samples)| (name, hiss(samples, &mut random))).collect()
}

/// Six clicks per second, each decaying with a time constant of 6 ms.
fn clicks(length: usize) -> Vec<f32> {
    let (mut random, mut samples) = (Random(4), vec![0.0; length]);
    for _ in 0..length * 6 / RATE {
        let from = random.below(length);
        for (at, sample) in samples[from..].iter_mut().take(800).enumerate() {
            *sample += random.normal() * (-(at as f32) / 100.0).exp();
        }
    }
    samples
}

/// Notes from two octaves, each an eighth to half a second long.
fn melody(length: usize) -> Vec<f32> {
    let (mut random, mut samples) = (Random(5), Vec::new());
    while samples.len() < length {
        let pitch = 220.0 * 2.0_f32.powf(random.below(24) as f32 / 12.0);
        let note = (0..2_000 + random.below(6_000)).map(|at| at as f32 / RATE as f32);
        let tone = |t: f32| (1..6).map(|k| (TAU * pitch * k as f32 * t).sin() / k as f32).sum::<f32>();
        samples.extend(note.map(|t| tone(t) * (-3.0 * t).exp()));
    }
    samples.truncate(length);
    samples
}
