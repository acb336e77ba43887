//! Reader of MP4, M4A and QuickTime with AAC-LC, Apple Lossless or PCM.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`] without the delay of the encoder where an edit list declares it.
//! Invariants: the container is read by symphonia; a file with several audio tracks is refused.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_OPUS, CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE,
    CODEC_ID_PCM_F64LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes};
use symphonia::default::formats::IsoMp4Reader;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::packets::{Packets, failure};
use super::recorder::Recorder;
use super::{Decoded, malformed, mp4_edit, unsupported};

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, mut recorder: Recorder) -> Result<Decoded, FileProblem> {
    if mp4_edit::recordings(bytes) > 1 {
        return Err(malformed(
            "several recordings in one file are not supported: send them as files of their own",
        ));
    }
    let mut source =
        MediaSourceStream::new(Box::new(Source { bytes: bytes.clone(), at: 0 }), Default::default());
    // The reader expects that the first four bytes have been read to recognise the format.
    source.read_be_u32().map_err(|error| malformed(&error.to_string()))?;
    let mut container = IsoMp4Reader::try_new(source, FormatOptions::default()).map_err(failure)?;
    let mut tracks = container
        .tracks()
        .iter()
        .filter(|track| track.codec_params.as_ref().is_some_and(|parameters| parameters.audio().is_some()));
    let track = tracks.next().ok_or_else(|| match mp4_edit::codec(bytes) {
        Some(codec) => unsupported_codec(&codec),
        None => malformed("it has no audio track that is supported"),
    })?;
    if tracks.next().is_some() {
        return Err(unsupported("MP4 with several audio tracks"));
    }
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| malformed("its codec is unknown"))?;
    let (id, declared) = (track.id, track.num_frames);
    let parameters =
        AudioCodecParameters { codec: byte_order(parameters.codec, bytes), ..parameters.clone() };
    let mut packets = decoder(&parameters, bytes)?;
    while let Some(packet) = container.next_packet().map_err(failure)? {
        if packet.track_id == id {
            let block = packets.decode(&packet.data)?;
            recorder.append(block.rate_hz, block.channels).await?;
        }
    }
    let present = recorder.frames() as u64;
    if let Some(declared) = declared.filter(|declared| *declared > present) {
        return Err(FileProblem::Truncated { declared, present, unit: "samples" });
    }
    recorder.trim(mp4_edit::delay(bytes, recorder.rate_hz()), 0);
    recorder.finish()
}

/// Returns the codec of a track of the file `bytes` with its byte order, which symphonia 0.6.1 takes for little-endian where the code leaves it open.
fn byte_order(codec: AudioCodecId, bytes: &FileBytes) -> AudioCodecId {
    let is_open =
        mp4_edit::codec(bytes).is_some_and(|code| ["in24", "in32", "fl32", "fl64"].contains(&code.as_str()));
    if !is_open || mp4_edit::is_little_endian(bytes) {
        return codec;
    }
    match codec {
        CODEC_ID_PCM_S24LE => CODEC_ID_PCM_S24BE,
        CODEC_ID_PCM_S32LE => CODEC_ID_PCM_S32BE,
        CODEC_ID_PCM_F32LE => CODEC_ID_PCM_F32BE,
        CODEC_ID_PCM_F64LE => CODEC_ID_PCM_F64BE,
        other => other,
    }
}

fn unsupported_codec(codec: &str) -> FileProblem {
    unsupported(format!("audio with the codec \"{codec}\" in MP4"))
}

/// The bytes of a file as symphonia reads them.
struct Source {
    bytes: FileBytes,
    at: usize,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.behind(self.at).head(buffer.len());
        buffer[..read.len()].copy_from_slice(&read);
        self.at += read.len();
        Ok(read.len())
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => i64::try_from(at).ok(),
            SeekFrom::Current(by) => (self.at as i64).checked_add(by),
            SeekFrom::End(by) => (self.bytes.len() as i64).checked_add(by),
        };
        let at = at.and_then(|at| usize::try_from(at).ok());
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at as u64)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }
}

/// Creates the decoder of a track of the file `bytes`.
fn decoder(parameters: &AudioCodecParameters, bytes: &FileBytes) -> Result<Packets, FileProblem> {
    if parameters.codec == CODEC_ID_OPUS {
        return Err(unsupported("Opus in MP4"));
    }
    Packets::with_parameters(parameters).map_err(|problem| match problem {
        FileProblem::Malformed { reason } if parameters.codec == CODEC_ID_AAC => {
            unsupported(format!("AAC of a kind that is not supported ({reason}) in MP4"))
        }
        FileProblem::Malformed { reason } => unsupported_codec(&mp4_edit::codec(bytes).unwrap_or(reason)),
        other => other,
    })
}
