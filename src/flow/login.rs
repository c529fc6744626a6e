//! Signing in: beginning an attempt, completing it at the callback, and healing one that cannot be completed.
//!
//! A callback never strands a browser: it is signed in already and sent on, or sign-in begins again, and
//! when that goes round too often a page says what is wrong.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    answer::{Answers, redirect},
    attempt::{self, Attempt, Browser, Rounds},
    check::{Check, Presented},
    context::RequestContext,
    refusals::{Refused, cut},
    sids::UnknownSids,
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

/// How many of our cookies of one name are looked at in one request; made-up ones do not count.
const MOST_COOKIES: usize = 4;

/// Signs people in.
pub(super) struct Login {
    pub(super) policy: Arc<Policy>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) check: Arc<Check>,
    pub(super) answers: Arc<Answers>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) clock: Clock,
    pub(super) unknown_sids: Arc<UnknownSids>,
    pub(super) metrics: metrics::LoginMetrics,
}

/// What a provider sent back with the browser (OpenID Connect Core, sections 3.1.2.5 and 3.1.2.6; RFC 9207).
#[derive(Debug, Default)]
struct Callback {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

impl Login {
    /// Sends somebody without a session to the provider; stops when that has gone round too often.
    pub(super) async fn challenge(&self, visit: &RequestContext<'_>, target: &RedirectTarget) -> Verdict {
        let mut browser = self.browsers(visit).first().copied().unwrap_or_else(Browser::new);
        if browser.rounds.are_too_many(self.clock.now()) {
            // Who is signed in and begins once more has come round by hand.
            let Ok(Presented::Live(_)) = self.check.present(visit).await else {
                return self.looped(visit, target);
            };
            browser.rounds = Rounds::default();
        }
        self.begin(visit, target, browser).await
    }

    async fn begin(&self, visit: &RequestContext<'_>, target: &RedirectTarget, browser: Browser) -> Verdict {
        let Some(provider) = self.provider(visit) else {
            return self.unconfigured(visit);
        };
        let registration = provider.settings().registration();
        let (authority, text) = (visit.authority.to_string(), target.as_str().to_owned());
        let attempt = Attempt::new(registration, authority, text, &browser, self.clock.now());
        let (redirect_uri, state) = (visit.own("/callback"), attempt.seal(&self.keyring));
        let asked = oidc::AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.authorize(&asked).await.map(|url| HeaderValue::try_from(String::from(url))) {
            Ok(Ok(location)) => {
                let cookie = self.jar.set_login(&browser.seal(&self.keyring, self.audience(visit)), attempt::LIFETIME);
                Verdict::Redirect(Redirect { reason: Reason::NoSession, location, cookies: vec![cookie] })
            }
            Ok(Err(_)) => self.unconfigured(visit),
            Err(error) => self.provider_failed(visit, target, &error),
        }
    }

    /// Answers the callback. `query` is what the browser brought.
    pub(super) async fn complete(&self, visit: &RequestContext<'_>, query: &str) -> Verdict {
        let now = self.clock.now();
        let browsers = self.browsers(visit);
        let Some(callback) = Callback::parse(query) else {
            return self.heal(visit, None, &browsers, "repeated parameters").await;
        };
        let Some(attempt) = callback.state.as_deref().and_then(|state| Attempt::open(&self.keyring, state)) else {
            return self.heal(visit, None, &browsers, "unreadable state").await;
        };
        let Some(provider) = self.provider(visit) else {
            return self.unconfigured(visit);
        };
        let registration = provider.settings().registration();
        if !attempt.belongs_to(&browsers, &visit.authority.to_string(), registration, now) {
            let why = "expired, or begun in another browser or at another provider";
            return self.heal(visit, Some(&attempt), &browsers, why).await;
        }
        let target = self.target(visit, &attempt);
        if let Some(error) = &callback.error {
            return self.provider_said_no(visit, &target, error);
        }
        let Some(code) = &callback.code else {
            return self.heal(visit, Some(&attempt), &browsers, "no code").await;
        };
        let redemption = Redemption {
            code,
            iss: callback.iss.as_deref(),
            redirect_uri: &visit.own("/callback"),
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
        };
        match provider.redeem(&redemption).await {
            Ok(SignedIn { identity, tokens, sid }) => {
                let scope = SessionScope { audience: self.audience(visit).to_owned(), registration };
                self.welcome(visit, &target, &browsers, NewSession { identity, tokens, sid, scope }).await
            }
            Err(oidc::Error::GrantRefused) => self.heal(visit, Some(&attempt), &browsers, "code refused").await,
            Err(error) => self.provider_failed(visit, &target, &error),
        }
    }

    /// Makes the session, and ends the one that the browser had before: a sign-in always yields a new id.
    async fn welcome(
        &self,
        visit: &RequestContext<'_>,
        target: &RedirectTarget,
        browsers: &[Browser],
        new: NewSession,
    ) -> Verdict {
        let (subject, user) = (new.identity.subject.clone(), new.identity.user.clone());
        if let Some(sid) = &new.sid {
            self.unknown_sids.forget(&new.identity.provider, sid);
        }
        let cookie = match self.sessions.create(new).await {
            Ok(cookie) => cookie,
            Err(error) => {
                self.count(visit, metrics::LoginResult::Unavailable);
                let detail = format!("signed in, but the session could not be kept: {error}");
                let (user, subject) = (Some(user.as_str()), Some(subject.0.as_str()));
                let refused = Refused { user, subject, detail: Some(&detail), ..Refused::default() };
                let page = Page::StoreUnavailable { retry: target.as_str() };
                return Verdict::Refuse(self.answers.refuse_because(visit, Reason::StoreUnavailable, &page, refused));
            }
        };
        self.supersede(visit).await;
        let mut browser = browsers.first().copied().unwrap_or_else(Browser::new);
        // Only the next page shows whether the session is seen again: where cookies are blocked, or replicas have a store
        // each, it is not, and sign-in would go round for ever.
        browser.rounds = browser.rounds.another(self.clock.now());
        tracing::info!(
            request_id = %visit.id,
            app = visit.site.app.name,
            host = cut(visit.authority.host()),
            client = visit.client_text(),
            user = cut(&user),
            subject = cut(&subject),
            "signed in"
        );
        self.count(visit, metrics::LoginResult::Succeeded);
        let cookies = vec![
            self.jar.set_session(&cookie, self.sessions.lifetime()),
            self.jar.set_login(&browser.seal(&self.keyring, self.audience(visit)), attempt::LIFETIME),
        ];
        redirect(Reason::SignedIn, target, cookies)
    }

    /// Ends the sessions that the browser brought.
    async fn supersede(&self, visit: &RequestContext<'_>) {
        let audience = self.audience(visit);
        let brought = cookie::values(visit.headers, self.jar.session_name()).map(|value| Cookie { value, audience });
        for cookie in brought.filter(|cookie| self.sessions.may_be_ours(*cookie)).take(MOST_COOKIES) {
            // The new session stands either way, and the old one's row goes when the store takes it.
            if let Err(error) = self.sessions.revoke(cookie, metrics::LogoutKind::User).await {
                tracing::warn!(request_id = %visit.id, app = visit.site.app.name, %error, "the session before this sign-in could not be ended");
            }
        }
    }

    /// What to do with a callback that cannot be completed.
    async fn heal(
        &self,
        visit: &RequestContext<'_>,
        attempt: Option<&Attempt>,
        browsers: &[Browser],
        why: &'static str,
    ) -> Verdict {
        let target = attempt.map_or_else(|| RedirectTarget::root(visit.here()), |attempt| self.target(visit, attempt));
        // Signed in already, in another tab or by an earlier try of this one: nothing is left to do.
        if let Ok(Presented::Live(_)) = self.check.present(visit).await {
            return redirect(Reason::SignedIn, &target, Vec::new());
        }
        let now = self.clock.now();
        let mut browser = browsers.first().copied().unwrap_or_else(Browser::new);
        let seen = attempt.map(Attempt::rounds).unwrap_or_default();
        browser.rounds = browser.rounds.or_more(seen).another(now);
        if browser.rounds.are_too_many(now) {
            return self.looped(visit, &target);
        }
        tracing::info!(request_id = %visit.id, app = visit.site.app.name, client = visit.client_text(), why, "a callback could not be completed; sign-in begins again");
        self.count(visit, metrics::LoginResult::Restarted);
        self.begin(visit, &target, browser).await
    }

    fn looped(&self, visit: &RequestContext<'_>, target: &RedirectTarget) -> Verdict {
        self.count(visit, metrics::LoginResult::Looped);
        let (retry, reset) = (visit.sign_in_to(target.as_str()), visit.own("/reset"));
        Verdict::Refuse(self.answers.refuse(
            visit,
            Reason::SignInLoop,
            &Page::SignInLoop { retry: &retry, reset: &reset },
        ))
    }

    /// The provider sent the browser back with an error (RFC 6749, section 4.1.2.1). Only known codes are repeated:
    /// the description is whatever somebody put into the address.
    fn provider_said_no(&self, visit: &RequestContext<'_>, target: &RedirectTarget, error: &str) -> Verdict {
        let detail = match error {
            "temporarily_unavailable" | "server_error" => {
                return self.provider_failed(visit, target, &oidc::Error::Unavailable("it said so itself".to_owned()));
            }
            "access_denied" => "The identity provider did not grant access.",
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
                "The identity provider needs you to sign in there first."
            }
            "invalid_scope" => "The identity provider does not know one of the scopes that were asked for.",
            _ => "The identity provider refused the sign-in.",
        };
        self.count(visit, metrics::LoginResult::Denied);
        self.failed(visit, target, detail, Refused { detail: Some(&detail), ..Refused::default() })
    }

    fn provider_failed(&self, visit: &RequestContext<'_>, target: &RedirectTarget, error: &oidc::Error) -> Verdict {
        let provider = self.provider(visit).map(|provider| provider.settings().name.as_str());
        let mend = match error {
            oidc::Error::ClientRefused(_) => {
                Some("check client_id, client_secret and the redirect URIs at the provider")
            }
            _ => None,
        };
        let cause = format!("{}: {error}", provider.unwrap_or_default());
        let refused = Refused { detail: Some(&cause), mend, ..Refused::default() };
        let detail = match error {
            oidc::Error::Unavailable(_) => {
                self.count(visit, metrics::LoginResult::Unavailable);
                let retry = visit.sign_in_to(target.as_str());
                let page = Page::ProviderUnavailable { retry: &retry };
                return Verdict::Refuse(self.answers.refuse_because(
                    visit,
                    Reason::ProviderUnavailable,
                    &page,
                    refused,
                ));
            }
            oidc::Error::ClockSkew(_) => {
                "The clocks of this site and of the identity provider are too far apart. The operator finds in the log by how much."
            }
            _ => "The identity provider's answer could not be used. The operator finds the reason in the log.",
        };
        self.count(visit, metrics::LoginResult::Failed);
        self.failed(visit, target, detail, refused)
    }

    fn failed(
        &self,
        visit: &RequestContext<'_>,
        target: &RedirectTarget,
        detail: &str,
        refused: Refused<'_>,
    ) -> Verdict {
        let retry = visit.sign_in_to(target.as_str());
        let page = Page::SignInFailed { detail, retry: &retry };
        Verdict::Refuse(self.answers.refuse_because(visit, Reason::SignInFailed, &page, refused))
    }

    /// A provider whose address cannot be sent, or an app without one: the configuration's check excludes both.
    fn unconfigured(&self, visit: &RequestContext<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "No identity provider is set up." };
        let detail = "no usable provider for this app";
        let refused = Refused { detail: Some(&detail), ..Refused::default() };
        Verdict::Refuse(self.answers.refuse_because(visit, Reason::Internal, &page, refused))
    }

    /// The attempt's target, checked again: the apps may have changed since it began.
    fn target(&self, visit: &RequestContext<'_>, attempt: &Attempt) -> RedirectTarget {
        RedirectTarget::parse(&attempt.target, visit.here(), &self.policy)
            .unwrap_or_else(|| RedirectTarget::root(visit.here()))
    }

    fn provider(&self, visit: &RequestContext<'_>) -> Option<&Arc<Provider>> {
        self.providers.get(visit.site.app.provider)
    }

    /// Where cookies of the asked host count.
    fn audience<'a>(&'a self, visit: &'a RequestContext<'_>) -> &'a str {
        self.jar.audience(visit.authority.host())
    }

    fn browsers(&self, visit: &RequestContext<'_>) -> Vec<Browser> {
        cookie::values(visit.headers, self.jar.login_name())
            .filter_map(|value| Browser::open(&self.keyring, self.audience(visit), value))
            .take(MOST_COOKIES)
            .collect()
    }

    fn count(&self, visit: &RequestContext<'_>, result: metrics::LoginResult) {
        self.metrics.count(visit.site.app.provider, result);
    }
}

impl Callback {
    /// Reads the parameters that mean something; `None` when one of them is there twice.
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
        assert!(Callback::parse("state=a&code=b&code=c").is_none());
        assert!(Callback::parse("state=a&state=a").is_none());
        let read = Callback::parse("state=a&code=b%20c&session_state=x&iss=https%3A%2F%2Fi").unwrap();
        assert_eq!((read.state.as_deref(), read.code.as_deref()), (Some("a"), Some("b c")));
        assert_eq!((read.iss.as_deref(), read.error), (Some("https://i"), None));
    }
}
