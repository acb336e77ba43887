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
                Ok(recording) => assert!(recording == whole, "{} behind {name}", reading.name),
                Err(error) => assert!(!is_stream, "{} behind {name}: {error}", reading.name),
            }
        }
    }
}

/// A server of streams sends the headers to every listener, and then the pages of the present.
#[test]
fn an_ogg_stream_whose_first_pages_are_missing_is_read_from_the_next_one_on() {
    let name = "stereo_16k_pages.oga";
    let bytes = std::fs::read(folder().join(name)).unwrap();
    let pages: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"OggS\0")).collect();
    let whole = decoded(name, &bytes);
    let part = decoded(name, &[&bytes[..pages[2]], &bytes[pages[4]..]].concat());
    let missing = whole.channels[0].len() - part.channels[0].len();
    assert_eq!(missing, 2 * 512, "two pages of one frame");
    for (part, whole) in part.channels.iter().zip(&whole.channels) {
        assert!(part[..] == whole[missing..]);
    }
    for (name, cut) in [
        ("a page in the middle", [&bytes[..pages[4]], &bytes[pages[5]..]].concat()),
        ("the headers", bytes[pages[2]..].to_vec()),
    ] {
        let problem = decode_bytes(&cut, None).unwrap_err().problem;
        assert!(matches!(problem, FileProblem::Malformed { .. }), "without {name}: {problem}");
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
fn bytes_behind_a_file_are_skipped_or_refused() {
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    for (reading, bytes) in files() {
        let whole = decoded(reading.name, &bytes);
        for (name, junk) in [("ID3v1", &id3v1[..]), ("zeros", &[0; 300])] {
            let recording = decode_bytes([&bytes, junk].concat(), None);
            let recording =
                recording.unwrap_or_else(|error| panic!("{} in front of {name}: {error}", reading.name));
            assert!(recording == whole, "{} in front of {name}", reading.name);
        }
        let noise: Vec<u8> =
            (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f).collect();
        if let Ok(recording) = decode_bytes([&bytes[..], &noise].concat(), None) {
            assert!(recording == whole, "{} in front of noise", reading.name);
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
