//! This project's side of the comparison in `tests/benches/features-and-peers`: seconds of audio per second
//! of CPU time of one thread, as JSON.
//!
//! Usage: `cargo bench --bench front_end_and_peers -- [FOLDER]`, where the folder holds WAV files with 16 kHz
//! and one channel; default: deploy/samples.

mod front_end_fixture;

use std::path::PathBuf;
use std::sync::Arc;

use affectd::audio::{Encoding, ResamplerPlan};
use affectd::features::{FrameKind, FrontEnd, MfccOptions};
use affectd::telemetry::thread_cpu;
use front_end_fixture::{at_rate, chunks, resample_chunks, samples, setup, speech, stream};

/// Rounds of each measurement, of which the fastest counts, because other processes may disturb the rest.
const ROUNDS: usize = 15;

fn main() {
    // Cargo passes a flag of its own.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let samples = folder.map_or_else(samples, |folder| speech(&folder));
    let seconds = samples.len() as f64 / 16_000.0;
    let front_end = FrontEnd::new(&MfccOptions::default(), 16_000, FrameKind::Mfcc).expect("usual options");
    let mut computer = front_end.computer();
    let mut out = vec![0.0; front_end.frames(samples.len()) * front_end.width()];
    let mut figures = serde_json::Map::new();
    let mut measure = |name: &str, work: &mut dyn FnMut()| {
        figures.insert(name.to_owned(), times_real_time(seconds, work).round().into());
    };
    measure("features", &mut || computer.frames(&samples, &mut out));

    let setup = setup();
    let mut scratch = setup.scratch();
    let (format, plain) = chunks(&samples, 16_000, Encoding::PcmF32Le);
    measure("features_100_ms", &mut || _ = stream(&setup, &mut scratch, format, &plain));
    let telephone = at_rate(&samples, 8_000);
    let (format, telephone) = chunks(&telephone, 8_000, Encoding::MuLaw);
    measure("front_end_8k_mulaw_100_ms", &mut || _ = stream(&setup, &mut scratch, format, &telephone));
    for rate_hz in [8_000, 44_100, 48_000] {
        let plan = Arc::new(ResamplerPlan::new(rate_hz, 16_000));
        let (samples, mut out) = (at_rate(&samples, rate_hz), Vec::new());
        measure(&format!("resample_{rate_hz}"), &mut || resample_chunks(&plan, &samples, &mut out));
    }
    println!("{}", serde_json::Value::Object(figures));
}

/// Returns how many times faster than real time `work` processes `seconds` of audio.
fn times_real_time(seconds: f64, work: &mut dyn FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let before = thread_cpu();
        work();
        best = best.min((thread_cpu() - before).as_secs_f64());
    }
    seconds / best
}
