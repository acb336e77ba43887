//! WAV files of every kind, built byte by byte, and Ogg pages with valid checksums after any change.

pub const PCM: u16 = 1;
pub const FLOAT: u16 = 3;
pub const A_LAW: u16 = 6;
pub const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

/// A WAV file with the plain 44-byte header.
pub fn wav(tag: u16, bits: u16, channels: u16, rate_hz: u32, audio: &[u8]) -> Vec<u8> {
    file(&format_chunk(tag, bits, channels, rate_hz), audio)
}

/// The same with the longer header (WAVEFORMATEXTENSIBLE), which identifies the encoding by a GUID.
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

/// The Ogg file with a valid checksum in each page.
pub fn with_checksums(mut file: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = file.get(at..at + 27).filter(|header| header.starts_with(b"OggS")) {
        let segments = usize::from(header[26]);
        let Some(sizes) = file.get(at + 27..at + 27 + segments) else { break };
        let length = 27 + segments + sizes.iter().map(|size| usize::from(*size)).sum::<usize>();
        let Some(page) = file.get_mut(at..at + length) else { break };
        page[22..26].fill(0);
        let checksum = checksum(page);
        page[22..26].copy_from_slice(&checksum.to_le_bytes());
        at += length;
    }
    file
}

/// The checksum of one page, RFC 3533: CRC-32 with the polynomial 0x04c11db7, neither reflected nor inverted.
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0_u32, |crc, byte| {
        let crc = crc ^ u32::from(*byte) << 24;
        (0..8).fold(crc, |crc, _| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 })
    })
}
