//! Limits on requests in flight, by class: load shedding with 503 and a timeout.
//!
//! Each class has a limit of its own, so that none takes another's room. Answers from memory need none.

use std::{net::IpAddr, time::Duration};

use http::request::Parts;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimit, load_shed::LoadShed, timeout::Timeout,
};

use crate::edge::Response;

/// Longest time for a request. Every wait inside has a shorter deadline of its own; this one is for a defect, and shorter than
/// what edges wait for a callback.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// Authorization requests that are not answered from memory: far more than can make progress, and far fewer than fill the
/// memory.
const MAX_AUTHORIZATIONS: usize = 7_168;

/// Requests for the gate's own pages, through edges.
const MAX_PAGES: usize = 896;

/// Requests of untrusted peers, of any kind.
const MAX_UNTRUSTED: usize = 128;

/// Class of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum RequestClass {
    /// Authorization request of an edge.
    Authorization,
    /// Request for a page of the gate's own, or for a path with nothing at it.
    Page,
    /// Request of an untrusted peer.
    Untrusted,
}

/// Bounds on requests of one class.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct RequestBounds {
    /// Most requests in flight.
    pub(in crate::server) concurrency: usize,
    /// Longest time for one.
    pub(in crate::server) timeout: Duration,
}

type BoundedService<S> = LoadShed<ConcurrencyLimit<Timeout<S>>>;

/// Bounds a service: sheds the load beyond its concurrency limit at once, and gives up requests at their timeout.
pub(in crate::server) fn bounded<S>(bounds: RequestBounds, service: S) -> BoundedService<S> {
    ServiceBuilder::new().load_shed().concurrency_limit(bounds.concurrency).timeout(bounds.timeout).service(service)
}

/// Request limits of a listener, by class.
pub(in crate::server) struct RequestLimits<S> {
    authorizations: RequestLimit<S>,
    pages: RequestLimit<S>,
    untrusted: RequestLimit<S>,
}

impl<S> RequestLimits<S>
where
    S: Service<(IpAddr, Parts), Response = Response, Error: Into<BoxError>> + Clone,
{
    /// Puts the limits of all classes before clones of a service.
    pub(in crate::server) fn new(service: &S) -> Self {
        let limit = |what, concurrency| RequestLimit {
            service: bounded(RequestBounds { concurrency, timeout: REQUEST_TIMEOUT }, service.clone()),
            what,
        };
        Self {
            authorizations: limit("authorizations", MAX_AUTHORIZATIONS),
            pages: limit("the gate's own pages", MAX_PAGES),
            untrusted: limit("requests of peers outside server.trusted_proxies", MAX_UNTRUSTED),
        }
    }

    /// Answers a request within the limit of its class.
    ///
    /// # Errors
    ///
    /// Returns the name of the class in the log if the request was shed or timed out.
    pub(in crate::server) async fn answer(
        &self,
        class: RequestClass,
        peer: IpAddr,
        request: Parts,
    ) -> Result<Response, &'static str> {
        let limit = match class {
            RequestClass::Authorization => &self.authorizations,
            RequestClass::Page => &self.pages,
            RequestClass::Untrusted => &self.untrusted,
        };
        limit.service.clone().oneshot((peer, request)).await.map_err(|_| limit.what)
    }
}

/// Request limit of one class.
struct RequestLimit<S> {
    service: BoundedService<S>,
    /// Name of the class in the log.
    what: &'static str,
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn work_beyond_the_bounds_is_refused_and_work_after_it_is_done() {
        let bounds = RequestBounds { concurrency: 1, timeout: Duration::from_millis(20) };
        let service = bounded(
            bounds,
            service_fn(async |work: Option<u8>| match work {
                Some(done) => Ok::<_, BoxError>(done),
                None => std::future::pending().await,
            }),
        );
        let (endless, second) = tokio::join!(service.clone().oneshot(None), service.clone().oneshot(Some(1)));
        assert!(endless.is_err(), "nothing may take for ever");
        assert!(second.is_err(), "there is room for one");
        assert_eq!(service.oneshot(Some(2)).await.unwrap(), 2);
    }
}
