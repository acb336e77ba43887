//! The description of the audio track in an MP4 or QuickTime file: codec, number of channels, byte order, and the header of Opus.
//!
//! Input: the bytes of a file.
//! Output: what the boxes of the first audio track declare.
//! Invariants: what is absent or malformed counts as not declared.

use super::super::file_bytes::FileBytes;
use super::mp4_boxes::{boxes, child, word};

/// Returns the boxes `trak` and `mdia` of the first audio track.
pub(super) fn audio_track(bytes: &FileBytes) -> Option<(FileBytes, FileBytes)> {
    let movie = child(bytes, b"moov")?;
    boxes(&movie).filter(|(kind, _)| kind == b"trak").find_map(|(_, track)| {
        let media = child(&track, b"mdia")?;
        // A version, flags and an unused field precede the type of the track.
        let is_audio = child(&media, b"hdlr")?.head(12).get(8..)? == b"soun";
        is_audio.then_some((track, media))
    })
}

/// The description of the samples of a track (ISO/IEC 14496-12, section 12.2.3; Apple, QuickTime File Format, "Sound Sample Descriptions").
pub(super) struct Description {
    /// The description with its length and its code.
    bytes: FileBytes,
    /// The boxes at its end.
    extensions: FileBytes,
}

impl Description {
    /// Returns the description of the first audio track; `None` where there is no such track.
    pub(super) fn of(bytes: &FileBytes) -> Option<Self> {
        let (_, media) = audio_track(bytes)?;
        let descriptions = child(&child(&child(&media, b"minf")?, b"stbl")?, b"stsd")?;
        // A version, flags and the number of descriptions precede the first one.
        let first = descriptions.behind(8);
        let bytes = first.first((word(&first, 0)? as usize).min(first.len()));
        // The version of the description, two bytes, decides where its extensions begin.
        let start = match word(&bytes, 16)? >> 16 {
            0 => 36,
            1 => 52,
            _ => 72,
        };
        Some(Self { extensions: bytes.behind(start), bytes })
    }

    /// Returns the code of the codec.
    pub(super) fn code(&self) -> Option<[u8; 4]> {
        Some(word(&self.bytes, 4)?.to_be_bytes())
    }

    /// Returns the number of channels; the second version of the description has it in a field of its own.
    pub(super) fn channels(&self) -> u32 {
        let old = || Some(word(&self.bytes, 24)? >> 16);
        let new = || (word(&self.bytes, 16)? >> 16 == 2).then(|| word(&self.bytes, 48))?;
        new().or_else(old).unwrap_or(0)
    }

    /// Returns the bits of a sample.
    pub(super) fn bits(&self) -> u32 {
        word(&self.bytes, 24).map_or(0, |word| word & 0xffff)
    }

    /// Returns whether the samples are little-endian by the box `enda` of QuickTime.
    pub(super) fn is_little_endian(&self) -> bool {
        let declared = child(&self.extensions, b"wave").and_then(|wave| child(&wave, b"enda"));
        declared.is_some_and(|declared| declared.head(2).get(1) == Some(&1))
    }

    /// Returns the identification header of Opus as Ogg has it (RFC 7845, section 5.1); in MP4 its numbers are big-endian and its version is 0
    /// ("Encapsulation of Opus in ISO Base Media File Format", section 4.3.2).
    pub(super) fn opus_header(&self) -> Option<Vec<u8>> {
        let contents = child(&self.extensions, b"dOps")?;
        let contents = contents.head(contents.len().min(1 << 9));
        let (&[0, channels, skip_high, skip_low, a, b, c, d, gain_high, gain_low], mapping) =
            contents.split_first_chunk::<10>()?
        else {
            return None;
        };
        let numbers = [1, channels, skip_low, skip_high, d, c, b, a, gain_low, gain_high];
        Some([b"OpusHead", &numbers[..], mapping].concat())
    }

    /// Returns the name of the codec with its code of four letters.
    pub(super) fn name(&self) -> String {
        let code = self.code().unwrap_or_default().escape_ascii().to_string();
        match self.object_type() {
            Some(0x40 | 0x66..=0x68) => format!("AAC (\"{code}\")"),
            Some(0x69 | 0x6b) => format!("MPEG audio (\"{code}\")"),
            Some(0xa9) => format!("DTS (\"{code}\")"),
            Some(0xdd) => format!("Vorbis (\"{code}\")"),
            Some(0xe1) => format!("QCELP (\"{code}\")"),
            Some(other) => format!("the codec \"{code}\" of the object type {other:#04x}"),
            None => format!("the codec \"{code}\""),
        }
    }

    /// Returns the object type in the box `esds` (ISO/IEC 14496-1, section 7.2.6.6), which is in a box `wave` in QuickTime.
    fn object_type(&self) -> Option<u8> {
        let inner = || child(&child(&self.extensions, b"wave")?, b"esds");
        let contents = child(&self.extensions, b"esds").or_else(inner)?;
        // A version and flags precede the descriptor of the stream, which has three bytes before the one of the decoder.
        let contents = contents.behind(4).head(64);
        let stream = descriptor(&contents, 3)?;
        descriptor(stream.get(3..)?, 4)?.first().copied()
    }
}

/// Returns the bytes behind the header of a descriptor with the given tag: a tag, and a length of up to four bytes of seven bits.
pub(super) fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&[tag])?;
    let length = rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    rest.get(length + 1..)
}
