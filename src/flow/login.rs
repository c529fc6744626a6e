//! Sign-in (OpenID Connect Core, authorization code flow with PKCE): sending browsers to the provider.
//!
//! Promises: a redirect loop ends with a page that says what is wrong.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    attempt::{self, Attempt, LoginCookie, LoopCounter},
    context::{RequestContext, Via},
    rate_limits::{LimitedAction, RateLimits},
    reauthorization::{RequestPurpose, SilentTrip},
    return_target::{ReturnTarget, ReturnTargets},
    session_finder::{RequestSession, SessionFinder},
    sign_in_refusals::SignInRefusals,
    step_up_request,
};
use crate::{
    clock::Clock,
    cookie::{self, GateCookies, HostCookies},
    crypto::Keyring,
    edge::{Edge, Reason, Redirect, Verdict},
    oidc::{self, Provider},
    policy::{StepUp, redirect::RedirectTarget},
    session::Sessions,
};

/// The most cookies of ours with one name that are read in one request, without made-up ones.
pub(super) const MAX_COOKIES: usize = 4;

/// Signs people in.
pub(super) struct LoginFlow {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) finder: Arc<SessionFinder>,
    pub(super) targets: ReturnTargets,
    pub(super) refused: SignInRefusals,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) clock: Clock,
    /// Path and query of the callback at which sign-ins end.
    pub(super) registered_callback: String,
}

/// Authorization request that is about to be made.
pub(super) struct NewRequest<'a> {
    pub(super) target: &'a ReturnTarget,
    /// The cookies that keep the target.
    pub(super) kept: Vec<HeaderValue>,
    pub(super) cookie: LoginCookie,
    pub(super) purpose: RequestPurpose<'a>,
    /// What is asked for beyond who somebody is.
    pub(super) step_up: Option<&'a StepUp>,
}

impl LoginFlow {
    /// Begins a sign-in for this reason, as `step_up` asks for: redirects to the provider, or ends a redirect loop. A network may
    /// do so as often as `limits.sign_in` says.
    pub(super) async fn challenge(
        &self,
        context: &RequestContext<'_>,
        target: &RedirectTarget,
        reason: Reason,
        step_up: Option<&StepUp>,
    ) -> Verdict {
        if let Err(limited) = self.rate_limits.check(LimitedAction::SignIn, context.client) {
            let retry = context.sign_in_url(target.as_str());
            return Verdict::Refuse(self.refused.refusals.rate_limited(context, limited, &retry));
        }
        let mut cookie = self.login_cookies(context).first().copied().unwrap_or_else(LoginCookie::new);
        if cookie.loops.is_exceeded(self.clock.now()) {
            // With a session it is no loop: the person has begun once more by hand.
            let Ok(RequestSession::Current(_)) = self.finder.find(context).await else {
                return self.refused.looped(context, &ReturnTarget::Whole(target.clone()), None);
            };
            cookie.loops = LoopCounter::default();
        }
        // nginx passes on a single cookie from an answer to its question. Over the direct route all of them arrive.
        if context.via == Via::Subrequest(Edge::Nginx)
            && ReturnTargets::is_long(target)
            && let Ok(location) = HeaderValue::try_from(match step_up {
                Some(asked) => step_up_request::url_with_target(context, &self.keyring, asked, target.as_str()),
                None => context.sign_in_url(target.as_str()),
            })
        {
            return Verdict::Redirect(Redirect { reason, location, cookies: Vec::new() });
        }
        let (target, kept) = self.targets.keep(context, target);
        let purpose = RequestPurpose::SignIn(reason);
        self.begin(context, NewRequest { target: &target, kept, cookie, purpose, step_up }).await
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
        let purpose = RequestPurpose::Reauthorize(trip);
        self.begin(context, NewRequest { target: &target, kept, cookie, purpose, step_up: None }).await
    }

    /// Sends the browser to the provider.
    pub(super) async fn begin(&self, context: &RequestContext<'_>, request: NewRequest<'_>) -> Verdict {
        let Some(provider) = self.provider(context) else {
            return self.refused.unconfigured(context);
        };
        let NewRequest { target, kept, cookie, purpose, step_up } = request;
        let (registration, authority) = (provider.settings().registration(), context.authority.to_string());
        let attempt = Attempt::new(registration, authority, target, &cookie, self.clock.now())
            .asked_without_cookies(context.edge_without_cookies())
            .reauthorizing(purpose.session())
            .asking_for(step_up);
        // Somebody who proved who they are too long ago for the app would be sent back at once.
        let lifetime = context.site.app.limits.as_ref().and_then(|limits| limits.lifetime);
        let asked = step_up.cloned().unwrap_or_default();
        let asked = match (lifetime, purpose) {
            (Some(lifetime), RequestPurpose::SignIn(_)) => asked.within(lifetime),
            _ => asked,
        };
        let (redirect_uri, state) = (context.redirect_uri_at(&self.registered_callback), attempt.seal(&self.keyring));
        let request = oidc::AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            nonce: &attempt.nonce,
            code_verifier: &attempt.verifier,
            acr_values: asked.acr(),
            max_age: asked.max_age(),
            silent: purpose.silent_request(),
        };
        match provider.authorize(&request).await.map(|url| HeaderValue::try_from(String::from(url))) {
            Ok(Ok(location)) => {
                let own = self.cookies(context);
                let login = own.set_login(&cookie.sign(&self.keyring, own.audience()), attempt::LIFETIME);
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

    /// Returns the gate's cookies at the requested host.
    pub(super) fn cookies<'a>(&'a self, context: &'a RequestContext<'_>) -> HostCookies<'a> {
        context.cookies(&self.jar)
    }

    pub(super) fn login_cookies(&self, context: &RequestContext<'_>) -> Vec<LoginCookie> {
        let own = self.cookies(context);
        cookie::values(context.headers, own.login_name())
            .filter_map(|value| LoginCookie::open(&self.keyring, own.audience(), value))
            .take(MAX_COOKIES)
            .collect()
    }
}
