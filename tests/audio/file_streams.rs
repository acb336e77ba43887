//! A file gives the same windows in one chunk and split over many, for every file format.

use std::path::Path;
use std::time::Duration;

use affectd::audio::encode;
use affectd::audio::{AudioFormat, ChannelPolicy, Encoding, decode_bytes};
use affectd::config::Window as WindowSettings;
use affectd::proto;
use affectd::stream::{Chunk, StreamSetup};
use affectd::window::Window;
use prost::bytes::Bytes;

use crate::support::decoder_entries::file_fixture::{A_LAW, FLOAT, MU_LAW, PCM, extensible, wav};
use crate::support::stream_fixture::{Feed, format, setup_with, windows_of};

fn setup() -> StreamSetup {
    setup_with(&WindowSettings { hop: None, min_length: Duration::from_millis(250) })
}

/// Every supported file format, by name.
fn files() -> Vec<(String, Vec<u8>)> {
    let audio: Vec<u8> = (0..96_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let whole =
        |from: &dyn Fn(u32) -> f64| (0..24_000).flat_map(|n| from(n).to_le_bytes()).collect::<Vec<u8>>();
    let doubles = whole(&|n| f64::from(n % 97) / 97.0 - 0.5);
    let floats: Vec<u8> =
        (0..24_000_u32).flat_map(|n| ((n % 89) as f32 / 89.0 - 0.5).to_le_bytes()).collect();
    let mut files = vec![
        ("float 32".to_owned(), wav(FLOAT, 32, 1, 16_000, &floats)),
        ("float 64".to_owned(), wav(FLOAT, 64, 2, 16_000, &doubles)),
        ("µ-law".to_owned(), wav(MU_LAW, 8, 1, 8_000, &audio[..24_000])),
        ("A-law, 8 channels".to_owned(), wav(A_LAW, 8, 8, 8_000, &audio)),
    ];
    for bits in [8, 16, 24, 32] {
        files.push((format!("PCM {bits}"), wav(PCM, bits, 2, 22_050, &audio)));
        files.push((format!("extensible {bits}"), extensible(PCM, bits, 3, 11_025, &audio)));
    }
    for name in ["tone.flac", "tone.mp3", "tone.ogg", "tone.opus"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        files.push((name.to_owned(), std::fs::read(path).unwrap()));
    }
    files
}

/// The windows of a file in chunks of `size` bytes.
fn windows(setup: &StreamSetup, file: &[u8], size: usize) -> Vec<Window> {
    let mut feed = Feed::new(setup, AudioFormat::FILE);
    let count = file.len().div_ceil(size);
    for (number, part) in file.chunks(size).enumerate() {
        let last = number + 1 == count;
        feed.chunk(Chunk { audio: Bytes::copy_from_slice(part), last, ..Chunk::default() }).unwrap();
    }
    feed.windows
}

#[test]
fn any_chunking_of_a_file_gives_the_same_windows() {
    let setup = setup();
    for (name, file) in files() {
        let at_once = windows(&setup, &file, file.len());
        let recording = decode_bytes(file.clone(), None).unwrap();
        let channels = recording.channels.len();
        assert_eq!(at_once.len() % channels, 0, "{name}");
        assert!(at_once.len() >= channels, "{name}: {} windows", at_once.len());
        for size in [file.len() / 2, 1_000, 177] {
            assert!(windows(&setup, &file, size) == at_once, "{name} in chunks of {size} bytes");
        }
        // And those of its samples, sent as such.
        let floats = format(Encoding::PcmF32Le, recording.sample_rate_hz, channels as u32);
        let of_samples = windows_of(&setup, floats, &encode(&recording.channels, proto::Encoding::PcmF32le));
        assert!(of_samples == at_once, "{name} as samples");
    }
}

#[test]
fn the_channel_policy_applies_to_files() {
    let file = &files().into_iter().find(|(name, _)| name == "A-law, 8 channels").unwrap().1;
    let split = windows(&setup(), file, 5_000);
    let mut first = setup();
    first.channels.policy = ChannelPolicy::First;
    let own: Vec<Window> = split.iter().filter(|window| window.channel == 0).cloned().collect();
    assert!(windows(&first, file, 5_000) == own);
    let mut mix = setup();
    mix.channels.policy = ChannelPolicy::Mix;
    let mixed = windows(&mix, file, 5_000);
    let recording = decode_bytes(file.clone(), None).unwrap();
    let mean = (0..recording.channels[0].len())
        .map(|at| recording.channels.iter().map(|channel| channel[at]).sum::<f32>() * 0.125);
    let mono = format(Encoding::PcmF32Le, 8_000, 1);
    let of_mean = windows_of(&setup(), mono, &encode(&[mean.collect()], proto::Encoding::PcmF32le));
    assert!(mixed == of_mean);
}
