//! Connections to an upstream: its name is resolved for each of them, and every address is tried.
//!
//! The system's resolver is asked: it knows the search domains, hosts files and caches that operators have set up, which a
//! resolver of our own would have to imitate. It does not tell a TTL, so connections are not kept for longer than
//! [`super::pool::MAX_AGE`]: a changed name is followed within that time, and at once where the old address is gone.

use std::error::Error as StdError;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connection as _, HttpConnector},
    rt::TokioIo,
};
use tokio::{net::TcpStream, time::timeout};
use tower::{Service as _, util::ServiceExt as _};

use super::{error::Error, resolver::Resolver, settings::Settings};
use crate::client_tls::{self, Authorities, TrustAnchorError};

/// Stream to an upstream.
pub(super) type UpstreamStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Protocols that are offered to an upstream (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/2, and HTTP/1.1 where it does not know that.
    All,
    /// HTTP/1.1 alone, for requests that ask for an upgrade.
    Http1,
}

/// Protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiated {
    Http1,
    Http2,
}

/// Opens connections to one upstream.
pub(super) struct UpstreamConnector {
    uri: Uri,
    settings: Settings,
    all: HttpsConnector<HttpConnector<Resolver>>,
    http1: HttpsConnector<HttpConnector<Resolver>>,
}

impl UpstreamConnector {
    pub(super) fn new(settings: &Settings, resolver: Resolver) -> Result<Self, TrustAnchorError> {
        let needs = if settings.url.scheme() == "http" { Authorities::Optional } else { Authorities::Required };
        let tls = client_tls::client_config(settings.ca.as_ref(), needs)?;
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared among the addresses of a name.
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let (all, http1) = (builder().enable_all_versions(), builder().enable_http1());
        let uri = settings.url.as_str().parse().expect("a checked address is an address to http");
        Ok(Self {
            uri,
            settings: settings.clone(),
            all: all.wrap_connector(tcp.clone()),
            http1: http1.wrap_connector(tcp),
        })
    }

    /// Opens a connection within the deadline.
    pub(super) async fn connect(&self, offer: Offer) -> Result<(UpstreamStream, Negotiated), Error> {
        let mut connector = match offer {
            Offer::All => self.all.clone(),
            Offer::Http1 => self.http1.clone(),
        };
        let connecting = async {
            connector.ready().await?;
            connector.call(self.uri.clone()).await
        };
        let deadline = self.settings.connect_timeout;
        let stream = match timeout(deadline, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unavailable(&*error)),
            Err(_) => {
                let span = humantime::format_duration(deadline);
                return Err(Error::Unavailable(format!("no connection within {span}")));
            }
        };
        let negotiated = if stream.connected().is_negotiated_h2() { Negotiated::Http2 } else { Negotiated::Http1 };
        Ok((stream, negotiated))
    }
}

fn unavailable(error: &(dyn StdError + 'static)) -> Error {
    let fault = client_tls::certificate_fault(error);
    Error::Unavailable(fault.map_or_else(|| client_tls::error_chain(error), |fault| fault.to_string()))
}
