//! The body of a response that keeps its call open until it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::connection::OpenCall;

/// A body with the call that ends when the body is dropped.
pub(super) struct CountedBody {
    body: Body,
    _call: Option<OpenCall>,
}

impl CountedBody {
    /// Returns `body` as one that keeps `call` open.
    pub fn wrap(body: Body, call: Option<OpenCall>) -> Body {
        Body::new(Self { body, _call: call })
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
