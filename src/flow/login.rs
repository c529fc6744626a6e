//! Sign-in (OpenID Connect Core, authorization code flow with PKCE): sending browsers to the provider.
//!
//! Promises: a redirect loop ends with a page that says what is wrong.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    attempt::{self, Attempt, LoginCookie, LoopCounter},
    check::{Check, RequestSession},
    context::{RequestContext, Via},
    reauthorization::{RequestPurpose, SilentTrip},
    return_target::{ReturnTarget, ReturnTargets},
    sign_in_refusals::SignInRefusals,
};
use crate::{
    clock::Clock,
    cookie::{self, GateCookies},
    crypto::Keyring,
    edge::{Edge, Reason, Redirect, Verdict},
    oidc::{self, Provider},
    policy::redirect::RedirectTarget,
    session::Sessions,
};

/// The most cookies of ours with one name that are read in one request, without made-up ones.
pub(super) const MAX_COOKIES: usize = 4;

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
}

/// Authorization request that is about to be made.
pub(super) struct NewRequest<'a> {
    pub(super) target: &'a ReturnTarget,
    /// The cookies that keep the target.
    pub(super) kept: Vec<HeaderValue>,
    pub(super) cookie: LoginCookie,
    pub(super) purpose: RequestPurpose<'a>,
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
    pub(super) async fn begin(&self, context: &RequestContext<'_>, request: NewRequest<'_>) -> Verdict {
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

    pub(super) fn provider_name<'a>(&'a self, context: &RequestContext<'_>) -> &'a str {
        self.provider(context).map_or("", |provider| provider.settings().name.as_str())
    }

    pub(super) fn provider(&self, context: &RequestContext<'_>) -> Option<&Arc<Provider>> {
        self.providers.get(context.site.app.provider)
    }

    /// Returns the audience of cookies at the requested host.
    pub(super) fn audience<'a>(&'a self, context: &'a RequestContext<'_>) -> &'a str {
        self.jar.audience(context.authority.host())
    }

    pub(super) fn login_cookies(&self, context: &RequestContext<'_>) -> Vec<LoginCookie> {
        cookie::values(context.headers, self.jar.login_name())
            .filter_map(|value| LoginCookie::open(&self.keyring, self.audience(context), value))
            .take(MAX_COOKIES)
            .collect()
    }
}
