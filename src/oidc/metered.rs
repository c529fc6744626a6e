//! Requests to one provider, counted and timed by endpoint.
//!
//! Promises: each request is counted once, with its outcome and duration.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use openidconnect::HttpResponse;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use url::Url;

use super::{
    error::Error,
    transport::{HttpTransport, TransportError},
};
use crate::metrics::{self, Endpoint, ProviderResult};

/// Deadline of one public document, metadata or JWKS. Shorter than `timeout`, because no sign-in hangs on a background poll.
pub(super) const DOCUMENT_TIMEOUT: Duration = Duration::from_millis(2500);

/// The HTTP transport of one provider, with its metrics.
pub(super) struct MeteredTransport {
    transport: HttpTransport,
    metrics: metrics::ProviderMetrics,
    contact: Contact,
}

/// The last contact with the provider, from all requests to it.
#[derive(Default)]
pub(super) struct Contact {
    /// Time of the last answer that was no server error.
    answered: Mutex<Option<Instant>>,
    /// Reason of a poll that is called for before it is due.
    called: Mutex<Option<PollReason>>,
    alarm: Notify,
}

/// Reason of a poll before it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollReason {
    /// Somebody is sent to a provider of which nothing was heard for a while, and that was slow when it was looked at.
    Visitor,
    /// A request got no answer.
    FailedRequest,
}

impl MeteredTransport {
    pub(super) fn new(transport: HttpTransport, metrics: metrics::ProviderMetrics) -> Self {
        Self { transport, metrics, contact: Contact::default() }
    }

    /// Returns the transport, for requests that run inside [`MeteredTransport::counted`].
    pub(super) fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    pub(super) fn metrics(&self) -> &metrics::ProviderMetrics {
        &self.metrics
    }

    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Runs a request and counts it by its outcome.
    pub(super) async fn counted<T>(
        &self,
        endpoint: Endpoint,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.counted_by(endpoint, request, Error::request_outcome).await
    }

    /// Runs a request and counts it by the `outcome` of its error. One without an answer calls for a poll.
    pub(super) async fn counted_by<T, E>(
        &self,
        endpoint: Endpoint,
        request: impl Future<Output = Result<T, E>>,
        outcome: impl FnOnce(&E) -> ProviderResult,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let result = request.await;
        let outcome = result.as_ref().err().map_or(ProviderResult::Ok, outcome);
        self.metrics.count_request(endpoint, outcome, begun.elapsed());
        match (outcome, endpoint) {
            (ProviderResult::Ok | ProviderResult::Refused, _) => self.contact.note_answer(),
            // What a poll itself asks for.
            (ProviderResult::Unavailable, Endpoint::Discovery | Endpoint::Jwks) => {}
            (ProviderResult::Unavailable, _) => self.contact.call_for_poll(PollReason::FailedRequest),
        }
        result
    }

    /// Fetches a public document within [`DOCUMENT_TIMEOUT`], uncounted.
    pub(super) async fn fetch_document(&self, url: &Url) -> Result<HttpResponse, TransportError> {
        self.fetch_changed_document(url, None).await
    }

    /// Fetches a public document within [`DOCUMENT_TIMEOUT`], uncounted; status 304 where it still has the entity tag `known`.
    pub(super) async fn fetch_changed_document(
        &self,
        url: &Url,
        known: Option<HeaderValue>,
    ) -> Result<HttpResponse, TransportError> {
        let late = Err(TransportError::Timeout(DOCUMENT_TIMEOUT));
        timeout(DOCUMENT_TIMEOUT, self.transport.get_unless(url, known)).await.unwrap_or(late)
    }
}

impl Contact {
    /// Returns the time of the last answer.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls for a poll before it is due. A failed request is the stronger reason.
    pub(super) fn call_for_poll(&self, reason: PollReason) {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if *called != Some(PollReason::FailedRequest) {
            *called = Some(reason);
        }
        drop(called);
        self.alarm.notify_one();
    }

    /// Returns the reason once a poll is called for.
    pub(super) async fn poll_called_for(&self) -> PollReason {
        self.alarm.notified().await;
        self.called.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(PollReason::Visitor)
    }

    fn note_answer(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
