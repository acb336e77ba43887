//! µ-law and A-law decoding (ITU-T G.711), as tables from a byte to a sample with full scale ±1.
//!
//! Both laws store a sign, a segment number of three bits and a step of four bits within the segment. The
//! expanded values are 14 bit (µ-law) and 13 bit (A-law); as is usual, they are scaled to 16 bits.

use std::sync::LazyLock;

use dasp_sample::Sample;

/// The samples of all µ-law bytes. All bits of a byte are stored inverted.
pub(super) static MU_LAW: LazyLock<[f32; 256]> = LazyLock::new(|| table(mu_law));
/// The samples of all A-law bytes. Every other bit of a byte is stored inverted.
pub(super) static A_LAW: LazyLock<[f32; 256]> = LazyLock::new(|| table(a_law));

/// Builds the table of a law from its expansion to 16 bits.
fn table(expand: fn(u8) -> i16) -> [f32; 256] {
    std::array::from_fn(|byte| expand(byte as u8).to_sample())
}

/// Expands a µ-law byte. The encoder adds the bias before it determines the segment, so it is subtracted
/// here.
fn mu_law(byte: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let stored = !byte;
    let magnitude = (((i16::from(stored & 0x0f)) << 3) + BIAS) << ((stored & 0x70) >> 4);
    if stored & 0x80 == 0 { magnitude - BIAS } else { BIAS - magnitude }
}

/// Expands an A-law byte. Segment 0 is linear; the others have an implicit leading one. Values lie in the
/// middle of their step.
fn a_law(byte: u8) -> i16 {
    let stored = byte ^ 0x55;
    let step = (i16::from(stored & 0x0f)) << 4;
    let magnitude = match (stored & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if stored & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_recommendation() {
        // Both ends, both zeros, and one value in the middle of each law.
        for (byte, expected) in
            [(0x00, -32_124), (0x80, 32_124), (0xff, 0), (0x7f, 0), (0x9f, 8_316), (0xf0, 120)]
        {
            assert_eq!(mu_law(byte), expected, "µ-law {byte:#x}");
        }
        for (byte, expected) in
            [(0x2a, -32_256), (0xaa, 32_256), (0xd5, 8), (0x55, -8), (0x80, 5_504), (0xc5, 264)]
        {
            assert_eq!(a_law(byte), expected, "A-law {byte:#x}");
        }
    }

    #[test]
    fn both_laws_are_odd() {
        for byte in 0..=127_u8 {
            assert_eq!(mu_law(byte), -mu_law(byte | 0x80));
            assert_eq!(a_law(byte), -a_law(byte | 0x80));
        }
    }
}
