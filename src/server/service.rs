//! HTTP service of `server.listen`: from a request's head and unread body to the response.
//!
//! Answers from memory at once and without limits; everything else goes through the request limits, and a form is read only when
//! its request has not been refused by its head.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
};

use futures_util::future::Either;
use http::request::Parts;
use hyper::body::Incoming;
use tower::{BoxError, Service, service_fn};

use super::{
    body::{self, ServerResponse},
    connection::HeaderLimit,
    forms::FormReader,
    limits::{RequestClass, RequestLimits},
    router::Router,
};
use crate::{
    edge,
    flow::{Gate, backchannel_logout::LogoutForm},
};

/// Response that was there at once, or one to wait for.
type ResponseFuture = Either<Ready<ServerResponse>, Pin<Box<dyn Future<Output = ServerResponse> + Send>>>;

/// Returns the handler of all requests at `server.listen`, of edges and of untrusted peers.
pub(super) fn handler(gate: Arc<Gate>) -> impl Fn(IpAddr, Parts, Incoming) -> ResponseFuture {
    let router = Arc::new(Router::new(gate));
    let inner = Arc::clone(&router);
    let unlimited = service_fn(move |(peer, request): (IpAddr, Parts)| {
        let router = Arc::clone(&inner);
        async move { Ok::<_, Infallible>(router.answer(peer, request).await) }
    });
    let service = Arc::new(LimitedService::new(Arc::clone(&router), &unlimited));
    move |peer: IpAddr, request: Parts, body: Incoming| {
        if let Some(response) = router.answer_from_memory(peer, &request) {
            return Either::Left(ready(body::from_gate(response)));
        }
        let service = Arc::clone(&service);
        // Dropped before the answer begins, so that no answer waits for a body that never comes.
        let body = router.reads_body(&request).then(|| Box::new(body));
        // On the heap, because this future is large, and the others are moved about in the room that it needs.
        Either::Right(Box::pin(async move { body::from_gate(service.answer(peer, request, body).await) }))
    }
}

/// Router behind the limits on requests and forms.
struct LimitedService<S> {
    router: Arc<Router>,
    limits: RequestLimits<S>,
    forms: FormReader,
    forms_of_untrusted: FormReader,
}

impl<S> LimitedService<S>
where
    S: Service<(IpAddr, Parts), Response = edge::Response, Error: Into<BoxError>> + Clone,
{
    fn new(router: Arc<Router>, unlimited: &S) -> Self {
        Self {
            router,
            limits: RequestLimits::new(unlimited),
            forms: FormReader::for_edges(),
            forms_of_untrusted: FormReader::for_untrusted(),
        }
    }

    /// Answers a request. `body` is that of a form: it is read before the request counts as in flight, and only where its head
    /// is no reason to refuse it.
    async fn answer(&self, peer: IpAddr, mut request: Parts, body: Option<Box<Incoming>>) -> edge::Response {
        let is_untrusted = !self.router.trusts(peer);
        let limit = if is_untrusted { HeaderLimit::UNTRUSTED } else { HeaderLimit::TRUSTED };
        if limit.is_exceeded_by(&request) {
            return self.router.headers_too_large();
        }
        if let Some(body) = body {
            if let Some(refusal) = self.router.refuse_form(peer, &request) {
                return refusal;
            }
            let forms = if is_untrusted { &self.forms_of_untrusted } else { &self.forms };
            // On the heap, so that the future of an authorization stays small.
            let Some(form) = Box::pin(forms.read(*body)).await else {
                return self.router.overloaded("forms of logout tokens");
            };
            request.extensions.insert(LogoutForm(form));
        }
        let class = if is_untrusted { RequestClass::Untrusted } else { self.router.class(&request) };
        let answered = self.limits.answer(class, peer, request).await;
        answered.unwrap_or_else(|what| self.router.overloaded(what))
    }
}
