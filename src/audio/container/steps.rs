//! How decoders pause, and how their callers resume them.
//!
//! Input: the future of a decoder. Output: its result, or that it has paused. Invariants: a decoder waits for nothing but its caller, so it needs neither a
//! runtime nor a waker.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Pauses a decoder once, until [`step`] resumes it.
pub(super) async fn pause() {
    let mut has_paused = false;
    poll_fn(|_| if std::mem::replace(&mut has_paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Resumes a decoder up to its next pause, and returns its result where it has ended. It must not be resumed after that.
pub(in crate::audio) fn step<F: Future + ?Sized>(decoder: Pin<&mut F>) -> Option<F::Output> {
    match decoder.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// Resumes a decoder until it has ended.
pub(in crate::audio) fn run<F: Future>(decoder: F) -> F::Output {
    let mut decoder = pin!(decoder);
    loop {
        if let Some(result) = step(decoder.as_mut()) {
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_ends_after_as_many_steps_as_it_pauses() {
        let mut decoder = pin!(async {
            pause().await;
            pause().await;
            7
        });
        assert_eq!([(); 3].map(|()| step(decoder.as_mut())), [None, None, Some(7)]);
        assert_eq!(run(pause()), ());
    }
}
