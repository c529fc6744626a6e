//! Sign-in (OpenID Connect Core, authorization code flow with PKCE): beginning an attempt, completing it at the callback, and
//! restarting one that cannot be completed.
//!
//! Promises: a callback never strands a browser. It is signed in already and sent on, or sign-in begins again; a redirect loop
//! ends with a page that says what is wrong.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    attempt::{self, Attempt, LoginCookie, LoopCounter},
    check::{Check, RequestSession, Undetermined},
    context::RequestContext,
    reauthorization::{Completed, RequestPurpose, SilentTrip},
    refusal::{Refusals, redirect},
    refusal_log::{RefusalDetails, truncate},
    silent_callback::{AfterRefusal, SilentCallback},
    unknown_sids::UnknownSids,
};
use crate::{
    clock::Clock,
    cookie::{self, GateCookies},
    crypto::Keyring,
    edge::{Reason, Redirect, Verdict},
    identity::SessionScope,
    metrics,
    oidc::{self, Provider, Redemption, SignedIn},
    pages::Page,
    policy::{Policy, redirect::RedirectTarget},
    session::{Cookie, NewSession, Sessions},
};

/// The most cookies of ours with one name that are read in one request; made-up ones do not count.
const MAX_COOKIES: usize = 4;

/// Signs people in.
pub(super) struct LoginFlow {
    pub(super) policy: Arc<Policy>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) check: Arc<Check>,
    pub(super) silent_callback: SilentCallback,
    pub(super) refusals: Arc<Refusals>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) clock: Clock,
    pub(super) unknown_sids: Arc<UnknownSids>,
    pub(super) metrics: metrics::LoginMetrics,
}

/// Parameters of the callback (OpenID Connect Core, sections 3.1.2.5 and 3.1.2.6; RFC 9207).
#[derive(Debug, Default)]
struct CallbackParameters {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
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
                return self.refuse_loop(context, target);
            };
            cookie.loops = LoopCounter::default();
        }
        self.begin(context, target, cookie, RequestPurpose::SignIn(reason)).await
    }

    /// Sends the browser past the provider, which authorizes its session again without asking anybody.
    pub(super) async fn reauthorize(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        trip: &SilentTrip,
    ) -> Verdict {
        let cookie = self.login_cookies(context).first().copied().unwrap_or_else(LoginCookie::new);
        self.begin(context, target, cookie, RequestPurpose::Reauthorize(trip)).await
    }

    async fn begin(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        login_cookie: LoginCookie,
        purpose: RequestPurpose<'_>,
    ) -> Verdict {
        let Some(provider) = self.provider(context) else {
            return self.unconfigured(context);
        };
        let registration = provider.settings().registration();
        let (authority, text) = (context.authority.to_string(), target.as_str().to_owned());
        let attempt = Attempt::new(registration, authority, text, &login_cookie, self.clock.now())
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
                let value = login_cookie.seal(&self.keyring, self.audience(context));
                let cookie = self.jar.set_login(&value, attempt::LIFETIME);
                Verdict::Redirect(Redirect { reason: purpose.reason(), location, cookies: vec![cookie] })
            }
            Ok(Err(_)) => self.unconfigured(context),
            Err(error) => self.provider_failed(context, target, &error),
        }
    }

    /// `/callback`: completes the sign-in. `query` is as the browser sent it.
    pub(super) async fn complete(&self, context: &RequestContext<'_>, query: &str) -> Verdict {
        let now = self.clock.now();
        let cookies = self.login_cookies(context);
        let Some(callback) = CallbackParameters::parse(query) else {
            return self.restart(context, None, &cookies, "repeated parameters").await;
        };
        let Some(attempt) = callback.state.as_deref().and_then(|state| Attempt::open(&self.keyring, state)) else {
            return self.restart(context, None, &cookies, "unreadable state").await;
        };
        let Some(provider) = self.provider(context) else {
            return self.unconfigured(context);
        };
        let registration = provider.settings().registration();
        if !attempt.belongs_to(&cookies, &context.authority.to_string(), registration, now) {
            let cause = "expired, or begun in another browser or at another provider";
            return self.restart(context, Some(&attempt), &cookies, cause).await;
        }
        let target = self.target(context, &attempt);
        if let Some(error) = &callback.error {
            return match self.silent_callback.refused(context, attempt.reauthorizes(), error).await {
                AfterRefusal::SignIn => self.challenge(context, &target, Reason::SessionEnded).await,
                AfterRefusal::SendOn => redirect(Reason::SignedIn, &target, Vec::new()),
                AfterRefusal::Explain => self.provider_error(context, &target, error),
            };
        }
        let Some(code) = &callback.code else {
            return self.restart(context, Some(&attempt), &cookies, "no code").await;
        };
        let redemption = Redemption {
            code,
            iss: callback.iss.as_deref(),
            redirect_uri: &context.endpoint_url("/callback"),
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.redeem(&redemption).await {
            Ok(signed_in) => {
                let signed_in = match self.silent_callback.authorized(context, attempt.reauthorizes(), signed_in).await
                {
                    Ok(Completed::GoesOn) => return redirect(Reason::SignedIn, &target, Vec::new()),
                    Ok(Completed::SignIn(signed_in)) => signed_in,
                    Err(error) => {
                        let cause = Undetermined::Store(error);
                        return Verdict::Refuse(self.refusals.undetermined(context, &cause, target.as_str()));
                    }
                };
                let SignedIn { identity, tokens, sid } = *signed_in;
                let scope = SessionScope { audience: self.audience(context).to_owned(), registration };
                self.create_session(context, &target, &cookies, NewSession { identity, tokens, sid, scope }).await
            }
            Err(oidc::Error::GrantRefused) => self.restart(context, Some(&attempt), &cookies, "code refused").await,
            Err(error) => self.provider_failed(context, &target, &error),
        }
    }

    /// Creates the session, and ends the one that the browser had before: a sign-in always yields a new id.
    async fn create_session(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        cookies: &[LoginCookie],
        new: NewSession,
    ) -> Verdict {
        let (subject, user) = (new.identity.subject.clone(), new.identity.user.clone());
        if let Some(sid) = &new.sid {
            self.unknown_sids.forget(&new.identity.provider, sid);
        }
        let cookie = match self.sessions.create(new).await {
            Ok(cookie) => cookie,
            Err(error) => {
                self.count(context, metrics::LoginResult::Unavailable);
                let detail = format!("signed in, but the session could not be kept: {error}");
                let (user, subject) = (Some(user.as_str()), Some(subject.0.as_str()));
                let details = RefusalDetails { user, subject, detail: Some(&detail), ..RefusalDetails::default() };
                let page = Page::StoreUnavailable { retry: target.as_str() };
                return Verdict::Refuse(self.refusals.refuse_with(context, Reason::StoreUnavailable, &page, details));
            }
        };
        self.end_previous_sessions(context).await;
        let mut login_cookie = cookies.first().copied().unwrap_or_else(LoginCookie::new);
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
        self.count(context, metrics::LoginResult::Succeeded);
        let cookies = vec![
            self.jar.set_session(&cookie, self.sessions.lifetime()),
            self.jar.set_login(&login_cookie.seal(&self.keyring, self.audience(context)), attempt::LIFETIME),
        ];
        redirect(Reason::SignedIn, target, cookies)
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
        let target = attempt
            .map_or_else(|| RedirectTarget::root(context.redirect_base()), |attempt| self.target(context, attempt));
        // Signed in already, in another tab or by an earlier try of this callback.
        if let Ok(RequestSession::Current(_)) = self.check.find_session(context).await {
            return redirect(Reason::SignedIn, &target, Vec::new());
        }
        let now = self.clock.now();
        let mut login_cookie = cookies.first().copied().unwrap_or_else(LoginCookie::new);
        let counted = attempt.map(Attempt::loops).unwrap_or_default();
        login_cookie.loops = login_cookie.loops.max(counted).incremented(now);
        if login_cookie.loops.is_exceeded(now) {
            return self.refuse_loop(context, &target);
        }
        tracing::info!(request_id = %context.id, app = context.site.app.name, client = context.client_text(), why = cause, "a callback could not be completed; sign-in begins again");
        self.count(context, metrics::LoginResult::Restarted);
        self.begin(context, &target, login_cookie, RequestPurpose::SignIn(Reason::NoSession)).await
    }

    fn refuse_loop(&self, context: &RequestContext<'_>, target: &RedirectTarget) -> Verdict {
        self.count(context, metrics::LoginResult::Looped);
        let (retry, reset) = (context.sign_in_url(target.as_str()), context.endpoint_url("/reset"));
        Verdict::Refuse(self.refusals.refuse(
            context,
            Reason::SignInLoop,
            &Page::SignInLoop { retry: &retry, reset: &reset },
        ))
    }

    /// Answers an error response of the provider (RFC 6749, section 4.1.2.1). Only known codes are repeated: anybody may have
    /// written the description into the URL.
    fn provider_error(&self, context: &RequestContext<'_>, target: &RedirectTarget, error: &str) -> Verdict {
        let detail = match error {
            "temporarily_unavailable" | "server_error" => {
                return self.provider_failed(
                    context,
                    target,
                    &oidc::Error::Unavailable("it said so itself".to_owned()),
                );
            }
            "access_denied" => "The identity provider did not grant access.",
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
                "The identity provider needs you to sign in there first."
            }
            "invalid_scope" => "The identity provider does not know one of the scopes that were asked for.",
            _ => "The identity provider refused the sign-in.",
        };
        self.count(context, metrics::LoginResult::Denied);
        self.failed(context, target, detail, RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() })
    }

    fn provider_failed(&self, context: &RequestContext<'_>, target: &RedirectTarget, error: &oidc::Error) -> Verdict {
        let provider = self.provider(context).map(|provider| provider.settings().name.as_str());
        let mend = match error {
            oidc::Error::ClientRefused(_) => {
                Some("check client_id, client_secret and the redirect URIs at the provider")
            }
            _ => None,
        };
        let cause = format!("{}: {error}", provider.unwrap_or_default());
        let details = RefusalDetails { detail: Some(&cause), mend, ..RefusalDetails::default() };
        let detail = match error {
            oidc::Error::Unavailable(_) => {
                self.count(context, metrics::LoginResult::Unavailable);
                let retry = context.sign_in_url(target.as_str());
                let page = Page::ProviderUnavailable { retry: &retry };
                return Verdict::Refuse(self.refusals.refuse_with(
                    context,
                    Reason::ProviderUnavailable,
                    &page,
                    details,
                ));
            }
            oidc::Error::ClockSkew(_) => {
                "The clocks of this site and of the identity provider are too far apart. The operator finds in the log by how much."
            }
            _ => "The identity provider's answer could not be used. The operator finds the reason in the log.",
        };
        self.count(context, metrics::LoginResult::Failed);
        self.failed(context, target, detail, details)
    }

    fn failed(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        detail: &str,
        details: RefusalDetails<'_>,
    ) -> Verdict {
        let retry = context.sign_in_url(target.as_str());
        let page = Page::SignInFailed { detail, retry: &retry };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::SignInFailed, &page, details))
    }

    /// Refuses where the provider's URL cannot be sent, or the app has no provider. Validation of the configuration excludes both.
    fn unconfigured(&self, context: &RequestContext<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "No identity provider is set up." };
        let detail = "no usable provider for this app";
        let details = RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::Internal, &page, details))
    }

    /// Returns the attempt's target, checked again: the apps may have changed since it began.
    fn target(&self, context: &RequestContext<'_>, attempt: &Attempt) -> RedirectTarget {
        RedirectTarget::parse(&attempt.target, context.redirect_base(), &self.policy)
            .unwrap_or_else(|| RedirectTarget::root(context.redirect_base()))
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

    fn count(&self, context: &RequestContext<'_>, result: metrics::LoginResult) {
        self.metrics.count(context.site.app.provider, result);
    }
}

impl CallbackParameters {
    /// Parses the parameters that are used; `None` where one of them is repeated.
    fn parse(query: &str) -> Option<Self> {
        let mut callback = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "state" => &mut callback.state,
                "code" => &mut callback.code,
                "iss" => &mut callback.iss,
                "error" => &mut callback.error,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_with_a_repeated_parameter_is_none() {
        assert!(CallbackParameters::parse("state=a&code=b&code=c").is_none());
        assert!(CallbackParameters::parse("state=a&state=a").is_none());
        let read = CallbackParameters::parse("state=a&code=b%20c&session_state=x&iss=https%3A%2F%2Fi").unwrap();
        assert_eq!((read.state.as_deref(), read.code.as_deref()), (Some("a"), Some("b c")));
        assert_eq!((read.iss.as_deref(), read.error), (Some("https://i"), None));
    }
}
