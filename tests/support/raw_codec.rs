//! A gRPC codec whose messages are any bytes, for messages that no client of the protocol would send.

use prost::bytes::{Buf, BufMut};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The bytes of a message.
#[derive(Debug, Clone)]
pub struct RawBytes(pub Vec<u8>);

/// Sends and receives [`RawBytes`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = RawBytes;
    type Decode = RawBytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = RawBytes;
    type Error = Status;

    fn encode(&mut self, item: RawBytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item.0);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = RawBytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<RawBytes>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(RawBytes(bytes)))
    }
}
