//! Files of the Core Audio Format with compressed packets, made from the packets of other files.

use std::path::Path;

use affectd::audio::FileProblem;

use crate::both_ways::decode_bytes;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoded").join(name)).unwrap()
}

fn chunk(kind: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    [&kind[..], &(contents.len() as u64).to_be_bytes(), contents].concat()
}

/// Returns the frames of an ADTS file without their headers.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while let [0xff, _, _, a, b, c, ..] = *rest {
        let (frame, behind) =
            rest.split_at(usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5);
        frames.push(&frame[7..]);
        rest = behind;
    }
    frames
}

/// A file of AAC-LC at 16 kHz with one channel. The packet table declares the frames that are part of the recording, and those before and behind it.
struct Aac<'a> {
    packets: &'a [&'a [u8]],
    valid: u64,
    priming: u32,
    remainder: u32,
    /// Whether the packet table follows the packets.
    is_table_last: bool,
}

impl Aac<'_> {
    fn file(&self) -> Vec<u8> {
        // Rate, encoding, flags, bytes and frames of a packet, channels, bits.
        let words = [0_u32, 0, 1_024, 1, 0].map(u32::to_be_bytes);
        let description = [&16_000_f64.to_be_bytes()[..], b"aac ", words.as_flattened()].concat();
        // The descriptors of the stream, of its decoder (MPEG-4 audio) and of its configuration (AAC-LC, 16 kHz, one channel).
        let config = [0x14, 0x08];
        let decoder = [&[0x40, 0x15][..], &[0; 11], &[5, 2], &config].concat();
        let stream = [&[0, 0, 0, 4, decoder.len() as u8][..], &decoder].concat();
        let cookie = [&[3, stream.len() as u8][..], &stream].concat();
        let mut table = [(self.packets.len() as u64).to_be_bytes(), self.valid.to_be_bytes()].concat();
        table.extend([self.priming.to_be_bytes(), self.remainder.to_be_bytes()].as_flattened());
        for packet in self.packets {
            let length = packet.len();
            if length >= 128 {
                table.push(0x80 | (length >> 7) as u8);
            }
            table.push((length & 0x7f) as u8);
        }
        let table = chunk(b"pakt", &table);
        let data = chunk(b"data", &[&[0; 4][..], &self.packets.concat()].concat());
        let last = if self.is_table_last { [data, table] } else { [table, data] };
        [b"caff\0\x01\0\0".to_vec(), chunk(b"desc", &description), chunk(b"kuki", &cookie), last.concat()]
            .concat()
    }
}

#[test]
fn packets_are_read_to_their_end_and_trimmed_by_the_packet_table() {
    let bytes = golden("mono_16k.aac");
    let expected = decode_bytes(&bytes, None).unwrap().channels;
    let packets = frames(&bytes);
    let all = expected[0].len();
    assert_eq!(all, 1_024 * packets.len());
    for is_table_last in [false, true] {
        let whole = Aac { packets: &packets, valid: all as u64, priming: 0, remainder: 0, is_table_last };
        assert!(decode_bytes(whole.file(), None).unwrap().channels == expected);
        let trimmed = Aac { valid: all as u64 - 1_100, priming: 1_000, remainder: 100, ..whole };
        let trimmed = decode_bytes(trimmed.file(), None).unwrap().channels;
        assert!(trimmed == [&expected[0][1_000..all - 100]]);
        // Counts that contradict the packets remove nothing.
        let wrong = Aac { packets: &packets, valid: 7, priming: 1_000, remainder: 100, is_table_last };
        assert!(decode_bytes(wrong.file(), None).unwrap().channels == expected);
    }
}

#[test]
fn packets_that_are_missing_or_too_many_are_refused() {
    let bytes = golden("mono_16k.aac");
    let packets = frames(&bytes);
    let file = Aac { packets: &packets, valid: 0, priming: 0, remainder: 0, is_table_last: false };
    let whole = file.file();
    let refused = |bytes: &[u8]| decode_bytes(bytes, None).unwrap_err().problem;
    assert!(matches!(refused(&whole[..whole.len() - 1]), FileProblem::Truncated { .. }));
    // One packet less in the table, whose number stands behind its header.
    let at = whole.windows(4).position(|kind| kind == b"pakt").unwrap() + 12;
    let mut fewer = whole.clone();
    fewer[at..at + 8].copy_from_slice(&(packets.len() as u64 - 1).to_be_bytes());
    assert!(
        refused(&fewer).to_string().ends_with("bytes of its audio belong to no packet"),
        "{}",
        refused(&fewer)
    );
    let mut more = whole.clone();
    more[at..at + 8].copy_from_slice(&u64::MAX.to_be_bytes());
    assert!(decode_bytes(&more, None).is_err());
    let mut unknown = whole;
    unknown[28..32].copy_from_slice(b"QDM2");
    assert!(
        refused(&unknown).to_string().starts_with("is CAF with the encoding \"QDM2\""),
        "{}",
        refused(&unknown)
    );
}
