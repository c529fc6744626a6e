//! Snapshot: everything that one configuration of the gate says, put together and never changed.
//!
//! Promises: a request is answered by one snapshot from beginning to end, so that no two parts of an answer come from different
//! configurations.

use std::{convert::Infallible, future::pending, net::IpAddr, sync::Arc};

use futures_util::future::join_all;
use http::{Method, request::Parts, uri::PathAndQuery};

use super::{
    backchannel_logout::{self, BackchannelLogout},
    compat::CompatSettings,
    context::{Initiator, RequestContext, RequestId, Via},
    emergency_watch::EmergencyWatch,
    endpoints::{self, Endpoints},
    forward::{ForwardDecision, ForwardedRequest, Forwarding},
    misconfigured_edge, protected_resource,
    refusal::{RefusalTarget, Refusals, UnreadableRequest},
    refusal_log::RefusalDetails,
    settings::{GateComponents, Settings},
    subrequest::{PendingSubrequest, SubrequestAnswer, Subrequests},
    wiring::{Flows, SharedParts},
};
use crate::{
    edge::{self, Intent, Namespace, Reason, Response, Subrequest, Verdict},
    host::Authority,
    oidc::Provider,
    policy::{Policy, Site},
    session::Sessions,
    upstream,
};

/// Health of the gate's dependencies, for the health page.
#[derive(Clone, Debug)]
pub struct GateHealth {
    /// `true` while the store answers.
    pub store: bool,
    /// `true` once the store has answered.
    pub opened: bool,
    /// Providers by name; `true` while they answer.
    pub providers: Vec<(String, bool)>,
}

/// One configuration of the gate.
pub struct Snapshot {
    subrequests: Subrequests,
    backchannel_logout: BackchannelLogout,
    endpoints: Arc<Endpoints>,
    refusals: Arc<Refusals>,
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    forwarding: Forwarding,
}

impl Snapshot {
    pub(super) fn new(settings: Settings, components: GateComponents, shared: &SharedParts) -> Self {
        let Flows { subrequests, backchannel_logout, endpoints, refusals, policy, sessions, providers, forwarding } =
            Flows::new(settings, components, shared);
        Self { subrequests, backchannel_logout, endpoints, refusals, policy, sessions, providers, forwarding }
    }

    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.subrequests.origins.own.prefix
    }

    /// Returns the gates whose place this one takes.
    #[must_use]
    pub fn compat(&self) -> CompatSettings {
        self.subrequests.origins.compat
    }

    /// Returns `true` if a peer may send subrequests.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.subrequests.proxies.contains(peer)
    }

    /// Fills the JWKS URL of each provider into the headers of its apps, once it is known.
    pub(super) async fn follow_providers(&self) -> Infallible {
        let known = self.providers.iter().enumerate().map(|(index, provider)| async move {
            let url = provider.jwks_url().await;
            for app in self.policy.set_jwks_url(index, url.as_str()) {
                tracing::warn!(app, %url, "no room for the provider's JWKS URL in identity headers; X-authentik-meta-jwks stays empty");
            }
        });
        join_all(known).await;
        pending().await
    }

    /// Has the watch over the emergency sign-in see where it is open; without one it is closed.
    pub(super) fn observe_emergency(&self, watch: &EmergencyWatch) {
        match &self.subrequests.check.emergency {
            Some(emergency) => emergency.observe(),
            None => watch.observe(&[]),
        }
    }

    /// Answers an auth subrequest where memory alone can let it in. It waits for nothing, so it needs no limits: nearly every
    /// request ends here.
    #[must_use]
    pub fn admit_at_once<'r>(&'r self, subrequest: Subrequest<'r>) -> SubrequestAnswer<'r> {
        self.subrequests.admit_at_once(subrequest)
    }

    /// Answers an auth subrequest that [`Snapshot::admit_at_once`] has left pending, for callers that could not keep it.
    pub async fn authorize(&self, subrequest: Subrequest<'_>) -> Response {
        PendingSubrequest::read(&self.subrequests, subrequest).resolve().await
    }

    /// Decides about a request at `server.proxy_listen`, where memory alone can let it in.
    #[must_use]
    pub fn forward_at_once(&self, peer: IpAddr, request: &Parts) -> Option<ForwardDecision> {
        self.forwarding.decide_at_once(&self.subrequests, peer, request)
    }

    /// Decides about a request at `server.proxy_listen` that [`Snapshot::forward_at_once`] did not let in.
    pub async fn forward(&self, peer: IpAddr, request: &Parts) -> ForwardDecision {
        self.forwarding.decide(&self.subrequests, peer, request).await
    }

    /// Answers a request that was let in and that the app did not answer.
    #[must_use]
    pub fn upstream_failed(&self, request: &ForwardedRequest, error: &upstream::Error) -> Response {
        request.refuse(&self.refusals, error)
    }

    /// Returns `true` if the app of a request has its protected-resource metadata published by the gate.
    #[must_use]
    pub fn publishes_metadata(&self, request: &Parts) -> bool {
        self.requested_site(request).is_ok_and(|(_, site)| site.app.resource_metadata.is_some())
    }

    /// Answers a request for one of the gate's own endpoints that arrived over a direct route. `path` is below the prefix and
    /// begins with a slash; the prefix is that of the namespace.
    pub async fn answer_endpoint(&self, peer: IpAddr, request: &Parts, namespace: Namespace, path: &str) -> Response {
        if path == "/ping" {
            return endpoints::ping_response();
        }
        let id = RequestId::default();
        if path == backchannel_logout::PATH && request.method == Method::POST {
            let intent = edge::intent(Some(request.method.as_str()), &request.headers);
            let client = edge::direct_client(&self.subrequests.proxies, peer, &request.headers);
            return match self.logout_site(request, self.requested_site(request)) {
                Ok(site) => Box::pin(self.backchannel_logout.handle(request, &id, client, site)).await,
                Err(error) => self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error),
            };
        }
        match self.direct_context(peer, request, &id) {
            Ok(context) => {
                let context = RequestContext { origin: self.subrequests.origins.of(namespace), ..context };
                Box::pin(self.endpoints.answer_direct(&context, path, request.uri.query().unwrap_or_default())).await
            }
            Err(response) => *response,
        }
    }

    /// Answers a request for protected-resource metadata that arrived over a direct route.
    #[must_use]
    pub fn answer_protected_resource(&self, peer: IpAddr, request: &Parts) -> Response {
        let target = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        match self.direct_context(peer, request, &RequestId::default()) {
            Ok(context) => protected_resource::answer_direct(&context, &self.refusals, target),
            Err(response) => *response,
        }
    }

    /// Returns the context of a request over a direct route, or the refusal of one for no app.
    fn direct_context<'r>(
        &'r self,
        peer: IpAddr,
        request: &'r Parts,
        id: &'r RequestId,
    ) -> Result<RequestContext<'r>, Box<Response>> {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        let client = edge::direct_client(&self.subrequests.proxies, peer, &request.headers);
        let (authority, site) = self
            .requested_site(request)
            .map_err(|error| Box::new(self.refuse_unreadable(RefusalTarget { intent, id }, client, error)))?;
        Ok(RequestContext {
            authority,
            site,
            client,
            intent,
            method: Some(request.method.as_str()),
            target: request.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &request.headers,
            via: Via::Direct,
            initiator: Initiator::Trusted,
            id,
            origin: &self.subrequests.origins.own,
        })
    }

    /// Refuses a back-channel logout by its header alone, before its body is read: unknown host, wrong media type, too long.
    #[must_use]
    pub fn precheck_backchannel_logout(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let id = RequestId::default();
        let client = edge::direct_client(&self.subrequests.proxies, peer, &request.headers);
        match self.logout_site(request, self.requested_site(request)) {
            Ok(site) => self.backchannel_logout.precheck(request, &id, client, site),
            Err(error) => {
                let intent = edge::intent(Some(request.method.as_str()), &request.headers);
                Some(self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error))
            }
        }
    }

    /// Answers a request below `/auth/` at whose path no edge asks, or an edge's question that was sent to no such path at all.
    #[must_use]
    pub fn no_such_edge(&self, peer: IpAddr, request: &Parts) -> Response {
        let id = RequestId::default();
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        let (path, mend) = (request.uri.path(), misconfigured_edge::paths(self.prefix()));
        let details =
            RefusalDetails { peer: Some(peer), path: Some(path), mend: Some(&mend), ..RefusalDetails::default() };
        let refusal = self.refusals.no_such_edge(RefusalTarget { intent, id: &id }, &mend, &details);
        edge::write_direct(Verdict::Refuse(refusal), id.as_str())
    }

    /// Answers a request for anything else.
    #[must_use]
    pub fn not_found(&self, request: &Parts) -> Response {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        self.refusals.without_site(intent, Reason::NotFound, &RefusalDetails::default())
    }

    /// Answers a request that there is no room or no time for. `what` names what is full, for the log.
    #[must_use]
    pub fn overloaded(&self, what: &'static str) -> Response {
        let details = RefusalDetails { detail: Some(&what), ..RefusalDetails::default() };
        // JSON for everybody: no page is rendered under overload.
        self.refusals.without_site(Intent::Fetch, Reason::Overloaded, &details)
    }

    /// Answers a request whose header has too many lines or bytes.
    #[must_use]
    pub fn headers_too_large(&self) -> Response {
        self.refusals.without_site(Intent::Fetch, Reason::HeadersTooLarge, &RefusalDetails::default())
    }

    /// Counts and logs a request that HTTP itself refused, before it was one: garbage, or too large a header.
    pub fn note_unread(&self, peer: IpAddr, reason: Reason) {
        self.refusals.unread(reason, &RefusalDetails { client: Some(peer), ..RefusalDetails::default() });
    }

    /// Returns the health of the gate's dependencies.
    #[must_use]
    pub fn health(&self) -> GateHealth {
        let providers =
            self.providers.iter().map(|provider| (provider.settings().name.clone(), provider.is_available())).collect();
        GateHealth { store: self.sessions.is_available(), opened: self.sessions.was_opened(), providers }
    }

    /// Finds the app of a request over a direct route, by the host that it was sent to.
    fn requested_site<'r>(&'r self, request: &'r Parts) -> Result<(Authority<'r>, Site<'r>), UnreadableRequest> {
        let authority = edge::request_host(request)?.without_default_port(self.subrequests.origins.own.scheme);
        let site = self.policy.site(authority.host());
        let site = site.ok_or_else(|| UnreadableRequest::UnknownHost(authority.host().to_owned()))?;
        Ok((authority, site))
    }

    /// Returns the app whose host a logout token was sent to; `None` for a name of the gate's own, which providers inside the same
    /// network use.
    fn logout_site<'r>(
        &self,
        request: &Parts,
        requested: Result<(Authority<'r>, Site<'r>), UnreadableRequest>,
    ) -> Result<Option<Site<'r>>, UnreadableRequest> {
        let names_gate = |host: &str| self.subrequests.service_hosts.iter().any(|service| service == host);
        match edge::request_host(request) {
            Ok(authority) if names_gate(authority.host()) => Ok(None),
            _ => requested.map(|(_, site)| Some(site)),
        }
    }

    fn refuse_unreadable(&self, to: RefusalTarget<'_>, client: Option<IpAddr>, error: UnreadableRequest) -> Response {
        let details = RefusalDetails { client, ..RefusalDetails::default() };
        edge::write_direct(self.refusals.unreadable(to, error, details), to.id.as_str())
    }
}
