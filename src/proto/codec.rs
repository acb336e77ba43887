//! The codec of all messages: protobuf, with a bound on what a request holds beside its audio.
//!
//! Input: the bytes of a message, decompressed. Output: the message, or a status. Invariant: a message is decoded only where the fields beside its audio
//! are few: millions of small fields would take a hundred times their size in memory.

use std::any::TypeId;
use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::{EvaluateRequest, GetCallRequest, ListCallsRequest, RecognizeRequest};
use super::{WatchAlertsRequest, WatchCallsRequest, WatchEventsRequest};

/// The most bytes of a request beside its audio.
pub const ENVELOPE_BYTES: usize = 64 * 1024;
/// The field of the chunk or clip in a request, and that of the audio in these.
const PART: u32 = 1;
const AUDIO: u32 = 5;

/// The bytes of a new buffer; a call has one for each direction, and a larger message makes it
/// grow. An event fits.
const BUFFER_BYTES: usize = 1024;
/// The encoded bytes of several messages, after which they are sent.
const YIELD_BYTES: usize = 32 * 1024;

/// Encodes `T` and decodes `U`.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T: Message, U> Encoder for BoundedCodec<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl<T, U: Message + Default + 'static> Decoder for BoundedCodec<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = message.remaining();
        if bytes > ENVELOPE_BYTES && is_request::<U>() {
            // The message lies in one buffer. Where it did not, its first part alone would not hold the audio.
            let beside = bytes - audio_bytes(message.chunk()).unwrap_or(0);
            if beside > ENVELOPE_BYTES {
                return Err(Status::invalid_argument(format!(
                    "message: {beside} bytes beside its audio; at most {ENVELOPE_BYTES} are allowed"
                )));
            }
        }
        let decoded = U::decode(message);
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("message: not protobuf: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Returns whether a message comes from a client. What the daemon sends has no bound.
fn is_request<U: 'static>() -> bool {
    let requests = [
        TypeId::of::<RecognizeRequest>(),
        TypeId::of::<EvaluateRequest>(),
        TypeId::of::<WatchEventsRequest>(),
        TypeId::of::<GetCallRequest>(),
        TypeId::of::<ListCallsRequest>(),
        TypeId::of::<WatchCallsRequest>(),
        TypeId::of::<WatchAlertsRequest>(),
    ];
    requests.contains(&TypeId::of::<U>())
}

/// Returns the bytes of the audio in a request; `None` where it has none, or is not protobuf.
fn audio_bytes(request: &[u8]) -> Option<usize> {
    field(field(request, PART)?, AUDIO).map(<[u8]>::len)
}

/// Returns the last occurrence of a field with a length, which is the one that counts.
fn field(mut message: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = None;
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        let length = match wire_type {
            WireType::Varint => {
                decode_varint(&mut message).ok()?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut message).ok()?).ok()?,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, rest) = message.split_at_checked(length)?;
        if tag == wanted && wire_type == WireType::LengthDelimited {
            found = Some(value);
        }
        message = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AudioChunk, EvaluateRequest, LabelledClip, RecognizeRequest};

    #[test]
    fn the_audio_of_both_requests_is_found() {
        let chunk =
            AudioChunk { stream_id: "call".into(), audio: vec![7; 70_000].into(), ..AudioChunk::default() };
        let request = RecognizeRequest { chunk: Some(chunk) };
        assert_eq!(audio_bytes(&request.encode_to_vec()), Some(70_000));
        let clip =
            LabelledClip { label: "anger".into(), audio: vec![7; 80_000].into(), ..LabelledClip::default() };
        let request = EvaluateRequest { clip: Some(clip) };
        assert_eq!(audio_bytes(&request.encode_to_vec()), Some(80_000));
        assert_eq!(audio_bytes(&[]), None);
        assert_eq!(audio_bytes(&[0xff; 40]), None);
        assert_eq!(audio_bytes(&[0x0a, 0x7f, 0]), None, "a length beyond the end");
    }
}
