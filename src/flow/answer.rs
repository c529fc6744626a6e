//! Saying no: one place that makes refusals, as a page for people and as JSON for programs.

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{
    check::Unknown,
    visit::{Arrival, Visit},
};
use crate::{
    edge::{Body, Intent, Reason, Redirect, Refusal, Verdict},
    pages::{self, Page, Pages},
    policy::redirect::RedirectTarget,
};

/// How long a client is asked to wait before it tries again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Makes answers that do not let in.
#[derive(Debug)]
pub(super) struct Answers {
    pages: Pages,
}

impl Answers {
    pub(super) fn new(pages: Pages) -> Self {
        Self { pages }
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// A refusal with this page, or its JSON where no page is being opened.
    pub(super) fn refuse(&self, visit: &Visit<'_>, reason: Reason, page: &Page<'_>) -> Refusal {
        self.refuse_as(visit.intent, visit.id.as_str(), reason, page)
    }

    /// The same where not even the host is known.
    pub(super) fn refuse_as(&self, intent: Intent, id: &str, reason: Reason, page: &Page<'_>) -> Refusal {
        let body = match intent {
            Intent::Page | Intent::Form => self.html(page, id),
            Intent::Fetch => {
                let said = if let Page::BadRequest { detail } = page { detail } else { message(reason) };
                Body::Json(pages::json(reason.code(), said, id, None))
            }
        };
        Refusal { status: status(reason), reason, body, headers: extra(reason) }
    }

    /// 503 where nobody can tell whose session it is.
    pub(super) fn cannot_tell(&self, visit: &Visit<'_>, unknown: &Unknown, retry: &str) -> Refusal {
        let app = visit.site.app.name.as_str();
        match unknown {
            Unknown::Store(error) => {
                tracing::warn!(request_id = %visit.id, app, %error, "refused: a session could not be looked up");
                self.refuse(visit, Reason::StoreUnavailable, &Page::StoreAway { retry })
            }
            Unknown::Provider => {
                tracing::warn!(request_id = %visit.id, app, "refused: a session could not be renewed within session.outage_grace");
                self.refuse(visit, Reason::ProviderUnavailable, &Page::ProviderAway { retry })
            }
        }
    }

    /// 431 where the app's own cookies are longer than an answer may be.
    pub(super) fn no_room(&self, visit: &Visit<'_>) -> Refusal {
        let app = visit.site.app.name.as_str();
        tracing::info!(request_id = %visit.id, app, "refused: the app's own cookies are longer than session.hide_cookies can pass on");
        let page = Page::BadRequest { detail: message(Reason::HeadersTooLarge) };
        self.refuse(visit, Reason::HeadersTooLarge, &page)
    }

    /// 401 for a script, a socket or a program: where a person can sign in.
    pub(super) fn login_required(visit: &Visit<'_>, reason: Reason) -> Refusal {
        let login_url = visit.own("/start");
        let body = Body::Json(pages::json("login_required", message(reason), visit.id.as_str(), Some(&login_url)));
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// 401 for a form: a page that keeps what was typed.
    pub(super) fn form_held(&self, visit: &Visit<'_>, reason: Reason) -> Refusal {
        let sign_in = visit.sign_in_to(RedirectTarget::root(visit.here()).as_str());
        let body = self.html(&Page::FormHeld { sign_in: &sign_in }, visit.id.as_str());
        Refusal { status: StatusCode::UNAUTHORIZED, reason, body, headers: Vec::new() }
    }

    /// A page that is no failure. Inside an edge's question 200 would mean "let in", so it has a status of its own
    /// there.
    pub(super) fn notice(
        &self,
        visit: &Visit<'_>,
        reason: Reason,
        page: &Page<'_>,
        cookies: Vec<HeaderValue>,
    ) -> Refusal {
        let status = match visit.arrival {
            Arrival::Question => status(reason),
            Arrival::Direct => StatusCode::OK,
        };
        let headers = cookies.into_iter().map(|cookie| (header::SET_COOKIE, cookie)).collect();
        Refusal { status, reason, body: self.html(page, visit.id.as_str()), headers }
    }

    fn html(&self, page: &Page<'_>, id: &str) -> Body {
        let document = self.pages.render(page, id);
        Body::Html(document.html, document.policy)
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
        Reason::GroupMissing => "The signed-in account may not use this app.",
        Reason::RuleDenied => "A rule of this app denies this path.",
        Reason::UnknownHost => "No app is set up for this host.",
        Reason::StoreUnavailable => "The session store does not answer. Try again shortly.",
        Reason::ProviderUnavailable => "The identity provider does not answer. Try again shortly.",
        Reason::UntrustedPeer => "This address may not ask on behalf of others: it is not in server.trusted_proxies.",
        Reason::BadRequest => "This is not a request that an edge makes.",
        Reason::HeadersTooLarge => "The cookies of this site are too long. Delete some of them.",
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
