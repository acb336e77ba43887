//! ADPCM in WAV: the variants of the IMA and of Microsoft.
//!
//! Input: blocks of the size that the format chunk declares; the last one may be incomplete.
//! Output: a [`Decoded`].
//! Invariants: a number of samples that another chunk declares is used only where it ends within the last block.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::packets::{Packets, discrete};
use super::recorder::{Recorder, check_format};
use super::wave_format::WaveFormat;
use super::{Decoded, malformed, unsupported};

/// The predictor coefficients that every file of Microsoft's variant declares. The decoder has no others.
const COEFFICIENTS: [[i16; 2]; 7] =
    [[256, 0], [512, -256], [0, 0], [192, 64], [240, 0], [460, -208], [392, -232]];

/// Decodes the contents of a data chunk; `samples` is the number per channel that a fact chunk declares.
///
/// # Errors
/// Blocks that are too small, more than two channels, and whatever the decoder refuses.
pub(super) async fn decode(
    format: &WaveFormat,
    is_microsoft: bool,
    audio: &FileBytes,
    samples: Option<usize>,
    mut recorder: Recorder,
) -> Result<Decoded, FileProblem> {
    check_format(format.rate_hz, format.channels)?;
    if format.channels > 2 {
        return Err(unsupported(format!("ADPCM of {} channels in WAV", format.channels)));
    }
    if is_microsoft {
        check_coefficients(&format.extra)?;
    }
    let whole = frames(is_microsoft, format.channels, format.block);
    if whole == 0 {
        return Err(malformed(&format!("its blocks of {} bytes are too small for ADPCM", format.block)));
    }
    let mut packets = packets(format, is_microsoft, whole)?;
    let mut padded = vec![0; format.block];
    let mut missing = 0;
    for block in audio.pieces(format.block) {
        padded[..block.len()].copy_from_slice(&block);
        padded[block.len()..].fill(0);
        missing = whole - frames(is_microsoft, format.channels, block.len());
        if missing == whole {
            break;
        }
        let decoded = packets.decode_timed(&padded, whole)?;
        recorder.append(decoded.rate_hz, decoded.channels).await?;
    }
    recorder.trim(0, missing % whole);
    if let Some(surplus) = samples.and_then(|samples| recorder.frames().checked_sub(samples))
        && surplus < whole - missing % whole
    {
        recorder.trim(0, surplus);
    }
    recorder.finish()
}

/// Returns the samples per channel in a block of `bytes` bytes; zero where not even its header is complete.
fn frames(is_microsoft: bool, channels: usize, bytes: usize) -> usize {
    let (header, in_header) = if is_microsoft { (7, 2) } else { (4, 1) };
    let Some(nibbles) = bytes.checked_sub(header * channels) else { return 0 };
    let frames = 2 * nibbles / channels;
    // The IMA's variant alternates four bytes of each channel.
    in_header + if is_microsoft || channels == 1 { frames } else { frames / 8 * 8 }
}

fn packets(format: &WaveFormat, is_microsoft: bool, whole: usize) -> Result<Packets, FileProblem> {
    let mut parameters = AudioCodecParameters::new();
    parameters
        .for_codec(if is_microsoft { CODEC_ID_ADPCM_MS } else { CODEC_ID_ADPCM_IMA_WAV })
        .with_sample_rate(format.rate_hz)
        .with_channels(discrete(format.channels))
        .with_max_frames_per_packet(whole as u64)
        .with_frames_per_block(whole as u64);
    Packets::with_parameters(&parameters)
}

/// Refuses predictor coefficients other than the usual ones. They stand behind two lengths and their number.
fn check_coefficients(extra: &[u8]) -> Result<(), FileProblem> {
    let declared = extra.get(6..).unwrap_or_default().as_chunks::<2>().0;
    let usual = COEFFICIENTS.as_flattened().iter();
    if declared.iter().zip(usual).all(|(declared, usual)| i16::from_le_bytes(*declared) == *usual) {
        return Ok(());
    }
    Err(unsupported("Microsoft ADPCM with unusual predictor coefficients in WAV"))
}
