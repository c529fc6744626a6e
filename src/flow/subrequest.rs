//! Auth subrequests (`ForwardAuth`, `forward_auth`, `auth_request`, `ext_authz`), from their reading to their answer.
//!
//! Promises: nothing in a subrequest is trusted before its peer is; it is read once, and the stage that may wait begins where
//! memory stopped.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    check::{self, Check, NotAdmitted},
    context::{PublicOrigin, RequestContext, RequestId, Via},
    endpoints::{self, Endpoints},
    login::LoginFlow,
    misconfigured_edge::MissingHeaders,
    refusal::{RefusalTarget, Refusals, UnreadableRequest},
    refusal_log::{self, GroupsOf, RefusalDetails, RequiredAccess},
};
use crate::{
    edge::{self, AuthRequest, Edge, Intent, Reason, Response, Subrequest, TrustedProxies, Verdict},
    identity::PackedIdentity,
    metrics,
    pages::Page,
    policy::{Policy, RequestAttributes, Requirement, Site},
};

/// Answers auth subrequests.
pub(super) struct Subrequests {
    pub(super) origin: PublicOrigin,
    pub(super) proxies: TrustedProxies,
    /// Names under which edges reach the gate itself.
    pub(super) service_hosts: Vec<String>,
    /// `true` once an edge that does not send the method was reported.
    pub(super) has_warned_of_method: AtomicBool,
    pub(super) missing_headers: MissingHeaders,
    pub(super) policy: Arc<Policy>,
    pub(super) check: Arc<Check>,
    pub(super) login: Arc<LoginFlow>,
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
    destination: Destination<'r>,
}

/// Destination of the original request.
enum Destination<'r> {
    /// One of the gate's own endpoints, by its path below the prefix.
    Endpoint(&'r str),
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
        let trusted = self.proxies.admit(subrequest.peer).ok_or(UnreadableRequest::UntrustedPeer)?;
        let mut request = edge::read(trusted, subrequest)?;
        request.authority = request.authority.without_default_port(self.origin.scheme);
        let is_same_app = |described: &str, routed: &str| self.is_same_named_app(described, routed);
        edge::cross_check(&request, &self.service_hosts, is_same_app)?;
        if request.method.is_none() {
            self.warn_of_missing_method(request.edge);
        }
        let site = self.policy.site(request.authority.host());
        let site = site.ok_or_else(|| UnreadableRequest::UnknownHost(request.authority.host().to_owned()))?;
        let path = request.path();
        let destination = if let Some(endpoint) = endpoints::endpoint_path(&self.origin.prefix, path) {
            Destination::Endpoint(endpoint)
        } else {
            // Unknown closes what known would close, so leaving it out where no rule asks opens nothing.
            let client = if site.app.reads_client() { request.client.address() } else { None };
            let attributes = RequestAttributes { path, method: request.method, client };
            Destination::App(site.app.requirement(attributes))
        };
        Ok(ReadSubrequest { request, site, destination })
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
        let ReadSubrequest { request, site, destination } = read;
        let (query, intent) = (request.query().unwrap_or_default(), request.intent());
        let AuthRequest { edge, method, authority, target, client, headers, .. } = request;
        let (via, client) = (Via::Subrequest(edge), client.address());
        let context =
            RequestContext { authority, site, client, intent, method, headers, via, id, origin: &self.origin };
        // Cold branches are on the heap, so that the future of an answer from memory stays small.
        match destination {
            Destination::Endpoint(_) if edge == Edge::Nginx => {
                Verdict::Refuse(self.refusals.refuse(&context, Reason::NeedsRoute, &Page::NotFound))
            }
            Destination::Endpoint(path) => Box::pin(self.endpoints.answer_subrequest(&context, path, query)).await,
            Destination::App(requirement) => match self.check.decide(&context, &requirement, target).await {
                Ok(verdict) => verdict,
                Err(cause) => Box::pin(self.refuse(&context, target, cause)).await,
            },
        }
    }

    /// Makes the answer for a request that is not let in: a sign-in, or a refusal.
    async fn refuse(&self, context: &RequestContext<'_>, target: &str, cause: NotAdmitted<'_>) -> Verdict {
        let app = context.site.app.name.as_str();
        let original = || self.login.targets.original(context, target);
        match cause {
            NotAdmitted::Unauthenticated(reason) => {
                self.missing_headers.observe(context);
                match context.intent {
                    // A page that nobody opens: a prefetch.
                    Intent::Page if reason == Reason::Reauthorize => {
                        Verdict::Refuse(Refusals::login_required(context, reason))
                    }
                    Intent::Page => self.login.challenge(context, &original(), reason).await,
                    Intent::Frame => Verdict::Refuse(self.refusals.framed(context, reason, &original())),
                    Intent::Form => Verdict::Refuse(self.refusals.held_form(context, reason)),
                    Intent::Fetch => Verdict::Refuse(Refusals::login_required(context, reason)),
                }
            }
            NotAdmitted::Unauthorized(trip) => self.login.reauthorize(context, &original(), &trip).await,
            NotAdmitted::Forbidden(session, denial) => {
                let identity = session.as_ref().map(|session| session.identity());
                let reason = check::denial_reason(denial, identity);
                let switch = context.endpoint_url("/sign_out?rd=%2F");
                let page = match identity {
                    Some(who) if reason == Reason::EmailUnverified => Page::EmailUnverified { user: who.user(), app },
                    Some(who) => Page::NotAllowed { user: who.user(), app, switch: &switch },
                    None => Page::Denied { app },
                };
                let (needs, groups) = (RequiredAccess(denial), identity.map(GroupsOf));
                let details = RefusalDetails {
                    user: identity.map(PackedIdentity::user),
                    subject: identity.map(PackedIdentity::subject),
                    path: target.split('?').next(),
                    needs: Some(&needs),
                    has: groups.as_ref().map(|groups| groups as &dyn fmt::Display),
                    mend: refusal_log::mend(reason),
                    ..RefusalDetails::default()
                };
                Verdict::Refuse(self.refusals.refuse_with(context, reason, &page, details))
            }
            NotAdmitted::CookiesTooLong => Verdict::Refuse(self.refusals.cookies_too_long(context)),
            NotAdmitted::Undetermined(cause) => {
                Verdict::Refuse(self.refusals.undetermined(context, &cause, original().as_str()))
            }
        }
    }

    fn refuse_unreadable(&self, subrequest: &Subrequest<'_>, id: &RequestId, error: UnreadableRequest) -> Verdict {
        let peer = subrequest.peer;
        let details = match error {
            UnreadableRequest::UntrustedPeer => RefusalDetails { peer: Some(peer), ..RefusalDetails::default() },
            _ => RefusalDetails { client: Some(peer), ..RefusalDetails::default() },
        };
        let request = subrequest.parts;
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        self.refusals.unreadable(RefusalTarget { intent, id }, error, details)
    }

    fn count(&self, edge: Edge, site: Option<Site<'_>>, verdict: &Verdict, begun: Instant) {
        self.metrics.count(edge as usize, site.and_then(|site| site.index), label(verdict), begun.elapsed());
    }
}

impl<'r> PendingSubrequest<'r> {
    /// Reads a subrequest.
    pub(super) fn read(subrequests: &'r Subrequests, subrequest: Subrequest<'r>) -> Self {
        let begun = Instant::now();
        Self { subrequests, subrequest, begun, read: subrequests.read(&subrequest) }
    }

    /// Lets the subrequest in where memory alone can decide that.
    fn admit(&self) -> Option<Response> {
        let ReadSubrequest { request, site, destination } = self.read.as_ref().ok()?;
        let Destination::App(requirement) = destination else { return None };
        let (host, headers) = (request.authority.host(), request.headers);
        let verdict = self.subrequests.check.admit_at_once(site, requirement, host, headers)?;
        self.subrequests.count(request.edge, Some(*site), &verdict, self.begun);
        Some(edge::write(request.edge, verdict, ""))
    }

    /// Answers the subrequest. May wait for the store and the provider.
    pub async fn resolve(self) -> Response {
        let Self { subrequests, subrequest, begun, read } = self;
        let (id, edge) = (RequestId::default(), subrequest.edge);
        let (verdict, site) = match read {
            Ok(read) => {
                let site = read.site;
                (subrequests.answer(read, &id).await, Some(site))
            }
            Err(error) => (subrequests.refuse_unreadable(&subrequest, &id, error), None),
        };
        subrequests.count(edge, site, &verdict, begun);
        tracing::debug!(
            request_id = %id,
            edge = edge.label(),
            app = site.map(|site| site.app.name.as_str()),
            verdict = label(&verdict).label(),
            reason = verdict.reason().map(Reason::code),
            "auth subrequest"
        );
        match verdict {
            // An admission needs no id, and making one costs.
            allow @ Verdict::Allow(_) => edge::write(edge, allow, ""),
            other => edge::write(edge, other, id.as_str()),
        }
    }
}

/// The one table from verdict to metric.
fn label(verdict: &Verdict) -> metrics::VerdictLabel {
    let reason = match verdict {
        Verdict::Allow(_) => return metrics::VerdictLabel::Allow,
        Verdict::Redirect(_) => return metrics::VerdictLabel::Login,
        Verdict::Refuse(refusal) => refusal.reason,
    };
    match reason {
        Reason::NoSession
        | Reason::SessionEnded
        | Reason::Reauthorize
        | Reason::SignedOut
        | Reason::Reset
        | Reason::ConfirmSignOut => metrics::VerdictLabel::Unauthenticated,
        Reason::GroupMissing
        | Reason::GroupsIncomplete
        | Reason::NotAllowed
        | Reason::EmailUnverified
        | Reason::RuleDenied
        | Reason::UnknownHost
        | Reason::SignInFailed
        | Reason::SignInLoop => metrics::VerdictLabel::Forbidden,
        Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::Overloaded => {
            metrics::VerdictLabel::Unavailable
        }
        Reason::UntrustedPeer
        | Reason::BadRequest
        | Reason::HeadersTooLarge
        | Reason::NeedsRoute
        | Reason::NotFound
        | Reason::NoSuchEdge
        | Reason::SigningIn
        | Reason::SignedIn
        | Reason::Internal => metrics::VerdictLabel::Rejected,
    }
}
