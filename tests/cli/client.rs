//! The client library: how recordings are split and encoded, and when chunks are due.

use std::time::Duration;

use affectd::audio::encode;
use affectd::audio::{self, Planar};
use affectd::client::{ChannelRequest, ChunkOptions, Pace, Script, Target, content_type};
use affectd::proto::{AudioChunk, AudioFormat, Encoding};
use proptest::prelude::*;

const ENCODINGS: [(Encoding, audio::Encoding, f32); 6] = [
    (Encoding::PcmS16le, audio::Encoding::PcmS16Le, 1.0 / 32_768.0),
    (Encoding::PcmS24le, audio::Encoding::PcmS24Le, 1e-6),
    (Encoding::PcmS32le, audio::Encoding::PcmS32Le, 1e-6),
    (Encoding::PcmF32le, audio::Encoding::PcmF32Le, 0.0),
    (Encoding::Mulaw, audio::Encoding::MuLaw, 0.04),
    (Encoding::Alaw, audio::Encoding::ALaw, 0.04),
];

fn options(chunk_ms: u64, encoding: Encoding) -> ChunkOptions {
    let chunk = Duration::from_millis(chunk_ms);
    ChunkOptions {
        model: String::new(),
        stream_id: "s".into(),
        chunk,
        encoding,
        first_sample: true,
        channels: ChannelRequest::default(),
    }
}

fn chunks(script: Script) -> Vec<AudioChunk> {
    script.into_chunks().map(|(_, chunk)| chunk).collect()
}

proptest! {
    #[test]
    fn the_daemon_decodes_every_encoding_of_the_client(samples in prop::collection::vec(-1.0_f32..0.9999, 0..400)) {
        let second: Vec<f32> = samples.iter().map(|sample| -sample * 0.5).collect();
        for (encoding, decoding, tolerance) in ENCODINGS {
            let bytes = encode(&[samples.clone(), second.clone()], encoding);
            let mut planar = Planar::new();
            audio::decode(audio::AudioFormat::new(decoding, 8_000, 2).unwrap(), &bytes, &mut planar).unwrap();
            for (sent, decoded) in [&samples, &second].into_iter().zip(planar.channels()) {
                prop_assert_eq!(sent.len(), decoded.len());
                for (a, b) in sent.iter().zip(decoded) {
                    prop_assert!((a - b).abs() <= tolerance, "{encoding:?}: {a} became {b}");
                }
            }
        }
    }

    #[test]
    fn concatenated_chunks_equal_the_recording(frames in 0_usize..3_000, chunk_ms in 1_u64..200, channels in 1_usize..4) {
        let audio: Vec<Vec<f32>> = vec![(0..frames).map(|n| n as f32 / 3_000.0).collect(); channels];
        let script = Script::of_samples(&audio, 8_000, &options(chunk_ms, Encoding::PcmS16le));
        prop_assert_eq!(script.audio(), Duration::from_secs_f64(frames as f64 / 8_000.0));
        let mut bytes = Vec::new();
        let chunks = chunks(script);
        for (index, chunk) in chunks.iter().enumerate() {
            prop_assert_eq!(chunk.sequence, Some(index as u64));
            prop_assert_eq!(chunk.first_sample, Some((bytes.len() / 2 / channels) as u64));
            prop_assert_eq!(chunk.last, index + 1 == chunks.len());
            bytes.extend_from_slice(&chunk.audio);
        }
        prop_assert_eq!(bytes, encode(&audio, Encoding::PcmS16le).to_vec());
    }

    #[test]
    fn a_file_is_split_without_loss(length in 0_usize..5_000, chunk_ms in 1_u64..500) {
        let file: prost::bytes::Bytes = (0..length).map(|n| n as u8).collect::<Vec<_>>().into();
        let script = Script::of_file(&file, Duration::from_millis(1_234), &options(chunk_ms, Encoding::File));
        prop_assert!(script.ends().is_sorted());
        let chunks = chunks(script);
        prop_assert!(chunks.last().unwrap().last);
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.audio.to_vec()).collect();
        prop_assert_eq!(joined, file.to_vec());
    }
}

#[test]
fn g711_codes_survive_a_round_trip() {
    let pairs = [(Encoding::Mulaw, audio::Encoding::MuLaw), (Encoding::Alaw, audio::Encoding::ALaw)];
    for (encoding, decoding) in pairs {
        let codes: Vec<u8> = (0..=255).collect();
        let mut planar = Planar::new();
        audio::decode(audio::AudioFormat::new(decoding, 8_000, 1).unwrap(), &codes, &mut planar).unwrap();
        let again = encode(planar.channels(), encoding);
        // µ-law has two codes for zero, and the client uses the usual one.
        let expected = |code: u8| if encoding == Encoding::Mulaw && code == 0x7f { 0xff } else { code };
        for (code, result) in codes.into_iter().zip(again) {
            assert_eq!(result, expected(code), "{encoding:?}");
        }
    }
}

#[test]
fn invalid_paces_and_targets_are_refused_with_the_allowed_values() {
    assert_eq!("real-time".parse(), Ok(Pace::Times(1.0)));
    assert_eq!("4".parse::<Pace>().unwrap().due(Duration::from_secs(2)), Some(Duration::from_millis(500)));
    assert_eq!("max".parse::<Pace>().unwrap().due(Duration::from_secs(2)), None);
    for wrong in ["0", "-1", "nan", "fast"] {
        assert!(wrong.parse::<Pace>().unwrap_err().contains("real-time"), "{wrong}");
    }
    let kafka: Target = "kafka://a:1,b:2/topic".parse().unwrap();
    assert_eq!(kafka, Target::Kafka { brokers: "a:1,b:2".into(), topic: Some("topic".into()) });
    for wrong in ["a:1", "grpc://a", "grpc://a:1/x", "grpc://a:1,b:2", "http://a:1", "kafka://a:99999"] {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
}

#[test]
fn the_daemon_reads_the_media_types_of_raw_records() {
    let pairs = [(Encoding::PcmS16le, audio::Encoding::PcmS16Le), (Encoding::Alaw, audio::Encoding::ALaw)];
    for (encoding, read) in pairs {
        let format = AudioFormat { encoding: encoding.into(), sample_rate_hz: 8_000, channels: 2 };
        let header = content_type(&format).unwrap();
        let expected = audio::AudioFormat::new(read, 8_000, 2).unwrap();
        assert_eq!(audio::AudioFormat::from_content_type(&header), Ok(expected), "{header}");
    }
    assert_eq!(content_type(&AudioFormat::default()), None);
}
