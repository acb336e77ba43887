//! Memory of the audio front end: a frame allocates nothing, and an idle stream is small.
//!
//! The allocator counts per thread. All allocations go through the global allocator, so no arena hides any.

use std::sync::Arc;

use affectd::audio::{AudioFormat, Encoding, Resampler, ResamplerPlan};
use affectd::features::{FrameKind, FrontEnd, MfccOptions};
use affectd::stream::{Chunk, StreamFrontEnd};
use allocation_counter::measure;
use prost::bytes::Bytes;

use crate::support::stream_fixture::{Feed, format, frame_bytes, noise, setup};

/// The memory limit of an idle stream of the usual model: 297 frames of 40 coefficients and 16 kB.
const IDLE_STREAM_BYTES: u64 = 297 * 40 * 4 + 16_000;

fn chunks(format: AudioFormat, seconds: usize, milliseconds: usize) -> Vec<Bytes> {
    let rate = format.sample_rate_hz() as usize;
    let audio = noise(format, rate * seconds, 7);
    let size = rate * milliseconds / 1_000 * frame_bytes(format);
    (0..audio.len()).step_by(size).map(|from| audio.slice(from..audio.len().min(from + size))).collect()
}

#[test]
fn computing_frames_allocates_nothing() {
    let odd = MfccOptions { n_fft: 442, pre_emphasis: Some(0.97), remove_dc: true, ..MfccOptions::default() };
    for options in [MfccOptions::default(), odd] {
        let front_end = FrontEnd::new(&options, 16_000, FrameKind::Mfcc).expect("options that can be built");
        let mut computer = front_end.computer();
        let samples = vec![0.25; 16_000];
        let mut out = vec![0.0; front_end.frames(samples.len()) * front_end.width()];
        let done = measure(|| {
            computer.frames(&samples, &mut out);
            let (first, _) = out.split_at_mut(front_end.width());
            computer.frame(&samples[..front_end.n_fft()], first);
        });
        assert_eq!(done.count_total, 0, "n_fft {}: {done:?}", options.n_fft);
    }
}

#[test]
fn a_resampler_allocates_only_when_it_is_created() {
    for rate_hz in [8_000, 24_414, 44_100, 48_000, 191_999] {
        let plan = Arc::new(ResamplerPlan::new(rate_hz, 16_000));
        let mut resampler = Resampler::new(plan, 0);
        let (chunk, mut out) = (vec![0.1; rate_hz as usize / 10], Vec::with_capacity(4_000));
        let done = measure(|| {
            for _ in 0..20 {
                out.clear();
                resampler.push(&chunk, &mut out);
            }
        });
        assert_eq!(done.count_total, 0, "{rate_hz} Hz: {done:?}");
    }
}

#[test]
fn a_stream_allocates_once_per_window() {
    for (encoding, rate_hz) in
        [(Encoding::PcmS16Le, 16_000), (Encoding::MuLaw, 8_000), (Encoding::PcmF32Le, 48_000)]
    {
        let format = format(encoding, rate_hz, 1);
        let mut feed = Feed::new(&setup(), format);
        feed.windows.reserve(100);
        let chunks = chunks(format, 10, 20);
        let (before, after) = chunks.split_at(chunks.len() / 2);
        for audio in before {
            feed.audio(audio.clone());
        }
        let seen = feed.windows.len();
        let done = measure(|| {
            for audio in after {
                feed.audio(audio.clone());
            }
        });
        let windows = (feed.windows.len() - seen) as u64;
        assert!(windows >= 4, "{windows} windows");
        assert_eq!(done.count_total, windows, "{format}: one allocation a window, its features; {done:?}");
    }
}

#[test]
fn an_idle_stream_holds_little_more_than_its_frames() {
    const STREAMS: u64 = 8;
    let setup = setup();
    for (encoding, rate_hz) in
        [(Encoding::PcmS16Le, 16_000), (Encoding::MuLaw, 8_000), (Encoding::PcmF32Le, 48_000)]
    {
        for milliseconds in [20, 100, 1_000] {
            let format = format(encoding, rate_hz, 1);
            let mut scratch = setup.scratch();
            let chunks = chunks(format, 4, milliseconds);
            let mut streams = Vec::with_capacity(STREAMS as usize);
            // The first stream creates the buffers and tables of the thread.
            streams.push(stream(&setup, &mut scratch, format, &chunks));
            let held = measure(|| {
                for _ in 1..STREAMS {
                    streams.push(stream(&setup, &mut scratch, format, &chunks));
                }
            });
            let bytes = held.bytes_current as u64 / (STREAMS - 1) + size_of::<StreamFrontEnd>() as u64;
            println!("{format}, {milliseconds} ms a chunk: {bytes} bytes a stream");
            assert!(bytes <= IDLE_STREAM_BYTES, "{format}, {milliseconds} ms a chunk: {bytes} bytes");
        }
    }
}

/// An idle stream that has accepted `chunks`.
fn stream(
    setup: &affectd::stream::StreamSetup,
    scratch: &mut affectd::stream::Scratch,
    format: AudioFormat,
    chunks: &[Bytes],
) -> StreamFrontEnd {
    let chunk = |audio: &Bytes| Chunk { audio: audio.clone(), format: Some(format), ..Chunk::default() };
    let mut stream = StreamFrontEnd::begin(setup, &chunk(&chunks[0])).expect("a format");
    for audio in chunks {
        stream.accept(scratch, &chunk(audio), &mut drop).expect("good audio");
    }
    stream
}
