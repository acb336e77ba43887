//! Compressed files: the same samples as independent decoders read, and no audio lost where a file is cut or other
//! bytes surround it.

use std::path::{Path, PathBuf};

use affectd::audio::{FileProblem, Recording};

use crate::both_ways::decode_bytes;
use crate::readings::{Reading, readings};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoded")
}

/// Every compressed file with what others read from it.
fn files() -> Vec<(Reading, Vec<u8>)> {
    let read =
        |reading: Reading| std::fs::read(folder().join(reading.name)).ok().map(|bytes| (reading, bytes));
    readings().into_iter().filter_map(read).collect()
}

fn decoded(name: &str, bytes: &[u8]) -> Recording {
    decode_bytes(bytes, Some(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether `part` holds the first samples of `whole`.
fn is_prefix(part: &Recording, whole: &Recording) -> bool {
    part.channels.len() == whole.channels.len()
        && part.channels.iter().zip(&whole.channels).all(|(part, whole)| whole.starts_with(part))
}

#[test]
fn every_file_has_the_samples_that_others_read() {
    let files = files();
    assert_eq!(files.len(), std::fs::read_dir(folder()).unwrap().count(), "every file has a reading");
    let differences: Vec<String> = files
        .iter()
        .filter_map(|(reading, bytes)| {
            let difference = match decode_bytes(bytes, None) {
                Ok(recording) => reading.difference(&recording)?,
                Err(error) => error.to_string(),
            };
            Some(format!("{}: {difference}", reading.name))
        })
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A cut file is refused, or it holds whole packets and all of them are read.
#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_read_to_the_cut() {
    for (reading, bytes) in files() {
        let whole = decoded(reading.name, &bytes);
        let mut read = 0;
        for part in 1..40 {
            // Positions of all kinds, and not the first bytes, which identify the format.
            let cut = 100 + (bytes.len() - 100) * part / 40;
            if let Ok(recording) = decode_bytes(&bytes[..cut], None) {
                read += 1;
                assert!(is_prefix(&recording, &whole), "{} cut at {cut} of {}", reading.name, bytes.len());
                // What is left out at the end is less than a large packet or page.
                let share = recording.channels[0].len() as f64 / whole.channels[0].len() as f64;
                let expected = cut as f64 / bytes.len() as f64;
                assert!(share > expected - 0.4, "{} cut at {cut}: {share} of {expected}", reading.name);
            }
        }
        println!("{}: {read} of 39 cut files are read", reading.name);
    }
}

#[test]
fn bytes_in_front_of_a_file_are_skipped() {
    let mut picture = b"ID3\x04\0\0\0\x50\0\0".to_vec();
    picture.resize(10 + (0x50 << 14), 0xff);
    for (reading, bytes) in files() {
        let is_stream = [".mp3", ".flac", ".ogg", ".oga", ".opus", ".adpcm", ".aac"]
            .iter()
            .any(|end| reading.name.ends_with(end));
        let whole = decoded(reading.name, &bytes);
        for (name, junk) in
            [("zeros", &[0; 500][..]), ("text", b"ICY 200 OK\r\n\r\n"), ("a picture of 1.3 MB", &picture)]
        {
            match decode_bytes([junk, &bytes].concat(), None) {
                Ok(recording) => assert_eq!(recording, whole, "{} behind {name}", reading.name),
                Err(error) => assert!(!is_stream, "{} behind {name}: {error}", reading.name),
            }
        }
    }
}

/// A stream that was recorded from the middle on begins with the end of a frame.
#[test]
fn an_aac_stream_that_begins_within_a_frame_is_read_from_the_next_one_on() {
    let bytes = std::fs::read(folder().join("mono_16k.aac")).unwrap();
    let whole = &decoded("whole", &bytes).channels[0];
    for cut in [3, 100, bytes.len() / 3] {
        let part = &decoded("part", &bytes[cut..]).channels[0];
        let missing = whole.len() - part.len();
        assert!(
            missing > 0 && missing.is_multiple_of(1_024) && missing < whole.len() / 2,
            "{missing} at {cut}"
        );
        // The first frame lacks its overlap with the one before it, and noise is made anew.
        let (part, whole) = (&part[1_024..], &whole[missing + 1_024..]);
        let energy =
            |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| sample * sample).sum::<f32>();
        let difference = energy(&mut part.iter().zip(whole).map(|(part, whole)| part - whole));
        assert!(
            difference < 1e-3 * energy(&mut whole.iter().copied()),
            "{difference} behind the cut at {cut}"
        );
    }
}

#[test]
fn an_mp4_file_with_a_codec_that_is_not_supported_is_refused_by_its_code() {
    let bytes = std::fs::read(folder().join("stereo_44k.m4a")).unwrap();
    let at = bytes.windows(4).position(|word| word == b"mp4a").unwrap();
    for code in [b"sawb", b"QDM2", b"agsm"] {
        let mut other = bytes.clone();
        other[at..at + 4].copy_from_slice(code);
        let problem = decode_bytes(&other, None).unwrap_err().problem;
        let format = format!("audio with the codec \"{}\" in MP4", code.escape_ascii());
        assert_eq!(problem, FileProblem::UnsupportedFormat { format });
    }
}

/// A box of QuickTime.
fn atom(kind: &[u8; 4], contents: &[Vec<u8>]) -> Vec<u8> {
    let contents = contents.concat();
    [&(contents.len() as u32 + 8).to_be_bytes()[..], kind, &contents].concat()
}

/// A QuickTime file of one channel at 8 kHz with samples of `bytes` bytes; `enda`: what its box `enda` holds, `None` without the box.
fn quicktime(code: &[u8; 4], bytes: u32, enda: Option<u8>, samples: &[u8]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let (frames, start) = (samples.len() as u32 / bytes, 28);
    let order = enda.map_or_else(Vec::new, |enda| atom(b"enda", &[vec![0, enda]]));
    let wave = atom(b"wave", &[atom(b"frma", &[code.to_vec()]), order]);
    // Version 1 of the description, one channel, 16 bits as QuickTime writes for every compressed code, a rate in 16.16 bits.
    let description = [
        &words(&[0, 1, 1 << 16, 0, 1 << 16 | 16, 0xfffe << 16, 8_000 << 16])[..],
        &words(&[1, bytes, bytes, bytes]),
    ]
    .concat();
    let table = atom(
        b"stbl",
        &[
            atom(b"stsd", &[words(&[0, 1]), atom(code, &[description, wave])]),
            atom(b"stts", &[words(&[0, 1, frames, 1])]),
            atom(b"stsc", &[words(&[0, 1, 1, frames, 1])]),
            atom(b"stsz", &[words(&[0, bytes, frames])]),
            atom(b"stco", &[words(&[0, 1, start])]),
        ],
    );
    let media = atom(
        b"mdia",
        &[
            atom(b"mdhd", &[words(&[0, 0, 0, 8_000, frames, 0])]),
            atom(b"hdlr", &[words(&[0]), b"mhlrsoun".to_vec(), words(&[0, 0, 0, 0])]),
            atom(b"minf", &[atom(b"smhd", &[words(&[0, 0])]), table]),
        ],
    );
    let track = atom(b"trak", &[atom(b"tkhd", &[words(&[1, 0, 0, 1, 0, frames]), vec![0; 60]]), media]);
    let movie = atom(b"moov", &[atom(b"mvhd", &[words(&[0, 0, 0, 8_000, frames]), vec![0; 80]]), track]);
    let kind = atom(b"ftyp", &[b"qt  \0\0\0\0qt  ".to_vec()]);
    [kind, atom(b"mdat", &[samples.to_vec()]), movie].concat()
}

#[test]
fn samples_of_quicktime_have_the_byte_order_that_the_file_declares() {
    let expected: Vec<f32> = (0..400_i32).map(|at| (at * 37 % 256 - 128) as f32 / 128.0).collect();
    let codes: [(&[u8; 4], u32); 4] = [(b"in24", 3), (b"in32", 4), (b"fl32", 4), (b"fl64", 8)];
    for (code, bytes) in codes {
        let big_endian = |sample: &f32| match code {
            b"fl32" => sample.to_be_bytes().to_vec(),
            b"fl64" => f64::from(*sample).to_be_bytes().to_vec(),
            _ => ((f64::from(*sample) * f64::from(1_u32 << 31)) as i32).to_be_bytes()[..bytes as usize]
                .to_vec(),
        };
        let samples: Vec<Vec<u8>> = expected.iter().map(big_endian).collect();
        let reversed: Vec<u8> = samples.iter().flat_map(|sample| sample.iter().rev().copied()).collect();
        for (enda, samples) in [(None, &samples.concat()), (Some(0), &samples.concat()), (Some(1), &reversed)]
        {
            let recording = decoded("recording.mov", &quicktime(code, bytes, enda, samples));
            assert_eq!(
                recording.channels,
                std::slice::from_ref(&expected),
                "{} with enda {enda:?}",
                code.escape_ascii()
            );
        }
    }
}

#[test]
fn bytes_behind_a_file_are_skipped_or_refused() {
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    for (reading, bytes) in files() {
        let whole = decoded(reading.name, &bytes);
        for (name, junk) in [("ID3v1", &id3v1[..]), ("zeros", &[0; 300])] {
            let recording = decode_bytes([&bytes, junk].concat(), None);
            let recording =
                recording.unwrap_or_else(|error| panic!("{} in front of {name}: {error}", reading.name));
            assert_eq!(recording, whole, "{} in front of {name}", reading.name);
        }
        let noise: Vec<u8> =
            (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f).collect();
        if let Ok(recording) = decode_bytes([&bytes[..], &noise].concat(), None) {
            assert_eq!(recording, whole, "{} in front of noise", reading.name);
        }
    }
}

/// Two files behind each other are two recordings. They are joined where the format is made for it.
#[test]
fn joined_files_are_read_whole_or_refused() {
    for (reading, bytes) in files() {
        let whole = decoded(reading.name, &bytes);
        match decode_bytes(bytes.repeat(2), None) {
            Ok(recording) => {
                let (once, twice) = (whole.channels[0].len(), recording.channels[0].len());
                // Delay and padding between the parts remain.
                assert!((2 * once..2 * once + 4_000).contains(&twice), "{}: {once}, {twice}", reading.name);
            }
            Err(error) => {
                assert!(!reading.name.ends_with(".mp3") && !reading.name.ends_with(".opus"), "{error}");
                assert!(matches!(error.problem, FileProblem::Malformed { .. }), "{}: {error}", reading.name);
            }
        }
    }
}
