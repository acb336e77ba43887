//! Every entry point for untrusted input as a function of bytes, for property tests and fuzz targets (`fuzz/`).
//!
//! Input: any bytes. Output: none; a panic if a result breaks its contract. Uses neither disk nor network.

#![allow(dead_code, clippy::allow_attributes, reason = "each fuzz target uses its part")]

#[path = "file_fixture.rs"]
pub mod file_fixture;

use std::ops::ControlFlow;

use affectd::audio::{
    AudioFile, AudioFormat, CHANNELS, DecodeLimit, Encoding, Planar, Recording, SAMPLE_RATES_HZ, decode,
    decode_bytes,
};
use affectd::config::{self, Config};
use affectd::kafka::RawRecord;
use affectd::model::Contract;
use affectd::stream::{Chunk, StreamFrontEnd, StreamSetup};
use prost::bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};

/// Headers of the raw protocol; their values come from the bytes.
const HEADERS: [&str; 8] = [
    "content-type",
    "affectd-first-sample",
    "affectd-sequence",
    "affectd-last",
    "affectd-model",
    "affectd-channels",
    "affectd-channel-names",
    "other",
];

/// Removes `count` bytes from the front, or all if there are fewer.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    head
}

fn byte(bytes: &mut &[u8]) -> u8 {
    take(bytes, 1).first().copied().unwrap_or_default()
}

/// One of the formats of samples.
fn format(bytes: &mut &[u8]) -> AudioFormat {
    let (kind, channels) = (byte(bytes), byte(bytes));
    let encoding = match kind % 7 {
        0 => Encoding::PcmS16Le,
        1 => Encoding::PcmS16Be,
        2 => Encoding::PcmS24Le,
        3 => Encoding::PcmS32Le,
        4 => Encoding::PcmF32Le,
        5 => Encoding::MuLaw,
        _ => Encoding::ALaw,
    };
    let rate = [8_000, 16_000, 44_100, 192_000][usize::from(kind / 7) % 4];
    AudioFormat::new(encoding, rate, u32::from(channels % 8) + 1).expect("within the limits")
}

/// The samples of a chunk.
pub fn samples(mut bytes: &[u8]) {
    let format = format(&mut bytes);
    let mut planar = Planar::new();
    match decode(format, bytes, &mut planar) {
        Err(_) => assert_eq!(planar.frames(), 0),
        Ok(()) => {
            assert_eq!(planar.channels().len(), usize::from(format.channels()));
            assert!(planar.channels().iter().all(|channel| channel.len() == planar.frames()));
            assert!(planar.channels().iter().flatten().all(|sample| sample.is_finite()));
        }
    }
}

/// A file of any kind.
pub fn file(bytes: &[u8]) {
    if let Ok(recording) = decode_bytes(bytes.to_vec(), None) {
        assert!(SAMPLE_RATES_HZ.contains(&recording.sample_rate_hz));
        assert!((1..=usize::from(*CHANNELS.end())).contains(&recording.channels.len()));
        let samples = recording.channels[0].len();
        assert!(samples > 0 && recording.channels.iter().all(|channel| channel.len() == samples));
        assert!(recording.channels.iter().flatten().all(|sample| sample.is_finite()));
        same_in_blocks(bytes, &recording);
    }
}

/// Decodes a file block by block and compares the samples with those of `recording`.
fn same_in_blocks(bytes: &[u8], recording: &Recording) {
    let file = AudioFile::new(bytes.to_vec().into(), "file", &DecodeLimit::NONE).expect("the file is valid");
    assert_eq!(
        (file.sample_rate_hz(), file.channels()),
        (recording.sample_rate_hz, recording.channels.len())
    );
    let mut at = 0;
    let decoded = file.decode(&mut |block| {
        for (channel, block) in recording.channels.iter().zip(block) {
            assert_eq!(&channel[at..at + block.len()], &block[..]);
        }
        at += block[0].len();
        ControlFlow::Continue(())
    });
    decoded.expect("the file is valid");
    assert_eq!(at, recording.channels[0].len());
}

/// An Ogg file whose pages have valid checksums; with wrong ones the decoder would reject every page.
pub fn ogg(bytes: &[u8]) {
    file(&file_fixture::with_checksums(bytes.to_vec()));
}

/// A WAV file with any content after its first twelve bytes.
pub fn wav(bytes: &[u8]) {
    file(&[b"RIFF\0\0\0\0WAVE", bytes].concat());
    file(&[b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", bytes].concat());
}

/// The header `content-type`.
pub fn content_type(bytes: &[u8]) {
    let header = String::from_utf8_lossy(bytes);
    for header in [header.clone().into_owned(), format!("audio/L16;{header}"), format!("audio/PCMU;{header}")]
    {
        match AudioFormat::from_content_type(&header) {
            Err(error) => assert!(error.to_string().contains("content-type")),
            Ok(format) if format.is_file() => {}
            Ok(format) => {
                assert!(SAMPLE_RATES_HZ.contains(&format.sample_rate_hz()));
                assert!(CHANNELS.contains(&format.channels()));
            }
        }
    }
}

/// A record of the input topic: key, headers, value.
pub fn record(mut bytes: &[u8]) {
    let shape = byte(&mut bytes);
    let key_length = usize::from(byte(&mut bytes) % 16);
    let key = (shape & 1 == 1).then(|| take(&mut bytes, key_length).to_vec());
    let mut headers = OwnedHeaders::new();
    for _ in 0..shape >> 1 & 7 {
        let (name, length) = (HEADERS[usize::from(byte(&mut bytes)) % 8], usize::from(byte(&mut bytes)));
        let value = Some(take(&mut bytes, length));
        headers = headers.insert(Header { key: name, value });
    }
    if shape & 0x80 != 0 {
        headers = headers.insert(Header { key: "content-type", value: Some("audio/PCMU") });
    }
    let record = RawRecord { key, value: Some(Bytes::copy_from_slice(bytes)), headers, timestamp: None };
    match record.parse() {
        Ok(audio) => assert!(!audio.info.stream_id.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A stream of any chunks at any positions.
pub fn stream(mut bytes: &[u8]) {
    let setup = setup();
    let mut scratch = setup.scratch();
    let file = byte(&mut bytes).is_multiple_of(8);
    let format = if file { AudioFormat::FILE } else { format(&mut bytes) };
    let first = Chunk { format: Some(format), ..Chunk::default() };
    let mut stream = StreamFrontEnd::begin(&setup, &first).expect("it has a format");
    let mut windows = 0;
    let mut emit = |window: affectd::window::Window| {
        assert!(window.features.iter().all(|value| value.is_finite()));
        assert!(window.end > window.start);
        windows += 1;
    };
    while !bytes.is_empty() {
        let (shape, length) = (byte(&mut bytes), usize::from(byte(&mut bytes)) * 16);
        let mut place = [0; 8];
        let width = usize::from(shape >> 4 & 7);
        place[..width].iter_mut().for_each(|it| *it = byte(&mut bytes));
        let chunk = Chunk {
            sequence: (shape & 1 != 0).then(|| u64::from(byte(&mut bytes))),
            first_sample: (shape & 2 != 0).then_some(u64::from_le_bytes(place)),
            format: Some(format).filter(|_| shape & 4 != 0),
            audio: Bytes::copy_from_slice(take(&mut bytes, length)),
            last: shape & 8 != 0,
        };
        // A refused chunk leaves the stream unchanged.
        let before = stream.position();
        match stream.accept(&mut scratch, &chunk, &mut emit) {
            Err(_) => assert_eq!(stream.position(), before),
            Ok(outcome) if outcome.completes_file => {
                let bytes = stream.take_file();
                match AudioFile::new(bytes.clone(), "file", &DecodeLimit::NONE) {
                    Ok(file) => {
                        let format = (file.sample_rate_hz(), file.channels());
                        stream.begin_file(&mut scratch, format, &mut emit).expect("no channel has a name");
                        let mut take = |block: &[Vec<f32>]| {
                            stream.accept_block(&mut scratch, block, &mut emit);
                            ControlFlow::Continue(())
                        };
                        file.decode(&mut take).expect("the file is valid");
                        stream.end(&mut scratch, &mut emit);
                    }
                    Err(_) => {
                        stream.refuse_file(bytes);
                        assert_eq!(stream.position(), before);
                    }
                }
            }
            Ok(_) if chunk.last => stream.end(&mut scratch, &mut emit),
            Ok(_) => {}
        }
    }
    stream.end(&mut scratch, &mut emit);
}

/// Tiny windows, so that a few bytes produce some.
fn setup() -> StreamSetup {
    let json = serde_json::json!({
        "schema": 1, "name": "small", "version": "1", "labels": ["anger"], "input": "mfcc", "layout": "NTC",
        "output": "logits", "sample_rate_hz": 8_000, "frames": 8,
        "window": {"length_samples": 480, "hop_samples": 160},
        "mfcc": {"win_length": 160, "hop_length": 40, "n_fft": 200, "window": "hann", "n_mels": 8,
                 "f_min_hz": 20.0, "f_max_hz": 3800.0, "mel_scale": "slaney", "mel_norm": "slaney",
                 "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 4, "dct_norm": "ortho", "deltas": 1}
    });
    let contract = Contract::parse(&json.to_string()).expect("the contract is right");
    let window = config::Window { hop: None, min_length: std::time::Duration::from_millis(30) };
    let audio = config::Audio { max_file_bytes: 1 << 20, ..Config::default().audio };
    StreamSetup::new(&contract, &window, &audio).expect("the windows fit")
}
