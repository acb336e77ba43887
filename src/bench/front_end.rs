//! The front end as fast as it goes: chunks of PCM to windows of features, on all cores.
//!
//! In: a model's setup. Out: CPU time for one hop of audio. The very code of the daemon's shards, without their channels.

use std::hint::black_box;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;

use crate::audio::{AudioFormat, Encoding, SAMPLE_RATES_HZ};
use crate::measure::thread_cpu;
use crate::stream::{Chunk, StreamFrontEnd, StreamSetup, time_of};

/// Audio in one chunk, as a part of a second.
const CHUNKS_PER_SECOND: usize = 10;
/// Chunks that a thread takes between two looks at the clock: more than a window holds.
const ROUND: usize = 10 * CHUNKS_PER_SECOND;

/// What one thread did.
struct Totals {
    cpu: Duration,
    samples: u64,
}

/// CPU time for one hop of audio at the model's own rate, with `cores` threads at work for `time`.
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

/// The model's own rate, where audio may have it.
fn audio_rate_hz(setup: &StreamSetup) -> u32 {
    setup.geometry.sample_rate_hz.clamp(*SAMPLE_RATES_HZ.start(), *SAMPLE_RATES_HZ.end())
}

/// Feeds one stream for `time`.
fn feed(setup: &StreamSetup, time: Duration) -> Totals {
    let mut bench = setup.workbench();
    let chunks = chunks(audio_rate_hz(setup));
    let mut stream = StreamFrontEnd::begin(setup, &chunks[0]).expect("the chunk has a format");
    let (start, cpu, mut samples) = (Instant::now(), thread_cpu(), 0);
    while samples == 0 || start.elapsed() < time {
        for chunk in chunks.iter().cycle().take(ROUND) {
            let outcome = stream.accept(&mut bench, chunk, &mut |window| drop(black_box(window)));
            samples += outcome.expect("good audio passes").samples;
        }
    }
    Totals { cpu: thread_cpu().saturating_sub(cpu), samples }
}

/// One second of a wandering tone in 16 bits, chunk by chunk.
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
