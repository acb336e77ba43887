//! Reader of MP4, M4A and QuickTime with AAC-LC, Apple Lossless, FLAC, Opus, MPEG audio or PCM.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`] with the samples that an edit list selects.
//! Invariants: the container is read by symphonia; a file that ends within a box and a file with several audio tracks are refused.

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_PCM_F32BE,
    CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE,
    CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::default::formats::IsoMp4Reader;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::mp4_source::Source;
use super::mp4_track::Description;
use super::mpeg_header::FrameHeader;
use super::packets::{Packets, failure};
use super::recorder::Recorder;
use super::{Decoded, aac, malformed, mp4_boxes, mp4_edit, several_recordings, unsupported};

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, mut recorder: Recorder) -> Result<Decoded, FileProblem> {
    check(bytes)?;
    let description = Description::of(bytes);
    let mut source = MediaSourceStream::new(Box::new(Source::new(bytes)), Default::default());
    // The reader expects that the first four bytes have been read to recognise the format.
    source.read_be_u32().map_err(|error| malformed(&error.to_string()))?;
    let mut container = IsoMp4Reader::try_new(source, FormatOptions::default())
        .map_err(|error| refusal(error, description.as_ref()))?;
    let mut tracks = container
        .tracks()
        .iter()
        .filter(|track| track.codec_params.as_ref().is_some_and(|parameters| parameters.audio().is_some()));
    let track = tracks.next().ok_or_else(|| match &description {
        Some(description) => unsupported(format!("audio with {} in MP4", description.name())),
        None => malformed("it has no audio track that is supported"),
    })?;
    if tracks.next().is_some() {
        return Err(unsupported("MP4 with several audio tracks"));
    }
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let parameters = parameters.ok_or_else(|| malformed("its codec is unknown"))?.clone();
    let description = description.ok_or_else(|| malformed("it does not describe its audio"))?;
    let (id, declared) = (track.id, track.num_frames);
    let mut packets = None;
    while let Some(packet) = container.next_packet().map_err(failure)? {
        if packet.track_id == id {
            let packets = match &mut packets {
                Some(packets) => packets,
                None => packets.insert(decoder(parameters.clone(), &description, &packet.data)?),
            };
            let block = packets.decode(&packet.data)?;
            recorder.append(block.rate_hz, block.channels).await?;
        }
    }
    // The decoder of Opus has removed the delay, which positions count.
    let removed = packets.map_or(0, |packets| packets.delay());
    let present = recorder.frames() + removed;
    if let Some(declared) = declared.filter(|declared| *declared > present as u64) {
        return Err(FileProblem::Truncated { declared, present: present as u64, unit: "samples" });
    }
    let kept = mp4_edit::kept(bytes, recorder.rate_hz(), present)?;
    recorder.trim(kept.start.saturating_sub(removed), present - kept.end);
    recorder.finish()
}

/// Refuses a file that is not whole, or that holds more or less than one recording.
fn check(bytes: &FileBytes) -> Result<(), FileProblem> {
    mp4_boxes::check(bytes)?;
    match mp4_boxes::boxes(bytes).filter(|(kind, _)| kind == b"moov").count() {
        0 => Err(malformed(
            "it has no box moov, which describes its audio: its recording was not finished, or it is a part of a \
             fragmented recording without the beginning",
        )),
        1 => Ok(()),
        _ => Err(several_recordings()),
    }
}

/// Returns the problem of a file that symphonia refuses. It reads PCM of one or two channels and no signed samples of 8 bits, and does not name what it
/// refuses.
fn refusal(error: Error, description: Option<&Description>) -> FileProblem {
    match (error, description) {
        (Error::DecodeError("isomp4: invalid number of channels"), Some(description)) => {
            unsupported(format!("PCM of {} channels in MP4 or QuickTime", description.channels()))
        }
        (Error::DecodeError("isomp4: invalid pcm sample size"), Some(description)) => unsupported(format!(
            "PCM of {} bits with the code \"{}\" in MP4 or QuickTime",
            description.bits(),
            description.code().unwrap_or_default().escape_ascii(),
        )),
        (error, _) => failure(error),
    }
}

/// Creates the decoder of a track, whose first packet is `first`.
fn decoder(
    mut parameters: AudioCodecParameters,
    description: &Description,
    first: &[u8],
) -> Result<Packets, FileProblem> {
    if parameters.codec == CODEC_ID_OPUS {
        let header =
            description.opus_header().ok_or_else(|| malformed("its description of Opus is malformed"))?;
        return Packets::opus(&header);
    }
    if parameters.codec == CODEC_ID_AAC {
        let config = parameters.extra_data.as_deref().unwrap_or_default();
        return aac::decoder(parameters.sample_rate.unwrap_or(0), 2, config, "MP4");
    }
    if parameters.codec == CODEC_ID_MP3 {
        // One object type stands for all layers.
        let layer = FrameHeader::read(first).map_or(3, |header| header.format.layer);
        parameters.codec = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3][usize::from(layer) - 1];
    }
    parameters.codec = byte_order(parameters.codec, description);
    Packets::with_parameters(&parameters).map_err(|problem| match problem {
        FileProblem::Malformed { .. } => unsupported(format!("audio with {} in MP4", description.name())),
        other => other,
    })
}

/// Returns the codec of a track with its byte order. The codes `in24`, `in32`, `fl32` and `fl64` leave it to a box, and stand for big-endian samples without it
/// (Apple, QuickTime File Format, "Sound Sample Description Extensions"); symphonia 0.6.1 takes them for little-endian.
fn byte_order(codec: AudioCodecId, description: &Description) -> AudioCodecId {
    let is_open = matches!(description.code().as_ref(), Some(b"in24" | b"in32" | b"fl32" | b"fl64"));
    if !is_open || description.is_little_endian() {
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
