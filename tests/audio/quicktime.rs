//! Files of QuickTime and MP4 that are made here: byte orders, edit lists, boxes that end with the file or lie beyond it, and codecs by their code.

use affectd::audio::{FileProblem, Recording};

use crate::both_ways::decode_bytes;

/// Samples per second, units of the movie and of its media.
const RATE_HZ: u32 = 8_000;
const NORMAL_SPEED: u32 = 1 << 16;

/// A box.
fn atom(kind: &[u8; 4], contents: &[Vec<u8>]) -> Vec<u8> {
    let contents = contents.concat();
    [&(contents.len() as u32 + 8).to_be_bytes()[..], kind, &contents].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A file with one track.
#[derive(Clone, Copy)]
struct File<'a> {
    code: &'a [u8; 4],
    channels: u32,
    /// Bytes of a sample of one channel.
    bytes: u32,
    /// What the box `enda` holds; `None` without the box.
    enda: Option<u8>,
    /// The edit list: length, start and speed of each edit; `None` without the box.
    edits: Option<&'a [[u32; 3]]>,
    /// The samples as the file holds them.
    samples: &'a [u8],
}

impl File<'_> {
    fn frames(&self) -> u32 {
        self.samples.len() as u32 / (self.bytes * self.channels)
    }

    /// Returns the box `moov`. `start` is the position of the samples.
    fn movie(&self, start: usize) -> Vec<u8> {
        let (frames, bytes) = (self.frames(), self.bytes);
        let order = self.enda.map_or_else(Vec::new, |enda| atom(b"enda", &[vec![0, enda]]));
        let wave = atom(b"wave", &[atom(b"frma", &[self.code.to_vec()]), order]);
        // Version 1 of the description, 16 bits as QuickTime writes for every compressed code, a rate in 16.16 bits.
        let description = [
            &words(&[0, 1, 1 << 16, 0, self.channels << 16 | 16, 0xfffe << 16, RATE_HZ << 16])[..],
            &words(&[1, bytes, bytes * self.channels, bytes]),
        ]
        .concat();
        let table = [
            atom(b"stsd", &[words(&[0, 1]), atom(self.code, &[description, wave])]),
            atom(b"stts", &[words(&[0, 1, frames, 1])]),
            atom(b"stsc", &[words(&[0, 1, 1, frames, 1])]),
            atom(b"stsz", &[words(&[0, bytes * self.channels, frames])]),
            atom(b"stco", &[words(&[0, 1, start as u32])]),
        ];
        let media = [
            atom(b"mdhd", &[words(&[0, 0, 0, RATE_HZ, frames, 0])]),
            atom(b"hdlr", &[words(&[0]), b"mhlrsoun".to_vec(), words(&[0, 0, 0, 0])]),
            atom(b"minf", &[atom(b"smhd", &[words(&[0, 0])]), atom(b"stbl", &table)]),
        ];
        let edits = self.edits.map_or_else(Vec::new, |edits| {
            let list = [words(&[0, edits.len() as u32]), words(edits.as_flattened())];
            atom(b"edts", &[atom(b"elst", &list)])
        });
        let header = atom(b"tkhd", &[words(&[1, 0, 0, 1, 0, frames]), vec![0; 60]]);
        let track = atom(b"trak", &[header, edits, atom(b"mdia", &media)]);
        atom(b"moov", &[atom(b"mvhd", &[words(&[0, 0, 0, RATE_HZ, frames]), vec![0; 80]]), track])
    }

    /// Returns the file with the samples in front of their description. `first` is the kind of the first box.
    fn beginning_with(&self, first: &[u8; 4]) -> Vec<u8> {
        let first = atom(first, &[b"qt  \0\0\0\0qt  ".to_vec()]);
        let samples = atom(b"mdat", &[self.samples.to_vec()]);
        let movie = self.movie(first.len() + 8);
        [first, samples, movie].concat()
    }

    fn file(&self) -> Vec<u8> {
        self.beginning_with(b"ftyp")
    }

    /// Returns the file with the samples in a box that ends with the file.
    fn open(&self) -> Vec<u8> {
        let first = atom(b"ftyp", &[b"qt  \0\0\0\0qt  ".to_vec()]);
        let movie = self.movie(first.len() + self.movie(0).len() + 8);
        [first, movie, b"\0\0\0\0mdat".to_vec(), self.samples.to_vec()].concat()
    }
}

fn decoded(bytes: &[u8]) -> Recording {
    decode_bytes(bytes, Some("recording.mov")).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(bytes: &[u8]) -> String {
    decode_bytes(bytes, None).unwrap_err().problem.to_string()
}

/// 20,000 samples of 16 bits, big-endian, and their values.
fn ramp() -> (Vec<u8>, Vec<f32>) {
    let samples = (0..20_000_i32).map(|at| (at * 37 % 30_000) as i16 - 15_000);
    (
        samples.clone().flat_map(i16::to_be_bytes).collect(),
        samples.map(|it| f32::from(it) / 32_768.0).collect(),
    )
}

fn plain(samples: &[u8]) -> File<'_> {
    File { code: b"twos", channels: 1, bytes: 2, enda: None, edits: None, samples }
}

#[test]
fn samples_have_the_byte_order_that_the_file_declares() {
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
            let file = File { code, channels: 1, bytes, enda, edits: None, samples };
            let name = code.escape_ascii();
            assert_eq!(
                decoded(&file.file()).channels,
                std::slice::from_ref(&expected),
                "{name}, enda {enda:?}"
            );
        }
    }
}

/// The first box of QuickTime may have any kind, and the last box needs no length.
#[test]
fn a_file_without_a_type_and_a_box_without_a_length_are_read() {
    let (samples, expected) = ramp();
    let file = plain(&samples);
    for first in [b"ftyp", b"wide", b"free", b"skip", b"pnot"] {
        let recording = decoded(&file.beginning_with(first));
        assert_eq!(recording.channels, std::slice::from_ref(&expected), "{}", first.escape_ascii());
    }
    assert_eq!(decoded(&file.open()).channels, std::slice::from_ref(&expected));
    // The box of the samples, or their description, may come first.
    let behind = [&atom(b"mdat", std::slice::from_ref(&samples))[..], &file.movie(8)].concat();
    assert_eq!(decoded(&behind).channels, [expected]);
}

#[test]
fn an_edit_list_selects_samples() {
    let (samples, expected) = ramp();
    let cases: [(&[[u32; 3]], std::ops::Range<usize>); 8] = [
        (&[], 0..20_000),
        (&[[20_000, 0, NORMAL_SPEED]], 0..20_000),
        (&[[18_976, 1_024, NORMAL_SPEED]], 1_024..20_000),
        (&[[9_000, 11_000, NORMAL_SPEED]], 11_000..20_000),
        // An empty edit only delays the others, and the length zero stands for the rest.
        (&[[500, u32::MAX, NORMAL_SPEED], [18_976, 1_024, NORMAL_SPEED]], 1_024..20_000),
        (&[[0, 2_000, NORMAL_SPEED]], 2_000..20_000),
        // A remainder is removed where it is longer than padding; lengths are rounded, so one unit more is kept.
        (&[[4_000, 1_000, NORMAL_SPEED]], 1_000..5_001),
        (&[[18_000, 0, NORMAL_SPEED]], 0..20_000),
    ];
    for (edits, range) in cases {
        let recording = decoded(&File { edits: Some(edits), ..plain(&samples) }.file());
        assert_eq!(recording.channels, [&expected[range]], "{edits:?}");
    }
    let two = [[1_000, 0, NORMAL_SPEED], [1_000, 9_000, NORMAL_SPEED]];
    for (edits, reason) in [
        (&two[..], "is MP4 with an edit list of several parts"),
        (&[[20_000, 0, 2 << 16]], "is MP4 with an edit list that changes the speed"),
        (&[[0, 30_000, NORMAL_SPEED]], "holds no samples"),
    ] {
        let problem = refused(&File { edits: Some(edits), ..plain(&samples) }.file());
        assert!(problem.starts_with(reason), "{edits:?}: {problem}");
    }
}

#[test]
fn a_file_that_is_cut_is_refused_as_truncated() {
    let (samples, _) = ramp();
    let file = plain(&samples).file();
    for length in [file.len() - 1, file.len() - 300, 30_000, 100] {
        let problem = decode_bytes(&file[..length], None).unwrap_err().problem;
        assert!(matches!(problem, FileProblem::Truncated { .. }), "{length} bytes: {problem}");
    }
    let without_movie = &file[..28 + samples.len()];
    assert!(refused(without_movie).contains("it has no box moov"), "{}", refused(without_movie));
    let part =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/encoded/stereo_44k_parts.mp4"));
    let part = part.unwrap();
    let second = part.windows(4).position(|kind| kind == b"moof").unwrap() - 4;
    assert!(refused(&part[second..]).contains("it has no box moov"), "{}", refused(&part[second..]));
    // A description of a fragment without its samples.
    let last = part.windows(4).rposition(|kind| kind == b"mdat").unwrap() - 4;
    let reason = "cannot be decoded: it ends within a fragment";
    for end in [last, last + 3] {
        assert!(refused(&part[..end]).starts_with(reason), "{}", refused(&part[..end]));
    }
}

#[test]
fn a_codec_that_is_not_supported_is_refused_by_its_name() {
    let (samples, _) = ramp();
    for (file, expected) in [
        (File { code: b"sawb", ..plain(&samples) }, "is audio with the codec \"sawb\" in MP4"),
        (File { code: b"ulaw", bytes: 1, ..plain(&samples) }, "is audio with the codec \"ulaw\" in MP4"),
        (File { channels: 4, ..plain(&samples) }, "is PCM of 4 channels in MP4 or QuickTime"),
    ] {
        let problem = refused(&file.file());
        assert!(problem.starts_with(&format!("{expected}, which is not supported: convert it")), "{problem}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/encoded/stereo_44k.m4a");
    let bytes = std::fs::read(path).unwrap();
    // The object type in the box `esds`, behind the descriptors of the stream and of its decoder.
    let at = bytes.windows(4).position(|kind| kind == b"esds").unwrap();
    let at = at + bytes[at..].windows(2).position(|bytes| bytes == [0x40, 0x15]).unwrap();
    for (object, name) in [(0xdd, "Vorbis (\"mp4a\")"), (0xe1, "QCELP (\"mp4a\")")] {
        let mut other = bytes.clone();
        other[at] = object;
        assert!(refused(&other).starts_with(&format!("is audio with {name} in MP4")), "{}", refused(&other));
    }
}
