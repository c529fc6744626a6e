//! HTTP to the provider: pooled keep-alive over rustls, names resolved again on each new connection, deadlines.
//!
//! Promises: a request ends within the provider's `timeout`; a response is at most 1 MiB; no redirect is followed; nothing
//! leaves in clear for a provider whose issuer is https; headers and bodies are never logged.

use std::{error::Error as _, fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::ClientConfig;
use url::Url;

use super::{
    error::{Error, printable},
    internal_route::InternalRoute,
    proxy::{Proxies, ProxyConnector},
    settings::Settings,
};
use crate::client_tls::{self, Authorities, CertificateFault, TrustAnchorError, error_chain};

/// More than any metadata document, JWKS or token response needs.
const MAX_BODY: usize = 1024 * 1024;
/// A host that does not accept a connection by then is unavailable; the next attempt resolves its name again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shorter than servers and load balancers keep idle connections, so that a pooled one is seldom stale.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
const MAX_IDLE_CONNECTIONS: usize = 8;
/// HTTP/2 keep-alive, so that a connection whose peer has vanished is given up within 8 s.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Editors and some servers put it before a text; JSON has no place for it (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A pooled client for one provider. Clones share the pool.
#[derive(Clone)]
pub struct HttpTransport {
    client: Client<HttpsConnector<ProxyConnector>, Full<Bytes>>,
    timeout: Duration,
    cleartext: Cleartext,
    proxies: Proxies,
    internal: Option<InternalRoute>,
}

/// Permission for requests without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleartext {
    /// For an http issuer: a lab.
    Allowed,
    /// For an https issuer: an http address in its metadata would give codes and secrets away.
    Refused,
}

/// Errors of a request that got no usable response.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request would have gone out in clear.
    #[error("its metadata name an address that is not https")]
    Cleartext,
    /// No response within the deadline.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// No connection, or one that broke.
    #[error("{0}")]
    Connection(String),
    /// The certificate is not trusted, for this reason.
    #[error("{0}")]
    UntrustedCertificate(CertificateFault),
    /// The body exceeds 1 MiB.
    #[error("an answer longer than {MAX_BODY} bytes")]
    BodyTooLong,
    /// A redirect, which is never followed.
    #[error("status {status}, a redirect{to}, which is not followed", to = .location.as_ref().map(|to| format!(" to `{}`", printable(to))).unwrap_or_default())]
    Redirect {
        /// Its status.
        status: StatusCode,
        /// Its `Location`, without the query.
        location: Option<String>,
    },
    /// A server error, or a request to come back later.
    #[error("status {0}")]
    Status(StatusCode),
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl HttpTransport {
    /// A client that trusts the system's authorities and those in `ca_file`. Opens no connection yet. A `ca_file` that
    /// cannot be used is an error, and never ignored.
    pub fn new(settings: &Settings) -> Result<Self, TrustAnchorError> {
        let cleartext = if settings.issuer.scheme() == "http" { Cleartext::Allowed } else { Cleartext::Refused };
        let authorities = match cleartext {
            Cleartext::Allowed => Authorities::Optional,
            Cleartext::Refused => Authorities::Required,
        };
        let tls = client_tls::client_config(settings.ca.as_ref(), authorities)?;
        let proxies = Proxies::new(&settings.proxy, settings.internal_url.as_ref());
        let internal = settings.internal_url.as_ref().map(|url| InternalRoute::new(&settings.issuer, url));
        let connector = connector(settings, tls, proxies.clone());
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Ok(Self { client, timeout: settings.timeout, cleartext, proxies, internal })
    }

    /// Returns the address of the proxy by way of which `url` is asked, without its password.
    #[must_use]
    pub fn proxy_of(&self, url: &Url) -> Option<String> {
        self.proxies.address(&url.as_str().parse().ok()?)
    }

    /// Fetches a JSON document, sending `authorization` where one is given. 3xx, 429 and 5xx are errors; any other status
    /// is left to the caller.
    pub(super) async fn get(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<HttpResponse, TransportError> {
        let mut request = get_request(url)?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.send(request).await
    }

    /// Fetches a JSON document; status 304 where it still has the entity tag `known` (RFC 9110, section 13.1.2).
    pub(super) async fn get_unless(
        &self,
        url: &Url,
        known: Option<HeaderValue>,
    ) -> Result<HttpResponse, TransportError> {
        let mut request = get_request(url)?;
        if let Some(tag) = known {
            request.headers_mut().insert(header::IF_NONE_MATCH, tag);
        }
        self.send(request).await
    }

    /// Sends a request. 3xx but 304, 429 and 5xx are errors; any other status is left to the caller.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let exchange = self.exchange(request);
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(TransportError::Timeout(self.timeout)))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let mut request = request.map(|body| Full::new(Bytes::from(body)));
        if let Some(internal) = &self.internal {
            internal.apply(&mut request);
        }
        self.check_scheme(request.uri())?;
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        if let Some(secret) = request.headers_mut().get_mut(header::AUTHORIZATION) {
            secret.set_sensitive(true);
        }
        if let Some(secret) = self.proxies.authorization(request.uri()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, secret);
        }
        let response = self.request(request).await.map_err(|error| TransportError::from_client(&error))?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(TransportError::redirect(&response));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(TransportError::Status(status));
        }
        read(response).await
    }

    /// Sends a request, and a GET once more where its connection broke: a pooled one may have been closed just as it was
    /// taken. hyper tries again by itself where nothing was sent yet; where something was, only an idempotent request is.
    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let retry = (request.method() == Method::GET).then(|| request.clone());
        match (self.client.request(request).await, retry) {
            (Err(error), Some(retry)) if !error.is_connect() => self.client.request(retry).await,
            (result, _) => result,
        }
    }

    fn check_scheme(&self, uri: &Uri) -> Result<(), TransportError> {
        match (uri.scheme(), self.cleartext) {
            (Some(scheme), _) if *scheme == Scheme::HTTPS => Ok(()),
            (Some(scheme), Cleartext::Allowed) if *scheme == Scheme::HTTP => Ok(()),
            // The operator says that the way there is safe.
            _ if self.internal.as_ref().is_some_and(|internal| internal.is_inside(uri)) => Ok(()),
            _ => Err(TransportError::Cleartext),
        }
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<'c> AsyncHttpClient<'c> for HttpTransport {
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TransportError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl TransportError {
    fn from_client(error: &ClientError) -> Self {
        if let Some(fault) = client_tls::certificate_fault(error) {
            return Self::UntrustedCertificate(fault);
        }
        // hyper's outermost text only says that there was an error.
        Self::Connection(error.source().map_or_else(|| error.to_string(), error_chain))
    }

    fn redirect(response: &Response<Incoming>) -> Self {
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        // A query may repeat what was sent.
        let location = location.map(|to| to.split(['?', '#']).next().unwrap_or_default().to_owned());
        Self::Redirect { status: response.status(), location }
    }
}

/// Returns a connector with TLS over a connector that knows the proxies. What goes to an internal address has another `Host`
/// than the address that is connected to, which HTTP/2 cannot say.
fn connector(settings: &Settings, tls: ClientConfig, proxies: Proxies) -> HttpsConnector<ProxyConnector> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(settings.timeout)));
    let to_proxy = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp.clone());
    let tcp = ProxyConnector { direct: tcp, to_proxy, proxies };
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if settings.internal_url.is_some() {
        https.enable_http1().wrap_connector(tcp)
    } else {
        https.enable_all_versions().wrap_connector(tcp)
    }
}

fn get_request(url: &Url) -> Result<HttpRequest, TransportError> {
    let mut request = HttpRequest::new(Vec::new());
    *request.uri_mut() =
        url.as_str().parse().map_err(|_| TransportError::Connection("its metadata hold an unusable address".into()))?;
    request.headers_mut().insert(header::ACCEPT, JSON);
    Ok(request)
}

async fn read(response: Response<Incoming>) -> Result<HttpResponse, TransportError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            TransportError::BodyTooLong
        } else {
            TransportError::Connection(error_chain(&*error))
        }
    })?;
    let body = body.to_bytes();
    Ok(Response::from_parts(head, body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body).to_vec()))
}
