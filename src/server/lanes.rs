//! How many requests may be in hand at once, by what they are: each kind has places of its own, so that none takes another's.
//!
//! What memory answers needs no place. It must not know what the answers are.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use hyper::body::Incoming;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimit, load_shed::LoadShed, timeout::Timeout,
};

use super::{
    form::{Forms, Pace},
    router::{Router, Work},
};
use crate::{edge::Response, flow::backchannel_logout::LogoutForm};

/// How long a request may take. Every wait inside has a shorter deadline of its own; this one is for a defect, and shorter than
/// what edges wait for a callback.
const DEADLINE: Duration = Duration::from_secs(25);

/// Questions of edges that are not answered from memory: far more than can make progress, and far fewer than fill the memory.
const QUESTIONS: usize = 7_168;

/// The gate's own pages, through edges.
const PAGES: usize = 896;

/// Whatever strangers ask.
const OF_STRANGERS: usize = 128;

/// Forms under way through edges, and straight from strangers. They are at most 32 KiB each.
const FORMS: usize = 128;
const FORMS_OF_STRANGERS: usize = 16;

/// The bounds within which requests of one kind are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many may be in hand at once.
    pub(super) most: usize,
    /// How long one may take.
    pub(super) deadline: Duration,
}

type Stack<S> = LoadShed<ConcurrencyLimit<Timeout<S>>>;

/// Keeps a service within bounds: what there is no room for is refused at once, what takes too long is given up.
pub(super) fn bounded<S>(bounds: Bounds, service: S) -> Stack<S> {
    ServiceBuilder::new().load_shed().concurrency_limit(bounds.most).timeout(bounds.deadline).service(service)
}

/// One kind of requests.
struct Lane<S> {
    stack: Stack<S>,
    /// For the log.
    what: &'static str,
    is_overloaded: AtomicBool,
}

/// All kinds of requests.
pub(super) struct Lanes<S> {
    router: Arc<Router>,
    questions: Lane<S>,
    pages: Lane<S>,
    strangers: Lane<S>,
    forms: Forms,
    forms_of_strangers: Forms,
}

impl<S> Lanes<S>
where
    S: Service<(IpAddr, Parts), Response = Response, Error: Into<BoxError>> + Clone,
{
    /// Answers by this service what `router` sends there.
    pub(super) fn new(router: Arc<Router>, service: &S) -> Self {
        let lane = |what, most| Lane {
            stack: bounded(Bounds { most, deadline: DEADLINE }, service.clone()),
            what,
            is_overloaded: AtomicBool::new(false),
        };
        Self {
            router,
            questions: lane("authorizations", QUESTIONS),
            pages: lane("the gate's own pages", PAGES),
            strangers: lane("requests of peers outside server.trusted_proxies", OF_STRANGERS),
            forms: Forms::new(FORMS, Pace::DEFAULT),
            forms_of_strangers: Forms::new(FORMS_OF_STRANGERS, Pace::DEFAULT),
        }
    }

    /// Answers a request. `body` is that of one whose body says something: it is read before the request takes its place, and
    /// only where nothing that came before it is a reason not to.
    pub(super) async fn answer(&self, peer: IpAddr, mut request: Parts, body: Option<Box<Incoming>>) -> Response {
        let is_stranger = !self.router.trusts(peer);
        if let Some(body) = body {
            if let Some(refusal) = self.router.refuse_form(peer, &request) {
                return refusal;
            }
            let forms = if is_stranger { &self.forms_of_strangers } else { &self.forms };
            // On the heap, so that the future of an authorization stays small.
            let Some(form) = Box::pin(forms.read(*body)).await else {
                return self.router.overloaded();
            };
            request.extensions.insert(LogoutForm(form));
        }
        let lane = match self.router.work(&request) {
            _ if is_stranger => &self.strangers,
            Work::Question => &self.questions,
            Work::Page => &self.pages,
        };
        let answered = lane.stack.clone().oneshot((peer, request)).await;
        lane.note(answered.is_err());
        answered.unwrap_or_else(|_refused| self.router.overloaded())
    }
}

impl<S> Lane<S> {
    /// Logs when requests begin to be refused, and when that ends.
    fn note(&self, refused: bool) {
        let was_overloaded = self.is_overloaded.load(Ordering::Relaxed);
        if refused != was_overloaded && self.is_overloaded.swap(refused, Ordering::Relaxed) != refused {
            if refused {
                tracing::warn!(
                    what = self.what,
                    "too many requests at once, or answers take too long: some are refused with 503"
                );
            } else {
                tracing::info!(what = self.what, "requests are answered in time again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn work_beyond_the_bounds_is_refused_and_work_after_it_is_done() {
        let bounds = Bounds { most: 1, deadline: Duration::from_millis(20) };
        let stack = bounded(
            bounds,
            service_fn(async |work: Option<u8>| match work {
                Some(done) => Ok::<_, BoxError>(done),
                None => std::future::pending().await,
            }),
        );
        let (endless, second) = tokio::join!(stack.clone().oneshot(None), stack.clone().oneshot(Some(1)));
        assert!(endless.is_err(), "nothing may take for ever");
        assert!(second.is_err(), "there is room for one");
        assert_eq!(stack.oneshot(Some(2)).await.unwrap(), 2);
    }
}
