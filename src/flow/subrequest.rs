//! Auth subrequests (`ForwardAuth`, `forward_auth`, `auth_request`, `ext_authz`), from their reading to their answer.
//!
//! Promises: nothing in a subrequest is trusted before its peer is; it is read once, and the stage that may wait begins where
//! memory stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::HeaderValue;

use super::{
    check::Check,
    compat,
    context::{Initiator, PublicOrigin, PublicOrigins, RequestContext, RequestId, Via},
    cross_site,
    delegate::Delegation,
    endpoints::Endpoints,
    not_admitted::NotAdmitted,
    protected_resource,
    refusal::{RefusalTarget, Refusals, UnreadableRequest},
    refusal_log::RefusalDetails,
    refused_request::{RefusedRequest, RefusedRequests},
    verdict_label::verdict_label,
};
use crate::{
    edge::{self, AuthRequest, Edge, Namespace, Reason, Response, Subrequest, TrustedProxies, Verdict},
    metrics,
    pages::Page,
    policy::{Narrowing, Policy, RequestAttributes, Requirement, Site},
};

/// Answers auth subrequests.
pub(super) struct Subrequests {
    pub(super) origins: PublicOrigins,
    pub(super) proxies: TrustedProxies,
    /// Names under which edges reach the gate itself.
    pub(super) service_hosts: Vec<String>,
    /// `true` once an edge that does not send the method was reported.
    pub(super) has_warned_of_method: AtomicBool,
    pub(super) policy: Arc<Policy>,
    pub(super) check: Check,
    /// Of the apps whose checks an outpost answers, by their place in the configuration.
    pub(super) delegations: Vec<Option<Delegation>>,
    pub(super) refused: RefusedRequests,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) metrics: metrics::AuthMetrics,
}

/// Answer to a subrequest as far as memory can give one.
pub enum SubrequestAnswer<'r> {
    /// Let in.
    Ready(Response),
    /// Undecided: it takes the store, or is a refusal.
    Pending(PendingSubrequest<'r>),
}

/// Subrequest that has been read and is not answered yet.
pub struct PendingSubrequest<'r> {
    subrequests: &'r Subrequests,
    subrequest: Subrequest<'r>,
    begun: Instant,
    read: Result<ReadSubrequest<'r>, UnreadableRequest>,
}

/// Original request, with its app and destination.
struct ReadSubrequest<'r> {
    request: AuthRequest<'r>,
    site: Site<'r>,
    initiator: Initiator,
    origin: &'r PublicOrigin,
    destination: Destination<'r>,
}

/// Destination of the original request.
enum Destination<'r> {
    /// One of the gate's own endpoints, by its path below the prefix.
    Endpoint(&'r str),
    /// Protected-resource metadata, which the app has published by the gate.
    ResourceMetadata,
    /// A path of an app whose checks this outpost answers.
    Delegated(&'r Delegation, Requirement<'r>),
    /// A path of the app, which requires this.
    App(Requirement<'r>),
}

impl Subrequests {
    /// Lets a subrequest in where memory alone can decide that.
    pub(super) fn admit_at_once<'r>(&'r self, subrequest: Subrequest<'r>) -> SubrequestAnswer<'r> {
        let pending = PendingSubrequest::read(self, subrequest);
        match pending.admit() {
            Some(response) => SubrequestAnswer::Ready(response),
            None => SubrequestAnswer::Pending(pending),
        }
    }

    /// Reads a subrequest and finds its app. The peer is checked before anything else.
    fn read<'r>(&'r self, subrequest: &Subrequest<'r>) -> Result<ReadSubrequest<'r>, UnreadableRequest> {
        let mut request = if subrequest.edge == Edge::Proxy {
            edge::read_proxied(&self.proxies, subrequest)?
        } else {
            let trusted = self.proxies.admit(subrequest.peer).ok_or(UnreadableRequest::UntrustedPeer)?;
            edge::read(trusted, subrequest, &self.service_hosts)?
        };
        request.authority = request.authority.without_default_port(self.origins.own.scheme);
        let is_same_app = |described: &str, routed: &str| self.is_same_named_app(described, routed);
        edge::cross_check(&request, &self.service_hosts, is_same_app)?;
        if request.method.is_none() {
            self.warn_of_missing_method(request.edge);
        }
        let site = self.policy.site(request.authority.host());
        let site = site.ok_or_else(|| UnreadableRequest::UnknownHost(request.authority.host().to_owned()))?;
        let path = request.path();
        let delegation = site.index.and_then(|index| self.delegations.get(index)?.as_ref());
        // The paths and signatures of an outpost are its own where it answers for the app.
        let is_here = |namespace| delegation.is_none() || namespace == Namespace::Own;
        let endpoint = self.origins.endpoint(&request).filter(|(namespace, _)| is_here(*namespace));
        let origin = self.origins.of(endpoint.map_or(subrequest.namespace, |(namespace, _)| namespace));
        let destination = if let Some((_, endpoint)) = endpoint {
            Destination::Endpoint(endpoint)
        } else if site.app.resource_metadata.is_some() && protected_resource::resource_path(path).is_some() {
            Destination::ResourceMetadata
        } else {
            let requirement = site.app.requirement(request_attributes(&request, &site));
            let narrowing = narrowing(subrequest);
            match delegation {
                Some(delegation) if narrowing.is_empty() => Destination::Delegated(delegation, requirement),
                // An outpost says nothing that could be held against it.
                Some(_) => Destination::App(Requirement::Denied),
                None => Destination::App(site.app.narrowed(requirement, narrowing)),
            }
        };
        let initiator = match &destination {
            Destination::App(requirement) => cross_site::initiator(&request, &site, requirement, origin.scheme),
            Destination::Endpoint(_) | Destination::ResourceMetadata | Destination::Delegated(..) => Initiator::Trusted,
        };
        Ok(ReadSubrequest { request, site, initiator, origin, destination })
    }

    fn is_same_named_app(&self, described: &str, routed: &str) -> bool {
        let app = |host: &str| self.policy.site(host).and_then(|site| site.index);
        app(described).is_some_and(|one| app(routed) == Some(one))
    }

    /// Warns once for each configuration: every rule with methods closes such requests, whatever their method is.
    fn warn_of_missing_method(&self, edge: Edge) {
        let warned = &self.has_warned_of_method;
        if !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                mend = edge::mend_method(edge),
                "nginx does not send the request method: each request counts as any that a rule closes, and a page as GET"
            );
        }
    }

    async fn answer<'r>(&'r self, read: ReadSubrequest<'r>, id: &'r RequestId) -> Verdict {
        let ReadSubrequest { request, site, initiator, origin, destination } = read;
        let (query, intent) = (request.query().unwrap_or_default(), request.intent());
        let AuthRequest { edge, method, authority, target, client, headers, .. } = request;
        let (via, client) = (Via::Subrequest(edge), client.address());
        let context =
            RequestContext { authority, site, client, intent, method, target, headers, via, initiator, id, origin };
        // Cold branches are on the heap, so that the future of an answer from memory stays small.
        match destination {
            Destination::Endpoint(_) if matches!(edge, Edge::Nginx | Edge::OAuth2Proxy) => {
                Verdict::Refuse(self.refusals.refuse(&context, Reason::NeedsRoute, &Page::NotFound))
            }
            Destination::Endpoint(path) => Box::pin(self.endpoints.answer_subrequest(&context, path, query)).await,
            Destination::ResourceMetadata => protected_resource::refuse_subrequest(&context, &self.refusals),
            Destination::Delegated(delegation, requirement) => {
                let decided = Box::pin(self.check.decide_by_outpost(delegation, &context, target)).await;
                match decided {
                    Ok(verdict) => verdict,
                    Err(cause) => Box::pin(self.refuse(&context, &requirement, target, cause)).await,
                }
            }
            Destination::App(requirement) => match self.check.decide(&context, &requirement, target).await {
                Ok(verdict) => verdict,
                Err(cause) => Box::pin(self.refuse(&context, &requirement, target, cause)).await,
            },
        }
    }

    /// Makes the answer for a request that is not let in.
    async fn refuse(
        &self,
        context: &RequestContext<'_>,
        requirement: &Requirement<'_>,
        target: &str,
        cause: NotAdmitted<'_>,
    ) -> Verdict {
        let (emergency, passwords) = (self.check.emergency.as_deref(), self.check.app_passwords());
        let refused = RefusedRequest { context, requirement, target, passwords, emergency };
        self.refused.answer(&refused, cause).await
    }

    fn refuse_unreadable(&self, subrequest: &Subrequest<'_>, id: &RequestId, error: UnreadableRequest) -> Verdict {
        let peer = subrequest.peer;
        let details = match error {
            UnreadableRequest::UntrustedPeer => RefusalDetails { peer: Some(peer), ..RefusalDetails::default() },
            _ => RefusalDetails { client: Some(peer), ..RefusalDetails::default() },
        };
        let request = subrequest.parts;
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        let verdict = self.refusals.unreadable(RefusalTarget { intent, id }, error, details);
        match (subrequest.namespace, verdict) {
            (Namespace::Authentik, Verdict::Refuse(refusal)) => {
                Verdict::Refuse(compat::as_outpost(refusal, id.as_str()))
            }
            (_, verdict) => verdict,
        }
    }

    fn count(&self, edge: Edge, site: Option<Site<'_>>, verdict: metrics::VerdictLabel, begun: Instant) {
        self.metrics.count(edge as usize, site.and_then(|site| site.index), verdict, begun.elapsed());
    }
}

/// Returns what the question itself asks for on top of the configuration. The query of any other question is no instruction.
fn narrowing<'r>(subrequest: &Subrequest<'r>) -> Narrowing<'r> {
    match subrequest.edge {
        Edge::OAuth2Proxy => Narrowing::of(subrequest.parts.uri.query().unwrap_or_default()),
        _ => Narrowing::default(),
    }
}

/// Returns what rules read of a request.
fn request_attributes<'a>(request: &'a AuthRequest<'_>, site: &Site<'_>) -> RequestAttributes<'a> {
    // Unknown closes what known would close, so leaving it out where no rule asks opens nothing.
    let client = if site.app.reads_client() { request.client.address() } else { None };
    RequestAttributes { path: request.path(), method: request.method, client }
}

impl<'r> PendingSubrequest<'r> {
    /// Reads a subrequest.
    pub(super) fn read(subrequests: &'r Subrequests, subrequest: Subrequest<'r>) -> Self {
        let begun = Instant::now();
        Self { subrequests, subrequest, begun, read: subrequests.read(&subrequest) }
    }

    /// Returns the app, where the request is for one.
    pub(super) fn site(&self) -> Option<Site<'r>> {
        self.read.as_ref().ok().map(|read| read.site)
    }

    /// Returns `true` for a path where the credential of an API client, and nothing else, lets in.
    pub(super) fn is_for_api_clients(&self) -> bool {
        matches!(&self.read, Ok(ReadSubrequest { destination: Destination::App(Requirement::Bearer(_)), .. }))
    }

    /// Returns `cache_control` of the rule that decides about the request.
    pub(super) fn cache_control(&self) -> Option<&'r HeaderValue> {
        let ReadSubrequest { request, site, .. } = self.read.as_ref().ok()?;
        site.app.cache_control(request_attributes(request, site))
    }

    /// Lets the subrequest in where memory alone can decide that.
    fn admit(&self) -> Option<Response> {
        Some(edge::write(self.subrequest.edge, self.judge_at_once()?, ""))
    }

    /// Returns the admission of a request that memory alone can let in.
    pub(super) fn judge_at_once(&self) -> Option<Verdict> {
        let ReadSubrequest { request, site, initiator, destination, .. } = self.read.as_ref().ok()?;
        let (host, headers, check) = (request.authority.host(), request.headers, &self.subrequests.check);
        let verdict = match (destination, initiator) {
            (Destination::App(requirement), Initiator::Trusted) => {
                check.admit_at_once(site, requirement, host, headers)?
            }
            (Destination::Delegated(delegation, _), _) => {
                check.admit_by_outpost(delegation, host, request.target, headers)?
            }
            _ => return None,
        };
        // Never by an emergency password: those are looked at later.
        self.subrequests.count(request.edge, Some(*site), metrics::VerdictLabel::Allow, self.begun);
        Some(verdict)
    }

    /// Answers the subrequest. May wait for the store and the provider.
    pub async fn resolve(self) -> Response {
        let (id, edge) = (RequestId::default(), self.subrequest.edge);
        match self.judge(&id).await {
            // An admission needs no id, and making one costs.
            allow @ Verdict::Allow(_) => edge::write(edge, allow, ""),
            other => edge::write(edge, other, id.as_str()),
        }
    }

    /// Returns the verdict. May wait for the store and the provider.
    pub(super) async fn judge(self, id: &RequestId) -> Verdict {
        let Self { subrequests, subrequest, begun, read } = self;
        let edge = subrequest.edge;
        let (verdict, site) = match read {
            Ok(read) => {
                let site = read.site;
                (subrequests.answer(read, id).await, Some(site))
            }
            Err(error) => (subrequests.refuse_unreadable(&subrequest, id, error), None),
        };
        let label = verdict_label(&verdict);
        subrequests.count(edge, site, label, begun);
        tracing::debug!(
            request_id = %id,
            edge = edge.label(),
            app = site.map(|site| site.app.name.as_str()),
            verdict = label.label(),
            reason = verdict.reason().map(Reason::code),
            "auth subrequest"
        );
        verdict
    }
}
