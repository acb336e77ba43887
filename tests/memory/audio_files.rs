//! A file that is decoded block by block takes the memory of a block, however long it is.

use std::io::Write as _;
use std::ops::ControlFlow;

use affectd::audio::{AudioFile, DecodeLimit};
use prost::bytes::Bytes;

use crate::decoders::{golden, peak};
use crate::support::decoder_entries::file_fixture;

/// The memory limit in addition to the bytes of the file: one block, and the tables of a codec, which for Vorbis are 2 MB.
const BESIDE: usize = 3 << 20;

/// The bytes that are read from a disk at a time.
const WINDOW: usize = 1 << 18;

/// Files of which the samples take at least twice the limit: raw samples, and golden files in a row.
fn files() -> [(&'static str, Bytes); 4] {
    let samples: Vec<u8> = (0..5 * 60 * 16_000_u32).flat_map(|at| (at as i16).to_le_bytes()).collect();
    let repeated = |name: &str, count| golden(name).repeat(count).into();
    [
        ("WAV", file_fixture::wav(1, 16, 1, 16_000, &samples).into()),
        ("MP3", repeated("tone.mp3", 400)),
        ("Vorbis", repeated("tone.ogg", 400)),
        ("Opus", repeated("tone.opus", 130)),
    ]
}

#[test]
fn a_long_file_on_disk_takes_the_memory_of_a_block() {
    for (name, bytes) in files() {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(&bytes).unwrap();
        let in_memory = AudioFile::new(bytes.clone(), name, &DecodeLimit::NONE).unwrap();
        let mut samples = Vec::with_capacity(in_memory.frames());
        let read = in_memory.decode(&mut |block| {
            samples.extend_from_slice(&block[0]);
            ControlFlow::Continue(())
        });
        read.unwrap();
        let mut at = 0;
        let taken = peak(|| {
            let file = AudioFile::open(on_disk.path()).unwrap();
            let read = file.decode(&mut |block| {
                assert!(samples[at..].starts_with(&block[0]), "{name}: from sample {at} on");
                at += block[0].len();
                ControlFlow::Continue(())
            });
            read.unwrap();
        });
        assert_eq!(at, samples.len(), "{name}");
        assert!(bytes.len() > 2 * WINDOW, "{name}: {} bytes are read at once", bytes.len());
        println!("{name}: {} bytes on disk take {} kB", bytes.len(), taken >> 10);
        assert!(taken < BESIDE, "{name}: {taken} bytes");
    }
}

#[test]
fn a_long_file_takes_the_memory_of_a_block() {
    for (name, bytes) in files() {
        let (mut frames, mut decoded) = (0, 0);
        let taken = peak(|| {
            let file = AudioFile::new(bytes.clone(), name, &DecodeLimit::NONE).unwrap();
            frames = file.frames();
            let read = file.decode(&mut |block| {
                decoded += block[0].len();
                ControlFlow::Continue(())
            });
            read.unwrap();
        });
        println!("{name}: {frames} samples take {} kB", taken >> 10);
        assert_eq!(decoded, frames, "{name}");
        assert!(
            frames * size_of::<f32>() > 2 * BESIDE,
            "{name}: {frames} samples are too few to show anything"
        );
        assert!(taken < BESIDE, "{name}: {taken} bytes");
    }
}
