//! Benchmark of voice activity detection: how well the gate separates windows of speech from silent ones, in
//! silence and in noise, and its cost in addition to the features.
//!
//! Input: `cargo bench --bench voice_activity -- crema-d:DIR tess:DIR`, with any datasets. Of CREMA-D the
//! training speakers are used: the thresholds were chosen on the validation speakers, and the test speakers
//! are not used at all.
//! Output: tables. The benchmark has no pass criterion; the tests check the guarantees.
//!
//! Clips follow each other with 1 to 6 s of silence between them, each at −26 dB relative to full scale.
//! Noise covers everything, at the given signal-to-noise ratio. The true speech is determined on the clean
//! clips: intervals of 10 ms whose energy is at most 30 dB below that of the clip's loud ones (the 95th
//! percentile); the pauses between the clips have none. A window counts as speech where its true share is at
//! least `vad.min_speech`.

mod row;
mod sounds;

use std::hint::black_box;
use std::time::Duration;

use affectd::audio::{AudioFormat, Encoding};
use affectd::config::{Config, Vad, VadMode};
use affectd::datasets::{self, Clip, DatasetName, DatasetSpec, Split};
use affectd::model::ModelSource;
use affectd::stream::{Chunk, StreamFrontEnd, StreamSetup};
use affectd::telemetry::thread_cpu;
use affectd::vad::{Gate, SpeechCounter, VoiceActivity};
use affectd::window::Window;
use row::{Row, clip, row};
use sounds::Noise;

/// Clips of each dataset.
const CLIPS: usize = 150;
/// Signal-to-noise ratios in decibels.
const RATIOS_DB: [f32; 3] = [20.0, 10.0, 5.0];

fn main() {
    let data: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let config = Config { vad: Vad { mode: VadMode::Gate, ..Config::default().vad }, ..Config::default() };
    let contract = ModelSource::BuiltIn.contract().expect("the built-in model has one");
    let off = StreamSetup::new(&contract, &config.window, &config.audio).expect("its windows fit");
    let on = off.clone().gated(&contract, &config.vad).expect("it is at 16 kHz");
    let gate = on.gate.as_ref().expect("the mode is gate");

    println!("windows of {:?}, vad.min_speech = {}\n", on.geometry.span(), gate.min_speech);
    println!(
        "| Speech | Noise | Windows with speech | without | Precision | Recall | Recall, 1 s of speech or more | Silence kept |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for spec in &data {
        of_dataset(spec, gate);
    }
    println!("\n| Clips | all | without a window that is not silent |\n|---|---|---|");
    for spec in &data {
        lost_clips(spec, &on);
    }
    if data.is_empty() {
        println!("| none: give datasets as NAME:DIR | | | | | | | |");
    }
    println!("\n| Sound without speech, a minute | Windows kept |\n|---|---|");
    for (name, sound) in sounds::without_speech(60) {
        let kept = kept(gate, &sound);
        let count = kept.iter().filter(|kept| **kept).count();
        println!("| {name} | {:.2} |", count as f64 / kept.len() as f64);
    }
    cost(&off, &on);
}

/// Returns the clips of one dataset.
fn clips_of(text: &str) -> (DatasetSpec, Vec<Clip>) {
    let spec = DatasetSpec::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let split = if spec.name == DatasetName::CremaD { Split::Train } else { Split::All };
    let found = datasets::load(&spec, split).unwrap_or_else(|error| panic!("{error}"));
    (spec, found)
}

/// Prints the number of clips of one dataset, and of those that give no event.
fn lost_clips(text: &str, on: &StreamSetup) {
    let (spec, found) = clips_of(text);
    let mut scratch = on.scratch();
    let lost = found.iter().filter(|found| {
        let audio: Vec<u8> = clip(&found.path).iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let format = AudioFormat::new(Encoding::PcmF32Le, 16_000, 1).expect("within the limits");
        let format = Some(format);
        let chunk = Chunk { format, audio: audio.into(), last: true, ..Chunk::default() };
        let mut stream = StreamFrontEnd::begin(on, &chunk).expect("it has a format");
        let mut kept = false;
        let mut keep = |window: Window| kept |= !window.silent;
        stream.accept(&mut scratch, &chunk, &mut keep).expect("good audio");
        stream.end(&mut scratch, &mut keep);
        if !kept {
            eprintln!("all windows are silent: {}", found.path.display());
        }
        !kept
    });
    println!("| {} | {} | {} |", spec.title(), found.len(), lost.count());
}

/// Prints the lines of one dataset.
fn of_dataset(text: &str, gate: &Gate) {
    let (spec, found) = clips_of(text);
    let (step, title) = (found.len().div_ceil(2 * CLIPS).max(1), spec.title());
    let mut clips: Vec<Vec<f32>> = found.iter().step_by(step).map(|found| clip(&found.path)).collect();
    // Every other clip is used as speech; the remaining ones form the babble.
    let others: Vec<Vec<f32>> = (0..clips.len() / 2).map(|at| clips.remove(at + 1)).collect();
    let row = row(&clips);
    line(title, "none", gate, &row, &row.samples);
    line(title, "none, 8 kHz audio", gate, &row, &row::telephone(&row.samples));
    for noise in [Noise::White, Noise::Babble(&others)] {
        for ratio in RATIOS_DB {
            let noisy = sounds::with_noise(&row.samples, noise, ratio);
            line(title, &format!("{} at {ratio} dB", noise.name()), gate, &row, &noisy);
        }
    }
}

/// Prints one line of the table.
fn line(title: &str, noise: &str, gate: &Gate, row: &Row, samples: &[f32]) {
    let truth = row.shares(gate);
    let kept = kept(gate, samples);
    let count = |wanted: &dyn Fn(f64) -> bool| {
        let of_those = truth.iter().zip(&kept).filter(|(share, _)| wanted(**share));
        let (all, kept): (usize, usize) =
            of_those.fold((0, 0), |(all, n), (_, kept)| (all + 1, n + usize::from(*kept)));
        (all, kept)
    };
    let (speech, found) = count(&|share| share >= gate.min_speech);
    let (much, much_found) = count(&|share| share >= 1.0 / 3.0);
    let (silent, passed) = count(&|share| share == 0.0);
    let all_kept = kept.iter().filter(|kept| **kept).count();
    let part = |a: usize, b: usize| a as f64 / b.max(1) as f64;
    println!(
        "| {title} | {noise} | {speech} | {} | {:.3} | {:.3} | {:.3} | {:.3} |",
        truth.len() - speech,
        part(found, all_kept),
        part(found, speech),
        part(much_found, much),
        part(passed, silent)
    );
}

/// Returns whether each complete window is not silent, as in a stream.
fn kept(gate: &Gate, samples: &[f32]) -> Vec<bool> {
    let (mut activity, mut counter) = (VoiceActivity::new(0, 0), SpeechCounter::default());
    activity.push(gate, samples);
    let windows = 0..row::windows(gate, samples.len());
    windows.map(|index| !activity.is_silent(gate, &mut counter, index, false)).collect()
}

/// Prints the CPU time per second of audio of the whole front end without and with the gate, measured
/// alternately.
fn cost(off: &StreamSetup, on: &StreamSetup) {
    const ROUNDS: usize = 5;
    let minute: Vec<u8> =
        sounds::without_speech(60).swap_remove(0).1.iter().flat_map(|s| s.to_le_bytes()).collect();
    let format = AudioFormat::new(Encoding::PcmF32Le, 16_000, 1).expect("within the limits");
    let chunks: Vec<Chunk> = minute
        .chunks(6_400)
        .map(|audio| Chunk { format: Some(format), audio: audio.to_vec().into(), ..Chunk::default() })
        .collect();
    let once = |setup: &StreamSetup| {
        let mut scratch = setup.scratch();
        let mut stream = StreamFrontEnd::begin(setup, &chunks[0]).expect("it has a format");
        let start = thread_cpu();
        for chunk in &chunks {
            let taken = stream.accept(&mut scratch, chunk, &mut |window| drop(black_box(window)));
            black_box(taken.expect("good audio"));
        }
        thread_cpu() - start
    };
    let rounds: Vec<(Duration, Duration)> = (0..ROUNDS).map(|_| (once(off), once(on))).collect();
    let best =
        |of: fn(&(Duration, Duration)) -> Duration| rounds.iter().map(of).min().unwrap_or_default() / 60;
    let (without, with) = (best(|round| round.0), best(|round| round.1));
    println!(
        "\n| CPU time a second of audio | |\n|---|---|\n| front end, vad.mode = \"off\" | {without:?} |"
    );
    println!("| the gate beside it | {:?} |", with.saturating_sub(without));
}
