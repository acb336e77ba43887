//! Uncompressed files of every container, encoding, number of channels and declared length, whole, cut, and between
//! other bytes.

use affectd::audio::{FileProblem, Recording};

use crate::both_ways::decode_bytes;
use crate::pcm_files::{CONTAINERS, Container, ENCODINGS, Encoding, Length, PcmFile};
use crate::readings::readings;

/// Every file of the grid.
fn files() -> impl Iterator<Item = PcmFile> {
    let formats = [(1, 8_000), (2, 44_100), (6, 48_000)];
    CONTAINERS.into_iter().flat_map(move |container| {
        ENCODINGS.into_iter().flat_map(move |encoding| {
            formats.into_iter().map(move |(channels, rate_hz)| PcmFile {
                container,
                encoding,
                channels,
                rate_hz,
            })
        })
    })
}

fn decoded(file: PcmFile) -> Recording {
    decode_bytes(file.bytes(Length::Right), Some(&file.name())).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes the files for `tests/golden/make_encoded.py` where `AFFECTD_WRITE_GRID` names a folder.
fn write_files() {
    let Some(folder) = std::env::var_os("AFFECTD_WRITE_GRID") else { return };
    std::fs::create_dir_all(&folder).unwrap();
    for file in files() {
        std::fs::write(std::path::Path::new(&folder).join(file.name()), file.bytes(Length::Right)).unwrap();
    }
}

#[test]
fn every_file_has_the_samples_that_others_read() {
    write_files();
    let readings = readings();
    let mut differences = Vec::new();
    for file in files() {
        let name = file.name();
        match readings.iter().find(|reading| reading.name == name) {
            Some(reading) => {
                differences.extend(reading.difference(&decoded(file)).map(|it| format!("{name}: {it}")))
            }
            None => differences.push(format!("{name}: no reading")),
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A file has the same samples in every byte order and container that can hold them. Those of 8 bits differ in their sign.
#[test]
fn containers_agree() {
    for file in files().filter(|file| file.encoding != Encoding::Bits8) {
        let plain = decoded(PcmFile { container: Container::Wav, ..file });
        assert_eq!(decoded(file), plain, "{}", file.name());
        assert_eq!(plain.channels[0].len(), 300);
    }
}

#[test]
fn a_length_that_is_zero_or_the_largest_is_a_placeholder() {
    for file in files() {
        for length in [Length::Zero, Length::Most] {
            let recording = decode_bytes(file.bytes(length), Some(&file.name()));
            let recording = recording.unwrap_or_else(|error| panic!("{length:?}: {error}"));
            assert_eq!(recording, decoded(file), "{} with the length {length:?}", file.name());
        }
    }
}

#[test]
fn a_length_that_contradicts_the_file_loses_no_audio() {
    for file in files() {
        match decode_bytes(file.bytes(Length::Short), Some(&file.name())) {
            Ok(recording) => assert_eq!(recording, decoded(file), "{}", file.name()),
            Err(error) => assert!(error.to_string().contains("bytes of audio"), "{}: {error}", file.name()),
        }
        let problem = decode_bytes(file.bytes(Length::Long), None).unwrap_err().problem;
        assert!(
            matches!(problem, FileProblem::Truncated { unit: "bytes", .. }),
            "{}: {problem}",
            file.name()
        );
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_read_to_the_cut() {
    for file in files() {
        let (whole, unknown) = (file.bytes(Length::Right), file.bytes(Length::Most));
        let header = whole.len() - file.audio().len();
        let frame = file.audio().len() / 300;
        for cut in (0..20).map(|part| header + frame + (whole.len() - header - frame - 1) * part / 20) {
            assert!(decode_bytes(&whole[..cut], None).is_err(), "{} cut at {cut}", file.name());
            let recording = decode_bytes(&unknown[..cut], None).unwrap();
            let expected = decoded(file).channels[0][..(cut - header) / frame].to_vec();
            assert_eq!(recording.channels[0], expected, "{} of unknown length cut at {cut}", file.name());
        }
        for cut in 1..header {
            assert!(decode_bytes(&whole[..cut], None).is_err(), "{} cut at {cut}", file.name());
        }
    }
}

#[test]
fn other_bytes_around_a_file_change_nothing_or_are_refused() {
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    for file in files() {
        let (bytes, whole) = (file.bytes(Length::Right), decoded(file));
        for junk in [&[0; 200][..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            if let Ok(recording) = decode_bytes([junk, &bytes].concat(), None) {
                assert_eq!(recording, whole, "{} behind other bytes", file.name());
            }
        }
        assert!(decode_bytes(bytes.repeat(2), None).is_err(), "{} twice", file.name());
        for (is_read, junk) in [(true, &id3v1[..]), (true, &[0; 64]), (false, b"no chunk, and no tag")] {
            match decode_bytes([&bytes[..], junk].concat(), None) {
                Ok(recording) => assert_eq!(recording, whole, "{} in front of other bytes", file.name()),
                Err(error) => assert!(!is_read, "{}: {error}", file.name()),
            }
        }
    }
}
