//! Files whose headers contradict their audio, files behind tags, archives, and damage within a file.

use affectd::audio::FileProblem;

use crate::both_ways::decode_bytes;
use crate::files::{fixture, refused};
use crate::support::decoder_entries::file_fixture::{PCM, wav};

#[test]
fn an_archive_is_refused_with_the_way_out() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, name) in [
        (&b"PK\x03\x04\x14\0\0\0"[..], "ZIP archive"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "file that gzip compressed"),
        (&[tar, wav(PCM, 16, 1, 16_000, &[0; 2_000])].concat(), "tar archive"),
    ] {
        assert_eq!(refused(bytes).to_string(), format!("is a {name}: extract the audio files from it"));
    }
    // A byte-order mark of UTF-16 is no frame of MPEG audio.
    let text: Vec<u8> = "\u{feff}Hello, this is text.".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(refused(&text), FileProblem::NotAudio { .. }));
}

/// Programs write a tag of ID3v2 in front of every format, and fill the rest of a block.
#[test]
fn zeros_between_a_tag_and_a_file_of_any_format_are_skipped() {
    let tag = b"ID3\x04\0\0\0\0\0\x05TITLE";
    for name in [
        "tone.flac",
        "tone.ogg",
        "tone.opus",
        "tone.mp3",
        "encoded/stereo_44k.m4a",
        "encoded/stereo_48k.webm",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let whole = decode_bytes(&bytes, None).unwrap();
        for zeros in [0, 1, 500] {
            let tagged = decode_bytes([&tag[..], &vec![0; zeros], &bytes].concat(), None);
            assert!(tagged.unwrap() == whole, "{name} behind a tag and {zeros} zeros");
        }
    }
}

/// G.711 has eight bits, whatever a header declares; others count a header into the length of the audio.
#[test]
fn a_wav_whose_header_contradicts_what_its_encoding_is_known_to_be_is_read() {
    let audio: Vec<u8> = (0..2_000).map(|at| (at % 251) as u8).collect();
    let whole = wav(7, 8, 2, 16_000, &audio);
    let expected = decode_bytes(&whole, None).unwrap();
    for (bits, block) in [(0, 2), (16, 2), (16, 4), (8, 1), (0, 0)] {
        let mut odd = whole.clone();
        odd[32..34].copy_from_slice(&u16::to_le_bytes(block));
        odd[34..36].copy_from_slice(&u16::to_le_bytes(bits));
        assert!(decode_bytes(&odd, None).unwrap() == expected, "{bits} bits, a block of {block} bytes");
    }
    for counted in [8, 36, 44] {
        let mut odd = whole.clone();
        odd[40..44].copy_from_slice(&(2_000_u32 + counted).to_le_bytes());
        assert!(decode_bytes(&odd, None).unwrap() == expected, "{counted} bytes too many");
    }
    let mut cut = whole;
    cut[40..44].copy_from_slice(&2_010_u32.to_le_bytes());
    assert!(matches!(refused(&cut), FileProblem::Truncated { declared: 2_010, present: 2_000, .. }));
}

#[test]
fn a_damaged_flac_file_is_refused_with_the_place() {
    let bytes = std::fs::read(fixture("encoded/stereo_44k_24bit.flac")).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 4;
    let message = refused(&damaged).to_string();
    assert!(
        message.starts_with("cannot be decoded: the frame at byte ")
            && message.ends_with(" is damaged or cut"),
        "{message}"
    );
    assert!(refused(&bytes.repeat(2)).to_string().contains("several recordings in one file"));
}
