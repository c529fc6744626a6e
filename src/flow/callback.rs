//! The callback (OpenID Connect Core, section 3.1.2.5): what the provider's answer makes of an attempt.
//!
//! Promises: a callback never strands a browser. It is signed in already and sent on, or sign-in begins again, a few times a
//! minute; a session ends only by an answer to its own request.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    attempt::{self, Attempt, LoginCookie, LoopCounter},
    callback_parameters::CallbackParameters,
    context::RequestContext,
    login::{LoginFlow, MAX_COOKIES, NewRequest},
    rate_limits::{LimitedAction, RateLimited},
    reauthorization::{Completed, RequestPurpose},
    refusal_log::{RefusalDetails, truncate},
    return_target::ReturnTarget,
    session_finder::{RequestSession, Undetermined},
    sign_in_refusals::{AuthorizationErrorResponse, Remedy},
    silent_callback::{AfterRefusal, SilentCallback},
    step_up::{FailedStepUp, StepUpFailure, StepUps},
    unknown_sids::UnknownSids,
};
use crate::{
    cookie,
    edge::{Edge, Reason, Verdict},
    identity::SessionScope,
    metrics,
    oidc::{self, Redemption, SignedIn},
    pages::Page,
    policy::{StepUp, redirect::RedirectTarget},
    session::{CachedSession, Cookie, NewSession},
};

/// Completes sign-ins.
pub(super) struct CallbackFlow {
    pub(super) login: Arc<LoginFlow>,
    pub(super) silent_callback: SilentCallback,
    pub(super) step_ups: StepUps,
    pub(super) unknown_sids: Arc<UnknownSids>,
}

/// Callback of an attempt that this browser began here.
struct Callback<'a> {
    attempt: &'a Attempt,
    target: ReturnTarget,
    cookies: &'a [LoginCookie],
}

impl CallbackFlow {
    /// `/callback`: completes the sign-in. `query` is as the browser sent it.
    pub(super) async fn complete(&self, context: &RequestContext<'_>, query: &str) -> Verdict {
        if let Err(limited) = self.login.rate_limits.check(LimitedAction::Callback, context.client) {
            return self.rate_limited(context, query, limited).await;
        }
        let now = self.login.clock.now();
        let cookies = self.login.login_cookies(context);
        let Some(parameters) = CallbackParameters::parse(query) else {
            return self.restart(context, None, &cookies, "repeated parameters").await;
        };
        let Some(attempt) = parameters.state.as_deref().and_then(|state| Attempt::open(&self.login.keyring, state))
        else {
            return self.restart(context, None, &cookies, "unreadable state").await;
        };
        let Some(provider) = self.login.provider(context) else {
            return self.login.refused.unconfigured(context);
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
                return self.login.refused.cookies_not_passed(context, &callback.target, edge);
            }
            counted => counted.map(|(_, rounds)| rounds),
        };
        let redemption = Redemption {
            code,
            iss: parameters.iss.as_deref(),
            redirect_uri: &context.redirect_uri(),
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.redeem(&redemption).await {
            Ok(signed_in) => self.authorized(context, &callback, signed_in, unsent).await,
            Err(oidc::Error::GrantRefused) => self.restart(context, Some(&attempt), &cookies, "code refused").await,
            Err(error) => match self.send_on(context, &callback.target, attempt.step_up()).await {
                Some(verdict) => verdict,
                None => self.login.refused.provider_failed(
                    context,
                    &callback.target,
                    self.login.provider_name(context),
                    &error,
                ),
            },
        }
    }

    /// Answers a callback of a network that has used up its limit: the provider is not asked, and who is signed in already is
    /// sent on.
    async fn rate_limited(&self, context: &RequestContext<'_>, query: &str, limited: RateLimited) -> Verdict {
        let state = CallbackParameters::parse(query).and_then(|parameters| parameters.state);
        let attempt = state.and_then(|state| Attempt::open(&self.login.keyring, &state));
        let target = self.target(context, attempt.as_ref());
        if let Some(verdict) = self.send_on(context, &target, attempt.as_ref().and_then(Attempt::step_up)).await {
            return verdict;
        }
        let retry = target.retry_url(context);
        Verdict::Refuse(self.login.refused.refusals.rate_limited(context, limited, &retry))
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
            Ok(Completed::GoesOn) => self.login.targets.redirect(context, &callback.target, Vec::new()),
            Ok(Completed::SignIn(signed_in)) => self.signed_in(context, callback, *signed_in, unsent).await,
            Err(error) => {
                let (cause, retry) = (Undetermined::Store(error), callback.target.retry_url(context));
                Verdict::Refuse(self.login.refused.refusals.undetermined(context, &cause, &retry))
            }
        }
    }

    /// Makes a session of a sign-in. One that is not as it was asked for ends at a page that says so: the browser's session stays
    /// where it is of the same person, and otherwise this is the first one.
    async fn signed_in(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
        signed_in: SignedIn,
        unsent: Option<LoopCounter>,
    ) -> Verdict {
        let SignedIn { identity, tokens, sid } = signed_in;
        let scope = SessionScope {
            audience: self.login.cookies(context).audience().to_owned(),
            registration: callback.attempt.registration,
        };
        let new = |identity| NewSession { identity, tokens, sid, scope };
        let Some(asked) = callback.attempt.step_up() else {
            return match self.create_session(context, callback, new(identity), unsent).await {
                Ok(cookies) => self.login.targets.redirect(context, &callback.target, cookies),
                Err(verdict) => verdict,
            };
        };
        let outcome = asked.judge(&identity.claims, self.login.clock.now());
        let is_same = |current: &Arc<CachedSession>| current.identity().subject() == identity.subject.0;
        let stays = outcome.is_err() && self.current_session(context).await.as_ref().is_some_and(is_same);
        let mut cookies = Vec::new();
        if !stays {
            match self.create_session(context, callback, new(identity.clone()), unsent).await {
                Ok(new) => cookies = new,
                Err(verdict) => return verdict,
            }
        }
        let Err(unmet) = outcome else { return self.login.targets.redirect(context, &callback.target, cookies) };
        let failure = FailedStepUp {
            asked,
            target: &callback.target,
            user: &identity.user,
            subject: &identity.subject.0,
            claims: &identity.claims,
            cause: StepUpFailure::Unmet(unmet),
            cookies,
        };
        self.step_ups.failed(context, failure)
    }

    async fn current_session(&self, context: &RequestContext<'_>) -> Option<Arc<CachedSession>> {
        match self.login.finder.find(context).await {
            Ok(RequestSession::Current(session)) => Some(session),
            Ok(RequestSession::Absent(_)) | Err(_) => None,
        }
    }

    /// Answers an error response of the provider, to a sign-in or about a session that was to be authorized again.
    async fn refused_by_provider(&self, context: &RequestContext<'_>, callback: &Callback<'_>, error: &str) -> Verdict {
        let (session, response) = (callback.attempt.reauthorizes(), AuthorizationErrorResponse::of(error));
        match self.silent_callback.refused(context, session, error).await {
            AfterRefusal::SignIn => {
                let cookie = callback.cookies.first().copied().unwrap_or_else(LoginCookie::new);
                let (target, purpose) = (&callback.target, RequestPurpose::SignIn(Reason::SessionEnded));
                let request = NewRequest { target, kept: Vec::new(), cookie, purpose, step_up: None };
                self.login.begin(context, request).await
            }
            AfterRefusal::SendOn => self.login.targets.redirect(context, &callback.target, Vec::new()),
            AfterRefusal::Explain => self.login.refused.provider_error(
                context,
                &callback.target,
                self.login.provider_name(context),
                response,
            ),
            AfterRefusal::NotReauthorization => self.provider_error(context, callback, response).await,
        }
    }

    /// Finds out whether the question that began an attempt came without the cookie of a session that the browser has: the edge
    /// does not pass cookies to the check. Returns the edge, and how many rounds that makes.
    async fn unsent_round(&self, context: &RequestContext<'_>, callback: &Callback<'_>) -> Option<(Edge, LoopCounter)> {
        let edge = callback.attempt.edge_without_cookies()?;
        let session = self.current_session(context).await?;
        let (now, created) = (self.login.clock.now(), session.created());
        // Older ones are a tab that was left open, or a cookie that the browser withheld for a reason of its own.
        let is_round = callback.attempt.created() >= created && now.since(created) < attempt::WINDOW;
        let counted = cookie::values(context.headers, &self.login.jar.rounds_name())
            .find_map(|value| LoginCookie::open(&self.login.keyring, self.login.cookies(context).audience(), value));
        is_round.then(|| (edge, counted.map(|cookie| cookie.loops).unwrap_or_default().incremented(now)))
    }

    /// Creates the session, and ends the one that the browser had before: a sign-in always yields a new id. Returns the cookies.
    async fn create_session(
        &self,
        context: &RequestContext<'_>,
        callback: &Callback<'_>,
        new: NewSession,
        unsent: Option<LoopCounter>,
    ) -> Result<Vec<HeaderValue>, Verdict> {
        let (subject, user) = (new.identity.subject.clone(), new.identity.user.clone());
        if let Some(sid) = &new.sid {
            self.unknown_sids.forget(&new.identity.provider, sid);
        }
        let cookie = match self.login.sessions.create(new).await {
            Ok(cookie) => cookie,
            Err(error) => {
                self.login.refused.count(context, metrics::LoginResult::Unavailable);
                let retry = callback.target.retry_url(context);
                let detail = format!("signed in, but the session could not be kept: {error}");
                let (user, subject) = (Some(user.as_str()), Some(subject.0.as_str()));
                let details = RefusalDetails { user, subject, detail: Some(&detail), ..RefusalDetails::default() };
                let (page, reason) = (Page::StoreUnavailable { retry: &retry }, Reason::StoreUnavailable);
                return Err(Verdict::Refuse(self.login.refused.refusals.refuse_with(context, reason, &page, details)));
            }
        };
        let is_found_again = callback.attempt.step_up().is_some() && self.current_session(context).await.is_some();
        self.end_previous_sessions(context).await;
        let mut login_cookie = callback.cookies.first().copied().unwrap_or_else(LoginCookie::new);
        // Only the next page shows whether the session is found again: where cookies are blocked, or replicas have a store
        // each, it is not, and sign-in would loop for ever.
        if !is_found_again {
            login_cookie.loops = login_cookie.loops.incremented(self.login.clock.now());
        }
        tracing::info!(
            request_id = %context.id,
            app = context.site.app.name,
            host = truncate(context.authority.host()),
            client = context.client_text(),
            user = truncate(&user),
            subject = truncate(&subject),
            "signed in"
        );
        self.login.refused.count(context, metrics::LoginResult::Succeeded);
        let own = self.login.cookies(context);
        let mut cookies = vec![
            own.set_session(&cookie, self.login.sessions.lifetime()),
            // Kept for its counter alone: a tab that comes later finds the session, and is sent on.
            own.set_login(&login_cookie.sign(&self.login.keyring, own.audience()), attempt::WINDOW),
        ];
        if let Some(loops) = unsent {
            let counter = login_cookie.with_loops(loops).sign(&self.login.keyring, own.audience());
            let path = format!("{}/callback", context.origin.callback_prefix);
            cookies.push(self.login.jar.set_at(&path, &self.login.jar.rounds_name(), &counter, attempt::WINDOW));
        }
        Ok(cookies)
    }

    /// Ends the sessions at this provider that the browser has cookies of.
    async fn end_previous_sessions(&self, context: &RequestContext<'_>) {
        let own = self.login.cookies(context);
        let presented =
            cookie::values(context.headers, own.session_name()).map(|value| Cookie { value, audience: own.audience() });
        for cookie in presented.filter(|cookie| self.login.sessions.may_be_ours(*cookie)).take(MAX_COOKIES) {
            // The new session is valid either way, and the old one's row is deleted once the store is back.
            if let Err(error) = self.login.sessions.revoke(cookie, metrics::LogoutKind::User).await {
                tracing::warn!(request_id = %context.id, app = context.site.app.name, %error, "the session before this sign-in could not be ended");
            }
        }
        if let Some(adoption) = &self.login.finder.adoption
            && let Err(error) = Box::pin(adoption.signed_in(context)).await
        {
            tracing::warn!(request_id = %context.id, app = context.site.app.name, %error, "the adopted session before this sign-in could not be ended");
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
        if let Some(verdict) = self.send_on(context, &target, attempt.and_then(Attempt::step_up)).await {
            return verdict;
        }
        match self.begin_again(context, attempt, cookies, cause).await {
            Some(verdict) => verdict,
            None => self.login.refused.looped(context, &target, attempt.and_then(Attempt::edge_without_cookies)),
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
        let step_up = attempt.step_up();
        if let Some(verdict) = self.send_on(context, target, step_up).await {
            return verdict;
        }
        if error.remedy == Remedy::Retry
            && let Some(verdict) = self.begin_again(context, Some(attempt), cookies, error.code).await
        {
            return verdict;
        }
        if let Some(asked) = step_up.filter(|_| !error.is_unavailability())
            && let Some(session) = self.current_session(context).await
        {
            let failure = FailedStepUp {
                asked,
                target,
                user: session.identity().user(),
                subject: session.identity().subject(),
                claims: &session.identity().claims(),
                cause: StepUpFailure::Refused(error.code),
                cookies: Vec::new(),
            };
            return self.step_ups.failed(context, failure);
        }
        self.login.refused.provider_error(context, target, self.login.provider_name(context), error)
    }

    /// Redirects to the target where the browser is signed in already, in another tab or by an earlier try of this callback, and
    /// as it was asked for: otherwise the page would only lead to the provider again.
    async fn send_on(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        step_up: Option<&StepUp>,
    ) -> Option<Verdict> {
        let session = self.current_session(context).await?;
        let will_do = |asked: &StepUp| asked.judge(&session.identity().claims(), self.login.clock.now()).is_ok();
        step_up.is_none_or(will_do).then(|| self.login.targets.redirect(context, target, Vec::new()))
    }

    /// Begins again; `None` where that would be one time too many.
    async fn begin_again(
        &self,
        context: &RequestContext<'_>,
        attempt: Option<&Attempt>,
        cookies: &[LoginCookie],
        cause: &'static str,
    ) -> Option<Verdict> {
        let now = self.login.clock.now();
        let mut login_cookie = cookies.first().copied().unwrap_or_else(LoginCookie::new);
        let counted = attempt.map(Attempt::loops).unwrap_or_default();
        login_cookie.loops = login_cookie.loops.max(counted).incremented(now);
        if login_cookie.loops.is_exceeded(now) {
            return None;
        }
        tracing::info!(request_id = %context.id, app = context.site.app.name, client = context.client_text(), why = cause, "a callback could not be completed; sign-in begins again");
        self.login.refused.count(context, metrics::LoginResult::Restarted);
        let (target, purpose) = (self.target(context, attempt), RequestPurpose::SignIn(Reason::NoSession));
        let step_up = attempt.and_then(Attempt::step_up);
        let request = NewRequest { target: &target, kept: Vec::new(), cookie: login_cookie, purpose, step_up };
        Some(self.login.begin(context, request).await)
    }

    /// Returns the target of an attempt; without one, the root.
    fn target(&self, context: &RequestContext<'_>, attempt: Option<&Attempt>) -> ReturnTarget {
        match attempt {
            Some(attempt) => self.login.targets.of_attempt(context, &attempt.target, attempt.kept.as_ref()),
            None => ReturnTarget::Whole(RedirectTarget::root(context.redirect_base())),
        }
    }
}
