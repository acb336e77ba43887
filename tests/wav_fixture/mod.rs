//! WAV files of every kind, byte by byte.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

pub const PCM: u16 = 1;
pub const FLOAT: u16 = 3;
pub const A_LAW: u16 = 6;
pub const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

/// A WAV file with the plain 44-byte header.
pub fn wav(tag: u16, bits: u16, channels: u16, rate_hz: u32, audio: &[u8]) -> Vec<u8> {
    file(&format_chunk(tag, bits, channels, rate_hz), audio)
}

/// The same with the longer header (WAVEFORMATEXTENSIBLE), where the kind stands in a GUID.
pub fn extensible(tag: u16, bits: u16, channels: u16, rate_hz: u32, audio: &[u8]) -> Vec<u8> {
    let mut format = format_chunk(EXTENSIBLE, bits, channels, rate_hz);
    format.extend(22_u16.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format.extend(((1_u32 << channels) - 1).to_le_bytes());
    format.extend(tag.to_le_bytes());
    format.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    file(&format, audio)
}

fn format_chunk(tag: u16, bits: u16, channels: u16, rate_hz: u32) -> Vec<u8> {
    let frame_bytes = bits / 8 * channels;
    let mut format = tag.to_le_bytes().to_vec();
    format.extend(channels.to_le_bytes());
    format.extend(rate_hz.to_le_bytes());
    format.extend(rate_hz.wrapping_mul(u32::from(frame_bytes)).to_le_bytes());
    format.extend(frame_bytes.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format
}

fn file(format: &[u8], audio: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((20 + format.len() as u32 + audio.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend((format.len() as u32).to_le_bytes());
    bytes.extend(format);
    bytes.extend(b"data");
    bytes.extend((audio.len() as u32).to_le_bytes());
    bytes.extend(audio);
    bytes
}
