//! The demo's little web servers: what the provider, the sample apps and the edge have in common.
//!
//! They listen on loopback and nowhere else: there is no way to name another address. Anybody may sign in as anybody
//! here, so nobody but this machine may reach it.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::shutdown::{Signal, Tasks};

/// A body that is at hand or still arriving.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// An answer that may still be arriving from somewhere else.
pub(super) type Response = http::Response<Body>;

/// An answer that is complete.
pub(super) type Whole = http::Response<Full<Bytes>>;

/// After a failed `accept`, such as one for want of file descriptors, trying at once would spin.
const BREATH: Duration = Duration::from_millis(50);

/// Something that answers requests.
pub(super) trait Site: Send + Sync + 'static {
    /// Answers one request of the client at `peer`.
    fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> impl Future<Output = Response> + Send;
}

/// A listener on `127.0.0.1`; port 0 takes a free one.
pub(super) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Listeners on the same port of `127.0.0.1` and, where the machine has it, `::1`: browsers try both for a name
/// that ends in `.localhost`, and must not end up at somebody else's server on the other one.
pub(super) async fn listen_on_both(port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = listen(port).await?;
    let port = v4.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![v4]),
    }
}

/// Accepts until `stop` is raised.
pub(super) async fn serve<S: Site>(listener: TcpListener, site: Arc<S>, tasks: Tasks, stop: Signal) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.raised() => return,
        };
        match accepted {
            Ok((stream, peer)) => tasks.spawn(converse(stream, peer.ip(), Arc::clone(&site), stop.clone())),
            Err(error) => {
                tracing::warn!(%error, "the demo could not accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn converse<S: Site>(stream: TcpStream, peer: IpAddr, site: Arc<S>, stop: Signal) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(site.answer(request, peer).await) });
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.raised() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the demo ended early");
    }
}

/// An answer with these bytes.
pub(super) fn answer(status: StatusCode, media_type: &'static str, content: impl Into<Bytes>) -> Whole {
    let mut answer = Whole::new(Full::new(content.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// One line of plain text.
pub(super) fn line(status: StatusCode, text: &str) -> Whole {
    answer(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &impl serde::Serialize) -> Whole {
    match serde_json::to_vec(document) {
        Ok(text) => answer(status, "application/json", text),
        Err(error) => line(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A complete answer where one that may still be arriving is asked for.
pub(super) fn whole(answer: Whole) -> Response {
    answer.map(|body| body.map_err(|never| match never {}).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_listens_on_loopback_only() {
        assert!(listen(0).await.unwrap().local_addr().unwrap().ip().is_loopback());
        for listener in listen_on_both(0).await.unwrap() {
            assert!(listener.local_addr().unwrap().ip().is_loopback());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_on_either_family_is_taken() {
        let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
            // A machine without IPv6 has only one family to be taken on.
            return;
        };
        let port = other.local_addr().unwrap().port();
        assert_eq!(listen_on_both(port).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
