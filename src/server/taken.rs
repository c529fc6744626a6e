//! An answer's body over HTTP/2, made so that its stream lasts until the client has taken it.
//!
//! hyper leaves a stream to itself once its last piece is queued, however long the client's window stays shut, and what is queued
//! stays in memory. Here the last byte is a piece of its own: hyper waits for a window that all the rest fits, and until then
//! the stream can be given up. It must not know when.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body in two pieces.
#[derive(Debug)]
pub(super) struct Taken {
    whole: Full<Bytes>,
    last: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// The same body, in two pieces.
    pub(super) fn new(whole: Full<Bytes>) -> Self {
        Self { whole, last: Bytes::new(), _room: None }
    }

    /// The same, where `room` has a place for it until it has been taken; else nothing.
    pub(super) fn within(room: Arc<Semaphore>, whole: Full<Bytes>) -> Self {
        room.try_acquire_owned()
            .map_or_else(|_full| Self::new(Full::default()), |permit| Self { _room: Some(permit), ..Self::new(whole) })
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.last.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.last)))));
        }
        let piece = ready!(Pin::new(&mut self.whole).poll_frame(context));
        Poll::Ready(piece.map(|piece| {
            piece.map(|frame| {
                frame.map_data(|mut data| {
                    self.last = data.split_off(data.len().saturating_sub(1).max(1).min(data.len()));
                    data
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_empty() && self.whole.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let last = u64::try_from(self.last.len()).unwrap_or(u64::MAX);
        self.whole
            .size_hint()
            .exact()
            .map_or_else(SizeHint::new, |whole| SizeHint::with_exact(whole.saturating_add(last)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_that_there_is_no_room_for_is_empty_until_another_was_taken() {
        let room = Arc::new(Semaphore::new(1));
        let body = || Taken::within(Arc::clone(&room), Full::new(Bytes::from_static(b"a page")));
        let first = body();
        assert_eq!(body().size_hint().exact(), Some(0));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "a page");
        assert_eq!(body().size_hint().exact(), Some(6));
    }

    #[tokio::test]
    async fn a_body_in_two_pieces_is_the_same_body() {
        for (text, pieces) in [("", 0), ("a", 1), ("ab", 2), ("a page", 2)] {
            let mut body = Taken::new(Full::new(Bytes::from(text)));
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            let (mut read, mut seen) = (String::new(), 0);
            while let Some(frame) = body.frame().await {
                read.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
                seen += 1;
                assert_eq!(body.is_end_stream(), seen == pieces);
                assert_eq!(body.size_hint().exact(), Some((text.len() - read.len()) as u64));
            }
            assert_eq!((read.as_str(), seen), (text, pieces));
        }
    }
}
