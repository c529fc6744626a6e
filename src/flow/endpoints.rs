//! The gate's own endpoints below `server.prefix`.
//!
//! Promises: in an auth subrequest every answer is a redirect or a refusal, because edges take any 2xx for "let in". Endpoints
//! whose answer can only be a 2xx need a direct route.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use url::Url;

use super::{
    asked_target::{asked_target, query_parameter},
    backchannel_logout,
    callback::CallbackFlow,
    context::RequestContext,
    frontchannel_logout::FrontchannelLogout,
    login::LoginFlow,
    logout::LogoutFlow,
    reauthorization::Traveller,
    refusal::Refusals,
    refusal_log::RefusalDetails,
    session_finder::{RequestSession, SessionFinder, SessionSearch},
    step_up_request,
};
use crate::{
    edge::{Intent, Namespace, Reason, Response, Verdict, write_direct},
    pages::{self, Page},
    policy::{Policy, RequestAttributes, StepUp, redirect::RedirectTarget},
    session::CachedSession,
};

/// Answers the gate's own endpoints.
pub(super) struct Endpoints {
    pub(super) policy: Arc<Policy>,
    pub(super) login: Arc<LoginFlow>,
    pub(super) callback: CallbackFlow,
    pub(super) logout: LogoutFlow,
    pub(super) frontchannel_logout: FrontchannelLogout,
    pub(super) finder: Arc<SessionFinder>,
    pub(super) refusals: Arc<Refusals>,
}

/// Endpoint of a path below the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndpointKind<'r> {
    /// A sign-in; with what a step-up asks for, sealed.
    Start(Option<&'r str>),
    Callback,
    /// A kept return target, by its id.
    KeptTarget(&'r str),
    SignOut,
    SignedOut,
    Reset,
    Session,
    /// A page with a link to the sign-in, and JSON about the session, both as oauth2-proxy has them.
    SignInPage,
    Userinfo,
    BackchannelLogout,
    FrontchannelLogout,
    Ping,
    ClientScript,
    Static(&'r str),
    Unknown,
}

impl<'r> EndpointKind<'r> {
    fn of(namespace: Namespace, path: &'r str) -> Self {
        match path {
            "/sign_in" if namespace == Namespace::OAuth2Proxy => Self::SignInPage,
            "/userinfo" if namespace == Namespace::OAuth2Proxy => Self::Userinfo,
            "/start" => Self::Start(None),
            "/callback" => Self::Callback,
            "/sign_out" => Self::SignOut,
            "/signed_out" => Self::SignedOut,
            "/reset" => Self::Reset,
            "/session" => Self::Session,
            backchannel_logout::PATH => Self::BackchannelLogout,
            "/frontchannel_logout" => Self::FrontchannelLogout,
            "/ping" => Self::Ping,
            "/client.js" => Self::ClientScript,
            other => {
                let kept = || other.strip_prefix("/callback/").map(Self::KeptTarget);
                let step_up = || other.strip_prefix(step_up_request::BELOW).map(|sealed| Self::Start(Some(sealed)));
                let file = other.strip_prefix("/static/").map(Self::Static);
                file.or_else(kept).or_else(step_up).unwrap_or(Self::Unknown)
            }
        }
    }

    /// Returns `true` if the answer can only be a 2xx, or the request comes with a body.
    fn needs_direct_route(self) -> bool {
        matches!(
            self,
            Self::Session
                | Self::Userinfo
                | Self::BackchannelLogout
                | Self::Ping
                | Self::ClientScript
                | Self::Static(_)
        )
    }

    /// Returns `true` if cookies are set or cleared there, which only a page that is being opened may do.
    fn is_for_pages(self) -> bool {
        matches!(self, Self::Start(_) | Self::Callback | Self::KeptTarget(_) | Self::SignOut | Self::Reset)
    }

    fn allows(self, method: Option<&str>) -> bool {
        match method {
            None | Some("GET" | "HEAD") => true,
            Some("POST") => matches!(self, Self::SignOut | Self::Reset),
            Some(_) => false,
        }
    }
}

impl Endpoints {
    /// Answers in an auth subrequest: never with a 2xx.
    pub(super) async fn answer_subrequest(&self, context: &RequestContext<'_>, path: &str, query: &str) -> Verdict {
        let kind = EndpointKind::of(context.origin.namespace, path);
        if kind.needs_direct_route() {
            let mend = Some("route what is below server.prefix to the gate itself");
            let details = RefusalDetails { path: Some(path), mend, ..RefusalDetails::default() };
            return Verdict::Refuse(self.refusals.refuse_with(context, Reason::NeedsRoute, &Page::NotFound, details));
        }
        self.dispatch(context, kind, query).await
    }

    /// Answers over a direct route.
    pub(super) async fn answer_direct(&self, context: &RequestContext<'_>, path: &str, query: &str) -> Response {
        let kind = EndpointKind::of(context.origin.namespace, path);
        let verdict = match kind {
            EndpointKind::Session | EndpointKind::Userinfo | EndpointKind::Static(_)
                if !kind.allows(context.method) =>
            {
                self.method_not_allowed(context, kind)
            }
            EndpointKind::Session => match self.session(context).await {
                Ok(session) => return json_response(self.session_json(&session)),
                Err(verdict) => verdict,
            },
            EndpointKind::Userinfo => match self.session(context).await {
                Ok(session) => return json_response(userinfo_json(&session)),
                Err(verdict) => verdict,
            },
            EndpointKind::ClientScript => return client_script(),
            EndpointKind::Static(name) => match self.asset(name) {
                Some(response) => return response,
                None => self.not_found(context),
            },
            other => self.dispatch(context, other, query).await,
        };
        write_direct(verdict, context.id.as_str())
    }

    async fn dispatch(&self, context: &RequestContext<'_>, kind: EndpointKind<'_>, query: &str) -> Verdict {
        if !kind.allows(context.method) {
            return self.method_not_allowed(context, kind);
        }
        if kind.is_for_pages() && context.is_background_fetch() {
            return self.not_a_page(context);
        }
        let parameter = |name| query_parameter(query, name);
        match kind {
            EndpointKind::Start(sealed) => self.start(context, sealed, query).await,
            EndpointKind::Callback => self.callback.complete(context, query).await,
            EndpointKind::KeptTarget(id) => self.login.targets.resume(context, id, parameter("rd").as_deref()),
            EndpointKind::SignOut => self.logout.sign_out(context, parameter("rd").as_deref()).await,
            EndpointKind::FrontchannelLogout => {
                self.frontchannel_logout.handle(context, parameter("iss").as_deref(), parameter("sid").as_deref()).await
            }
            EndpointKind::SignedOut => self.logout.signed_out(context, parameter("state").as_deref()),
            EndpointKind::Reset => self.logout.reset(context).await,
            EndpointKind::SignInPage => self.sign_in_page(context, query),
            EndpointKind::Session
            | EndpointKind::Userinfo
            | EndpointKind::BackchannelLogout
            | EndpointKind::Ping
            | EndpointKind::ClientScript
            | EndpointKind::Static(_)
            | EndpointKind::Unknown => self.not_found(context),
        }
    }

    /// `/start`: begins a sign-in that ends at `rd`, checked against open redirects.
    async fn start(&self, context: &RequestContext<'_>, sealed: Option<&str>, query: &str) -> Verdict {
        let target = self.target(context, query);
        if context.intent == Intent::Frame {
            return Verdict::Refuse(self.refusals.framed(context, Reason::NoSession, &target));
        }
        let step_up = match sealed {
            Some(sealed) => step_up_request::open(&self.login.keyring, sealed),
            // Its edges send people here who are signed in, but not as the page asks.
            None if context.origin.namespace == Namespace::OAuth2Proxy => self.needed_at(context, &target),
            None => None,
        };
        self.login.challenge(context, &target, Reason::SigningIn, step_up.as_ref()).await
    }

    /// `/oauth2/sign_in`: a page with a link. nginx may have been told to show it with a 403, which no browser follows.
    fn sign_in_page(&self, context: &RequestContext<'_>, query: &str) -> Verdict {
        let sign_in = context.sign_in_url(self.target(context, query).as_str());
        let page = Page::SignIn { app: &context.site.app.name, sign_in: &sign_in };
        Verdict::Refuse(self.refusals.notice(context, Reason::NoSession, &page, Vec::new()))
    }

    /// Returns the target that a request for a sign-in asks for, or the app's root where that may not be followed.
    fn target(&self, context: &RequestContext<'_>, query: &str) -> RedirectTarget {
        asked_target(context, query)
            .and_then(|rd| RedirectTarget::parse(&rd, context.redirect_base(), &self.policy))
            .unwrap_or_else(|| RedirectTarget::root(context.redirect_base()))
    }

    /// Returns what the page at a target asks of a sign-in.
    fn needed_at(&self, context: &RequestContext<'_>, target: &RedirectTarget) -> Option<StepUp> {
        let url = Url::parse(target.as_str()).ok()?;
        let app = self.policy.site(url.host_str()?)?.app;
        let attributes = RequestAttributes { path: url.path(), method: Some("GET"), client: context.client };
        app.requirement(attributes).step_up().filter(|asked| !asked.is_empty())
    }

    /// Returns the caller's session.
    async fn session(&self, context: &RequestContext<'_>) -> Result<Arc<CachedSession>, Verdict> {
        let reason = match self.finder.find_authorized(context, Traveller::Other).await {
            Ok(SessionSearch::Found(RequestSession::Current(session))) => return Ok(session),
            Ok(SessionSearch::Found(RequestSession::Absent(reason))) => reason,
            // No page, so that it is never sent to the provider.
            Ok(SessionSearch::Unauthorized(_)) => Reason::Reauthorize,
            Err(cause) => {
                let retry = context.endpoint_url("/session");
                return Err(Verdict::Refuse(self.refusals.undetermined(context, &cause, &retry)));
            }
        };
        Err(Verdict::Refuse(Refusals::login_required(context, reason)))
    }

    /// `/session`.
    fn session_json(&self, session: &CachedSession) -> Bytes {
        let identity = session.principal().identity.unpack();
        let body = json!({
            "user": identity.user,
            "email": identity.email,
            "name": identity.name,
            "groups": identity.groups,
            "expires_at": self.login.sessions.expires(session).to_string(),
            "renewed_at": session.renewed().to_string(),
            "adopted": session.is_adopted(),
        });
        Bytes::from(body.to_string())
    }

    fn asset(&self, name: &str) -> Option<Response> {
        let asset = self.refusals.pages().static_file(name)?;
        let mut response = Response::new(Full::new(asset.content.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // An SVG that is opened by itself is a document: it may do nothing.
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        );
        Some(response)
    }

    fn not_found(&self, context: &RequestContext<'_>) -> Verdict {
        Verdict::Refuse(self.refusals.refuse(context, Reason::NotFound, &Page::NotFound))
    }

    fn method_not_allowed(&self, context: &RequestContext<'_>, kind: EndpointKind<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "This page is opened, not sent to." };
        let mut refusal = self.refusals.refuse(context, Reason::BadRequest, &page);
        refusal.status = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = if kind.allows(Some("POST")) { "GET, HEAD, POST" } else { "GET, HEAD" };
        refusal.headers.push((header::ALLOW, HeaderValue::from_static(allowed)));
        Verdict::Refuse(refusal)
    }

    /// Refuses scripts, images and prefetches: a script would be sent to the provider, and a prefetched link would sign out.
    fn not_a_page(&self, context: &RequestContext<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "This page is opened, not fetched in the background." };
        Verdict::Refuse(self.refusals.refuse(context, Reason::BadRequest, &page))
    }
}

/// `/oauth2/userinfo`. That gate's user is the subject.
fn userinfo_json(session: &CachedSession) -> Bytes {
    let identity = session.principal().identity.unpack();
    let body = json!({
        "user": identity.subject.0,
        "email": identity.email,
        "groups": identity.groups,
        "preferredUsername": identity.claim("preferred_username").and_then(Value::as_str).unwrap_or_default(),
    });
    Bytes::from(body.to_string())
}

/// `/ping`: the process answers. Neither store, provider nor app is involved.
pub(super) fn ping_response() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `/client.js`. Cached for a few minutes only: its URL does not change with its version.
fn client_script() -> Response {
    let mut response = Response::new(Full::new(Bytes::from_static(pages::CLIENT_SCRIPT.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn json_response(body: Bytes) -> Response {
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
    fn what_can_only_be_a_2xx_needs_a_route() {
        for page in ["/session", "/ping", "/client.js", "/backchannel_logout", "/static/icon.svg"] {
            assert!(EndpointKind::of(Namespace::Own, page).needs_direct_route(), "{page}");
        }
        for page in ["/start", "/callback", "/callback/x", "/sign_out", "/signed_out", "/reset", "/else"] {
            assert!(!EndpointKind::of(Namespace::Own, page).needs_direct_route(), "{page}");
        }
    }

    #[test]
    fn what_only_oauth2_proxy_has_is_only_below_its_prefix() {
        for (path, kind) in [("/sign_in", EndpointKind::SignInPage), ("/userinfo", EndpointKind::Userinfo)] {
            assert_eq!(EndpointKind::of(Namespace::OAuth2Proxy, path), kind);
            for other in [Namespace::Own, Namespace::Authentik] {
                assert_eq!(EndpointKind::of(other, path), EndpointKind::Unknown, "{path}");
            }
        }
    }
}
