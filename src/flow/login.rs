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
    check::{Check, RequestSession, Undetermined},
    context::{RequestContext, Via},
    reauthorization::{Completed, RequestPurpose, SilentTrip},
    refusal_log::{RefusalDetails, truncate},
    return_target::{ReturnTarget, ReturnTargets},
    sign_in_refusals::{AuthorizationErrorResponse, Remedy, SignInRefusals},
    silent_callback::{AfterRefusal, SilentCallback},
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

/// The most cookies of ours with one name that are read in one request, without made-up ones.
const MAX_COOKIES: usize = 4;

/// Signs people in.
pub(super) struct LoginFlow {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) check: Arc<Check>,
    pub(super) silent_callback: SilentCallback,
    pub(super) targets: ReturnTargets,
    pub(super) refused: SignInRefusals,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) clock: Clock,
    pub(super) unknown_sids: Arc<UnknownSids>,
}

/// Authorization request that is about to be made.
struct NewRequest<'a> {
    target: &'a ReturnTarget,
    /// The cookies that keep the target.
    kept: Vec<HeaderValue>,
    cookie: LoginCookie,
    purpose: RequestPurpose<'a>,
}

/// Callback of an attempt that this browser began here.
struct Callback<'a> {
    attempt: &'a Attempt,
    target: ReturnTarget,
    cookies: &'a [LoginCookie],
}

impl LoginFlow {
    /// Begins a sign-in for this reason: redirects to the provider, or ends a redirect loop.
    pub(super) async fn challenge(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        reason: Reason,
    ) -> Verdict {
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
            return Verdict::Redirect(Redirect { reason, location, cookies: Vec::new() });
        }
        let (target, kept) = self.targets.keep(context, target);
        self.begin(context, NewRequest { target: &target, kept, cookie, purpose: RequestPurpose::SignIn(reason) }).await
    }

    /// Sends the browser past the provider, which authorizes its session again without asking anybody.
    pub(super) async fn reauthorize(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        trip: &SilentTrip,
    ) -> Verdict {
        let cookie = self.login_cookies(context).first().copied().unwrap_or_else(LoginCookie::new);
        let (target, kept) = self.targets.keep(context, target);
        self.begin(context, NewRequest { target: &target, kept, cookie, purpose: RequestPurpose::Reauthorize(trip) })
            .await
    }

    /// Sends the browser to the provider.
    async fn begin(&self, context: &RequestContext<'_>, request: NewRequest<'_>) -> Verdict {
        let Some(provider) = self.provider(context) else {
            return self.refused.unconfigured(context);
        };
        let NewRequest { target, kept, cookie, purpose } = request;
        let (registration, authority) = (provider.settings().registration(), context.authority.to_string());
        let attempt = Attempt::new(registration, authority, target, &cookie, self.clock.now())
            .asked_without_cookies(context.edge_without_cookies())
            .reauthorizing(purpose.session());
        let (redirect_uri, state) = (context.endpoint_url("/callback"), attempt.seal(&self.keyring));
        let request = oidc::AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
            silent: purpose.silent_request(),
        };
        match provider.authorize(&request).await.map(|url| HeaderValue::try_from(String::from(url))) {
            Ok(Ok(location)) => {
                let login = self.jar.set_login(&cookie.sign(&self.keyring, self.audience(context)), attempt::LIFETIME);
                let cookies = std::iter::once(login).chain(kept).collect();
                Verdict::Redirect(Redirect { reason: purpose.reason(), location, cookies })
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
        let target = self.target(context, Some(&attempt));
        let callback = Callback { attempt: &attempt, target, cookies: &cookies };
        if let Some(error) = &parameters.error {
            return self.refused_by_provider(context, &callback, error).await;
        }
        let Some(code) = &parameters.code else {
            return self.restart(context, Some(&attempt), &cookies, "no code").await;
        };
        let unsent = match self.unsent_round(context, &callback).await {
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
            Ok(signed_in) => self.authorized(context, &callback, signed_in, unsent).await,
            Err(oidc::Error::GrantRefused) => self.restart(context, Some(&attempt), &cookies, "code refused").await,
            Err(error) => match self.send_on(context, &callback.target).await {
                Some(verdict) => verdict,
                None => self.refused.provider_failed(context, &callback.target, self.provider_name(context), &error),
            },
        }
    }

    /// Goes on with the session that was authorized again, or signs in.
    async fn authorized(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
        signed_in: SignedIn,
        unsent: Option<LoopCounter>,
    ) -> Verdict {
        match self.silent_callback.authorized(context, callback.attempt.reauthorizes(), signed_in).await {
            Ok(Completed::GoesOn) => self.targets.redirect(context, &callback.target, Vec::new()),
            Ok(Completed::SignIn(signed_in)) => {
                let SignedIn { identity, tokens, sid } = *signed_in;
                let audience = self.audience(context).to_owned();
                let scope = SessionScope { audience, registration: callback.attempt.registration };
                self.create_session(context, callback, NewSession { identity, tokens, sid, scope }, unsent).await
            }
            Err(error) => {
                let (cause, retry) = (Undetermined::Store(error), callback.target.retry_url(context));
                Verdict::Refuse(self.refused.refusals.undetermined(context, &cause, &retry))
            }
        }
    }

    /// Answers an error response of the provider, to a sign-in or about a session that was to be authorized again.
    async fn refused_by_provider(&self, context: &RequestContext<'_>, callback: &Callback<'_>, error: &str) -> Verdict {
        let (session, response) = (callback.attempt.reauthorizes(), AuthorizationErrorResponse::of(error));
        match self.silent_callback.refused(context, session, error).await {
            AfterRefusal::SignIn => {
                let cookie = callback.cookies.first().copied().unwrap_or_else(LoginCookie::new);
                let (target, purpose) = (&callback.target, RequestPurpose::SignIn(Reason::SessionEnded));
                self.begin(context, NewRequest { target, kept: Vec::new(), cookie, purpose }).await
            }
            AfterRefusal::SendOn => self.targets.redirect(context, &callback.target, Vec::new()),
            AfterRefusal::Explain => {
                self.refused.provider_error(context, &callback.target, self.provider_name(context), response)
            }
            AfterRefusal::NotReauthorization => self.provider_error(context, callback, response).await,
        }
    }

    /// Finds out whether the question that began an attempt came without the cookie of a session that the browser has: the edge
    /// does not pass cookies to the check. Returns the edge, and how many rounds that makes.
    async fn unsent_round(&self, context: &RequestContext<'_>, callback: &Callback<'_>) -> Option<(Edge, LoopCounter)> {
        let edge = callback.attempt.edge_without_cookies()?;
        let Ok(RequestSession::Current(session)) = self.check.find_session(context).await else { return None };
        let (now, created) = (self.clock.now(), session.created());
        // Older ones are a tab that was left open, or a cookie that the browser withheld for a reason of its own.
        let is_round = callback.attempt.created() >= created && now.since(created) < attempt::WINDOW;
        let counted = cookie::values(context.headers, &self.jar.rounds_name())
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
            cookies.push(self.jar.set_at(&path, &self.jar.rounds_name(), &counter, attempt::WINDOW));
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
        error: AuthorizationErrorResponse,
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
        let (target, purpose) = (self.target(context, attempt), RequestPurpose::SignIn(Reason::NoSession));
        Some(self.begin(context, NewRequest { target: &target, kept: Vec::new(), cookie: login_cookie, purpose }).await)
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
