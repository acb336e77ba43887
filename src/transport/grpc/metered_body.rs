//! The body of a request, whose unfinished messages use the budget of memory.
//!
//! Input: frames of a gRPC request body: messages, each behind its length. Output: the same frames, or a status beyond a limit. Invariants: bytes are
//! reserved as they arrive, not as a client announces them; the reservation of a message ends when the next one begins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tonic::Status;

use super::status::exhausted;
use crate::stream::{MemoryBudget, MemoryReservation};

/// The compression flag and the length in front of a message.
const PREFIX: usize = 5;
/// Messages up to this size are not counted: every stream may hold one.
const UNCOUNTED: usize = 64 * 1024;

/// What a call and the body of its request share.
#[derive(Debug, Clone)]
pub(super) struct BodyState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The largest message that the call may send from now on, in bytes. Its session lowers it once the stream is one of raw samples.
    limit: AtomicUsize,
    is_cut_off: AtomicBool,
}

impl Default for BodyState {
    fn default() -> Self {
        Self(Arc::new(Shared { limit: AtomicUsize::new(usize::MAX), is_cut_off: AtomicBool::new(false) }))
    }
}

impl BodyState {
    /// Sets the largest message.
    pub fn lower_limit_to(&self, bytes: usize) {
        self.0.limit.store(bytes, Ordering::Relaxed);
    }

    fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Returns whether the body has ended without its end, as where the client cancels its call. The messages of the call end in the same way in either case.
    pub fn is_cut_off(&self) -> bool {
        self.0.is_cut_off.load(Ordering::Relaxed)
    }
}

/// A request body that is counted.
pub(super) struct MeteredBody {
    body: Body,
    state: BodyState,
    reservation: MemoryReservation,
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    prefixed: usize,
    /// Bytes of the message that have come, and its length.
    message: (usize, usize),
}

impl MeteredBody {
    pub fn new(body: Body, state: BodyState, budget: &MemoryBudget) -> Self {
        let reservation = budget.reservation();
        Self { body, state, reservation, prefix: [0; PREFIX], prefixed: 0, message: (0, 0) }
    }

    /// Counts the bytes of a frame.
    fn count(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        let exhausted = |out: crate::stream::OutOfMemory| exhausted(format!("audio: {out}"));
        while !bytes.is_empty() {
            if self.prefixed < PREFIX {
                let taken = bytes.len().min(PREFIX - self.prefixed);
                self.prefix[self.prefixed..self.prefixed + taken].copy_from_slice(&bytes[..taken]);
                self.prefixed += taken;
                bytes = &bytes[taken..];
                if self.prefixed == PREFIX {
                    self.begin_message()?;
                }
                continue;
            }
            let (received, length) = &mut self.message;
            let taken = bytes.len().min(*length - *received);
            *received += taken;
            bytes = &bytes[taken..];
            if *received > UNCOUNTED {
                self.reservation.set(*received).map_err(exhausted)?;
            }
            if *received == *length {
                self.prefixed = 0;
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<(), Status> {
        let [_, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        let limit = self.state.limit();
        if length > limit {
            // The code and the form of tonic's own refusal of a message that is too large.
            return Err(Status::out_of_range(format!(
                "a message of {length} bytes, over the limit of {limit} bytes"
            )));
        }
        // The message before has been decoded, or is about to be.
        if self.message.0 > UNCOUNTED {
            let _ = self.reservation.set(0);
        }
        self.message = (0, length);
        if length == 0 {
            self.prefixed = 0;
        }
        Ok(())
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
            && let Err(status) = self.count(bytes)
        {
            return Poll::Ready(Some(Err(axum::Error::new(status))));
        }
        if matches!(frame, Some(Err(_))) {
            self.state.0.is_cut_off.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, length));
        bytes
    }

    #[test]
    fn unfinished_messages_use_the_budget_as_they_arrive() {
        let budget = MemoryBudget::new(200_000);
        let mut one = MeteredBody::new(Body::empty(), BodyState::default(), &budget);
        let mut other = MeteredBody::new(Body::empty(), BodyState::default(), &budget);
        let large = message(150_000);
        one.count(&large[..140_000]).unwrap();
        other.count(&large[..50_000]).unwrap();
        let refused = other.count(&large[50_000..100_000]).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
        one.count(&large[140_000..]).unwrap();
        one.count(&message(0)).unwrap();
        other.count(&large[100_000..]).unwrap();
    }

    #[test]
    fn messages_may_be_cut_anywhere_and_are_limited_one_by_one() {
        let limit = BodyState::default();
        let mut body = MeteredBody::new(Body::empty(), limit.clone(), &MemoryBudget::new(0));
        let messages = [message(3), message(0), message(1_000)].concat();
        messages.chunks(1).for_each(|byte| body.count(byte).unwrap());
        limit.lower_limit_to(999);
        body.count(&message(999)).unwrap();
        assert_eq!(body.count(&message(1_000)).unwrap_err().code(), Code::OutOfRange);
    }
}
