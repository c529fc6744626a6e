//! Bodies that pass between clients and apps.
//!
//! Promises: a body passes as it comes and says its length where that is known; of the fields behind it those pass that may.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tower::BoxError;

use super::connection::StreamGuard;
use crate::flow::TrailerFilter;

/// Body on its way from one side to the other. The client's connection counts as in use while it is kept.
pub(super) struct ProxiedBody<B> {
    inner: B,
    trailers: TrailerFilter,
    _in_use: Option<Arc<StreamGuard>>,
}

impl<B> ProxiedBody<B> {
    /// Passes a body on, with its trailers as far as the filter lets them.
    pub(super) fn new(inner: B, trailers: TrailerFilter, in_use: Option<Arc<StreamGuard>>) -> Self {
        Self { inner, trailers, _in_use: in_use }
    }
}

impl<B> Body for ProxiedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        polled.map(|frame| {
            frame.map(|frame| {
                let mut frame = frame.map_err(Into::into)?;
                if let Some(trailers) = frame.trailers_mut() {
                    self.trailers.apply(trailers);
                }
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
