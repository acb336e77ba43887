//! The benchmark of the front end: chunks of PCM to windows of features, on all cores, without pauses.
//!
//! Input: the stream setup of a model. Output: the CPU time for one hop of audio. Invariants: it runs the code that the
//! daemon's shards run, without their channels.

use std::hint::black_box;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;

use crate::audio::{AudioFormat, Encoding, SAMPLE_RATES_HZ};
use crate::stream::{Chunk, StreamFrontEnd, StreamSetup};
use crate::telemetry::thread_cpu;
use crate::window::time_of;

/// The number of chunks in one second of audio.
const CHUNKS_PER_SECOND: usize = 10;
/// The number of chunks between two reads of the clock; more audio than a window holds, so that every round completes
/// windows.
const CHUNKS_PER_ROUND: usize = 10 * CHUNKS_PER_SECOND;

/// The totals of one thread.
struct Totals {
    cpu: Duration,
    samples: u64,
}

/// Returns the CPU time for one hop of audio at the model's own sample rate, measured with `cores` threads for `time`.
pub(super) fn cpu_of_one_hop(setup: &StreamSetup, cores: usize, time: Duration) -> Duration {
    let done: Vec<Totals> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| feed(setup, time))).collect();
        threads.into_iter().map(|thread| thread.join().expect("good audio passes")).collect()
    });
    let cpu: Duration = done.iter().map(|done| done.cpu).sum();
    let samples: u64 = done.iter().map(|done| done.samples).sum();
    let hop = time_of(setup.geometry.hop, setup.geometry.sample_rate_hz);
    cpu.mul_f64(hop.div_duration_f64(time_of(samples, audio_rate_hz(setup))))
}

/// Returns the model's sample rate in Hz, clamped to the rates that are allowed for audio.
fn audio_rate_hz(setup: &StreamSetup) -> u32 {
    setup.geometry.sample_rate_hz.clamp(*SAMPLE_RATES_HZ.start(), *SAMPLE_RATES_HZ.end())
}

/// Processes one stream for `time` and returns the totals of the thread.
fn feed(setup: &StreamSetup, time: Duration) -> Totals {
    let mut scratch = setup.scratch();
    let chunks = chunks(audio_rate_hz(setup));
    let mut stream = StreamFrontEnd::begin(setup, &chunks[0]).expect("the chunk has a format");
    let (start, cpu, mut samples) = (Instant::now(), thread_cpu(), 0);
    while samples == 0 || start.elapsed() < time {
        for chunk in chunks.iter().cycle().take(CHUNKS_PER_ROUND) {
            let outcome = stream.accept(&mut scratch, chunk, &mut |window| drop(black_box(window)));
            samples += outcome.expect("good audio passes").samples;
        }
    }
    Totals { cpu: thread_cpu().saturating_sub(cpu), samples }
}

/// Returns one second of a tone with rising frequency, as chunks of 16-bit PCM.
fn chunks(sample_rate_hz: u32) -> Vec<Chunk> {
    let format = AudioFormat::new(Encoding::PcmS16Le, sample_rate_hz, 1).expect("a rate within the limits");
    let rate = sample_rate_hz as f32;
    let sample = |n: usize| {
        let seconds = n as f32 / rate;
        let tone = (std::f32::consts::TAU * (180.0 + 60.0 * seconds) * seconds).sin();
        ((tone * 9_000.0) as i16).to_le_bytes()
    };
    let length = sample_rate_hz as usize / CHUNKS_PER_SECOND;
    let audio =
        |number: usize| (number * length..(number + 1) * length).flat_map(sample).collect::<Vec<u8>>();
    let chunk =
        |number| Chunk { format: Some(format), audio: Bytes::from(audio(number)), ..Chunk::default() };
    (0..CHUNKS_PER_SECOND).map(chunk).collect()
}
