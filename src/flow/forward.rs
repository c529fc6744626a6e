//! Reverse-proxy mode: requests that are let in become requests to the app's upstream.
//!
//! Promises: the request that is passed on is the one that was judged, by the same pipeline as every edge's question; an app
//! without an upstream is not served.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, request, response};

use super::{
    context::RequestId,
    forwarded_head::{AuthorizationReader, ForwardedHead, Peer, RelayedHead, TrailerFilter},
    refusal::{RefusalTarget, Refusals},
    refusal_log::RefusalDetails,
    subrequest::{PendingSubrequest, Subrequests},
};
use crate::{
    cookie::GateCookies,
    edge::{self, Edge, Intent, Namespace, Response, Subrequest, Verdict},
    upstream::{self, ConfiguredUpstreams, Upstream},
};

/// Passes requests on to apps.
pub(super) struct Forwarding {
    /// By the apps' places in the configuration; absent for an app without one.
    upstreams: Vec<Option<Arc<Upstream>>>,
    jar: Arc<GateCookies>,
}

/// Request that was let in: its head for the app, and where that goes.
pub struct ForwardedRequest {
    /// The app's upstream.
    pub upstream: Arc<Upstream>,
    /// Headers for the app.
    pub headers: HeaderMap,
    /// Filter of what follows its body.
    pub trailers: TrailerFilter,
    app: String,
    host: String,
    method: Method,
    cache_control: Option<HeaderValue>,
    jar: Arc<GateCookies>,
    client: Option<IpAddr>,
    intent: Intent,
}

/// Decision about a request at `server.proxy_listen`.
pub enum ForwardDecision {
    /// Passed on.
    Forward(Box<ForwardedRequest>),
    /// Answered by the gate.
    Answer(Response),
}

/// Way of a request to an app, known before it is judged.
struct ForwardTarget {
    upstream: Arc<Upstream>,
    authorization: AuthorizationReader,
    cache_control: Option<HeaderValue>,
}

impl ForwardedRequest {
    /// Turns the head of the app's response into that for the client. The error is a response that cannot be passed on.
    pub fn relay(&self, response: &mut response::Parts) -> Result<(), upstream::Error> {
        let (method, cache_control) = (&self.method, self.cache_control.as_ref());
        RelayedHead { method, upgrade: None, cache_control, jar: &self.jar }.relay(response)
    }

    /// Answers a request that the app did not answer.
    pub(super) fn refuse(&self, refusals: &Refusals, error: &upstream::Error) -> Response {
        let (app, host) = (Some(self.app.as_str()), Some(self.host.as_str()));
        let details = RefusalDetails { app, host, client: self.client, ..RefusalDetails::default() };
        refusals.app_unavailable(RefusalTarget { intent: self.intent, id: &RequestId::default() }, error, details)
    }
}

impl Forwarding {
    /// Forwarding to these upstreams, which were prepared.
    pub(super) fn new(
        settings: &[Option<upstream::Settings>],
        prepared: &ConfiguredUpstreams,
        jar: Arc<GateCookies>,
    ) -> Self {
        let client = |settings: &upstream::Settings| prepared.get(settings).cloned();
        Self { upstreams: settings.iter().map(|settings| settings.as_ref().and_then(client)).collect(), jar }
    }

    /// Lets a request in where memory alone can decide that.
    pub(super) fn admit_at_once(
        &self,
        subrequests: &Subrequests,
        peer: IpAddr,
        request: &request::Parts,
    ) -> Option<ForwardedRequest> {
        let pending = PendingSubrequest::read(subrequests, proxied(peer, request));
        let destination = self.destination(&pending)?;
        match pending.judge_at_once()? {
            Verdict::Allow(admission) => {
                self.forward(subrequests, destination, (peer, request), &admission.into_headers()).ok()
            }
            Verdict::Redirect(_) | Verdict::Refuse(_) => None,
        }
    }

    /// Decides about a request. May wait for the store and the provider.
    pub(super) async fn decide(
        &self,
        subrequests: &Subrequests,
        peer: IpAddr,
        request: &request::Parts,
    ) -> ForwardDecision {
        let (id, pending) = (RequestId::default(), PendingSubrequest::read(subrequests, proxied(peer, request)));
        let destination = self.destination(&pending);
        let target = RefusalTarget { intent: edge::intent(Some(request.method.as_str()), &request.headers), id: &id };
        let client = edge::direct_client(&subrequests.proxies, peer, &request.headers);
        let app = pending.site().map(|site| site.app.name.clone());
        let details = || RefusalDetails { app: app.as_deref(), client, ..RefusalDetails::default() };
        if app.is_some() && destination.is_none() {
            return ForwardDecision::Answer(subrequests.refusals.not_proxied(target, details()));
        }
        match (pending.judge(&id).await, destination) {
            (Verdict::Allow(admission), Some(destination)) => {
                match self.forward(subrequests, destination, (peer, request), &admission.into_headers()) {
                    Ok(forwarded) => ForwardDecision::Forward(Box::new(forwarded)),
                    Err(error) => {
                        ForwardDecision::Answer(subrequests.refusals.app_unavailable(target, &error, details()))
                    }
                }
            }
            (verdict, _) => ForwardDecision::Answer(edge::write(Edge::Proxy, refusal_of(verdict), id.as_str())),
        }
    }

    fn destination(&self, pending: &PendingSubrequest<'_>) -> Option<ForwardTarget> {
        let upstream = self.upstreams.get(pending.site()?.index?)?.clone()?;
        let authorization =
            if pending.is_for_api_clients() { AuthorizationReader::Gate } else { AuthorizationReader::App };
        Some(ForwardTarget { upstream, authorization, cache_control: pending.cache_control().cloned() })
    }

    fn forward(
        &self,
        subrequests: &Subrequests,
        destination: ForwardTarget,
        (peer, request): (IpAddr, &request::Parts),
        identity: &HeaderMap,
    ) -> Result<ForwardedRequest, upstream::Error> {
        let unusable = || upstream::Error::Request("has a host that cannot be passed on".to_owned());
        let authority = edge::request_host(request).map_err(|_| unusable())?;
        let is_proxy = subrequests.proxies.contains(peer);
        let client = edge::direct_client(&subrequests.proxies, peer, &request.headers);
        let trailers = TrailerFilter::of_request(identity);
        let head = ForwardedHead {
            scheme: subrequests.origins.own.scheme,
            authority: &authority,
            peer: if is_proxy { Peer::Proxy(peer) } else { Peer::Client(peer) },
            client,
            authorization: destination.authorization,
            service_token: subrequests.check.service_tokens.as_ref().map(|tokens| &tokens.header),
            upgrade: None,
            jar: &self.jar,
        };
        let site = subrequests.policy.site(authority.host());
        Ok(ForwardedRequest {
            upstream: destination.upstream,
            headers: head.request(request, identity)?,
            trailers,
            app: site.map(|site| site.app.name.clone()).unwrap_or_default(),
            host: authority.host().to_owned(),
            method: request.method.clone(),
            cache_control: destination.cache_control,
            jar: Arc::clone(&self.jar),
            client,
            intent: edge::intent(Some(request.method.as_str()), &request.headers),
        })
    }
}

fn proxied(peer: IpAddr, parts: &request::Parts) -> Subrequest<'_> {
    Subrequest { edge: Edge::Proxy, namespace: Namespace::Own, peer, parts, target: "" }
}

/// Returns a verdict that lets nobody in. An admission never comes here without an upstream; fail closed all the same.
fn refusal_of(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Allow(_) => Verdict::Refuse(edge::Refusal {
            status: http::StatusCode::INTERNAL_SERVER_ERROR,
            reason: edge::Reason::Internal,
            body: edge::Body::Empty,
            headers: Vec::new(),
        }),
        other => other,
    }
}
