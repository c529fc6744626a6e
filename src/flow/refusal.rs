//! Refusals: a page for people, JSON for programs, and a line in the log.
//!
//! Promises: one table from reason to status; a page quotes a request id only where the log knows it.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use super::{
    context::{RequestContext, RequestId, Via},
    rate_limits::RateLimited,
    reasons::{extra_headers, message, status},
    refusal_log::{RefusalDetails, RefusalLog, is_logged},
    session_finder::Undetermined,
};
use crate::{
    edge::{BadRequest, Body, HostMismatch, Intent, Reason, Redirect, Refusal, Response, Verdict, write_direct},
    metrics::RefusalMetrics,
    pages::{self, Page, Pages},
    policy::redirect::RedirectTarget,
    upstream,
};

/// Sentence for programs that sent no credential.
const CREDENTIAL_NEEDED: &str = "This path is for programs. Send a credential of yours in the header Authorization.";

/// Target of a refusal: the client's intent, and the request's id.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusalTarget<'a> {
    pub(super) intent: Intent,
    pub(super) id: &'a RequestId,
}

/// Cause of not even knowing which app a request is for, and what it asks for there.
#[derive(Debug)]
pub(super) enum UnreadableRequest {
    /// The peer is not in `server.trusted_proxies`.
    UntrustedPeer,
    /// A header is missing, repeated or malformed.
    Malformed(BadRequest),
    /// The edge routed by another host than it describes.
    HostMismatch(HostMismatch),
    /// No app names the host.
    UnknownHost(String),
}

/// Makes refusals, and logs them.
#[derive(Debug)]
pub(super) struct Refusals {
    pages: Pages,
    log: Arc<RefusalLog>,
    metrics: RefusalMetrics,
}

impl Refusals {
    pub(super) fn new(pages: Pages, log: Arc<RefusalLog>, metrics: RefusalMetrics) -> Self {
        Self { pages, log, metrics }
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Refuses with this page, or its JSON where no page is being opened.
    pub(super) fn refuse(&self, context: &RequestContext<'_>, reason: Reason, page: &Page<'_>) -> Refusal {
        self.refuse_with(context, reason, page, RefusalDetails::default())
    }

    /// The same, with further details for the log.
    pub(super) fn refuse_with(
        &self,
        context: &RequestContext<'_>,
        reason: Reason,
        page: &Page<'_>,
        details: RefusalDetails<'_>,
    ) -> Refusal {
        let (app, host) = (Some(context.site.app.name.as_str()), Some(context.authority.host()));
        let details = RefusalDetails { app, host, client: context.client, ..details };
        self.refuse_to(RefusalTarget { intent: context.intent, id: context.id }, reason, page, &details)
    }

    /// The same where there is no context.
    fn refuse_to(
        &self,
        to: RefusalTarget<'_>,
        reason: Reason,
        page: &Page<'_>,
        details: &RefusalDetails<'_>,
    ) -> Refusal {
        let RefusalTarget { intent, id } = to;
        if status(reason) != StatusCode::UNAUTHORIZED {
            self.metrics.count(details.app, reason.code());
        }
        // First, because it may decide the id.
        let is_quoted = is_logged(reason);
        if is_quoted {
            self.log.record(id, reason, details);
        }
        let body = match intent {
            Intent::Page | Intent::Frame | Intent::Form => self.html(page, if is_quoted { id.as_str() } else { "" }),
            Intent::Fetch => {
                let message = match page {
                    Page::BadRequest { detail } => detail,
                    Page::CredentialNeeded { .. } if reason == Reason::NoSession => CREDENTIAL_NEEDED,
                    _ => message(reason),
                };
                Body::Json(pages::json(reason.code(), message, id.as_str(), None))
            }
        };
        Refusal { status: status(reason), reason, body, headers: extra_headers(reason) }
    }

    /// Refuses a request whose app is not known. `details` hold who sent it.
    pub(super) fn unreadable(
        &self,
        to: RefusalTarget<'_>,
        error: UnreadableRequest,
        details: RefusalDetails<'_>,
    ) -> Verdict {
        Verdict::Refuse(match error {
            UnreadableRequest::UntrustedPeer => {
                let page = Page::BadRequest { detail: "This address may not ask on behalf of others." };
                self.refuse_to(to, Reason::UntrustedPeer, &page, &details)
            }
            UnreadableRequest::Malformed(problem) => {
                let detail = problem.to_string();
                let details = RefusalDetails { detail: Some(&detail), ..details };
                self.refuse_to(to, Reason::BadRequest, &Page::BadRequest { detail: &detail }, &details)
            }
            UnreadableRequest::HostMismatch(mismatch) => {
                let (problem, HostMismatch { described, routed, mend, .. }) = (mismatch.problem(), &mismatch);
                let detail = format!("{problem}: {described:?} is asked about, and {routed:?} was routed by");
                let details = RefusalDetails { detail: Some(&detail), mend: Some(mend), ..details };
                let page = Page::BadRequest { detail: &problem.to_string() };
                self.refuse_to(to, Reason::BadRequest, &page, &details)
            }
            UnreadableRequest::UnknownHost(host) => {
                let details = RefusalDetails { host: Some(&host), ..details };
                self.refuse_to(to, Reason::UnknownHost, &Page::UnknownHost { host: &host }, &details)
            }
        })
    }

    /// Refuses a request that is for no app at all.
    pub(super) fn without_site(&self, intent: Intent, reason: Reason, details: &RefusalDetails<'_>) -> Response {
        let id = RequestId::default();
        let to = RefusalTarget { intent, id: &id };
        let refusal = self.refuse_to(to, reason, &Page::NotFound, details);
        write_direct(Verdict::Refuse(refusal), id.as_str())
    }

    /// Counts and logs a request that was refused before it was read.
    pub(super) fn unread(&self, reason: Reason, details: &RefusalDetails<'_>) {
        self.metrics.count(None, reason.code());
        self.log.record(&RequestId::default(), reason, details);
    }

    /// 404 at a path below `/auth/` that is no edge's. `paths` says which there are.
    pub(super) fn no_such_edge(&self, to: RefusalTarget<'_>, paths: &str, details: &RefusalDetails<'_>) -> Refusal {
        let detail = format!("{}: {paths}", message(Reason::NoSuchEdge).trim_end_matches('.'));
        self.refuse_to(to, Reason::NoSuchEdge, &Page::BadRequest { detail: &detail }, details)
    }

    /// 503 where it is unknown whether there is a session.
    pub(super) fn undetermined(&self, context: &RequestContext<'_>, cause: &Undetermined, retry: &str) -> Refusal {
        match cause {
            Undetermined::Store(error) => {
                let details = RefusalDetails { detail: Some(error), ..RefusalDetails::default() };
                self.refuse_with(context, Reason::StoreUnavailable, &Page::StoreUnavailable { retry }, details)
            }
            Undetermined::Provider | Undetermined::OldOutpost => {
                let detail = match cause {
                    Undetermined::OldOutpost => "the old outpost of [adopt] does not say whose cookies these are",
                    _ => "a session could not be renewed within session.outage_grace",
                };
                let details = RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() };
                self.refuse_with(context, Reason::ProviderUnavailable, &Page::ProviderUnavailable { retry }, details)
            }
        }
    }

    /// 503 where the outpost that answers for an app does not.
    pub(super) fn outpost_unavailable(
        &self,
        context: &RequestContext<'_>,
        error: &upstream::Error,
        retry: &str,
    ) -> Refusal {
        let reason = match error {
            upstream::Error::Timeout(_) => Reason::UpstreamTimeout,
            upstream::Error::Unavailable(_) => Reason::UpstreamUnavailable,
            upstream::Error::Request(_) => Reason::BadRequest,
        };
        let details = RefusalDetails { detail: Some(error), ..RefusalDetails::default() };
        let refusal = self.refuse_with(context, reason, &Page::ProviderUnavailable { retry }, details);
        // To an edge that asks it is what it is when the store is unavailable: nobody can tell.
        let status = if reason == Reason::BadRequest { refusal.status } else { StatusCode::SERVICE_UNAVAILABLE };
        Refusal { status, ..refusal }
    }

    /// 502 or 504 where an app in reverse-proxy mode does not answer.
    pub(super) fn app_unavailable(
        &self,
        to: RefusalTarget<'_>,
        error: &upstream::Error,
        details: RefusalDetails<'_>,
    ) -> Response {
        let app = details.app.unwrap_or_default();
        let (reason, page) = match error {
            upstream::Error::Timeout(_) => (Reason::UpstreamTimeout, Page::AppUnavailable { app }),
            upstream::Error::Unavailable(_) => (Reason::UpstreamUnavailable, Page::AppUnavailable { app }),
            upstream::Error::Request(_) => {
                (Reason::BadRequest, Page::BadRequest { detail: "The request broke off, or cannot be passed on." })
            }
        };
        let id = to.id;
        let details = RefusalDetails { detail: Some(error), ..details };
        write_direct(Verdict::Refuse(self.refuse_to(to, reason, &page, &details)), id.as_str())
    }

    /// 421 at `server.proxy_listen` for an app that is not served there.
    pub(super) fn not_proxied(&self, to: RefusalTarget<'_>, details: RefusalDetails<'_>) -> Response {
        let id = to.id;
        let page = Page::BadRequest { detail: "This app is not served at this address." };
        let mend = "give the app an `upstream`, or route its host to the edge that serves it";
        let details = RefusalDetails { mend: Some(mend), ..details };
        let refusal = self.refuse_to(to, Reason::BadRequest, &page, &details);
        let refusal = Refusal { status: StatusCode::MISDIRECTED_REQUEST, ..refusal };
        write_direct(Verdict::Refuse(refusal), id.as_str())
    }

    /// Counts and logs the refusal of an outpost, which passes.
    pub(super) fn relayed(&self, context: &RequestContext<'_>, refusal: Refusal) -> Refusal {
        if refusal.status != StatusCode::UNAUTHORIZED {
            let app = context.site.app.name.as_str();
            self.metrics.count(Some(app), refusal.reason.code());
            let detail = format!("the app's outpost answered {}", refusal.status);
            let (app, host) = (Some(app), Some(context.authority.host()));
            let client = context.client;
            let details = RefusalDetails { app, host, client, detail: Some(&detail), ..RefusalDetails::default() };
            self.log.record(context.id, refusal.reason, &details);
        }
        refusal
    }

    /// 429 where a network has used up a limit. `retry` begins anew.
    pub(super) fn rate_limited(&self, context: &RequestContext<'_>, limited: RateLimited, retry: &str) -> Refusal {
        let details = RefusalDetails { detail: Some(&limited.key), ..RefusalDetails::default() };
        let page = Page::TooManyRequests { retry };
        let mut refusal = self.refuse_with(context, Reason::RateLimited, &page, details);
        refusal.headers.push((header::RETRY_AFTER, HeaderValue::from(limited.retry_after_seconds())));
        refusal
    }

    /// 431 where the app's own cookies are longer than an answer may be.
    pub(super) fn cookies_too_long(&self, context: &RequestContext<'_>) -> Refusal {
        let page = Page::BadRequest { detail: message(Reason::HeadersTooLarge) };
        let detail = "the app's own cookies are longer than session.hide_cookies can pass on";
        let details = RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() };
        self.refuse_with(context, Reason::HeadersTooLarge, &page, details)
    }

    /// 401 for a script, a socket or a program, with the URL at which a person can sign in.
    pub(super) fn login_required(context: &RequestContext<'_>, reason: Reason) -> Refusal {
        Self::login_required_at(context, reason, &context.endpoint_url("/start"))
    }

    /// The same with another URL.
    pub(super) fn login_required_at(context: &RequestContext<'_>, reason: Reason, login_url: &str) -> Refusal {
        let body = Body::Json(pages::json("login_required", message(reason), context.id.as_str(), Some(login_url)));
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// 401 whose challenge the caller adds: an outage that a password helps over. It is told in the log where it begins.
    pub(super) fn unauthorized(&self, reason: Reason, page: &Page<'_>) -> Refusal {
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body: self.html(page, ""), headers: Vec::new() }
    }

    /// 401 for a form: a page that keeps what was typed.
    pub(super) fn held_form(&self, context: &RequestContext<'_>, reason: Reason) -> Refusal {
        let sign_in = context.sign_in_url(RedirectTarget::root(context.redirect_base()).as_str());
        let body = self.html(&Page::FormNotSent { sign_in: &sign_in }, "");
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// 401 for a page in a frame, where no sign-in page opens: its link opens one in a new tab.
    pub(super) fn framed(&self, context: &RequestContext<'_>, reason: Reason, target: &RedirectTarget) -> Refusal {
        let sign_in = context.sign_in_url(target.as_str());
        let app = context.site.app.name.as_str();
        let body = self.html(&Page::SignInOutsideFrame { app, sign_in: &sign_in }, "");
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// 401 for a script, a socket or a program whose sign-in does not do (RFC 9470), with the URL at which a person can sign in as
    /// is asked for.
    pub(super) fn insufficient(
        context: &RequestContext<'_>,
        challenge: HeaderValue,
        login_url: Option<&str>,
    ) -> Refusal {
        let (reason, id) = (Reason::StepUp, context.id.as_str());
        let body = Body::Json(pages::json("login_required", message(reason), id, login_url));
        let headers = vec![(header::WWW_AUTHENTICATE, challenge)];
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers }
    }

    /// The same with a page for a person, whose link opens such a sign-in in a new tab.
    pub(super) fn insufficient_page(&self, challenge: HeaderValue, page: &Page<'_>) -> Refusal {
        let headers = vec![(header::WWW_AUTHENTICATE, challenge)];
        Refusal { status: StatusCode::UNAUTHORIZED, reason: Reason::StepUp, body: self.html(page, ""), headers }
    }

    /// The page for people who are signed out.
    pub(super) fn signed_out(&self, context: &RequestContext<'_>, cookies: Vec<HeaderValue>) -> Refusal {
        let sign_in = RedirectTarget::root(context.redirect_base());
        self.notice(context, Reason::SignedOut, &Page::SignedOut { sign_in: sign_in.as_str() }, cookies)
    }

    /// A page that is no failure. In an auth subrequest 200 would let in, so it has a status of its own there.
    pub(super) fn notice(
        &self,
        context: &RequestContext<'_>,
        reason: Reason,
        page: &Page<'_>,
        cookies: Vec<HeaderValue>,
    ) -> Refusal {
        let status = match context.via {
            Via::Subrequest(_) => status(reason),
            Via::Direct => StatusCode::OK,
        };
        let headers = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
        Refusal { status, reason, body: self.html(page, ""), headers }
    }

    fn html(&self, page: &Page<'_>, id: &str) -> Body {
        let document = self.pages.render(page, id);
        Body::Html(document.html, document.csp, document.framing)
    }
}

impl From<BadRequest> for UnreadableRequest {
    fn from(problem: BadRequest) -> Self {
        Self::Malformed(problem)
    }
}

impl From<HostMismatch> for UnreadableRequest {
    fn from(mismatch: HostMismatch) -> Self {
        Self::HostMismatch(mismatch)
    }
}

/// Redirects to a checked target.
pub(super) fn redirect(reason: Reason, target: &RedirectTarget, cookies: Vec<HeaderValue>) -> Verdict {
    Verdict::Redirect(Redirect { reason, location: target.location(), cookies })
}
