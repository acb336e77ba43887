//! A FLAC file of silence: hours of audio in some kilobytes (RFC 9639).

use prost::bytes::BufMut;

/// The largest block.
const BLOCK: u32 = 65_535;

/// Returns a file of at least `seconds` of silence, one channel at 16 kHz.
pub fn silence(seconds: u32) -> Vec<u8> {
    let rate_hz = 16_000_u64;
    let blocks = (u64::from(seconds) * rate_hz).div_ceil(u64::from(BLOCK));
    let mut file = b"fLaC\x80\0\0\x22".to_vec();
    file.put_u16(BLOCK as u16);
    file.put_u16(BLOCK as u16);
    file.put_slice(&[0; 6]);
    // 20 bits of the rate, 3 of the channels less one, 5 of the sample size less one, 36 of the number of samples.
    file.put_u64(rate_hz << 44 | 15 << 36 | (blocks * u64::from(BLOCK)));
    file.put_slice(&[0; 16]);
    (0..blocks).for_each(|number| file.extend(frame(number as u32)));
    file
}

fn frame(number: u32) -> Vec<u8> {
    // The block size follows in 16 bits; rate and sample size are those of the file; one channel.
    let mut frame = vec![0xff, 0xf8, 0x70, 0x00];
    let mut text = [0; 4];
    let character = char::from_u32(number).expect("fewer frames than the surrogates begin at");
    frame.extend(character.encode_utf8(&mut text).as_bytes());
    frame.put_u16(BLOCK as u16 - 1);
    frame.push(crc(&frame, 8, 0x07) as u8);
    // A constant subframe of value 0.
    frame.extend([0, 0, 0]);
    let checksum = crc(&frame, 16, 0x8005) as u16;
    frame.put_u16(checksum);
    frame
}

fn crc(bytes: &[u8], bits: u32, polynomial: u32) -> u32 {
    let (top, mask) = (1 << (bits - 1), (1_u32 << bits) - 1);
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << (bits - 8), |crc, _| {
            if crc & top == 0 { crc << 1 & mask } else { (crc << 1 ^ polynomial) & mask }
        })
    })
}
