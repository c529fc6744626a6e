//! Sign-in (OpenID Connect Core, authorization code flow with PKCE): beginning an attempt, completing it at the callback, and
//! restarting one that cannot be completed.
//!
//! Promises: a callback never strands a browser. It is signed in already and sent on, or sign-in begins again; a redirect loop
//! ends with a page that says what is wrong.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    attempt::{self, Attempt, LoginCookie, LoopCounter},
    callback_parameters::CallbackParameters,
    check::{Check, RequestSession},
    context::{RequestContext, Via},
    refusal_log::{RefusalDetails, truncate},
    return_target::{ReturnTarget, ReturnTargets},
    sign_in_refusals::{ErrorResponse, Remedy, SignInRefusals},
    unknown_sids::UnknownSids,
};
use crate::{
    clock::Clock,
    cookie::{self, GateCookies},
    crypto::Keyring,
    edge::{Edge, Reason, Redirect, Verdict},
    identity::SessionScope,
    metrics,
    oidc::{self, Provider, Redemption, SignedIn},
    pages::Page,
    policy::redirect::RedirectTarget,
    session::{Cookie, NewSession, Sessions},
};

/// The most cookies of ours with one name that are read in one request; made-up ones do not count.
const MAX_COOKIES: usize = 4;

/// Signs people in.
pub(super) struct LoginFlow {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) check: Arc<Check>,
    pub(super) targets: ReturnTargets,
    pub(super) refused: SignInRefusals,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) clock: Clock,
    pub(super) unknown_sids: Arc<UnknownSids>,
}

/// Callback of an attempt that this browser began here.
struct Callback<'a> {
    attempt: &'a Attempt,
    target: ReturnTarget,
    cookies: &'a [LoginCookie],
}

impl LoginFlow {
    /// Begins a sign-in: redirects to the provider, or ends a redirect loop.
    pub(super) async fn challenge(&self, context: &RequestContext<'_>, target: &RedirectTarget) -> Verdict {
        let mut cookie = self.login_cookies(context).first().copied().unwrap_or_else(LoginCookie::new);
        if cookie.loops.is_exceeded(self.clock.now()) {
            // With a session it is no loop: the person has begun once more by hand.
            let Ok(RequestSession::Current(_)) = self.check.find_session(context).await else {
                return self.refused.looped(context, &ReturnTarget::Whole(target.clone()), None);
            };
            cookie.loops = LoopCounter::default();
        }
        // nginx passes on a single cookie from an answer to its question. Over the direct route all of them arrive.
        if context.via == Via::Subrequest(Edge::Nginx)
            && ReturnTargets::is_long(target)
            && let Ok(location) = HeaderValue::try_from(context.sign_in_url(target.as_str()))
        {
            return Verdict::Redirect(Redirect { reason: Reason::NoSession, location, cookies: Vec::new() });
        }
        let (target, kept) = self.targets.keep(context, target);
        self.begin(context, &target, cookie, kept).await
    }

    /// Begins a sign-in. `kept` are the cookies that keep the target.
    async fn begin(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        login_cookie: LoginCookie,
        kept: Vec<HeaderValue>,
    ) -> Verdict {
        let Some(provider) = self.provider(context) else {
            return self.refused.unconfigured(context);
        };
        let (registration, authority) = (provider.settings().registration(), context.authority.to_string());
        let attempt = Attempt::new(registration, authority, target, &login_cookie, self.clock.now())
            .asked_without_cookies(context.edge_without_cookies());
        let (redirect_uri, state) = (context.endpoint_url("/callback"), attempt.seal(&self.keyring));
        let request = oidc::AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.authorize(&request).await.map(|url| HeaderValue::try_from(String::from(url))) {
            Ok(Ok(location)) => {
                let value = login_cookie.sign(&self.keyring, self.audience(context));
                let login = self.jar.set_login(&value, attempt::LIFETIME);
                let cookies = std::iter::once(login).chain(kept).collect();
                Verdict::Redirect(Redirect { reason: Reason::NoSession, location, cookies })
            }
            Ok(Err(_)) => self.refused.unconfigured(context),
            Err(error) => self.refused.provider_failed(context, target, self.provider_name(context), &error),
        }
    }

    /// `/callback`: completes the sign-in. `query` is as the browser sent it.
    pub(super) async fn complete(&self, context: &RequestContext<'_>, query: &str) -> Verdict {
        let now = self.clock.now();
        let cookies = self.login_cookies(context);
        let Some(parameters) = CallbackParameters::parse(query) else {
            return self.restart(context, None, &cookies, "repeated parameters").await;
        };
        let Some(attempt) = parameters.state.as_deref().and_then(|state| Attempt::open(&self.keyring, state)) else {
            return self.restart(context, None, &cookies, "unreadable state").await;
        };
        let Some(provider) = self.provider(context) else {
            return self.refused.unconfigured(context);
        };
        let registration = provider.settings().registration();
        if !attempt.belongs_to(&cookies, &context.authority.to_string(), registration, now) {
            let cause = "expired, or begun in another browser or at another provider";
            return self.restart(context, Some(&attempt), &cookies, cause).await;
        }
        let callback = Callback { attempt: &attempt, target: self.target(context, Some(&attempt)), cookies: &cookies };
        if let Some(error) = &parameters.error {
            return self.provider_error(context, &callback, ErrorResponse::of(error)).await;
        }
        let Some(code) = &parameters.code else {
            return self.restart(context, Some(&attempt), &cookies, "no code").await;
        };
        let unsent = match self.unsent_session(context, &callback).await {
            Some((edge, rounds)) if rounds.is_used_up(now) => {
                return self.refused.cookies_not_passed(context, &callback.target, edge);
            }
            counted => counted.map(|(_, rounds)| rounds),
        };
        let redemption = Redemption {
            code,
            iss: parameters.iss.as_deref(),
            redirect_uri: &context.endpoint_url("/callback"),
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.redeem(&redemption).await {
            Ok(SignedIn { identity, tokens, sid }) => {
                let scope = SessionScope { audience: self.audience(context).to_owned(), registration };
                let new = NewSession { identity, tokens, sid, scope };
                self.create_session(context, &callback, new, unsent).await
            }
            Err(oidc::Error::GrantRefused) => self.restart(context, Some(&attempt), &cookies, "code refused").await,
            Err(error) => match self.send_on(context, &callback.target).await {
                Some(verdict) => verdict,
                None => self.refused.provider_failed(context, &callback.target, self.provider_name(context), &error),
            },
        }
    }

    /// Finds out whether the question that began an attempt came without the cookie of a session that the browser has: the edge
    /// does not pass cookies to the check. Returns the edge, and how many rounds that makes.
    async fn unsent_session(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
    ) -> Option<(Edge, LoopCounter)> {
        let edge = callback.attempt.edge_without_cookies()?;
        let Ok(RequestSession::Current(session)) = self.check.find_session(context).await else { return None };
        let (now, created) = (self.clock.now(), session.created());
        // Older ones are a tab that was left open, or a cookie that the browser withheld for a reason of its own.
        let is_round = callback.attempt.created() >= created && now.since(created) < attempt::WINDOW;
        let counted = cookie::values(context.headers, &self.rounds_name())
            .find_map(|value| LoginCookie::open(&self.keyring, self.audience(context), value));
        is_round.then(|| (edge, counted.map(|cookie| cookie.loops).unwrap_or_default().incremented(now)))
    }

    /// Creates the session, and ends the one that the browser had before: a sign-in always yields a new id.
    async fn create_session(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
        new: NewSession,
        unsent: Option<LoopCounter>,
    ) -> Verdict {
        let (subject, user) = (new.identity.subject.clone(), new.identity.user.clone());
        if let Some(sid) = &new.sid {
            self.unknown_sids.forget(&new.identity.provider, sid);
        }
        let cookie = match self.sessions.create(new).await {
            Ok(cookie) => cookie,
            Err(error) => {
                self.refused.count(context, metrics::LoginResult::Unavailable);
                let retry = callback.target.retry_url(context);
                let detail = format!("signed in, but the session could not be kept: {error}");
                let (user, subject) = (Some(user.as_str()), Some(subject.0.as_str()));
                let details = RefusalDetails { user, subject, detail: Some(&detail), ..RefusalDetails::default() };
                let (page, reason) = (Page::StoreUnavailable { retry: &retry }, Reason::StoreUnavailable);
                return Verdict::Refuse(self.refused.refusals.refuse_with(context, reason, &page, details));
            }
        };
        self.end_previous_sessions(context).await;
        let mut login_cookie = callback.cookies.first().copied().unwrap_or_else(LoginCookie::new);
        // Only the next page shows whether the session is found again: where cookies are blocked, or replicas have a store
        // each, it is not, and sign-in would loop for ever.
        login_cookie.loops = login_cookie.loops.incremented(self.clock.now());
        tracing::info!(
            request_id = %context.id,
            app = context.site.app.name,
            host = truncate(context.authority.host()),
            client = context.client_text(),
            user = truncate(&user),
            subject = truncate(&subject),
            "signed in"
        );
        self.refused.count(context, metrics::LoginResult::Succeeded);
        let audience = self.audience(context);
        let mut cookies = vec![
            self.jar.set_session(&cookie, self.sessions.lifetime()),
            // Kept for its counter alone: a tab that comes later finds the session, and is sent on.
            self.jar.set_login(&login_cookie.sign(&self.keyring, audience), attempt::WINDOW),
        ];
        if let Some(loops) = unsent {
            let counter = login_cookie.with_loops(loops).sign(&self.keyring, audience);
            let path = format!("{}/callback", context.origin.prefix);
            cookies.push(self.jar.set_at(&path, &self.rounds_name(), &counter, attempt::WINDOW));
        }
        self.targets.redirect(context, &callback.target, cookies)
    }

    /// Ends the sessions that the browser has cookies of.
    async fn end_previous_sessions(&self, context: &RequestContext<'_>) {
        let audience = self.audience(context);
        let presented =
            cookie::values(context.headers, self.jar.session_name()).map(|value| Cookie { value, audience });
        for cookie in presented.filter(|cookie| self.sessions.may_be_ours(*cookie)).take(MAX_COOKIES) {
            // The new session is valid either way, and the old one's row is deleted once the store is back.
            if let Err(error) = self.sessions.revoke(cookie, metrics::LogoutKind::User).await {
                tracing::warn!(request_id = %context.id, app = context.site.app.name, %error, "the session before this sign-in could not be ended");
            }
        }
    }

    /// Begins again after a callback that cannot be completed, unless the browser is signed in already.
    async fn restart(
        &self,
        context: &RequestContext<'_>,
        attempt: Option<&Attempt>,
        cookies: &[LoginCookie],
        cause: &'static str,
    ) -> Verdict {
        let target = self.target(context, attempt);
        if let Some(verdict) = self.send_on(context, &target).await {
            return verdict;
        }
        match self.begin_again(context, attempt, cookies, cause).await {
            Some(verdict) => verdict,
            None => self.refused.looped(context, &target, attempt.and_then(Attempt::edge_without_cookies)),
        }
    }

    /// Answers an error response of the provider: with the page that was wanted, with another try, or with a page that explains.
    async fn provider_error(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
        error: ErrorResponse,
    ) -> Verdict {
        let Callback { attempt, target, cookies } = callback;
        if let Some(verdict) = self.send_on(context, target).await {
            return verdict;
        }
        if error.remedy == Remedy::Retry
            && let Some(verdict) = self.begin_again(context, Some(attempt), cookies, error.code).await
        {
            return verdict;
        }
        self.refused.provider_error(context, target, self.provider_name(context), error)
    }

    /// Redirects to the target where the browser is signed in already, in another tab or by an earlier try of this callback.
    async fn send_on(&self, context: &RequestContext<'_>, target: &ReturnTarget) -> Option<Verdict> {
        match self.check.find_session(context).await {
            Ok(RequestSession::Current(_)) => Some(self.targets.redirect(context, target, Vec::new())),
            Ok(RequestSession::Absent(_)) | Err(_) => None,
        }
    }

    /// Begins again; `None` where that would be one time too many.
    async fn begin_again(
        &self,
        context: &RequestContext<'_>,
        attempt: Option<&Attempt>,
        cookies: &[LoginCookie],
        cause: &'static str,
    ) -> Option<Verdict> {
        let now = self.clock.now();
        let mut login_cookie = cookies.first().copied().unwrap_or_else(LoginCookie::new);
        let counted = attempt.map(Attempt::loops).unwrap_or_default();
        login_cookie.loops = login_cookie.loops.max(counted).incremented(now);
        if login_cookie.loops.is_exceeded(now) {
            return None;
        }
        tracing::info!(request_id = %context.id, app = context.site.app.name, client = context.client_text(), why = cause, "a callback could not be completed; sign-in begins again");
        self.refused.count(context, metrics::LoginResult::Restarted);
        Some(self.begin(context, &self.target(context, attempt), login_cookie, Vec::new()).await)
    }

    /// Returns the target of an attempt; without one, the root.
    fn target(&self, context: &RequestContext<'_>, attempt: Option<&Attempt>) -> ReturnTarget {
        match attempt {
            Some(attempt) => self.targets.of_attempt(context, &attempt.target, attempt.kept.as_ref()),
            None => ReturnTarget::Whole(RedirectTarget::root(context.redirect_base())),
        }
    }

    fn provider_name<'a>(&'a self, context: &RequestContext<'_>) -> &'a str {
        self.provider(context).map_or("", |provider| provider.settings().name.as_str())
    }

    /// Returns the name of the cookie that counts rounds in which no other cookie reaches the check.
    fn rounds_name(&self) -> String {
        format!("{}_rounds", self.jar.path_bound_name())
    }

    fn provider(&self, context: &RequestContext<'_>) -> Option<&Arc<Provider>> {
        self.providers.get(context.site.app.provider)
    }

    /// Returns the audience of cookies at the requested host.
    fn audience<'a>(&'a self, context: &'a RequestContext<'_>) -> &'a str {
        self.jar.audience(context.authority.host())
    }

    fn login_cookies(&self, context: &RequestContext<'_>) -> Vec<LoginCookie> {
        cookie::values(context.headers, self.jar.login_name())
            .filter_map(|value| LoginCookie::open(&self.keyring, self.audience(context), value))
            .take(MAX_COOKIES)
            .collect()
    }
}
