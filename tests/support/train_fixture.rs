//! A toy dataset: tones and noises as classes, in WAV files with a manifest.

use std::path::Path;

use affectd::datasets::{DatasetSpec, LabelMap, Protocol};
use affectd::model::WindowShape;
use affectd::train::architecture::{NetworkKind, Sizes};
use affectd::train::augment::Strength;
use affectd::train::corpus::Recipe;
use affectd::train::fit::{FitOptions, RunControl};
use affectd::train::optimizer::Optimizer;
use affectd::train::selection::Selection;
use affectd::train::waveform::WaveformStrength;
use affectd::train::{Trained, Training};

const RATE_HZ: usize = 16_000;
const CLIPS_A_LABEL: usize = 28;

/// A vibrato tone, noise, and a low buzz, which differ clearly in their spectra.
fn sample(label: &str, at: usize, pitch: f32, noise: &mut u32) -> f32 {
    *noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let hiss = (*noise >> 8) as f32 / (1 << 24) as f32 - 0.5;
    let time = at as f32 / RATE_HZ as f32;
    let turn = std::f32::consts::TAU * time;
    match label {
        "joy" => 0.3 * (turn * 900.0 * pitch + 8.0 * (turn * 3.0).sin()).sin() + 0.01 * hiss,
        "fear" => 0.4 * hiss * (0.6 + 0.4 * (turn * 5.0).sin()),
        _ => 0.3 * (turn * 120.0 * pitch).sin().signum() * 0.5 + 0.01 * hiss,
    }
}

fn write_wav(path: &Path, samples: &[f32]) {
    let bytes = samples.iter().flat_map(|it| ((it * 32_767.0) as i16).to_le_bytes()).collect::<Vec<u8>>();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend((RATE_HZ as u32).to_le_bytes());
    file.extend((RATE_HZ as u32 * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((bytes.len() as u32).to_le_bytes());
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

/// Writes clips of 0.5 to 1.6 s by 14 speakers, and returns their manifest.
pub fn speech(folder: &Path) -> DatasetSpec {
    let mut rows = String::from("path,label,speaker\n");
    for (label, index) in
        ["joy", "fear", "neutral"].iter().flat_map(|it| (0..CLIPS_A_LABEL).map(move |at| (it, at)))
    {
        let (speaker, mut noise) = (index % 14, (index * 31 + label.len()) as u32);
        let length = RATE_HZ / 2 + (index * 997) % (RATE_HZ * 11 / 10);
        let pitch = 0.8 + 0.03 * speaker as f32;
        let samples: Vec<f32> = (0..length).map(|at| sample(label, at, pitch, &mut noise)).collect();
        let name = format!("{label}-{index}.wav");
        write_wav(&folder.join(&name), &samples);
        rows.push_str(&format!("{name},{label},speaker-{speaker}\n"));
    }
    let manifest = folder.join("clips.csv");
    std::fs::write(&manifest, rows).unwrap();
    DatasetSpec::parse(&format!("manifest:{}", manifest.display())).unwrap()
}

/// A short training on windows of 1 s.
pub fn training(data: DatasetSpec, kind: NetworkKind, optimizer: Optimizer, seed: u64) -> Training {
    let mut fit = FitOptions::of(kind, optimizer);
    (fit.epochs, fit.batch_size, fit.seed) = (4, 16, seed);
    let window = WindowShape { length_samples: RATE_HZ, hop_samples: RATE_HZ / 2 };
    let recipe = Recipe { window, ..Recipe::of(kind) };
    let (label_map, protocol) = (LabelMap::default(), Protocol::SpeakerIndependent);
    let (waveform, strength) = (WaveformStrength::of(kind), Strength::of(kind));
    let control = RunControl::default();
    let selection = Selection { data: vec![data], label_map, protocol };
    let (sizes, encoder) = (Sizes::default(), None);
    Training { selection, recipe, kind, encoder, sizes, waveform, strength, fit, control }
}

/// Trains with AdamW from a seed.
pub fn trained(folder: &Path, kind: NetworkKind, seed: u64) -> Trained {
    training(speech(folder), kind, Optimizer::AdamW, seed).run().unwrap()
}

/// The labels of the toy dataset in the order of a training.
pub fn labels() -> Vec<String> {
    ["fear", "joy", "neutral"].map(str::to_owned).to_vec()
}
