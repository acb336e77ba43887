//! Criterion benchmark of the front end, by part and as a whole: `cargo bench --bench front_end`.
//!
//! Throughput is in samples: at 16 kHz, 640 Melem/s are 40,000 times real time.

mod front_end_fixture;

use std::hint::black_box;
use std::sync::Arc;

use affectd::audio::{Encoding, ResamplerPlan};
use affectd::features::{FrameKind, FrontEnd, MfccOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use front_end_fixture::{at_rate, chunks, resample_chunks, samples, setup, stream};

fn features(criterion: &mut Criterion) {
    let samples = samples();
    let front_end = FrontEnd::new(&MfccOptions::default(), 16_000, FrameKind::Mfcc).expect("usual options");
    let (mut computer, frames) = (front_end.computer(), front_end.frames(samples.len()));
    let mut out = vec![0.0; frames * front_end.width()];
    let mut group = criterion.benchmark_group("features");
    group.throughput(Throughput::Elements(samples.len() as u64));
    group
        .bench_function("offline", |bencher| bencher.iter(|| computer.frames(black_box(&samples), &mut out)));
    let (setup, (format, chunks)) = (setup(), chunks(&samples, 16_000, Encoding::PcmF32Le));
    let mut scratch = setup.scratch();
    group.bench_function("chunks of 100 ms", |bencher| {
        bencher.iter(|| stream(&setup, &mut scratch, format, black_box(&chunks)));
    });
    group.finish();
}

fn resampling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resampling");
    for rate_hz in [8_000, 22_050, 24_414, 44_100, 48_000] {
        let plan = Arc::new(ResamplerPlan::new(rate_hz, 16_000));
        let (samples, mut out) = (at_rate(&samples(), rate_hz), Vec::new());
        group.throughput(Throughput::Elements(samples.len() as u64));
        group.bench_function(format!("{rate_hz} to 16000 Hz"), |bencher| {
            bencher.iter(|| resample_chunks(&plan, black_box(&samples), &mut out));
        });
    }
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let telephone = at_rate(&samples(), 8_000);
    let (setup, (format, chunks)) = (setup(), chunks(&telephone, 8_000, Encoding::MuLaw));
    let mut scratch = setup.scratch();
    let mut group = criterion.benchmark_group("front end");
    group.throughput(Throughput::Elements(telephone.len() as u64));
    group.bench_function("µ-law of 8 kHz in chunks of 100 ms", |bencher| {
        bencher.iter(|| stream(&setup, &mut scratch, format, black_box(&chunks)));
    });
    group.finish();
}

criterion_group!(scratch_pool, features, resampling, whole);
criterion_main!(scratch_pool);
