//! Reader of Matroska and WebM (RFC 9559) with one track of audio.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: segments and clusters of unknown length, as browsers and other live sources write them, end with
//! the file. Every block of the track is decoded; tracks of pictures and text are ignored.

use prost::bytes::Bytes;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_VORBIS};

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::ebml::{self, Element, id};
use super::ogg::check_vorbis_channels;
use super::packets::Packets;
use super::pcm::{Layout, Numbers};
use super::recorder::Recorder;
use super::{Decoded, aac, flac, malformed, several_recordings, tags, unsupported, wave_format};

/// The most samples per channel at the end of a block that are padding.
const PADDING: u64 = 8_192;

/// The most bytes of an element that is read as a whole.
const CONTENTS: usize = 1 << 24;

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut reader = Reader { recorder, track: None, on_block: 0, has_header: false };
    let mut rest = bytes.clone();
    while !tags::only_tags(&rest) {
        let at = bytes.len() - rest.len();
        let (element, body) = element(&rest).ok_or_else(|| {
            let is_end = rest.len() < ebml::LONGEST_HEADER;
            let reason =
                if is_end { "are the beginning of an element or none" } else { "are no Matroska element" };
            malformed(&format!("the bytes from byte {at} on {reason}"))
        })?;
        let present = body.len() as u64;
        if let Some(declared) = element.length.filter(|length| *length > present) {
            return Err(FileProblem::Truncated { declared, present, unit: "bytes in an element" });
        }
        // The contents of these elements are read like elements beside them, because their length may be unknown.
        if matches!(element.id, id::SEGMENT | id::CLUSTER | id::BLOCK_GROUP | id::TRACKS) {
            rest = body;
            continue;
        }
        let length = element.length.ok_or_else(|| malformed("a Matroska element has no length"))?;
        reader.element(element.id, &body.first(length as usize)).await?;
        rest = body.behind(length as usize);
    }
    if reader.track.is_none() {
        return Err(malformed("it has no audio track"));
    }
    reader.recorder.finish()
}

/// Reads the header of the element at the beginning of `bytes`, and returns the bytes behind it.
fn element(bytes: &FileBytes) -> Option<(Element, FileBytes)> {
    let head = bytes.head(ebml::LONGEST_HEADER);
    let (element, behind) = Element::read(&head)?;
    Some((element, bytes.behind(head.len() - behind.len())))
}

/// Returns the contents of an element.
///
/// # Errors
/// [`FileProblem::Malformed`] where they are longer than those of any accepted file.
fn read(contents: &FileBytes) -> Result<Bytes, FileProblem> {
    if contents.len() > CONTENTS {
        return Err(malformed(&format!(
            "a Matroska element of {} bytes: allowed are {CONTENTS} for a block or the description of a track",
            contents.len()
        )));
    }
    Ok(contents.head(CONTENTS))
}

/// The state of the file.
struct Reader {
    recorder: Recorder,
    track: Option<Track>,
    /// Samples per channel of the last block.
    on_block: usize,
    has_header: bool,
}

/// The track that is decoded.
struct Track {
    number: u64,
    packets: Packets,
    rate_hz: u32,
}

impl Reader {
    /// Handles an element without elements that matter here, or a description of a track.
    async fn element(&mut self, element: u32, contents: &FileBytes) -> Result<(), FileProblem> {
        match element {
            id::EBML if self.has_header => {
                return Err(several_recordings());
            }
            id::EBML => self.has_header = true,
            id::TRACK_ENTRY => {
                let Some(track) = Track::read(&read(contents)?)? else { return Ok(()) };
                if self.track.is_some() {
                    return Err(unsupported("Matroska with several audio tracks"));
                }
                self.track = Some(track);
            }
            id::SIMPLE_BLOCK | id::BLOCK => self.block(&read(contents)?).await?,
            id::DISCARD_PADDING => self.discard(&contents.head(8)),
            _ => {}
        }
        Ok(())
    }

    /// Decodes the frames of a block: the number of the track, a time of two bytes, flags, and the frames.
    async fn block(&mut self, block: &[u8]) -> Result<(), FileProblem> {
        self.on_block = 0;
        let Some(track) = &mut self.track else { return Err(malformed("a block comes before the tracks")) };
        let (number, rest) = ebml::number(block).ok_or_else(|| malformed("a block has no track"))?;
        if number != track.number {
            return Ok(());
        }
        let (header, data) =
            rest.split_first_chunk::<3>().ok_or_else(|| malformed("a block has no header"))?;
        let frames =
            ebml::frames(header[2], data).ok_or_else(|| malformed("the lacing of a block is malformed"))?;
        for frame in frames {
            let decoded = track.packets.decode(frame)?;
            self.on_block += decoded.channels.first().map_or(0, Vec::len);
            self.recorder.append(decoded.rate_hz, decoded.channels).await?;
        }
        Ok(())
    }

    /// Removes the padding that an element declares for the end of the last block, in nanoseconds.
    fn discard(&mut self, contents: &[u8]) {
        let Some(track) = &self.track else { return };
        let nanoseconds = ebml::unsigned(contents);
        // A number with its first bit set is negative: padding at the start, which is not expected here.
        // Programs round the nanoseconds of a number of samples up or down.
        let samples = (u128::from(nanoseconds) * u128::from(track.rate_hz) + 500_000_000) / 1_000_000_000;
        let samples = samples as u64;
        if samples <= PADDING && samples <= self.on_block as u64 {
            self.recorder.trim(0, samples as usize);
        }
    }
}

impl Track {
    /// Reads the description of a track; `None` where it holds no audio.
    fn read(mut rest: &[u8]) -> Result<Option<Self>, FileProblem> {
        let (mut number, mut kind, mut is_encoded) = (0, 0, false);
        let (mut codec, mut private, mut format) = (&[][..], &[][..], Audio::default());
        while let Some((element, body)) = Element::read(rest) {
            let Some((contents, behind)) =
                element.length.and_then(|length| body.split_at_checked(length as usize))
            else {
                return Err(malformed("the description of a track is malformed"));
            };
            match element.id {
                id::TRACK_NUMBER => number = ebml::unsigned(contents),
                id::TRACK_TYPE => kind = ebml::unsigned(contents),
                id::CODEC_ID => codec = contents,
                id::CODEC_PRIVATE => private = contents,
                id::CONTENT_ENCODINGS => is_encoded = true,
                id::AUDIO => format = audio(contents),
                _ => {}
            }
            rest = behind;
        }
        if kind != 2 {
            return Ok(None);
        }
        if is_encoded {
            return Err(unsupported("Matroska with compressed or encrypted blocks"));
        }
        let (packets, rate_hz) = packets(codec, private, format)?;
        Ok(Some(Self { number, packets, rate_hz }))
    }
}

/// What the element `Audio` declares.
struct Audio {
    rate_hz: u32,
    channels: usize,
    /// Bits of a sample that is not compressed; zero where not declared.
    bits: u64,
}

impl Default for Audio {
    fn default() -> Self {
        Self { rate_hz: 8_000, channels: 1, bits: 0 }
    }
}

/// Reads the element `Audio`.
fn audio(mut rest: &[u8]) -> Audio {
    let mut format = Audio::default();
    while let Some((element, body)) = Element::read(rest) {
        let Some((contents, behind)) =
            element.length.and_then(|length| body.split_at_checked(length as usize))
        else {
            break;
        };
        match element.id {
            id::SAMPLING_FREQUENCY => format.rate_hz = ebml::float(contents).round() as u32,
            id::CHANNELS => format.channels = usize::try_from(ebml::unsigned(contents)).unwrap_or(usize::MAX),
            id::BIT_DEPTH => format.bits = ebml::unsigned(contents),
            _ => {}
        }
        rest = behind;
    }
    format
}

/// Creates the decoder of a codec, and returns its sample rate.
fn packets(codec: &[u8], private: &[u8], audio: Audio) -> Result<(Packets, u32), FileProblem> {
    let format = (audio.rate_hz, audio.channels);
    let mpeg = |layer| Ok((Packets::new(layer, format, &[])?, format.0));
    match codec {
        b"A_OPUS" => Ok((Packets::opus(private)?, 48_000)),
        b"A_VORBIS" => {
            check_vorbis_channels(audio.channels)?;
            Ok((Packets::new(CODEC_ID_VORBIS, format, private)?, format.0))
        }
        // A mark and the header of a block precede STREAMINFO.
        b"A_FLAC" => Ok((flac::decoder(private.get(8..).unwrap_or_default())?, format.0)),
        b"A_AAC" => Ok((aac::decoder(format.0, format.1, private, "Matroska")?, format.0)),
        b"A_MPEG/L1" => mpeg(CODEC_ID_MP1),
        b"A_MPEG/L2" => mpeg(CODEC_ID_MP2),
        b"A_MPEG/L3" => mpeg(CODEC_ID_MP3),
        // Samples of 8 bits are unsigned, as in WAV.
        b"A_PCM/INT/LIT" if audio.bits == 8 => pcm(Numbers::Unsigned, false, &audio),
        b"A_PCM/INT/LIT" => pcm(Numbers::Signed, false, &audio),
        b"A_PCM/INT/BIG" => pcm(Numbers::Signed, true, &audio),
        b"A_PCM/FLOAT/IEEE" => pcm(Numbers::Float, false, &audio),
        b"A_MS/ACM" if private.len() >= 2 => {
            let name = wave_format::codec(u16::from_le_bytes([private[0], private[1]]));
            Err(unsupported(format!("{name} in Matroska")))
        }
        other => {
            let name = String::from_utf8_lossy(&other[..other.len().min(40)]);
            Err(unsupported(format!("{} in Matroska", name.trim_start_matches("A_"))))
        }
    }
}

/// Creates the decoder of samples that are not compressed, and returns their rate.
fn pcm(numbers: Numbers, big_endian: bool, audio: &Audio) -> Result<(Packets, u32), FileProblem> {
    let Audio { rate_hz, channels, bits } = *audio;
    let is_supported =
        if numbers == Numbers::Float { [32, 64].contains(&bits) } else { [8, 16, 24, 32].contains(&bits) };
    if !is_supported {
        return Err(unsupported(format!("PCM of {bits} bits in Matroska")));
    }
    let layout = Layout { numbers, bytes: bits as usize / 8, big_endian, shift: 0, rate_hz, channels };
    Ok((Packets::pcm(layout)?, rate_hz))
}
