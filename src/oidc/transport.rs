//! HTTP to the provider: pooled keep-alive over rustls, names resolved again on each new connection, deadlines.
//!
//! Promises: a request ends within the provider's `timeout`; an answer is at most 1 MiB; no redirect is followed; nothing
//! leaves in clear for a provider whose issuer is https; headers and bodies are never logged. It must not know what is
//! asked, nor what the answer means.

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

use super::{Error, Pem, Settings};

/// More than any metadata document, key set or token answer needs.
const LONGEST_BODY: usize = 1024 * 1024;
/// A host that does not take a connection by then is away; the next attempt resolves its name again.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Shorter than servers and load balancers keep idle connections, so that a pooled one is seldom stale.
const IDLE: Duration = Duration::from_secs(50);
const IDLE_CONNECTIONS: usize = 8;
/// How soon a multiplexed connection whose peer has vanished is given up.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(3);

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("doorward/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A pooled client for one provider. Clones share the pool.
#[derive(Clone)]
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    cleartext: Cleartext,
}

/// Whether requests may go out unencrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleartext {
    /// The issuer itself is http: a lab.
    Allowed,
    /// The issuer is https; an http address in its metadata would give codes and secrets away.
    Refused,
}

/// Why it is not known whose certificates to trust. The gate does not start then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not PEM.
    #[error("ca_file {path}: {reason}; mend: name a file of PEM certificates", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong with it.
        reason: String,
    },
    /// The file holds no certificate.
    #[error("ca_file {path} holds no certificate; mend: put the authority's certificate in it, as PEM", path = .0.display())]
    Empty(PathBuf),
    /// Neither the system nor the configuration names an authority.
    #[error("no certificate authority is known for an https issuer; mend: install ca-certificates or set ca_file")]
    Nobody,
}

/// Why a request got no answer that anybody could read.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It would have gone out in clear.
    #[error("its metadata name an address that is not https")]
    Cleartext,
    /// Not within the deadline.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// The certificate is not trusted.
    #[error("{0}; mend: if a private authority signed the provider's certificate, name it in ca_file")]
    Untrusted(String),
    /// The body is too long.
    #[error("an answer longer than {LONGEST_BODY} bytes")]
    TooLong,
    /// A server error, a request to come back later, or a redirect, which is never followed.
    #[error("status {0}")]
    Status(StatusCode),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.to_string())
    }
}

impl Transport {
    /// A client that trusts the system's authorities and those in `ca_file`. Connects to nobody yet. A `ca_file` that
    /// cannot be used is an error rather than a smaller trust.
    pub fn new(settings: &Settings) -> Result<Self, TrustError> {
        let cleartext = if settings.issuer.scheme() == "http" { Cleartext::Allowed } else { Cleartext::Refused };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN.min(settings.timeout)));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings, cleartext)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PONG_WITHIN)
            .build(tls);
        Ok(Self { client, timeout: settings.timeout, cleartext })
    }

    /// Fetches a JSON document, sending `authorization` where one is given. Any status but 2xx, 3xx, 429 and 5xx comes
    /// back for the caller to judge.
    pub(super) async fn get(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<HttpResponse, Failure> {
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| Failure::Broken("its metadata hold an unusable address".into()))?;
        request.headers_mut().insert(header::ACCEPT, JSON);
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.send(request).await
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let exchange = self.exchange(request);
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Failure::Late(self.timeout)))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.admit(request.uri())?;
        let mut request = request.map(|body| Full::new(Bytes::from(body)));
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        if let Some(secret) = request.headers_mut().get_mut(header::AUTHORIZATION) {
            secret.set_sensitive(true);
        }
        let response = self.request(request).await.map_err(|error| Failure::from_client(&error))?;
        let status = response.status();
        if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Status(status));
        }
        read(response).await
    }

    /// A pooled connection may have been closed just as it was taken. hyper tries again by itself where nothing was sent
    /// yet; where something was, only a request that may safely arrive twice is sent again.
    async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let again = (request.method() == Method::GET).then(|| request.clone());
        match (self.client.request(request).await, again) {
            (Err(error), Some(again)) if !error.is_connect() => self.client.request(again).await,
            (result, _) => result,
        }
    }

    fn admit(&self, uri: &Uri) -> Result<(), Failure> {
        match (uri.scheme(), self.cleartext) {
            (Some(scheme), _) if *scheme == Scheme::HTTPS => Ok(()),
            (Some(scheme), Cleartext::Allowed) if *scheme == Scheme::HTTP => Ok(()),
            _ => Err(Failure::Cleartext),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<'c> AsyncHttpClient<'c> for Transport {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Failure {
    fn from_client(error: &ClientError) -> Self {
        // hyper's outermost text only says that there was an error.
        let text = error.source().map_or_else(|| error.to_string(), chain);
        if is_distrust(error) { Self::Untrusted(text) } else { Self::Broken(text) }
    }
}

async fn read(response: Response<Incoming>) -> Result<HttpResponse, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { Failure::TooLong } else { Failure::Broken(chain(&*error)) }
    })?;
    Ok(Response::from_parts(head, body.to_bytes().into()))
}

/// The texts of an error and of what caused it, outermost first.
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

fn is_distrust(error: &ClientError) -> bool {
    causes(error)
        .filter_map(<dyn StdError>::downcast_ref)
        .any(|cause| matches!(cause, rustls::Error::InvalidCertificate(_)))
}

fn tls(settings: &Settings, cleartext: Cleartext) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    // A single certificate of the system that does not parse takes nothing away from the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = &settings.ca {
        trust(&mut roots, pem)?;
    }
    if roots.is_empty() && cleartext == Cleartext::Refused {
        return Err(TrustError::Nobody);
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring implements the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Adds every certificate of a PEM file; one that cannot be used spoils the file.
fn trust(roots: &mut RootCertStore, pem: &Pem) -> Result<(), TrustError> {
    let unreadable = |reason: String| TrustError::Unreadable { path: pem.path.clone(), reason };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem.content) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.len() == before { Err(TrustError::Empty(pem.path.clone())) } else { Ok(()) }
}
