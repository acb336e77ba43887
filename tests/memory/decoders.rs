//! Untrusted bytes: every decoder returns a result or an error, within a memory limit. The same entry points are fuzz targets in
//! `fuzz/`.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use affectd::audio::decode_bytes;
use allocation_counter::measure;
use proptest::prelude::*;
use prost::bytes::Bytes;

use crate::support::decoder_entries::file_fixture::{self, with_checksums};
use crate::support::decoder_entries::{content_type, file, ogg, record, samples, stream, wav};

/// The memory limit of a decoder in addition to its input: tables of codecs, blocks of the largest frames.
const BESIDE: usize = 16 << 20;

thread_local! {
    /// Whether panics on this thread are measured, so that their messages are left out.
    static MEASURED: Cell<bool> = const { Cell::new(false) };
}

/// Installs, once, a panic hook that prints nothing on threads that measure; other threads keep the former hook. The hook
/// belongs to the whole process, so replacing it around each measurement would swallow the messages of tests that run beside it.
fn quiet_while_measured() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !MEASURED.get() {
                hook(info);
            }
        }));
    });
}

/// Runs `task` and returns the most bytes that it held at once. A panic that a decoder catches prints nothing, because the
/// backtrace of the message takes more memory than the decoder.
pub fn peak(task: impl FnOnce()) -> usize {
    quiet_while_measured();
    MEASURED.set(true);
    let mut outcome = Ok(());
    let taken = measure(|| outcome = panic::catch_unwind(AssertUnwindSafe(task)));
    MEASURED.set(false);
    outcome.unwrap_or_else(|panic| panic::resume_unwind(panic));
    taken.bytes_max as usize
}

pub fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// Overwrites the file with `bytes`, `behind` bytes after the end of `mark`.
fn patched(mut file: Vec<u8>, mark: &[u8], behind: usize, bytes: &[u8]) -> Vec<u8> {
    let at = file.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len() + behind;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Small files whose headers declare large sizes.
fn inflated_files() -> Vec<(&'static str, Vec<u8>)> {
    let small = |tag, bits| file_fixture::wav(tag, bits, 2, 16_000, &[7; 4_000]);
    let huge = &0xffff_fff0_u32.to_le_bytes();
    let mut tagged = b"ID3\x04\0\0\x7f\x7f\x7f\x7f".to_vec();
    tagged.extend(golden("tone.mp3"));
    let mut picture = b"ID3\x03\0\0\0\0\x7f\x7fAPIC\xff\xff\xff\xf0\0\0".to_vec();
    picture.extend([0; 4_000]);
    vec![
        ("WAV of 4 GB, ours", patched(small(1, 16), b"data", 0, huge)),
        ("WAV of 4 GB, 8 bit", patched(small(1, 8), b"data", 0, huge)),
        ("WAV of 4 GB, float 64", patched(small(3, 64), b"data", 0, huge)),
        ("WAV of unknown length, 8 bit", patched(small(1, 8), b"data", 0, &[0xff; 4])),
        ("format chunk of 4 GB", patched(small(1, 16), b"fmt ", 0, huge)),
        ("FLAC of 2^36 samples", patched(golden("tone.flac"), b"fLaC", 4 + 13, &[0xff; 5])),
        ("FLAC with blocks of 65,535", patched(golden("tone.flac"), b"fLaC", 4, &[0xff; 4])),
        (
            "FLAC with a comment of 4 GB",
            patched(golden("tone.flac"), b"fLaC", 4 + 34 + 4, &[0xf0, 0xff, 0xff, 0xff]),
        ),
        ("MP3 behind a tag of 256 MB", tagged),
        ("MP3 with a picture of 4 GB", picture),
        ("Vorbis with a comment of 4 GB", patched(golden("tone.ogg"), b"\x03vorbis", 0, huge)),
        ("Vorbis of 255 channels", patched(golden("tone.ogg"), b"\x01vorbis", 4, &[255])),
        ("Opus with a comment of 4 GB", patched(golden("tone.opus"), b"OpusTags", 0, huge)),
        ("Opus of 255 channels", patched(golden("tone.opus"), b"OpusHead", 1, &[255])),
        ("Opus that skips much", patched(golden("tone.opus"), b"OpusHead", 2, &[0xff; 2])),
    ]
}

#[test]
fn a_file_that_declares_gigabytes_allocates_no_more_than_its_content() {
    for (name, bytes) in inflated_files() {
        let bytes = with_checksums(bytes);
        let bytes = Bytes::from(bytes);
        let taken = peak(|| drop(decode_bytes(bytes.clone(), None)));
        println!("{name}: {} bytes take {} kB", bytes.len(), taken >> 10);
        assert!(taken < BESIDE, "{name}: {taken} bytes");
    }
    // No accepted file has such a length, so it is a placeholder.
    for name in ["WAV of 4 GB, ours", "WAV of 4 GB, 8 bit"] {
        let found = inflated_files().into_iter().find(|(known, _)| *known == name).unwrap();
        assert!(decode_bytes(found.1.clone(), None).is_ok(), "{name}");
    }
}

#[test]
fn decoded_samples_allocate_a_small_multiple_of_their_bytes() {
    for kind in 0..7 {
        for channels in [0, 7] {
            let bytes = [&[kind, channels][..], &vec![0; 6 << 20]].concat();
            let taken = peak(|| samples(&bytes));
            // A byte of µ-law becomes four.
            assert!(taken <= 4 * bytes.len() + (1 << 16), "kind {kind}: {taken} bytes");
        }
    }
}

/// A good file with some bytes replaced, possibly truncated.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["tone.flac", "tone.mp3", "tone.ogg", "tone.opus"]);
    let mutations = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (name, mutations, prop::option::of(any::<prop::sample::Index>())).prop_map(|(name, mutations, cut)| {
        let mut bytes = golden(name);
        for (place, byte) in mutations {
            let length = bytes.len();
            bytes[place.index(length)] = byte;
        }
        bytes.truncate(cut.map_or(usize::MAX, |cut| cut.index(bytes.len())));
        bytes
    })
}

/// Bytes with some structure: zeros, ends of ranges, text, and anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff]), 0..60),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            &b"data"[..],
            b"fmt ",
            b"fLaC",
            b"OggS",
            b"audio/L16;rate=16000",
            b"mix",
            b"true"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_point_handles_any_bytes_within_its_memory_limit(bytes in bytes()) {
            for entry in [samples, file, ogg, wav, content_type, record, stream] {
            let taken = peak(|| entry(&bytes));
            prop_assert!(taken < BESIDE, "{} bytes", taken);
        }
    }

    #[test]
    fn any_mutated_file_is_handled_within_the_memory_limit(bytes in mutated()) {
            let taken = peak(|| ogg(&bytes));
        prop_assert!(taken < BESIDE, "{} bytes", taken);
    }
}
