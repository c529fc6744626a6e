//! HTTP to the provider: pooled keep-alive over rustls, names resolved again on each new connection, deadlines.
//!
//! Promises: a request ends within the provider's `timeout`; a response is at most 1 MiB; no redirect is followed; nothing
//! leaves in clear for a provider whose issuer is https; headers and bodies are never logged.

use std::{error::Error as StdError, fmt, future::Future, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

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
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

use super::{
    error::Error,
    settings::{Pem, Settings},
};

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

/// A pooled client for one provider. Clones share the pool.
#[derive(Clone)]
pub struct HttpTransport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    cleartext: Cleartext,
}

/// Permission for requests without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleartext {
    /// For an http issuer: a lab.
    Allowed,
    /// For an https issuer: an http address in its metadata would give codes and secrets away.
    Refused,
}

/// Errors of the trust anchors. The gate does not start then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustAnchorError {
    /// The file is not PEM.
    #[error("ca_file {path}: {reason}; mend: name a file of PEM certificates", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        reason: String,
    },
    /// The file holds no certificate.
    #[error("ca_file {path} holds no certificate; mend: put the authority's certificate in it, as PEM", path = .0.display())]
    Empty(PathBuf),
    /// Neither the system nor the configuration names an authority.
    #[error("no certificate authority is known for an https issuer; mend: install ca-certificates or set ca_file")]
    Missing,
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
    /// The certificate is not trusted.
    #[error("{0}; mend: if a private authority signed the provider's certificate, name it in ca_file")]
    UntrustedCertificate(String),
    /// The body exceeds 1 MiB.
    #[error("an answer longer than {MAX_BODY} bytes")]
    BodyTooLong,
    /// A server error, a request to come back later, or a redirect, which is never followed.
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
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(settings.timeout)));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(settings, cleartext)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(tls);
        Ok(Self { client, timeout: settings.timeout, cleartext })
    }

    /// Fetches a JSON document, sending `authorization` where one is given. 3xx, 429 and 5xx are errors; any other status
    /// is left to the caller.
    pub(super) async fn get(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<HttpResponse, TransportError> {
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| TransportError::Connection("its metadata hold an unusable address".into()))?;
        request.headers_mut().insert(header::ACCEPT, JSON);
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.send(request).await
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let exchange = self.exchange(request);
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(TransportError::Timeout(self.timeout)))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        self.check_scheme(request.uri())?;
        let mut request = request.map(|body| Full::new(Bytes::from(body)));
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        if let Some(secret) = request.headers_mut().get_mut(header::AUTHORIZATION) {
            secret.set_sensitive(true);
        }
        let response = self.request(request).await.map_err(|error| TransportError::from_client(&error))?;
        let status = response.status();
        if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
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
        // hyper's outermost text only says that there was an error.
        let text = error.source().map_or_else(|| error.to_string(), chain);
        if is_untrusted_certificate(error) { Self::UntrustedCertificate(text) } else { Self::Connection(text) }
    }
}

async fn read(response: Response<Incoming>) -> Result<HttpResponse, TransportError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            TransportError::BodyTooLong
        } else {
            TransportError::Connection(chain(&*error))
        }
    })?;
    Ok(Response::from_parts(head, body.to_bytes().into()))
}

/// Returns the texts of an error and its causes, outermost first.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        // `io::Error::source` would skip the error that it wraps.
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

fn is_untrusted_certificate(error: &ClientError) -> bool {
    causes(error)
        .filter_map(<dyn StdError>::downcast_ref)
        .any(|cause| matches!(cause, rustls::Error::InvalidCertificate(_)))
}

fn tls_config(settings: &Settings, cleartext: Cleartext) -> Result<ClientConfig, TrustAnchorError> {
    let mut roots = RootCertStore::empty();
    // A single certificate of the system that does not parse takes nothing away from the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &settings.ca {
        add_authorities(&mut roots, pem)?;
    }
    if roots.is_empty() && cleartext == Cleartext::Refused {
        return Err(TrustAnchorError::Missing);
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring implements the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Adds every certificate of a PEM file; one that cannot be used is an error.
fn add_authorities(roots: &mut RootCertStore, pem: &Pem) -> Result<(), TrustAnchorError> {
    let unreadable = |reason: String| TrustAnchorError::Unreadable { path: pem.path.clone(), reason };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem.content) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.len() == before { Err(TrustAnchorError::Empty(pem.path.clone())) } else { Ok(()) }
}
