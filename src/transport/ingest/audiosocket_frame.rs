//! The frames of AudioSocket: a byte for the kind, two bytes for the length in network order, and the payload.
//!
//! Input: the bytes of a connection. Output: frames. Invariant: a frame holds at most 65,535 bytes, so reading one needs no other limit.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt};
use uuid::Uuid;

/// The frame that ends a call.
pub(super) const HANG_UP: [u8; 3] = [0, 0, 0];
/// The kind of audio at 8 kHz, which Asterisk sends where it is not configured otherwise.
pub(super) const AUDIO_8_KHZ: u8 = 0x10;
/// Rates of the kinds from [`AUDIO_8_KHZ`] on.
const RATES: [u32; 9] = [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000];
/// The bytes before the payload.
const HEADER_BYTES: usize = 3;

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    HangUp,
    /// The id of the connection; `None` where the payload is not 16 bytes.
    Id(Option<Uuid>),
    /// A key that was pressed.
    Dtmf,
    /// Signed 16-bit little-endian samples of one channel.
    Audio {
        kind: u8,
        rate: u32,
        samples: Vec<u8>,
    },
    /// An error of Asterisk: 1 hang-up, 2 forwarding, 4 memory.
    Error {
        code: u8,
    },
    /// A kind that is not known.
    Other {
        kind: u8,
    },
}

impl Frame {
    fn new(kind: u8, payload: Vec<u8>) -> Self {
        match kind {
            0x00 => Self::HangUp,
            0x01 => Self::Id(Uuid::from_slice(&payload).ok()),
            0x03 => Self::Dtmf,
            0xff => Self::Error { code: payload.first().copied().unwrap_or_default() },
            kind => match rate_of(kind) {
                Some(rate) => Self::Audio { kind, rate, samples: payload },
                None => Self::Other { kind },
            },
        }
    }
}

/// Returns the sample rate of a kind of audio.
fn rate_of(kind: u8) -> Option<u32> {
    RATES.get(usize::from(kind.checked_sub(AUDIO_8_KHZ)?)).copied()
}

/// Reads the next frame; `None` where the connection ends before it. Not cancel safe.
///
/// # Errors
/// Returns [`ErrorKind::UnexpectedEof`] where the connection ends inside a frame, and errors of the connection.
pub(super) async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER_BYTES];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await?;
    let [kind, high, low] = header;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    reader.read_exact(&mut payload).await.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            io::Error::new(ErrorKind::UnexpectedEof, "the connection ended inside a frame")
        }
        _ => error,
    })?;
    Ok(Some(Frame::new(kind, payload)))
}

/// Returns a frame of 20 ms of silence.
pub(super) fn silence(kind: u8) -> Vec<u8> {
    let samples = rate_of(kind).unwrap_or(RATES[0]) / 50;
    let bytes = u16::try_from(samples * 2).unwrap_or(u16::MAX);
    let mut frame = vec![kind];
    frame.extend(bytes.to_be_bytes());
    frame.resize(HEADER_BYTES + usize::from(bytes), 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(mut bytes: &[u8]) -> (Vec<Frame>, Option<ErrorKind>) {
        let mut frames = Vec::new();
        loop {
            match read_frame(&mut bytes).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error.kind())),
            }
        }
    }

    #[tokio::test]
    async fn each_kind_is_read() {
        let id = Uuid::from_u128(7);
        let mut bytes = vec![0x01, 0, 16];
        bytes.extend(id.as_bytes());
        bytes.extend([
            0x03, 0, 1, b'5', 0x12, 0, 4, 1, 2, 3, 4, 0x18, 0, 0, 0xff, 0, 1, 4, 0x42, 0, 2, 9, 9, 0, 0, 0,
        ]);
        let expected = [
            Frame::Id(Some(id)),
            Frame::Dtmf,
            Frame::Audio { kind: 0x12, rate: 16_000, samples: vec![1, 2, 3, 4] },
            Frame::Audio { kind: 0x18, rate: 192_000, samples: vec![] },
            Frame::Error { code: 4 },
            Frame::Other { kind: 0x42 },
            Frame::HangUp,
        ];
        assert_eq!(frames(&bytes).await, (expected.to_vec(), None));
        for cut in 1..3 {
            assert_eq!(frames(&bytes[..cut]).await, (vec![], Some(ErrorKind::UnexpectedEof)), "{cut}");
        }
        assert_eq!(frames(&bytes[..18]).await, (vec![], Some(ErrorKind::UnexpectedEof)));
        // Cut anywhere: the frames before are read.
        let ends = [19, 23, 30, 33, 37, 42, 45];
        for cut in 1..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let error = (!ends.contains(&cut)).then_some(ErrorKind::UnexpectedEof);
            assert_eq!(frames(&bytes[..cut]).await, (expected[..whole].to_vec(), error), "{cut}");
        }
        assert_eq!(frames(&[0x01, 0, 1, 9]).await, (vec![Frame::Id(None)], None));
        assert_eq!(frames(&[0x19, 0, 0]).await, (vec![Frame::Other { kind: 0x19 }], None));
    }

    #[test]
    fn silence_is_20_ms_of_the_same_kind() {
        for (kind, bytes) in [(0x10, 320), (0x12, 640), (0x15, 1_764), (0x18, 7_680)] {
            let frame = silence(kind);
            assert_eq!((frame[0], frame.len()), (kind, 3 + bytes), "{kind:#x}");
            assert_eq!(usize::from(u16::from_be_bytes([frame[1], frame[2]])), bytes);
        }
    }
}
