//! Every supported audio file format decodes, and every other file is refused with a clear error.

use std::f32::consts::TAU;
use std::path::{Path, PathBuf};

use affectd::audio::{FileProblem, Recording};
use proptest::prelude::*;

use crate::both_ways::{decode_bytes, decode_file};
use crate::support::decoder_entries::file_fixture::{
    A_LAW, FLOAT, MU_LAW, PCM, extensible, wav, with_checksums,
};

pub fn refused(bytes: &[u8]) -> FileProblem {
    decode_bytes(bytes, None).expect_err("a file that is refused").problem
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn every_supported_wav_encoding_decodes() {
    for (tag, bits, audio, expected) in [
        (PCM, 8, &[0x00, 0xc0][..], [-1.0, 0.5]),
        (PCM, 16, &[0x00, 0x80, 0x00, 0x40], [-1.0, 0.5]),
        (PCM, 24, &[0x00, 0x00, 0x80, 0x00, 0x00, 0x40], [-1.0, 0.5]),
        (PCM, 32, &[0, 0, 0, 0x80, 0, 0, 0, 0x40], [-1.0, 0.5]),
        (FLOAT, 32, &[0, 0, 0x80, 0xbf, 0, 0, 0, 0x3f], [-1.0, 0.5]),
        (FLOAT, 64, &[0, 0, 0, 0, 0, 0, 0xf0, 0xbf, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f], [-1.0, 0.5]),
        (MU_LAW, 8, &[0x00, 0xff], [-32_124.0 / 32_768.0, 0.0]),
        (A_LAW, 8, &[0x2a, 0xd5], [-32_256.0 / 32_768.0, 8.0 / 32_768.0]),
    ] {
        let mono = decode_bytes(wav(tag, bits, 1, 8_000, audio), None).unwrap();
        assert_eq!(
            mono,
            Recording { sample_rate_hz: 8_000, channels: vec![expected.to_vec()] },
            "{tag}/{bits}"
        );
        let stereo = decode_bytes(wav(tag, bits, 2, 8_000, audio), None).unwrap();
        assert_eq!(stereo.channels, expected.map(|sample| vec![sample]), "{tag}/{bits}");
        let long_header = decode_bytes(extensible(tag, bits, 2, 8_000, audio), None).unwrap();
        assert_eq!(long_header, stereo, "{tag}/{bits}, extensible");
    }
}

#[test]
fn compressed_files_decode_to_the_samples_that_were_encoded() {
    let tone: Vec<f32> = (0..8_000).map(|n| 0.5 * (TAU * 440.0 * n as f32 / 16_000.0).sin()).collect();
    for (name, channels, tolerance) in [("tone.flac", 2, 1e-4), ("tone.ogg", 1, 0.05), ("tone.mp3", 1, 0.05)]
    {
        let recording = decode_file(fixture(name)).unwrap();
        assert_eq!((recording.sample_rate_hz, recording.channels.len()), (16_000, channels), "{name}");
        assert_eq!(recording.channels[0].len(), tone.len(), "{name}");
        // Lossy coders smear the ends of a tone.
        let pairs = recording.channels[0].iter().zip(&tone).skip(1_000).take(6_000);
        let worst = pairs.map(|(decoded, sent)| (decoded - sent).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance, "{name}: {worst}");
    }
    let flac = decode_file(fixture("tone.flac")).unwrap();
    assert!((flac.channels[0][100] + flac.channels[1][100]).abs() < 1e-4, "channels in order");
}

/// Opus always decodes at 48 kHz, and the delay and padding of its encoder are not part of the recording.
#[test]
fn opus_decodes_at_48_khz_with_the_exact_length() {
    let recording = decode_file(fixture("tone.opus")).unwrap();
    assert_eq!((recording.sample_rate_hz, recording.channels.len()), (48_000, 2));
    for (channel, sign) in recording.channels.iter().zip([1.0, -1.0]) {
        assert_eq!(channel.len(), 24_000);
        let sent = (0..24_000).map(|n| sign * 0.5 * (TAU * 440.0 * n as f32 / 48_000.0).sin());
        let pairs = channel.iter().zip(sent).skip(3_000).take(18_000);
        let worst = pairs.map(|(decoded, sent)| (decoded - sent).abs()).fold(0.0, f32::max);
        assert!(worst < 0.05, "{worst}");
    }
    // The header's gain, in 256ths of a decibel: -6.02 dB halve the tone.
    let mut softer = std::fs::read(fixture("tone.opus")).unwrap();
    let head = softer.windows(8).position(|bytes| bytes == b"OpusHead").unwrap();
    softer[head + 16..head + 18].copy_from_slice(&(-1_541_i16).to_le_bytes());
    let softer = decode_bytes(with_checksums(softer), None).unwrap();
    let ratio = softer.channels[0][12_010] / recording.channels[0][12_010];
    assert!((ratio - 0.5).abs() < 0.01, "{ratio}");
}

#[test]
fn an_unsupported_container_is_refused_by_its_name() {
    for (bytes, name) in [
        (&b"#!AMR\n\x3c\x91\x17"[..], "AMR"),
        (b"MAC \x96\x0f\0\0", "Monkey's Audio"),
        (b"wvpk\x10\0\0\0", "WavPack"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio in ASF"),
        (b".snd\0\0\0\x18\0\0\0\0\0\0\0\x17\0\0\x3e\x80\0\0\0\x01", "G.721, G.722 or G.723 ADPCM in AU"),
        (&b"\xff\xfb\x00\xc0\0\0\0\0\0\0\0\0".repeat(3), "MPEG audio with a free bit rate"),
        (b"FORM\0\0\0\x128SVXVHDR", "8SVX"),
        (b"\x7f\xfe\x80\x01\xfc\x3c\x7f\xf0", "DTS"),
        (b"dns.\x18\0\0\0\0\0\0\0\x03\0\0\0", "AU with little-endian numbers"),
    ] {
        let message = refused(bytes).to_string();
        assert!(message.contains(name) && message.contains("WAV, FLAC, MP3 or Ogg"), "{message}");
    }
}

/// An Ogg file can contain several recordings. They are joined where they have one format.
#[test]
fn several_recordings_in_one_file_are_refused_or_joined() {
    let [vorbis, opus, flac] =
        ["tone.ogg", "tone.opus", "tone.flac"].map(|name| std::fs::read(fixture(name)).unwrap());
    for (file, frames) in [(&vorbis, 8_000), (&opus, 24_000)] {
        let [once, twice] = [1, 2].map(|count| decode_bytes(file.repeat(count), None).unwrap());
        assert_eq!(twice.channels[0].len(), 2 * frames);
        let halves = twice.channels[0].split_at(frames);
        assert_eq!(halves, (&once.channels[0][..], &once.channels[0][..]));
    }
    let message = refused(&[&vorbis[..], &opus].concat()).to_string();
    assert!(message.contains("changes within the file"), "{message}");
    let followed = decode_bytes([&flac[..], &vorbis].concat(), None);
    assert!(followed.is_err() || followed.is_ok_and(|recording| recording.channels[0].len() == 8_000));
}

#[test]
fn a_truncated_file_is_refused_with_both_byte_counts() {
    let whole = wav(PCM, 16, 1, 16_000, &[0; 2_000]);
    let expected = FileProblem::Truncated { declared: 2_000, present: 956, unit: "bytes" };
    assert_eq!(refused(&whole[..1_000]), expected);
    assert_eq!(expected.to_string(), "is truncated: its header declares 2000 bytes of audio, it holds 956");
    for (name, kept) in [("tone.flac", 2), ("tone.mp3", 2)] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        match refused(&bytes[..bytes.len() / kept]) {
            FileProblem::Truncated { declared: 8_000, present, unit: "samples" } => assert!(present < 8_000),
            FileProblem::Malformed { .. } => {}
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_wav_of_unknown_length_is_read_to_its_end() {
    let mut piped = wav(PCM, 16, 1, 16_000, &[0; 2_000]);
    piped[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    piped[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_bytes(&piped, None).unwrap().channels[0].len(), 1_000);
}

#[test]
fn an_incomplete_last_frame_is_dropped() {
    let stereo = decode_bytes(wav(PCM, 16, 2, 16_000, &[0; 10]), None).unwrap();
    assert_eq!(stereo.channels, [[0.0; 2], [0.0; 2]]);
}

#[test]
fn a_header_with_impossible_values_is_refused() {
    let audio = [0; 36];
    assert_eq!(refused(&wav(PCM, 16, 0, 16_000, &audio)), FileProblem::Channels { value: 0 });
    assert_eq!(refused(&wav(PCM, 16, 9, 16_000, &audio)), FileProblem::Channels { value: 9 });
    for value in [0, 4_000, 384_000] {
        assert_eq!(refused(&wav(PCM, 16, 1, value, &audio)), FileProblem::SampleRate { value });
    }
    assert_eq!(refused(&wav(PCM, 16, 1, 16_000, &[])), FileProblem::NoSamples);
    let nan: Vec<u8> = [0.0, f32::NAN].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let problem = refused(&wav(FLOAT, 32, 1, 16_000, &nan));
    assert!(matches!(problem, FileProblem::NotASample { index: 1, channel: 0, .. }), "{problem}");
}

#[test]
fn a_file_that_is_not_audio_is_refused_by_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.wav");
    std::fs::write(&text, "These are notes, not sound.\n").unwrap();
    let message = decode_file(&text).unwrap_err().to_string();
    assert!(message.starts_with(&text.display().to_string()), "{message}");
    assert!(
        message.contains("is no audio file of a known format: it begins with \"These are no\""),
        "{message}"
    );

    let empty = folder.path().join("empty.wav");
    std::fs::write(&empty, "").unwrap();
    assert!(decode_file(&empty).unwrap_err().to_string().ends_with("empty.wav: is empty"));

    let missing = folder.path().join("missing.wav");
    let message = decode_file(&missing).unwrap_err().to_string();
    assert!(message.contains("missing.wav: cannot be read"), "{message}");
    assert!(matches!(decode_file(folder.path()).unwrap_err().problem, FileProblem::Unreadable { .. }));
    assert_eq!(decode_bytes(b"", Some("call-7")).unwrap_err().to_string(), "call-7: is empty");
}

/// Rebuilt CREMA-D clips hold the first 3 s of the original, to the sample.
#[test]
fn gapless_information_is_applied_to_real_clips() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let originals = data.join("crema-d-original/AudioWAV");
    let Ok(folder) = std::fs::read_dir(&originals) else {
        println!("did not run: {} is not there", originals.display());
        return;
    };
    let mut compared = 0;
    for entry in folder {
        let original = entry.unwrap().path();
        let stem = original.file_stem().unwrap();
        let rebuilt = data.join("crema-d-reconstructed/AudioMP3").join(stem).with_extension("mp3");
        if rebuilt.exists() {
            let expected = decode_file(&original).unwrap().channels[0].len().min(48_000);
            assert_eq!(decode_file(&rebuilt).unwrap().channels[0].len(), expected, "{}", rebuilt.display());
            compared += 1;
        }
    }
    println!("{compared} clips compared");
    assert!(compared > 0, "no clip is in both folders");
}

/// Bytes and their positions in a good file.
fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

fn mutated(mut bytes: Vec<u8>, mutations: &[(prop::sample::Index, u8)], within: usize) -> Vec<u8> {
    for (place, byte) in mutations {
        let length = within.min(bytes.len());
        bytes[place.index(length)] = *byte;
    }
    bytes
}

fn answer(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(recording) = decode_bytes(bytes, None) {
        prop_assert!((1..=8).contains(&recording.channels.len()));
        let samples = recording.channels[0].len();
        prop_assert!(samples > 0);
        prop_assert!(recording.channels.iter().all(|channel| channel.len() == samples));
        prop_assert!(recording.channels.iter().flatten().all(|sample| sample.is_finite()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mutated_wav_decodes_or_is_refused(
        mutations in mutations(),
        kept in any::<prop::sample::Index>(),
        tag in prop::sample::select(vec![PCM, FLOAT, A_LAW, MU_LAW, 2, 0x11, 0xfffe]),
        bits in prop::sample::select(vec![4_u16, 8, 16, 24, 32, 64]),
    ) {
        let bytes = mutated(wav(tag, bits, 2, 16_000, &[7; 400]), &mutations, 60);
        answer(&bytes)?;
        answer(&bytes[..kept.index(bytes.len())])?;
    }

    #[test]
    fn any_mutated_compressed_file_decodes_or_is_refused(
        mutations in mutations(),
        name in prop::sample::select(vec![
            "tone.flac", "tone.mp3", "tone.ogg", "tone.opus", "encoded/stereo_44k.m4a", "encoded/stereo_44k_parts.mp4",
            "encoded/mono_48k_opus.mp4", "encoded/mono_48k_opus.caf", "encoded/stereo_16k_alac.caf", "encoded/stereo_48k.webm",
        ]),
        within in prop::sample::select(vec![400, usize::MAX]),
    ) {
        let bytes = std::fs::read(fixture(name)).unwrap();
        answer(&mutated(bytes, &mutations, within))?;
    }

    #[test]
    fn any_bytes_decode_or_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        mark in prop::sample::select(vec![&b""[..], b"RIFF\x00\x00\x00\x00WAVE", b"fLaC", b"OggS", b"ID3", b"\xff\xfb"]),
    ) {
        answer(&[mark, &bytes].concat())?;
    }
}
