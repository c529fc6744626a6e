//! Requests that are given up: futures that are dropped after some polls.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Future that counts its polls, and is dropped when it has been polled so often without an end.
pub(super) struct DropAfter<F> {
    work: Option<Pin<Box<F>>>,
    left: usize,
    polls: usize,
}

impl<F: Future> DropAfter<F> {
    pub(super) fn new(polls: usize, work: F) -> Self {
        Self { work: Some(Box::pin(work)), left: polls, polls: 0 }
    }
}

impl<F: Future> Future for DropAfter<F> {
    /// The output, unless the future was dropped; and the number of polls.
    type Output = (Option<F::Output>, usize);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.polls < this.left
            && let Some(work) = &mut this.work
        {
            this.polls += 1;
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready((Some(output), this.polls));
            }
        }
        if this.polls < this.left {
            return Poll::Pending;
        }
        this.work = None;
        Poll::Ready((None, this.polls))
    }
}
