//! The sounds of telephone calls without speech: tones of the line, keys, facsimile machines and melodies, at 8 kHz.
//!
//! Input: none. Output: samples with a peak of 1. Holds no assertion.

use std::f32::consts::TAU;

/// Samples per second.
pub const RATE: usize = 8_000;
/// Samples of each sound: 7 s.
const LENGTH: usize = 7 * RATE;

/// Frequencies in hertz that sound at the same time, and for how many seconds. A pause has none.
type Part<'a> = (&'a [f32], f32);

/// Each sound with its name.
pub fn sounds() -> Vec<(String, Vec<f32>)> {
    let mut sounds = cadences();
    sounds.extend(keys());
    sounds.push(("fax V.21".into(), frequency_shift_keying()));
    for (name, decay, shortest, spread, partials) in [
        ("plucked melody", 3.0, 1_000, 3_000, &[1.0][..]),
        ("slow melody", 1.0, 3_000, 4_000, &[1.0]),
        ("chords", 1.5, 4_000, 4_000, &[1.0, 1.2599, 1.4983]),
        ("fast melody", 4.0, 800, 800, &[1.0]),
    ] {
        sounds.push((name.into(), melody(decay, (shortest, spread), partials)));
    }
    for (_, samples) in &mut sounds {
        let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        samples.iter_mut().for_each(|sample| *sample /= peak);
    }
    sounds
}

/// Sums of sines that are switched on and off.
fn cadences() -> Vec<(String, Vec<f32>)> {
    let sounds: [(&str, &[Part<'_>]); 10] = [
        ("ring-back, North America", &[(&[440.0, 480.0], 2.0), (&[], 4.0)]),
        ("ring-back, Europe", &[(&[425.0], 1.0), (&[], 4.0)]),
        ("ring-back, Britain", &[(&[400.0, 450.0], 0.4), (&[], 0.2), (&[400.0, 450.0], 0.4), (&[], 2.0)]),
        ("busy, North America", &[(&[480.0, 620.0], 0.5), (&[], 0.5)]),
        ("busy, Europe", &[(&[425.0], 0.48), (&[], 0.48)]),
        ("reorder", &[(&[480.0, 620.0], 0.25), (&[], 0.25)]),
        ("dial", &[(&[350.0, 440.0], 10.0)]),
        ("special information", &[(&[950.0], 0.33), (&[1_400.0], 0.33), (&[1_800.0], 0.33), (&[], 1.0)]),
        ("fax CNG", &[(&[1_100.0], 0.5), (&[], 3.0)]),
        ("fax CED", &[(&[2_100.0], 3.3), (&[], 0.7)]),
    ];
    sounds.into_iter().map(|(name, parts)| (name.to_owned(), cadence(parts))).collect()
}

/// Telephone keys of several lengths, each followed by a pause as long, in seconds.
fn keys() -> Vec<(String, Vec<f32>)> {
    const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    let sound = |seconds: f32| {
        let pairs: Vec<[f32; 2]> = (0..16).map(|key| [ROWS[key % 4], COLUMNS[key * 7 / 3 % 4]]).collect();
        let parts: Vec<Part<'_>> =
            pairs.iter().flat_map(|pair| [(&pair[..], seconds), (&[][..], seconds)]).collect();
        (format!("DTMF, {seconds} s"), cadence(&parts))
    };
    [0.04, 0.05, 0.07, 0.1, 0.2].into_iter().map(sound).collect()
}

/// The parts one after the other, again and again.
fn cadence(parts: &[Part<'_>]) -> Vec<f32> {
    let samples = parts.iter().cycle().flat_map(|(frequencies, seconds)| {
        (0..(seconds * RATE as f32) as usize).map(move |at| {
            frequencies.iter().map(|hz| (TAU * hz * at as f32 / RATE as f32).sin()).sum::<f32>()
        })
    });
    samples.take(LENGTH).collect()
}

/// Random bits at 300 baud as 1,650 Hz and 1,850 Hz.
fn frequency_shift_keying() -> Vec<f32> {
    let (mut random, mut phase) = (Random(3), 0.0_f32);
    let bits: Vec<bool> = (0..LENGTH * 300 / RATE + 1).map(|_| random.below(2) == 1).collect();
    let sample = |at: usize| {
        phase = (phase + TAU * if bits[at * 300 / RATE] { 1_650.0 } else { 1_850.0 } / RATE as f32) % TAU;
        phase.sin()
    };
    (0..LENGTH).map(sample).collect()
}

/// Notes of two octaves that fade, each of `shortest` to `shortest + spread` samples, with several pitches at a time.
fn melody(decay: f32, (shortest, spread): (usize, usize), pitches: &[f32]) -> Vec<f32> {
    let (mut random, mut samples) = (Random(5), Vec::new());
    while samples.len() < LENGTH {
        let base = 220.0 * 2.0_f32.powf(random.below(24) as f32 / 12.0);
        let note = (0..shortest + random.below(spread)).map(|at| at as f32 / RATE as f32);
        samples.extend(note.map(|t| {
            let partial = |pitch: &f32, k: usize| (TAU * base * pitch * k as f32 * t).sin() / k as f32;
            let sum: f32 = pitches.iter().map(|pitch| (1..4).map(|k| partial(pitch, k)).sum::<f32>()).sum();
            sum * (-decay * t).exp()
        }));
    }
    samples.truncate(LENGTH);
    samples
}

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
