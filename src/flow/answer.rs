//! Saying no: one place that makes refusals, as a page for people and as JSON for programs.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{
    check::Unknown,
    context::{RequestContext, RequestId, Via},
    refusals::{RefusalLog, Refused, is_logged},
};
use crate::{
    edge::{Body, Intent, Reason, Redirect, Refusal, Verdict},
    pages::{self, Page, Pages},
    policy::redirect::RedirectTarget,
};

/// How long a client is asked to wait before it tries again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Where a refusal goes: what is about to be done with it, and the request's id.
#[derive(Clone, Copy, Debug)]
pub(super) struct To<'a> {
    pub(super) intent: Intent,
    pub(super) id: &'a RequestId,
}

/// Makes answers that do not let in, and logs them.
#[derive(Debug)]
pub(super) struct Answers {
    pages: Pages,
    log: Arc<RefusalLog>,
}

impl Answers {
    pub(super) fn new(pages: Pages, log: Arc<RefusalLog>) -> Self {
        Self { pages, log }
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn log(&self) -> &RefusalLog {
        &self.log
    }

    /// A refusal with this page, or its JSON where no page is being opened.
    pub(super) fn refuse(&self, visit: &RequestContext<'_>, reason: Reason, page: &Page<'_>) -> Refusal {
        self.refuse_because(visit, reason, page, Refused::default())
    }

    /// The same, with more to tell the log than the request itself does.
    pub(super) fn refuse_because(
        &self,
        visit: &RequestContext<'_>,
        reason: Reason,
        page: &Page<'_>,
        more: Refused<'_>,
    ) -> Refusal {
        let (app, host) = (Some(visit.site.app.name.as_str()), Some(visit.authority.host()));
        let refused = Refused { app, host, client: visit.client, ..more };
        self.refuse_as(To { intent: visit.intent, id: visit.id }, reason, page, &refused)
    }

    /// The same where not even the host is known.
    pub(super) fn refuse_as(&self, to: To<'_>, reason: Reason, page: &Page<'_>, refused: &Refused<'_>) -> Refusal {
        let To { intent, id } = to;
        // First of all, because it may decide the id. A page quotes none that the log does not know.
        let quoted = is_logged(reason);
        if quoted {
            self.log.note(id, reason, refused);
        }
        let body = match intent {
            Intent::Page | Intent::Form => self.html(page, if quoted { id.as_str() } else { "" }),
            Intent::Fetch => {
                let said = if let Page::BadRequest { detail } = page { detail } else { message(reason) };
                Body::Json(pages::json(reason.code(), said, id.as_str(), None))
            }
        };
        Refusal { status: status(reason), reason, body, headers: extra(reason) }
    }

    /// 503 where nobody can tell whose session it is.
    pub(super) fn cannot_tell(&self, visit: &RequestContext<'_>, unknown: &Unknown, retry: &str) -> Refusal {
        match unknown {
            Unknown::Store(error) => {
                let refused = Refused { detail: Some(error), ..Refused::default() };
                self.refuse_because(visit, Reason::StoreUnavailable, &Page::StoreUnavailable { retry }, refused)
            }
            Unknown::Provider => {
                let detail = "a session could not be renewed within session.outage_grace";
                let refused = Refused { detail: Some(&detail), ..Refused::default() };
                self.refuse_because(visit, Reason::ProviderUnavailable, &Page::ProviderUnavailable { retry }, refused)
            }
        }
    }

    /// 431 where the app's own cookies are longer than an answer may be.
    pub(super) fn no_room(&self, visit: &RequestContext<'_>) -> Refusal {
        let page = Page::BadRequest { detail: message(Reason::HeadersTooLarge) };
        let detail = "the app's own cookies are longer than session.hide_cookies can pass on";
        let refused = Refused { detail: Some(&detail), ..Refused::default() };
        self.refuse_because(visit, Reason::HeadersTooLarge, &page, refused)
    }

    /// 401 for a script, a socket or a program: where a person can sign in.
    pub(super) fn login_required(visit: &RequestContext<'_>, reason: Reason) -> Refusal {
        let login_url = visit.own("/start");
        let body = Body::Json(pages::json("login_required", message(reason), visit.id.as_str(), Some(&login_url)));
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// 401 for a form: a page that keeps what was typed.
    pub(super) fn form_held(&self, visit: &RequestContext<'_>, reason: Reason) -> Refusal {
        let sign_in = visit.sign_in_to(RedirectTarget::root(visit.here()).as_str());
        let body = self.html(&Page::FormNotSent { sign_in: &sign_in }, "");
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// A page that is no failure. Inside an edge's question 200 would mean "let in", so it has a status of its own
    /// there.
    pub(super) fn notice(
        &self,
        visit: &RequestContext<'_>,
        reason: Reason,
        page: &Page<'_>,
        cookies: Vec<HeaderValue>,
    ) -> Refusal {
        let status = match visit.arrival {
            Via::Subrequest => status(reason),
            Via::Direct => StatusCode::OK,
        };
        let headers = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
        Refusal { status, reason, body: self.html(page, ""), headers }
    }

    fn html(&self, page: &Page<'_>, id: &str) -> Body {
        let document = self.pages.render(page, id);
        Body::Html(document.html, document.csp)
    }
}

/// A redirect to a checked target.
pub(super) fn redirect(reason: Reason, target: &RedirectTarget, cookies: Vec<HeaderValue>) -> Verdict {
    Verdict::Redirect(Redirect { reason, location: target.location(), cookies })
}

/// The one table from reason to status.
pub(super) fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoSession | Reason::SessionEnded | Reason::SignedOut | Reason::Reset => StatusCode::UNAUTHORIZED,
        Reason::GroupMissing
        | Reason::NotAllowed
        | Reason::EmailUnverified
        | Reason::RuleDenied
        | Reason::UnknownHost
        | Reason::UntrustedPeer
        | Reason::SignInFailed
        | Reason::SignInLoop
        | Reason::ConfirmSignOut => StatusCode::FORBIDDEN,
        Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Reason::BadRequest => StatusCode::BAD_REQUEST,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::NeedsRoute | Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::SigningIn | Reason::SignedIn => StatusCode::FOUND,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// One sentence for whoever reads the JSON in a console.
fn message(reason: Reason) -> &'static str {
    match reason {
        Reason::NoSession => "There is no session. Sign in at login_url.",
        Reason::SessionEnded => "The session has ended. Sign in again at login_url.",
        Reason::GroupMissing | Reason::NotAllowed => "The signed-in account may not use this app.",
        Reason::EmailUnverified => {
            "The signed-in account may not use this app: its identity provider has not verified its e-mail address."
        }
        Reason::RuleDenied => "A rule of this app denies this path.",
        Reason::UnknownHost => "No app is set up for this host.",
        Reason::StoreUnavailable => "The session store does not answer. Try again shortly.",
        Reason::ProviderUnavailable => "The identity provider does not answer. Try again shortly.",
        Reason::UntrustedPeer => "This address may not ask on behalf of others: it is not in server.trusted_proxies.",
        Reason::BadRequest => "This is not a request that an edge makes.",
        Reason::HeadersTooLarge => "The header of this request is too long. Deleting cookies of this site may help.",
        Reason::NeedsRoute => "This path needs a direct route to the gate.",
        Reason::NotFound => "There is nothing at this path.",
        Reason::Overloaded => "There are too many requests at once. Try again shortly.",
        Reason::SigningIn | Reason::SignedIn => "Follow the redirect.",
        Reason::SignInFailed => "Sign-in failed.",
        Reason::SignInLoop => "Sign-in went round too often; cookies may be blocked.",
        Reason::SignedOut => "The session has been ended.",
        Reason::ConfirmSignOut => "Another site asked to sign out; a person has to confirm it.",
        Reason::Reset => "The cookies have been cleared.",
        Reason::Internal => "The gate failed to answer.",
    }
}

fn extra(reason: Reason) -> Vec<(HeaderName, HeaderValue)> {
    match status(reason) {
        StatusCode::SERVICE_UNAVAILABLE => vec![(header::RETRY_AFTER, RETRY_AFTER)],
        _ => Vec::new(),
    }
}
