//! Recognises the header of an audio file at the beginning of bytes that should be raw samples.
//!
//! Input: the first bytes of a stream.
//! Output: the name of the file format, or nothing.
//! Invariants: samples are taken for a file only by accident of at least 32 bits; no byte beyond the input is
//! needed, so a header that is split over two chunks may be missed.

/// Bits per second of MPEG 1 layer III by the index in the frame header, in thousands; 0 where it is not allowed.
const MPEG_1_KBITS: [usize; 16] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
/// The same for MPEG 2 and 2.5.
const MPEG_2_KBITS: [usize; 16] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
/// Samples per second of MPEG 1 by the index in the frame header.
const MPEG_1_HZ: [usize; 3] = [44_100, 48_000, 32_000];

/// Returns the name of the file format whose header `bytes` begin with.
#[must_use]
pub fn file_header(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some("WAV"),
        [b'f', b'L', b'a', b'C', ..] => Some("FLAC"),
        [b'O', b'g', b'g', b'S', 0, ..] => Some("Ogg"),
        // The tag's version, then its flags, then its size in four bytes of seven bits each.
        [b'I', b'D', b'3', 2..=4, _, _, a, b, c, d, ..] if (a | b | c | d) < 0x80 => Some("MP3"),
        _ if has_mp3_frames(bytes) => Some("MP3"),
        _ => None,
    }
}

/// Returns whether two MPEG frames of layer III follow each other at the beginning. One header alone has eleven fixed
/// bits, which samples of a low level (small negative values) may show too.
fn has_mp3_frames(bytes: &[u8]) -> bool {
    let frame = |bytes: &[u8]| mp3_frame_bytes(bytes.get(..4)?);
    frame(bytes).is_some_and(|length| bytes.get(length..).and_then(frame).is_some())
}

/// Returns the length of the MPEG frame of layer III that begins with `header` (ISO/IEC 11172-3, 13818-3).
fn mp3_frame_bytes(header: &[u8]) -> Option<usize> {
    let [0xff, second, third, _] = *header else { return None };
    let is_mpeg_1 = match (second >> 3) & 3 {
        3 => true,
        0 | 2 => false,
        _ => return None,
    };
    let is_layer_3 = second & 0xe0 == 0xe0 && (second >> 1) & 3 == 1;
    let kbits = if is_mpeg_1 { MPEG_1_KBITS } else { MPEG_2_KBITS }[usize::from(third >> 4)];
    let rate_hz = MPEG_1_HZ.get(usize::from((third >> 2) & 3))?;
    if !is_layer_3 || kbits == 0 {
        return None;
    }
    let (slots, rate_hz) = match (second >> 3) & 3 {
        3 => (144_000, *rate_hz),
        2 => (72_000, rate_hz / 2),
        _ => (72_000, rate_hz / 4),
    };
    Some(slots * kbits / rate_hz + usize::from((third >> 1) & 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn files_are_recognised_by_their_first_bytes() {
        let wav = include_bytes!("../../deploy/samples/calm.wav");
        assert_eq!(file_header(&wav[..12]), Some("WAV"));
        for (file, name) in
            [("tone.flac", "FLAC"), ("tone.ogg", "Ogg"), ("tone.opus", "Ogg"), ("tone.mp3", "MP3")]
        {
            assert_eq!(file_header(&golden(file)), Some(name), "{file}");
        }
        assert_eq!(file_header(b"ID3\x04\0\0\0\0\0\0"), Some("MP3"));
    }

    #[test]
    fn samples_are_no_file() {
        let wav = include_bytes!("../../deploy/samples/calm.wav");
        let quiet: Vec<u8> = (0..2_000_i16).flat_map(|n| (-n % 7).to_le_bytes()).collect();
        for samples in [&wav[44..], &[0; 4_000], &[0xff; 4_000], &quiet, b"RIFF", b""] {
            assert_eq!(file_header(samples), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut frame = vec![0xff, 0xfb];
            frame.extend(&bytes);
            let _ = (file_header(&bytes), file_header(&frame));
        }
    }
}
