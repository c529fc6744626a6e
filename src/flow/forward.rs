//! Reverse-proxy mode: requests that are let in become requests to the app's upstream.
//!
//! Promises: the request that is passed on is the one that was judged, by the same pipeline as every edge's question; an app
//! without an upstream is not served.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, request::Parts};

use super::{
    context::RequestId,
    forwarded_head::ForwardedHead,
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
    app: String,
    host: String,
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
        request: &Parts,
    ) -> Option<ForwardedRequest> {
        let pending = PendingSubrequest::read(subrequests, proxied(peer, request));
        let upstream = self.upstream(&pending)?;
        match pending.judge_at_once()? {
            Verdict::Allow(admission) => {
                self.forward(subrequests, upstream, (peer, request), admission.into_headers()).ok()
            }
            Verdict::Redirect(_) | Verdict::Refuse(_) => None,
        }
    }

    /// Decides about a request. May wait for the store and the provider.
    pub(super) async fn decide(&self, subrequests: &Subrequests, peer: IpAddr, request: &Parts) -> ForwardDecision {
        let (id, pending) = (RequestId::default(), PendingSubrequest::read(subrequests, proxied(peer, request)));
        let upstream = self.upstream(&pending);
        let target = RefusalTarget { intent: edge::intent(Some(request.method.as_str()), &request.headers), id: &id };
        let client = edge::direct_client(&subrequests.proxies, peer, &request.headers);
        if let (Some(site), None) = (pending.site(), upstream) {
            let app = Some(site.app.name.as_str());
            let details = RefusalDetails { app, client, ..RefusalDetails::default() };
            return ForwardDecision::Answer(subrequests.refusals.not_proxied(target, details));
        }
        match (pending.judge(&id).await, upstream) {
            (Verdict::Allow(admission), Some(upstream)) => {
                match self.forward(subrequests, upstream, (peer, request), admission.into_headers()) {
                    Ok(forwarded) => ForwardDecision::Forward(Box::new(forwarded)),
                    Err(error) => {
                        let details = RefusalDetails { client, ..RefusalDetails::default() };
                        ForwardDecision::Answer(subrequests.refusals.app_unavailable(target, &error, details))
                    }
                }
            }
            (verdict, _) => ForwardDecision::Answer(edge::write(Edge::Proxy, refusal_of(verdict), id.as_str())),
        }
    }

    /// Answers a request that the app did not answer.
    pub(super) fn refuse(&self, refusals: &Refusals, request: &ForwardedRequest, error: &upstream::Error) -> Response {
        let (app, host) = (Some(request.app.as_str()), Some(request.host.as_str()));
        let details = RefusalDetails { app, host, client: request.client, ..RefusalDetails::default() };
        refusals.app_unavailable(RefusalTarget { intent: request.intent, id: &RequestId::default() }, error, details)
    }

    fn upstream(&self, pending: &PendingSubrequest<'_>) -> Option<&Arc<Upstream>> {
        self.upstreams.get(pending.site()?.index?)?.as_ref()
    }

    fn forward(
        &self,
        subrequests: &Subrequests,
        upstream: &Arc<Upstream>,
        (peer, request): (IpAddr, &Parts),
        identity: HeaderMap,
    ) -> Result<ForwardedRequest, upstream::Error> {
        let unusable = || upstream::Error::Request("has a host that cannot be passed on".to_owned());
        let host = edge::request_host(request).map_err(|_| unusable())?;
        let authority = host.to_string();
        let head = ForwardedHead {
            scheme: subrequests.origins.own.scheme,
            authority: &authority,
            peer,
            is_trusted: subrequests.proxies.contains(peer),
            jar: &self.jar,
        };
        let site = subrequests.policy.site(host.host());
        Ok(ForwardedRequest {
            upstream: Arc::clone(upstream),
            headers: head.request(&request.headers, identity)?,
            app: site.map(|site| site.app.name.clone()).unwrap_or_default(),
            host: host.host().to_owned(),
            client: edge::direct_client(&subrequests.proxies, peer, &request.headers),
            intent: edge::intent(Some(request.method.as_str()), &request.headers),
        })
    }
}

fn proxied(peer: IpAddr, parts: &Parts) -> Subrequest<'_> {
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

/// Removes what belongs to the connection to the app from its response.
pub fn without_connection_headers(headers: &mut HeaderMap) {
    super::forwarded_head::remove_connection_headers(headers);
}
