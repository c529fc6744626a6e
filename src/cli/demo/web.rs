//! The HTTP server that the provider, the sample apps and the edge share.
//!
//! It listens on loopback only; no other address can be given. Everybody may sign in as anybody in the demo, so it must not
//! be reachable from another machine.

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

/// A body, complete or streamed.
pub(super) type BoxedBody = BoxBody<Bytes, hyper::Error>;

/// A response whose body may be streamed.
pub(super) type StreamedResponse = http::Response<BoxedBody>;

/// A response with a complete body.
pub(super) type FullResponse = http::Response<Full<Bytes>>;

/// Delay after a failed `accept`, for instance for lack of file descriptors: retrying at once would spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Handles the requests of a server.
pub(super) trait Handler: Send + Sync + 'static {
    /// Returns the response to a request of the client at `peer`.
    fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> impl Future<Output = StreamedResponse> + Send;
}

/// Returns a listener on `127.0.0.1`; port 0 takes a free one.
pub(super) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Returns listeners on the same port of `127.0.0.1` and, where the machine has it, `::1`. Browsers try both for a name
/// that ends in `.localhost`, and must not reach another program's server on the second one.
pub(super) async fn listen_on_both(port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = listen(port).await?;
    let port = v4.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![v4]),
    }
}

/// Accepts connections until `stop` is raised.
pub(super) async fn serve<S: Handler>(listener: TcpListener, site: Arc<S>, tasks: Tasks, stop: Signal) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.raised() => return,
        };
        match accepted {
            Ok((stream, peer)) => tasks.spawn(serve_connection(stream, peer.ip(), Arc::clone(&site), stop.clone())),
            Err(error) => {
                tracing::warn!(%error, "the demo could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn serve_connection<S: Handler>(stream: TcpStream, peer: IpAddr, site: Arc<S>, stop: Signal) {
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

/// Returns a response with this content.
pub(super) fn response(status: StatusCode, media_type: &'static str, content: impl Into<Bytes>) -> FullResponse {
    let mut answer = FullResponse::new(Full::new(content.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Returns a line of plain text.
pub(super) fn text(status: StatusCode, text: &str) -> FullResponse {
    response(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// Returns a JSON document.
pub(super) fn json(status: StatusCode, document: &impl serde::Serialize) -> FullResponse {
    match serde_json::to_vec(document) {
        Ok(text) => response(status, "application/json", text),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Converts a complete response to one with a boxed body.
pub(super) fn boxed(answer: FullResponse) -> StreamedResponse {
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
            // A machine without IPv6 has only one family.
            return;
        };
        let port = other.local_addr().unwrap().port();
        assert_eq!(listen_on_both(port).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
