//! Runs a future on a shard's thread, which is outside of every async runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a future by unparking the thread that runs it.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The thread that runs futures.
pub(super) struct Parker(Waker);

impl Parker {
    /// For the current thread.
    pub fn new() -> Self {
        Self(Arc::new(Unpark(thread::current())).into())
    }

    /// Runs `future` to its end; the thread sleeps while the future is pending.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(&self.0);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}
