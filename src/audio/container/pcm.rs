//! Uncompressed samples of any width and byte order.
//!
//! Input: the bytes of interleaved samples and their layout.
//! Output: a [`Decoded`] with full scale ±1.
//! Invariants: an incomplete sample frame at the end is dropped, because programs that are interrupted while
//! they record leave one; every whole frame is decoded.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::super::g711::{A_LAW, MU_LAW};
use super::recorder::{Recorder, check_format};
use super::{Decoded, malformed, unsupported};

/// Samples per channel that are decoded at a time.
const BLOCK: usize = 8_192;

/// What the bytes of a sample stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Numbers {
    /// Offset binary: zero is half of the range.
    Unsigned,
    /// Two's complement.
    Signed,
    /// IEEE 754, full scale ±1.
    Float,
    /// µ-law (ITU-T G.711).
    MuLaw,
    /// A-law (ITU-T G.711).
    ALaw,
}

/// The layout of interleaved samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    pub(super) numbers: Numbers,
    /// Bytes of one sample of one channel.
    pub(super) bytes: usize,
    pub(super) big_endian: bool,
    /// Bits by which the bytes are shifted to the left, where a sample stands at the low end of its bytes.
    pub(super) shift: u32,
    pub(super) rate_hz: u32,
    pub(super) channels: usize,
}

impl Layout {
    /// Decodes `audio` into `recorder`.
    ///
    /// # Errors
    /// A rate, a number of channels or a width that is not supported; no whole sample frame; too many samples.
    pub(super) async fn decode(
        &self,
        audio: &FileBytes,
        mut recorder: Recorder,
    ) -> Result<Decoded, FileProblem> {
        check_format(self.rate_hz, self.channels)?;
        let frames = audio.len() / (self.bytes * self.channels).max(1);
        if frames == 0 {
            return Err(FileProblem::NoSamples);
        }
        recorder.expect(self.rate_hz, self.channels, frames)?;
        let block = BLOCK * self.channels * self.bytes;
        let mut planar = vec![Vec::with_capacity(BLOCK.min(frames)); self.channels];
        for audio in audio.first(frames * self.channels * self.bytes).pieces(block) {
            self.block(&audio, &mut planar)?;
            recorder.append(self.rate_hz, &planar).await?;
        }
        recorder.finish()
    }

    /// Decodes whole sample frames into one buffer per channel.
    ///
    /// # Errors
    /// A width that is not supported.
    pub(super) fn block(&self, audio: &[u8], out: &mut [Vec<f32>]) -> Result<(), FileProblem> {
        let (big, shift) = (self.big_endian, self.shift);
        match (self.numbers, self.bytes) {
            (Numbers::MuLaw, 1) => planar(audio, out, |[byte]| MU_LAW[usize::from(byte)]),
            (Numbers::ALaw, 1) => planar(audio, out, |[byte]| A_LAW[usize::from(byte)]),
            (Numbers::Unsigned, 1) => planar(audio, out, |[byte]| high(0, [byte ^ 0x80, 0, 0, 0])),
            (Numbers::Signed, 1) => planar(audio, out, |[byte]| high(shift, [byte, 0, 0, 0])),
            (Numbers::Signed, 2) => planar(audio, out, |bytes| {
                let [a, b] = big_endian(big, bytes);
                high(shift, [a, b, 0, 0])
            }),
            (Numbers::Signed, 3) => planar(audio, out, |bytes| {
                let [a, b, c] = big_endian(big, bytes);
                high(shift, [a, b, c, 0])
            }),
            (Numbers::Signed, 4) => planar(audio, out, |bytes| high(shift, big_endian(big, bytes))),
            (Numbers::Float, 4) => planar(audio, out, |bytes| f32::from_be_bytes(big_endian(big, bytes))),
            (Numbers::Float, 8) => {
                planar(audio, out, |bytes| f64::from_be_bytes(big_endian(big, bytes)) as f32);
            }
            (numbers, bytes) => {
                return Err(unsupported(format!("audio with {numbers:?} samples of {} bits", 8 * bytes)));
            }
        }
        Ok(())
    }
}

/// Deinterleaves samples of `N` bytes into one buffer per channel, and converts each with `sample`.
fn planar<const N: usize>(audio: &[u8], out: &mut [Vec<f32>], sample: impl Fn([u8; N]) -> f32) {
    let (samples, _) = audio.as_chunks::<N>();
    let count = out.len();
    for (channel, out) in out.iter_mut().enumerate() {
        out.clear();
        out.extend(samples.iter().skip(channel).step_by(count).map(|bytes| sample(*bytes)));
    }
}

/// Returns the bytes of a number with the most significant one first.
fn big_endian<const N: usize>(is_big: bool, mut bytes: [u8; N]) -> [u8; N] {
    if !is_big {
        bytes.reverse();
    }
    bytes
}

/// Converts the four most significant bytes of a sample, shifted to the left by `shift` bits, to full scale ±1.
fn high(shift: u32, bytes: [u8; 4]) -> f32 {
    (i32::from_be_bytes(bytes) << shift) as f32 / 2_147_483_648.0
}

/// Returns by how many bits the samples of `bits` bits in `bytes` bytes each, little-endian or big-endian, are
/// shifted to the left.
///
/// The standards place a sample at the high end of its bytes, and some programs at the low end. The contents
/// decide: unused bits at the low end are zero, and those at the high end repeat the sign.
///
/// # Errors
/// [`FileProblem::Malformed`] where neither holds, so that the header contradicts the samples.
pub(super) fn padding(bits: u32, bytes: usize, is_big: bool, audio: &FileBytes) -> Result<u32, FileProblem> {
    let unused = 8 * bytes as u32 - bits;
    if unused == 0 {
        return Ok(0);
    }
    let value = |sample: &[u8]| {
        let byte = |index: usize| u32::from(sample[if is_big { bytes - 1 - index } else { index }]);
        let value = (0..bytes).fold(0, |sum, index| sum | byte(index) << (8 * index));
        (value << (32 - 8 * bytes)) as i32
    };
    let all = |holds: &dyn Fn(i32) -> bool| {
        let mut pieces = audio.pieces(BLOCK * bytes);
        pieces.all(|piece| piece.chunks_exact(bytes).map(value).all(holds))
    };
    let at = 32 - 8 * bytes as u32;
    if all(&|value| (value as u32 >> at) & ((1 << unused) - 1) == 0) {
        return Ok(0);
    }
    // Samples of 12 and 20 bits that use the low bits too have been rounded up to whole bytes.
    if unused < 8 {
        return Ok(0);
    }
    if all(&|value| (value << unused) >> unused == value) {
        return Ok(unused);
    }
    Err(malformed(&format!(
        "its header declares samples of {bits} bits in {bytes} bytes, and the samples use more bits"
    )))
}
