//! Frame headers of MPEG audio (ISO/IEC 11172-3, section 2.4.2.3, and 13818-3).
//!
//! Input: the four bytes of a header.
//! Output: the length and the format of the frame.
//! Invariants: reserved values are no header.

/// Kilobits per second of MPEG-1 layers I, II and III and of MPEG-2 layer I and layers II and III.
const BITRATES: [[u16; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FrameHeader {
    /// What all frames of a recording share: version, layer, rate and whether there is one channel.
    pub(super) format: FrameFormat,
    /// Bytes of the frame with its header; zero where the bit rate is free, so that no header declares it.
    pub(super) bytes: usize,
    /// Whether a checksum of two bytes follows the header.
    pub(super) has_checksum: bool,
}

/// The format that all frames of a recording share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FrameFormat {
    pub(super) is_mpeg_1: bool,
    /// 1 to 3.
    pub(super) layer: u8,
    pub(super) rate_hz: u32,
    pub(super) is_mono: bool,
}

impl FrameHeader {
    /// Reads the header at the beginning of `bytes`; `None` where there is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, second, third, fourth, ..] = *bytes else { return None };
        let (version, layer) = (second >> 3 & 3, 4 - (second >> 1 & 3));
        let (bitrate, rate) = (usize::from(third >> 4), usize::from(third >> 2 & 3));
        if second & 0xe0 != 0xe0 || version == 1 || layer == 4 || bitrate == 15 || rate == 3 {
            return None;
        }
        let is_mpeg_1 = version == 3;
        // MPEG-2 halves the rates, and MPEG-2.5 (version 0) halves them again.
        let halvings = [2, 0, 1, 0][usize::from(version)];
        let rate_hz = [44_100, 48_000, 32_000][rate] >> halvings;
        let row = match (is_mpeg_1, layer) {
            (true, layer) => usize::from(layer) - 1,
            (false, 1) => 3,
            (false, _) => 4,
        };
        let bits = 1_000 * u32::from(BITRATES[row][bitrate]);
        let padding = u32::from(third >> 1 & 1);
        let format = FrameFormat { is_mpeg_1, layer, rate_hz, is_mono: fourth >> 6 == 3 };
        let bytes = match layer {
            1 => (12 * bits / rate_hz + padding) * 4,
            _ => format.samples() as u32 / 8 * bits / rate_hz + padding,
        };
        let bytes = if bits == 0 { 0 } else { bytes as usize };
        Some(Self { format, bytes, has_checksum: second & 1 == 0 })
    }
}

impl FrameFormat {
    /// Returns the samples per channel of one frame.
    pub(super) fn samples(self) -> usize {
        match (self.layer, self.is_mpeg_1) {
            (1, _) => 384,
            (3, false) => 576,
            _ => 1_152,
        }
    }

    /// Returns the bytes of the side information of layer III, which follows the header and the checksum.
    pub(super) fn side_bytes(self) -> usize {
        match (self.is_mpeg_1, self.is_mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        }
    }
}
