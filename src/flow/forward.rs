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
    host::Authority,
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

/// Request at `server.proxy_listen`.
#[derive(Clone, Copy)]
struct ProxiedRequest<'r> {
    peer: IpAddr,
    request: &'r request::Parts,
    id: &'r RequestId,
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

    /// Decides about a request that memory alone can let in.
    pub(super) fn decide_at_once(
        &self,
        subrequests: &Subrequests,
        peer: IpAddr,
        request: &request::Parts,
    ) -> Option<ForwardDecision> {
        let proxied = ProxiedRequest { peer, request, id: &RequestId::default() };
        let pending = PendingSubrequest::read(subrequests, proxied.subrequest());
        let destination = self.destination(&pending)?;
        match pending.judge_at_once()? {
            Verdict::Allow(admission) => {
                Some(self.forward(subrequests, destination, proxied, &admission.into_headers()))
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
        let id = RequestId::default();
        let proxied = ProxiedRequest { peer, request, id: &id };
        let pending = PendingSubrequest::read(subrequests, proxied.subrequest());
        let destination = self.destination(&pending);
        if let (Some(site), None) = (pending.site(), &destination) {
            let client = edge::direct_client(&subrequests.proxies, peer, &request.headers);
            let details = RefusalDetails { app: Some(&site.app.name), client, ..RefusalDetails::default() };
            return ForwardDecision::Answer(subrequests.refusals.not_proxied(proxied.refused(), details));
        }
        match (pending.judge(&id).await, destination) {
            (Verdict::Allow(admission), Some(destination)) => {
                self.forward(subrequests, destination, proxied, &admission.into_headers())
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

    /// Makes the head of a request that was let in; where it cannot be passed on, it is refused.
    fn forward(
        &self,
        subrequests: &Subrequests,
        destination: ForwardTarget,
        proxied: ProxiedRequest<'_>,
        identity: &HeaderMap,
    ) -> ForwardDecision {
        let ProxiedRequest { peer, request, .. } = proxied;
        let client = edge::direct_client(&subrequests.proxies, peer, &request.headers);
        let authority = edge::request_host(request).ok();
        let host = authority.as_ref().map(Authority::host).unwrap_or_default();
        let app = subrequests.policy.site(host).map(|site| site.app.name.clone()).unwrap_or_default();
        let headers = match &authority {
            Some(authority) => {
                let is_proxy = subrequests.proxies.contains(peer);
                let head = ForwardedHead {
                    scheme: subrequests.origins.own.scheme,
                    authority,
                    peer: if is_proxy { Peer::Proxy(peer) } else { Peer::Client(peer) },
                    client,
                    authorization: destination.authorization,
                    service_token: subrequests.check.service_tokens.as_ref().map(|tokens| &tokens.header),
                    upgrade: None,
                    jar: &self.jar,
                };
                head.request(request, identity)
            }
            // Never comes here, since it was judged; fail closed all the same.
            None => Err(upstream::Error::Request("has a host that cannot be passed on".to_owned())),
        };
        match headers {
            Ok(headers) => ForwardDecision::Forward(Box::new(ForwardedRequest {
                upstream: destination.upstream,
                headers,
                trailers: TrailerFilter::of_request(identity),
                app,
                host: host.to_owned(),
                method: request.method.clone(),
                cache_control: destination.cache_control,
                jar: Arc::clone(&self.jar),
                client,
                intent: proxied.intent(),
            })),
            Err(error) => {
                let details = RefusalDetails { app: Some(&app), host: Some(host), client, ..RefusalDetails::default() };
                ForwardDecision::Answer(subrequests.refusals.app_unavailable(proxied.refused(), &error, details))
            }
        }
    }
}

impl<'r> ProxiedRequest<'r> {
    fn subrequest(&self) -> Subrequest<'r> {
        Subrequest { edge: Edge::Proxy, namespace: Namespace::Own, peer: self.peer, parts: self.request, target: "" }
    }

    fn intent(&self) -> Intent {
        edge::intent(Some(self.request.method.as_str()), &self.request.headers)
    }

    fn refused(&self) -> RefusalTarget<'r> {
        RefusalTarget { intent: self.intent(), id: self.id }
    }
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
