//! Encoding of samples to bytes, the inverse of the daemon's decoding.
//!
//! Input: one vector per channel, samples from -1 to 1. Output: interleaved bytes. Invariants: samples beyond full scale
//! are clipped, except in 32-bit floats.

use prost::bytes::Bytes;

use crate::proto::Encoding;

/// Returns the number of bytes per sample, or `None` for an encoding that is a file format or unspecified.
pub fn sample_bytes(encoding: Encoding) -> Option<usize> {
    match encoding {
        Encoding::Mulaw | Encoding::Alaw => Some(1),
        Encoding::PcmS16le => Some(2),
        Encoding::PcmS24le => Some(3),
        Encoding::PcmF32le | Encoding::PcmS32le => Some(4),
        Encoding::File | Encoding::Unspecified => None,
    }
}

/// Interleaves channels of equal length and encodes them.
///
/// # Panics
/// Panics for an encoding without a sample size (see [`sample_bytes`]).
pub fn encode(channels: &[Vec<f32>], encoding: Encoding) -> Bytes {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, channels, encoding);
    bytes.into()
}

/// Interleaves channels of equal length, encodes them and appends them to `bytes`.
///
/// # Panics
/// As [`encode`].
pub fn encode_into(bytes: &mut Vec<u8>, channels: &[Vec<f32>], encoding: Encoding) {
    let width = sample_bytes(encoding).expect("the encoding holds samples");
    let frames = channels.first().map_or(0, Vec::len);
    bytes.reserve(frames * channels.len() * width);
    for frame in 0..frames {
        for channel in channels {
            push(bytes, channel[frame], encoding);
        }
    }
}

fn push(bytes: &mut Vec<u8>, sample: f32, encoding: Encoding) {
    match encoding {
        Encoding::PcmF32le => bytes.extend(sample.to_le_bytes()),
        Encoding::PcmS16le => bytes.extend((quantize(sample, 16) as i16).to_le_bytes()),
        Encoding::PcmS24le => bytes.extend(&(quantize(sample, 24) as i32).to_le_bytes()[..3]),
        Encoding::PcmS32le => bytes.extend((quantize(sample, 32) as i32).to_le_bytes()),
        Encoding::Mulaw => bytes.push(mulaw(quantize(sample, 16) as i16)),
        Encoding::Alaw => bytes.push(alaw(quantize(sample, 16) as i16)),
        Encoding::File | Encoding::Unspecified => {}
    }
}

/// Quantizes a sample to the nearest integer of `bits` bits; full scale is `2^(bits - 1)`.
fn quantize(sample: f32, bits: u32) -> i64 {
    let scale = (1_i64 << (bits - 1)) as f64;
    (f64::from(sample) * scale).round().clamp(-scale, scale - 1.0) as i64
}

/// Encodes a 16-bit sample in µ-law (ITU-T G.711): 14 bits, bias 33 (132 at 16 bits), all bits inverted.
fn mulaw(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    let magnitude = (i32::from(sample).abs()).min(32_635) + BIAS;
    // Because of the bias, the highest set bit is bit 7 or above.
    let exponent = (31 - magnitude.leading_zeros()).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

/// Encodes a 16-bit sample in A-law (ITU-T G.711): 13 bits, even bits inverted.
fn alaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, i32::from(sample)) } else { (0, -i32::from(sample) - 1) };
    let magnitude = magnitude >> 4;
    let code = match magnitude {
        0..=31 => magnitude,
        _ => {
            let exponent = (31 - (magnitude as u32).leading_zeros()) as i32 - 3;
            (exponent << 4) | ((magnitude >> (exponent - 1)) & 0x0f)
        }
    };
    (sign | code as u8) ^ 0x55
}
