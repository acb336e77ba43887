//! Elements of EBML (RFC 8794) and the lacing of Matroska's blocks (RFC 9559, section 10.3).
//!
//! Input: the bytes at the beginning of an element or of a block's frames.
//! Output: the element or the frames.

/// The identifiers of the elements that are read.
pub(super) mod id {
    pub(in super::super) const EBML: u32 = 0x1a45_dfa3;
    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const CLUSTER: u32 = 0x1f43_b675;
    pub(in super::super) const TRACKS: u32 = 0x1654_ae6b;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xae;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xd7;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(in super::super) const CONTENT_ENCODINGS: u32 = 0x6d80;
    pub(in super::super) const AUDIO: u32 = 0xe1;
    pub(in super::super) const SAMPLING_FREQUENCY: u32 = 0xb5;
    pub(in super::super) const CHANNELS: u32 = 0x9f;
    pub(in super::super) const BIT_DEPTH: u32 = 0x6264;
    pub(in super::super) const BLOCK_GROUP: u32 = 0xa0;
    pub(in super::super) const BLOCK: u32 = 0xa1;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(in super::super) const DISCARD_PADDING: u32 = 0x75a2;
}

/// The most bytes of an element's header: an identifier of four, and a length of eight.
pub(super) const LONGEST_HEADER: usize = 12;

/// The header of an element.
pub(super) struct Element {
    pub(super) id: u32,
    /// Bytes of the contents; `None` where unknown.
    pub(super) length: Option<u64>,
}

impl Element {
    /// Reads the header at the beginning of `bytes` and returns the bytes behind it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let width = bytes.first()?.leading_zeros() as usize + 1;
        let id = bytes.get(..width).filter(|_| width <= 4)?;
        let id = id.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let width = bytes.get(width)?.leading_zeros() + 1;
        let (length, rest) = number(&bytes[bytes.len().min(id_width(id))..])?;
        // All bits set mean that the length is unknown.
        let length = (length != (1 << (7 * width)) - 1).then_some(length);
        Some((Self { id, length }, rest))
    }
}

/// Returns the bytes of an identifier.
fn id_width(id: u32) -> usize {
    4 - id.leading_zeros() as usize / 8
}

/// Reads a number of up to eight bytes, whose first set bit gives the width, and returns the bytes behind it.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(width).filter(|_| width <= 8)?;
    let value = number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some((value & ((1 << (7 * width)) - 1), rest))
}

/// Returns the value of an unsigned number of up to eight bytes.
pub(super) fn unsigned(contents: &[u8]) -> u64 {
    contents.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Returns the value of a float of four or eight bytes; zero for another width.
pub(super) fn float(contents: &[u8]) -> f64 {
    match contents.len() {
        4 => f64::from(f32::from_bits(unsigned(contents) as u32)),
        8 => f64::from_bits(unsigned(contents)),
        _ => 0.0,
    }
}

/// Splits the contents of a block into its frames; `None` where their lengths contradict the block.
pub(super) fn frames(flags: u8, data: &[u8]) -> Option<Vec<&[u8]>> {
    let lacing = flags >> 1 & 3;
    if lacing == 0 {
        return Some(vec![data]);
    }
    let (count, mut data) = data.split_first()?;
    let count = usize::from(*count) + 1;
    let mut lengths = Vec::with_capacity(count);
    match lacing {
        1 => {
            for _ in 1..count {
                let full = data.iter().take_while(|byte| **byte == 255).count();
                lengths.push(255 * full + usize::from(*data.get(full)?));
                data = &data[full + 1..];
            }
        }
        2 => lengths.resize(count - 1, data.len() / count),
        _ => {
            for index in 1..count {
                let width = data.first()?.leading_zeros() + 1;
                let (value, rest) = number(data)?;
                data = rest;
                // All lengths but the first are differences, offset to be positive.
                let bias = if index == 1 { 0 } else { (1_i64 << (7 * width - 1)) - 1 };
                let previous = lengths.last().map_or(0, |length| *length as i64);
                lengths.push(usize::try_from(previous + value as i64 - bias).ok()?);
            }
        }
    }
    let mut frames = Vec::with_capacity(count);
    for length in lengths {
        let (frame, rest) = data.split_at_checked(length)?;
        frames.push(frame);
        data = rest;
    }
    frames.push(data);
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_known_and_unknown_length() {
        let (element, rest) = Element::read(&[0x1a, 0x45, 0xdf, 0xa3, 0x82, 7, 8]).unwrap();
        assert_eq!((element.id, element.length, rest), (id::EBML, Some(2), &[7, 8][..]));
        let (element, _) =
            Element::read(&[0x1f, 0x43, 0xb6, 0x75, 1, 255, 255, 255, 255, 255, 255, 255]).unwrap();
        assert_eq!((element.id, element.length), (id::CLUSTER, None));
        assert!(Element::read(&[0, 0x81, 1]).is_none() && Element::read(&[0xa3]).is_none());
    }

    #[test]
    fn every_lacing_splits_a_block() {
        let expected = [&[1, 1][..], &[2, 2, 2], &[3]];
        for (flags, head) in [(0x02, &[2, 2, 3][..]), (0x06, &[2, 0x82, 0xc0])] {
            let block = [head, &[1, 1, 2, 2, 2, 3]].concat();
            assert_eq!(frames(flags, &block).unwrap(), expected, "{flags}");
        }
        assert_eq!(frames(0x04, &[1, 1, 1, 2, 2]).unwrap(), [[1, 1], [2, 2]]);
        assert_eq!(frames(0, &[9]).unwrap(), [[9]]);
        assert!(frames(0x02, &[1, 200, 1]).is_none());
    }
}
