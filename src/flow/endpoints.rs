//! The gate's own pages: which there are, and who answers them.
//!
//! They work inside an edge's question as well, where every answer is a redirect or a refusal, because an edge reads any
//! 2xx as "let in". What can only be a 2xx needs a direct route.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use super::{
    answer::{Answers, To, status},
    backchannel_logout,
    check::{Check, Presented},
    context::{RequestContext, RequestId},
    login::Login,
    logout::Logout,
    refusals::Refused,
};
use crate::{
    edge::{Intent, Reason, Response, Verdict, write_direct},
    pages::{self, Page},
    policy::{Policy, redirect::RedirectTarget},
    session::CachedSession,
};

/// Answers the gate's own pages.
pub(super) struct Endpoints {
    pub(super) policy: Arc<Policy>,
    pub(super) login: Arc<Login>,
    pub(super) logout: Logout,
    pub(super) check: Arc<Check>,
    pub(super) answers: Arc<Answers>,
}

/// Where a path below the prefix leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination<'r> {
    Start,
    Callback,
    SignOut,
    SignedOut,
    Reset,
    Session,
    Notice,
    Told,
    Ping,
    Client,
    Static(&'r str),
    Nowhere,
}

impl<'r> Destination<'r> {
    fn of(page: &'r str) -> Self {
        match page {
            "/start" => Self::Start,
            "/callback" => Self::Callback,
            "/sign_out" => Self::SignOut,
            "/signed_out" => Self::SignedOut,
            "/reset" => Self::Reset,
            "/session" => Self::Session,
            backchannel_logout::PAGE => Self::Notice,
            "/frontchannel_logout" => Self::Told,
            "/ping" => Self::Ping,
            "/client.js" => Self::Client,
            other => other.strip_prefix("/static/").map_or(Self::Nowhere, Self::Static),
        }
    }

    /// Whether the answer can only be a 2xx, or the request comes with a body.
    fn needs_route(self) -> bool {
        matches!(self, Self::Session | Self::Notice | Self::Ping | Self::Client | Self::Static(_))
    }

    /// Whether cookies are set or cleared there: only a page that is being opened may do that.
    fn is_for_pages(self) -> bool {
        matches!(self, Self::Start | Self::Callback | Self::SignOut | Self::Reset)
    }

    fn takes(self, method: Option<&str>) -> bool {
        match method {
            None | Some("GET" | "HEAD") => true,
            Some("POST") => matches!(self, Self::SignOut | Self::Reset),
            Some(_) => false,
        }
    }
}

impl Endpoints {
    /// Answers inside an edge's question: never with a 2xx.
    pub(super) async fn ask(&self, visit: &RequestContext<'_>, page: &str, query: &str) -> Verdict {
        let destination = Destination::of(page);
        if destination.needs_route() {
            let mend = Some("route what is below server.prefix to the gate itself");
            let refused = Refused { path: Some(page), mend, ..Refused::default() };
            return Verdict::Refuse(self.answers.refuse_because(visit, Reason::NeedsRoute, &Page::NotFound, refused));
        }
        self.visit(visit, destination, query).await
    }

    /// Answers over a direct route.
    pub(super) async fn show(&self, visit: &RequestContext<'_>, page: &str, query: &str) -> Response {
        let destination = Destination::of(page);
        let verdict = match destination {
            Destination::Session | Destination::Static(_) if !destination.takes(visit.method) => {
                self.wrong_method(visit, destination)
            }
            Destination::Session => match self.session(visit).await {
                Ok(body) => return json_answer(body),
                Err(verdict) => verdict,
            },
            Destination::Client => return client_script(),
            Destination::Static(name) => match self.asset(name) {
                Some(response) => return response,
                None => self.nowhere(visit),
            },
            other => self.visit(visit, other, query).await,
        };
        write_direct(verdict, visit.id.as_str())
    }

    async fn visit(&self, visit: &RequestContext<'_>, destination: Destination<'_>, query: &str) -> Verdict {
        if !destination.takes(visit.method) {
            return self.wrong_method(visit, destination);
        }
        if destination.is_for_pages() && visit.is_in_the_background() {
            return self.not_a_page(visit);
        }
        match destination {
            Destination::Start => self.start(visit, query).await,
            Destination::Callback => self.login.complete(visit, query).await,
            Destination::SignOut => self.logout.sign_out(visit, parameter(query, "rd").as_deref()).await,
            Destination::Told => {
                self.logout.told(visit, parameter(query, "iss").as_deref(), parameter(query, "sid").as_deref()).await
            }
            Destination::SignedOut => self.logout.signed_out(visit, parameter(query, "state").as_deref()),
            Destination::Reset => self.logout.reset(visit).await,
            Destination::Session
            | Destination::Notice
            | Destination::Ping
            | Destination::Client
            | Destination::Static(_)
            | Destination::Nowhere => self.nowhere(visit),
        }
    }

    async fn start(&self, visit: &RequestContext<'_>, query: &str) -> Verdict {
        let target = parameter(query, "rd")
            .and_then(|rd| RedirectTarget::parse(&rd, visit.here(), &self.policy))
            .unwrap_or_else(|| RedirectTarget::root(visit.here()));
        match self.login.challenge(visit, &target).await {
            Verdict::Redirect(mut redirect) => {
                redirect.reason = Reason::SigningIn;
                Verdict::Redirect(redirect)
            }
            other => other,
        }
    }

    /// What `/session` says about the caller.
    async fn session(&self, visit: &RequestContext<'_>) -> Result<Bytes, Verdict> {
        match self.check.present(visit).await {
            Ok(Presented::Live(live)) => Ok(self.describe(&live)),
            Ok(Presented::Nothing(reason)) => Err(Verdict::Refuse(Answers::login_required(visit, reason))),
            Err(unknown) => Err(Verdict::Refuse(self.answers.cannot_tell(visit, &unknown, &visit.own("/session")))),
        }
    }

    fn describe(&self, live: &CachedSession) -> Bytes {
        let identity = live.identity().unpack();
        let body = json!({
            "user": identity.user,
            "email": identity.email,
            "name": identity.name,
            "groups": identity.groups,
            "expires_at": self.login.sessions.expires(live).to_string(),
            "renewed_at": live.renewed().to_string(),
        });
        Bytes::from(body.to_string())
    }

    fn asset(&self, name: &str) -> Option<Response> {
        let asset = self.answers.pages().static_file(name)?;
        let mut response = Response::new(Full::new(asset.content.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // An SVG opened by itself is a document: it may do nothing.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        );
        Some(response)
    }

    fn nowhere(&self, visit: &RequestContext<'_>) -> Verdict {
        Verdict::Refuse(self.answers.refuse(visit, Reason::NotFound, &Page::NotFound))
    }

    fn wrong_method(&self, visit: &RequestContext<'_>, destination: Destination<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "This page is opened, not sent to." };
        let mut refusal = self.answers.refuse(visit, Reason::BadRequest, &page);
        refusal.status = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = if destination.takes(Some("POST")) { "GET, HEAD, POST" } else { "GET, HEAD" };
        refusal.headers.push((header::ALLOW, HeaderValue::from_static(allowed)));
        Verdict::Refuse(refusal)
    }

    /// A script or an image would be sent to the provider, and a link that is fetched ahead of the click would sign out.
    fn not_a_page(&self, visit: &RequestContext<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "This page is opened, not fetched in the background." };
        Verdict::Refuse(self.answers.refuse(visit, Reason::BadRequest, &page))
    }
}

/// `/ping`: the process answers. No store, no provider, no app is asked.
pub(super) fn pong() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer where there is nothing at all, not even an app.
pub(super) fn nothing(answers: &Answers, intent: Intent, reason: Reason) -> Response {
    let id = RequestId::default();
    let mut refusal = answers.refuse_as(To { intent, id: &id }, reason, &Page::NotFound, &Refused::default());
    refusal.status = status(reason);
    write_direct(Verdict::Refuse(refusal), id.as_str())
}

/// Whether a request inside an edge's question is for one of the gate's own pages, and for which.
///
/// Only a path that every server reads the same way counts; anything else is the app's and is judged as such.
pub(super) fn below<'r>(prefix: &str, path: &'r str) -> Option<&'r str> {
    let page = path.strip_prefix(prefix)?;
    (page.starts_with('/') && !crate::policy::path::is_ambiguous(path)).then_some(page)
}

/// A parameter that is there exactly once, percent-decoded. A plus stays one: in the addresses that travel here it is
/// itself more often than a space.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let (_, first) = found.next()?;
    let decoded = percent_encoding::percent_decode_str(first).decode_utf8().ok()?;
    found.next().is_none().then(|| decoded.into_owned())
}

/// `/client.js`. Kept for a few minutes only: its address says nothing of its version.
fn client_script() -> Response {
    let mut response = Response::new(Full::new(Bytes::from_static(pages::CLIENT_SCRIPT.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn json_answer(body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unambiguous_path_below_the_prefix_is_ours() {
        for (path, page) in [
            ("/_doorward/start", Some("/start")),
            ("/_doorward", None),
            ("/_doorwardx/start", None),
            ("/_doorward/../admin", None),
            ("/_doorward/%2e%2e/admin", None),
            ("/_doorward//callback", None),
            ("/x/_doorward/start", None),
        ] {
            assert_eq!(below("/_doorward", path), page, "{path}");
        }
    }

    #[test]
    fn a_parameter_counts_only_once() {
        assert_eq!(parameter("rd=%2Fa%3Fb%3Dc+d&x=1", "rd").as_deref(), Some("/a?b=c+d"));
        assert_eq!(parameter("rd=/a&rd=/b", "rd"), None);
        assert_eq!(parameter("", "rd"), None);
    }

    #[test]
    fn what_can_only_be_a_2xx_needs_a_route() {
        for page in ["/session", "/ping", "/client.js", "/backchannel_logout", "/static/icon.svg"] {
            assert!(Destination::of(page).needs_route(), "{page}");
        }
        for page in ["/start", "/callback", "/sign_out", "/signed_out", "/reset", "/else"] {
            assert!(!Destination::of(page).needs_route(), "{page}");
        }
    }
}
