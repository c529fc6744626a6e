//! Client of one upstream.

use bytes::Bytes;
use http::{Request, Response, Uri, uri::PathAndQuery};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower::BoxError;

use super::{error::Error, settings::Settings};
use crate::{
    client_tls::{self, Authorities, TrustAnchorError},
    metrics::{BoundUpstreamMetrics, UpstreamState},
};

/// Body of a request to an upstream, which may stream.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Body of an upstream's response, which streams.
pub type ResponseBody = Incoming;

/// Pooled client of one upstream.
pub struct Upstream {
    settings: Settings,
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
    metrics: BoundUpstreamMetrics,
}

impl Upstream {
    /// A client of an upstream. Opens no connection yet.
    pub fn new(settings: Settings, metrics: BoundUpstreamMetrics) -> Result<Self, TrustAnchorError> {
        let needs = if settings.url.scheme() == "http" { Authorities::Optional } else { Authorities::Required };
        let tls = client_tls::client_config(settings.ca.as_ref(), needs)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = connector.enable_all_versions().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { settings, client, metrics })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a request whose URI is the path and query below the upstream's address, in origin form, and returns the head of
    /// the response with its body to come. Headers are sent as they are; `Host` has to be among them.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<ResponseBody>, Error> {
        *request.uri_mut() = self.absolute(request.uri())?;
        let deadline = self.settings.first_byte_timeout;
        let used = self.metrics.connections(UpstreamState::Used);
        used.inc();
        let outcome = tokio::time::timeout(deadline, self.client.request(request)).await;
        used.dec();
        match outcome {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
            Err(_) => Err(Error::Timeout(deadline)),
        }
    }

    fn absolute(&self, target: &Uri) -> Result<Uri, Error> {
        let unusable = |error: http::Error| Error::Request(error.to_string());
        let base = self.settings.url.path().trim_end_matches('/');
        let path = format!("{base}{}", target.path_and_query().map_or("/", PathAndQuery::as_str));
        let authority = self.settings.url.authority();
        let builder = Uri::builder().scheme(self.settings.url.scheme()).authority(authority).path_and_query(path);
        builder.build().map_err(unusable)
    }
}
