//! Client of one upstream: a request, its connection, its response.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::timeout;

use super::{
    connector::UpstreamConnector,
    error::Error,
    pool::{Choice, Connection, ConnectionLease, Pool},
    resolver::Resolver,
    response_body::ResponseBody,
    settings::Settings,
    upload::{RequestBody, SentBody, Upload},
};
use crate::{client_tls::TrustAnchorError, metrics::BoundUpstreamMetrics};

/// Pooled client of one upstream.
pub struct Upstream {
    settings: Settings,
    /// The path of the address, without a slash at the end.
    base: String,
    pool: Arc<Pool>,
}

/// Exchange that came to nothing.
struct FailedExchange {
    /// The request, where nothing of it was sent.
    unsent: Option<Request<SentBody>>,
    /// Whether the connection broke, which says nothing about the next one.
    is_broken: bool,
    error: Error,
}

impl Upstream {
    /// A client of an upstream. Opens no connection yet.
    pub fn new(settings: Settings, metrics: BoundUpstreamMetrics) -> Result<Self, TrustAnchorError> {
        Self::with_resolver(settings, metrics, Resolver::system())
    }

    pub(super) fn with_resolver(
        settings: Settings,
        metrics: BoundUpstreamMetrics,
        resolver: Resolver,
    ) -> Result<Self, TrustAnchorError> {
        let connector = UpstreamConnector::new(&settings, resolver)?;
        let pool = Arc::new(Pool::new(&settings, connector, metrics));
        let base = settings.url.path().trim_end_matches('/').to_owned();
        Ok(Self { settings, base, pool })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a request, and returns the head of the response with its body to come.
    ///
    /// Its URI is path and query below the upstream's address, in origin form; `Host` has to be among its headers. The other headers
    /// are sent as they are. A request that asks for an upgrade gets a connection of its own: after a 101 (Switching Protocols)
    /// [`hyper::upgrade::on`] has it, for as long as the body of the response is kept.
    ///
    /// Where a connection from the pool turns out to be closed, the request is sent again on a new one, once: if nothing of it was
    /// sent, or if it is idempotent and has no body (RFC 9110, section 9.2.2).
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<ResponseBody>, Error> {
        if !self.base.is_empty() {
            *request.uri_mut() = self.below_base(request.uri())?;
        }
        let first = if request.headers().contains_key(header::UPGRADE) { Choice::Upgradable } else { Choice::Any };
        let (head, body) = request.into_parts();
        let (body, upload) = SentBody::new(body);
        let is_repeatable = upload.is_none() && head.method.is_idempotent();
        let request = Request::from_parts(head, body);
        let connection = self.pool.checkout(first).await?;
        let (is_reused, mut spare) = (connection.is_reused(), None);
        if is_reused && is_repeatable {
            spare = Some(copy(&request));
        }
        let failed = match self.exchange(connection, request, upload.clone()).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        match failed.unsent.or(spare.filter(|_| failed.is_broken)) {
            Some(again) if is_reused => {
                let connection = self.pool.checkout(Choice::New).await?;
                self.exchange(connection, again, upload).await.map_err(|failed| failed.error)
            }
            _ => Err(failed.error),
        }
    }

    /// Sends a request on a connection.
    async fn exchange(
        &self,
        mut connection: Connection,
        mut request: Request<SentBody>,
        upload: Option<Arc<Upload>>,
    ) -> Result<Response<ResponseBody>, FailedExchange> {
        let outcome = match &mut connection {
            Connection::Http1(http1) => {
                self.within_deadlines(http1.sender.try_send_request(request), upload.as_ref()).await
            }
            Connection::Http2(http2) => {
                *request.uri_mut() = self.absolute(&mut request).map_err(FailedExchange::of)?;
                // There is none in HTTP/2 (RFC 9113, section 8.2.2), and hyper would remove what it names, such as `TE`.
                request.headers_mut().remove(header::CONNECTION);
                self.within_deadlines(http2.sender.try_send_request(request), upload.as_ref()).await
            }
        };
        let response = match outcome.map_err(FailedExchange::of)? {
            Ok(response) => response,
            Err(mut error) => {
                let unsent = error.take_message();
                let is_ours = upload.is_some_and(|upload| upload.is_broken_off());
                let error = error.into_error();
                let error = if is_ours { Error::Request("broke off".to_owned()) } else { Error::broken(&error) };
                return Err(FailedExchange { unsent, is_broken: !is_ours, error });
            }
        };
        let mut lease = ConnectionLease::new(&self.pool, connection, upload);
        if let Some(told) = keep_alive_timeout(response.headers()) {
            lease.limit_idle(told);
        }
        let (silence, is_upgrade) =
            (self.settings.silence_timeout, response.status() == StatusCode::SWITCHING_PROTOCOLS);
        Ok(response.map(|body| {
            if is_upgrade {
                ResponseBody::of_upgrade(body, lease, silence)
            } else {
                ResponseBody::new(body, lease, silence)
            }
        }))
    }

    /// Waits for the head of a response.
    async fn within_deadlines(
        &self,
        response: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<SentBody>>>>,
        upload: Option<&Arc<Upload>>,
    ) -> Result<Result<Response<Incoming>, TrySendError<Request<SentBody>>>, Error> {
        let Settings { first_byte_timeout, silence_timeout, .. } = self.settings;
        match upload {
            None => timeout(first_byte_timeout, response).await.map_err(|_| Error::Timeout(first_byte_timeout)),
            Some(upload) => upload.watch(response, silence_timeout, first_byte_timeout).await,
        }
    }

    fn below_base(&self, target: &Uri) -> Result<Uri, Error> {
        let target = target.path_and_query().map_or("/", PathAndQuery::as_str);
        format!("{}{target}", self.base)
            .parse()
            .map_err(|_| Error::Request("has a target that cannot be passed on".into()))
    }

    /// Returns the address of a request as HTTP/2 has it, where `Host` is `:authority` (RFC 9113, section 8.3.1).
    fn absolute(&self, request: &mut Request<SentBody>) -> Result<Uri, Error> {
        let unusable = || Error::Request("has a host that cannot be passed on".to_owned());
        let host = request.headers_mut().remove(header::HOST).ok_or_else(unusable)?;
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.settings.url.scheme()).authority(host.as_bytes()).path_and_query(target);
        uri.build().map_err(|_| unusable())
    }
}

impl FailedExchange {
    fn of(error: Error) -> Self {
        Self { unsent: None, is_broken: false, error }
    }
}

/// Returns a copy of a request without a body.
fn copy(request: &Request<SentBody>) -> Request<SentBody> {
    let mut copy = Request::new(SentBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Returns the time for which an upstream keeps an idle connection, as it says.
fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = parameters.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}
