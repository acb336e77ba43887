//! The packets of several Opus streams, which one packet of a file holds (RFC 6716, appendix B).
//!
//! Input: a packet of a file, and the number of its streams.
//! Output: one packet per stream, in the framing that decoders expect.
//! Invariants: no bytes of a packet are dropped but padding.

use std::borrow::Cow;

/// The most frames that a packet may hold.
const FRAMES: usize = 48;

/// Splits a packet into those of its `count` streams; `None` where it is malformed.
pub(super) fn split(packet: &[u8], count: usize) -> Option<Vec<Cow<'_, [u8]>>> {
    let mut rest = packet;
    let mut packets = Vec::with_capacity(count);
    // All packets but the last one declare their own length.
    for _ in 1..count {
        let (packet, behind) = self_delimited(rest)?;
        packets.push(Cow::Owned(packet));
        rest = behind;
    }
    packets.push(Cow::Borrowed(rest));
    Some(packets)
}

/// Converts the packet at the beginning of `bytes`, which declares its own length, to one without that length, and
/// returns the bytes behind it.
fn self_delimited(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (toc, mut rest) = bytes.split_first()?;
    let mut packet = vec![*toc];
    let mut padding = 0;
    let (frames, is_variable) = match toc & 3 {
        0 => (1, false),
        1 => (2, false),
        2 => (2, true),
        _ => {
            let (count, behind) = rest.split_first()?;
            rest = behind;
            if count & 0x40 != 0 {
                (padding, rest) = padding_length(rest)?;
            }
            // The padding is left out, and with it the flag that announces it.
            packet.push(count & !0x40);
            (usize::from(count & 0x3f), count & 0x80 != 0)
        }
    };
    if frames == 0 || frames > FRAMES {
        return None;
    }
    // Only the length of the last frame is not part of an ordinary packet.
    let mut total = 0;
    let declared = if is_variable { frames } else { 1 };
    for index in 0..declared {
        let (length, field, behind) = frame_length(rest)?;
        if index + 1 < declared {
            packet.extend_from_slice(field);
        }
        total += if is_variable { length } else { frames * length };
        rest = behind;
    }
    let (data, behind) = rest.split_at_checked(total)?;
    packet.extend_from_slice(data);
    Some((packet, behind.get(padding..)?))
}

/// Reads the length of a frame, in one or two bytes, and returns it, its bytes, and the bytes behind them.
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let first = usize::from(*bytes.first()?);
    if first < 252 {
        return Some((first, &bytes[..1], &bytes[1..]));
    }
    let length = first + 4 * usize::from(*bytes.get(1)?);
    Some((length, &bytes[..2], &bytes[2..]))
}

/// Reads the length of the padding: bytes of 255, which stand for 254 bytes each, and a last one.
fn padding_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 255).count();
    let last = usize::from(*bytes.get(full)?);
    Some((254 * full + last, &bytes[full + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_packet_is_split() {
        for (first, expected) in [
            (&[0x78, 2, 1, 2][..], &[0x78, 1, 2][..]),
            (&[0x79, 1, 1, 2], &[0x79, 1, 2]),
            (&[0x7a, 1, 2, 1, 2, 3], &[0x7a, 1, 1, 2, 3]),
            (&[0x7b, 3, 1, 1, 2, 3], &[0x7b, 3, 1, 2, 3]),
            (&[0x7b, 0x82, 2, 1, 7, 8, 9], &[0x7b, 0x82, 2, 7, 8, 9]),
            (&[0x7b, 0x41, 2, 1, 5, 0, 0], &[0x7b, 1, 5]),
        ] {
            let packet = [first, &[0x78, 9, 9]].concat();
            let packets = split(&packet, 2).unwrap();
            assert_eq!(packets, [expected, &[0x78, 9, 9]], "{first:?}");
            for length in 0..first.len() {
                assert!(split(&packet[..length], 2).is_none(), "{first:?} cut to {length}");
            }
        }
        let long = [&[0x78, 252, 1][..], &[7; 256], &[1]].concat();
        assert_eq!(split(&long, 2).unwrap()[0].len(), 257);
        assert_eq!(split(&[3, 0], 1).unwrap(), [&[3, 0][..]], "one packet declares no length");
    }
}
