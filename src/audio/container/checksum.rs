//! Cyclic redundancy checks of FLAC (RFC 9639, section 9) and Ogg (RFC 3533, section 6).
//!
//! Input: bytes. Output: their checksum, most significant bit first, without a final inversion.

/// Remainders of all bytes for the polynomial of FLAC's frame headers.
const CRC_8: [u32; 256] = table(0x07, 8);
/// Remainders of all bytes for the polynomial of FLAC's frames.
const CRC_16: [u32; 256] = table(0x8005, 16);
/// Remainders of all bytes for the polynomial of Ogg's pages.
const CRC_32: [u32; 256] = table(0x04c1_1db7, 32);

const fn table(polynomial: u32, width: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u32) << (width - 8);
        let mut bit = 0;
        while bit < 8 {
            let is_set = value >> (width - 1) & 1 == 1;
            value = value << 1 ^ if is_set { polynomial } else { 0 };
            bit += 1;
        }
        table[byte] = if width == 32 { value } else { value & ((1 << width) - 1) };
        byte += 1;
    }
    table
}

/// Returns the checksum of a FLAC frame header.
pub(super) fn crc_8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| CRC_8[usize::from(crc ^ byte)] as u8)
}

/// Continues the checksum of a FLAC frame with one byte. It is zero behind a frame's own checksum.
pub(super) fn crc_16(crc: u16, byte: u8) -> u16 {
    crc << 8 ^ CRC_16[usize::from((crc >> 8) as u8 ^ byte)] as u16
}

/// Continues the checksum of an Ogg page.
pub(super) fn crc_32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| crc << 8 ^ CRC_32[usize::from((crc >> 24) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_of_the_usual_test_string() {
        // CRC-8/SMBUS, CRC-16/UMTS and a CRC-32 without inversions.
        assert_eq!(crc_8(b"123456789"), 0xf4);
        assert_eq!(b"123456789".iter().fold(0, |crc, byte| crc_16(crc, *byte)), 0xfee8);
        assert_eq!(crc_32(0, b"123456789"), 0x89a1_897f);
    }
}
