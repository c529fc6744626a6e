//! Bodies of requests to an upstream, and how far they have come.
//!
//! Promises: a body may take any time and any length, but not stand still.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tower::BoxError;

use super::error::Error;

/// Body of a request to an upstream, which may stream.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Returns the body of a request without one.
#[must_use]
pub fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Body of a request as hyper sends it.
pub(super) struct SentBody {
    inner: RequestBody,
    /// Absent for a body that is empty.
    upload: Option<Arc<Upload>>,
}

/// Progress of a request's body.
pub(super) struct Upload {
    progress: Mutex<Progress>,
}

#[derive(Clone, Copy)]
struct Progress {
    stage: UploadStage,
    since: Instant,
}

/// What a request's body waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadStage {
    /// The client, to send more.
    Client,
    /// The upstream, to take more.
    Upstream,
    /// Nothing: it is sent.
    Sent,
    /// Nothing: the client broke off.
    BrokenOff,
}

impl SentBody {
    /// Watches a body, unless it is empty.
    pub(super) fn new(inner: RequestBody) -> (Self, Option<Arc<Upload>>) {
        let upload = (!inner.is_end_stream()).then(|| Arc::new(Upload::new()));
        (Self { inner, upload: upload.clone() }, upload)
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self { inner: empty(), upload: None }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Some(upload) = &self.upload {
            upload.advance(match &polled {
                Poll::Pending => UploadStage::Client,
                Poll::Ready(None) => UploadStage::Sent,
                Poll::Ready(Some(Err(_))) => UploadStage::BrokenOff,
                Poll::Ready(Some(Ok(_))) if self.inner.is_end_stream() => UploadStage::Sent,
                Poll::Ready(Some(Ok(_))) => UploadStage::Upstream,
            });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Upload {
    fn new() -> Self {
        Self { progress: Mutex::new(Progress { stage: UploadStage::Upstream, since: Instant::now() }) }
    }

    fn progress(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, stage: UploadStage) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        // Being asked again and again for what the client has not sent is no progress.
        if progress.stage != stage || stage == UploadStage::Upstream {
            *progress = Progress { stage, since: Instant::now() };
        }
    }

    /// Returns `true` once all of it has been sent.
    pub(super) fn is_sent(&self) -> bool {
        self.progress().stage == UploadStage::Sent
    }

    /// Returns `true` if the client broke off.
    pub(super) fn is_broken_off(&self) -> bool {
        self.progress().stage == UploadStage::BrokenOff
    }

    /// Returns what `response` does, unless the body stands still for `silence`, or no response comes within `first_byte` of its
    /// end.
    pub(super) async fn watch<T>(
        &self,
        response: impl Future<Output = T>,
        silence: Duration,
        first_byte: Duration,
    ) -> Result<T, Error> {
        tokio::pin!(response);
        loop {
            let Progress { stage, since } = self.progress();
            let limit = if stage == UploadStage::Sent { first_byte } else { silence };
            tokio::select! {
                biased;
                outcome = &mut response => return Ok(outcome),
                () = sleep_until(since + limit) => {}
            }
            let now = self.progress();
            if now.since == since && now.stage == stage {
                return Err(match stage {
                    UploadStage::Client => {
                        Error::Request(format!("sent nothing for {}", humantime::format_duration(limit)))
                    }
                    UploadStage::BrokenOff => Error::Request("broke off".to_owned()),
                    UploadStage::Upstream | UploadStage::Sent => Error::Timeout(limit),
                });
            }
        }
    }
}
