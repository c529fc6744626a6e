//! Requests to one provider, counted and timed by endpoint.
//!
//! Promises: each request is counted once, with its outcome and duration.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use openidconnect::HttpResponse;
use tokio::time::timeout;
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
}

impl MeteredTransport {
    pub(super) fn new(transport: HttpTransport, metrics: metrics::ProviderMetrics) -> Self {
        Self { transport, metrics }
    }

    /// Returns the transport, for requests that run inside [`MeteredTransport::counted`].
    pub(super) fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    pub(super) fn metrics(&self) -> &metrics::ProviderMetrics {
        &self.metrics
    }

    /// Runs a request and counts it by its outcome.
    pub(super) async fn counted<T>(
        &self,
        endpoint: Endpoint,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = request.await;
        let outcome = result.as_ref().map_or_else(Error::request_outcome, |_| ProviderResult::Ok);
        self.metrics.count_request(endpoint, outcome, begun.elapsed());
        result
    }

    /// Fetches a public document within [`DOCUMENT_TIMEOUT`], uncounted.
    pub(super) async fn fetch_document(&self, url: &Url) -> Result<HttpResponse, TransportError> {
        let late = Err(TransportError::Timeout(DOCUMENT_TIMEOUT));
        timeout(DOCUMENT_TIMEOUT, self.transport.get(url, None)).await.unwrap_or(late)
    }
}
