//! Sign-out by the user: here first, then at the provider (OpenID Connect RP-Initiated Logout 1.0); and `/reset`, the way out for
//! a browser that is stuck.
//!
//! Promises: a request that another origin may have made (CSRF) ends nothing before the person confirms it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{
    adopt::Adoption,
    context::RequestContext,
    refusal::{Refusals, redirect},
    refusal_log::truncate,
    renewal::Renewer,
    session_finder::Undetermined,
};
use crate::{
    cookie::{self, GateCookies},
    crypto::{self, Keyring, Purpose},
    edge::{Reason, Redirect, Verdict},
    identity::Identity,
    metrics::LogoutKind as Ending,
    oidc::{LogoutRequest, Provider},
    pages::Page,
    policy::{Policy, redirect::RedirectTarget},
    session::{Cookie, LogoutTarget, Record, Sessions, Unavailable},
};

/// Separates the `state` of a sign-out from that of a sign-in. The host and port that it began on follow.
const STATE_CONTEXT: &str = "sign-out ";
/// The most sessions of one request that are ended; made-up cookies do not count.
const MAX_COOKIES: usize = 8;

/// Ends sessions for their owners.
pub(super) struct LogoutFlow {
    pub(super) policy: Arc<Policy>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) legacy_cookies: Vec<String>,
    /// `[adopt]`.
    pub(super) adoption: Option<Arc<Adoption>>,
}

impl LogoutFlow {
    /// `/sign_out`: ends the caller's session here and at the provider. A cross-origin request has to be confirmed first.
    pub(super) async fn sign_out(&self, context: &RequestContext<'_>, rd: Option<&str>) -> Verdict {
        if context.is_cross_origin() {
            return self.confirm(context, &context.endpoint_url("/sign_out"));
        }
        let own = context.cookies(&self.jar);
        // Under a shared domain other providers have sessions of their own, which go on.
        let ended = match self.end_sessions(context, &[(own.session_name(), own.audience())]).await {
            Ok(ended) => ended,
            Err(error) => {
                let retry = context.endpoint_url("/sign_out");
                return Verdict::Refuse(self.refusals.undetermined(context, &Undetermined::Store(error), &retry));
            }
        };
        if let Some(record) = &ended {
            tracing::info!(
                request_id = %context.id,
                app = context.site.app.name,
                host = truncate(context.authority.host()),
                client = context.client_text(),
                user = truncate(&record.identity.user),
                subject = truncate(&record.identity.subject),
                "signed out"
            );
            self.renewer.revoke_refresh_token(record);
            self.end_siblings(context, record).await;
        }
        let target = rd.and_then(|rd| RedirectTarget::parse(rd, context.redirect_base(), &self.policy));
        let cookies = vec![own.clear_session(), own.clear_login()];
        if let Some(location) = ended.and_then(|record| self.end_session_url(context, &record, target.as_ref())) {
            return Verdict::Redirect(Redirect { reason: Reason::SignedOut, location, cookies });
        }
        match target {
            Some(target) => redirect(Reason::SignedOut, &target, cookies),
            None => Verdict::Refuse(self.refusals.signed_out(context, cookies)),
        }
    }

    /// `/signed_out`: where the provider sends the browser back. Redirects to the person's target, or shows that it is done.
    pub(super) fn signed_out(&self, context: &RequestContext<'_>, state: Option<&str>) -> Verdict {
        let target = state
            .and_then(|state| crypto::decode(state.as_bytes()))
            .and_then(|sealed| self.keyring.open(Purpose::LoginAttempt, &state_context(context), &sealed))
            .and_then(|plain| {
                RedirectTarget::parse(std::str::from_utf8(&plain).ok()?, context.redirect_base(), &self.policy)
            });
        match target {
            Some(target) => redirect(Reason::SignedOut, &target, Vec::new()),
            None => Verdict::Refuse(self.refusals.signed_out(context, Vec::new())),
        }
    }

    /// `/reset`: ends the caller's sessions and clears every cookie that the gate may have set on this host.
    pub(super) async fn reset(&self, context: &RequestContext<'_>) -> Verdict {
        if context.is_cross_origin() {
            return self.confirm(context, &context.endpoint_url("/reset"));
        }
        // The page says that the session is over, so a copy of the cookie must not work either. An unavailable store must not
        // bar the way out: this process refuses the session from here on, and the row is deleted once the store is back.
        let own = context.cookies(&self.jar);
        let all: Vec<_> = own.all_sessions().collect();
        if let Err(error) = self.end_sessions(context, &all).await {
            tracing::warn!(request_id = %context.id, app = context.site.app.name, client = context.client_text(), %error, "a session could not be ended");
        }
        let legacy =
            cookie::names(context.headers).filter(|name| self.is_legacy(name)).flat_map(|name| own.clear_foreign(name));
        let cookies = own.clear_all(context.headers).into_iter().chain(legacy).collect();
        let back = RedirectTarget::root(context.redirect_base());
        let mut refusal = self.refusals.notice(context, Reason::Reset, &Page::Reset { back: back.as_str() }, cookies);
        refusal.headers.push((HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\"")));
        Verdict::Refuse(refusal)
    }

    /// Ends every session that the browser has cookies of these names and audiences of, and returns the first, for the
    /// sign-out at the provider.
    async fn end_sessions(
        &self,
        context: &RequestContext<'_>,
        cookies: &[(&str, &str)],
    ) -> Result<Option<Record>, Unavailable> {
        let mut first = None;
        let sent = cookies.iter().flat_map(|&(name, audience)| {
            cookie::values(context.headers, name).map(move |value| Cookie { value, audience })
        });
        let own: Vec<_> = sent.filter(|cookie| self.sessions.may_be_ours(*cookie)).take(MAX_COOKIES).collect();
        for cookie in own {
            let ended = self.sessions.revoke(cookie, Ending::User).await?;
            first = first.or(ended);
        }
        match &self.adoption {
            Some(adoption) => Box::pin(adoption.sign_out(context, first)).await,
            None => Ok(first),
        }
    }

    /// Ends the other sessions of the same session at the provider: with a cookie for each host, the same browser has one at
    /// each app, and the provider may have no back-channel logout.
    async fn end_siblings(&self, context: &RequestContext<'_>, ended: &Record) {
        let Some(sid) = &ended.sid else { return };
        let is_its_own = |provider: &&Arc<Provider>| provider.settings().registration() == ended.scope.registration;
        let Some(issuer) = self.providers.iter().find(is_its_own).map(|provider| &provider.settings().issuer) else {
            return;
        };
        // Under whatever name and client: a provider's session is one for all of its clients.
        let same_issuer = self.providers.iter().filter(|provider| provider.settings().issuer == *issuer);
        for provider in same_issuer {
            let name = provider.settings().name.as_str();
            match self.sessions.end_by(name, &LogoutTarget::Sid(sid.clone()), Ending::User).await {
                Ok(0) => {}
                Ok(sessions) => {
                    tracing::info!(request_id = %context.id, provider = name, sessions, "other sessions of the same session at the provider have ended with it");
                }
                Err(error) => {
                    tracing::warn!(request_id = %context.id, provider = name, %error, "other sessions of the same session at the provider could not be ended");
                }
            }
        }
    }

    fn end_session_url(
        &self,
        context: &RequestContext<'_>,
        ended: &Record,
        target: Option<&RedirectTarget>,
    ) -> Option<HeaderValue> {
        // An ID token is a hint only for its issuer, under the client that it was issued to.
        let issued = |provider: &&Arc<Provider>| provider.settings().registration() == ended.scope.registration;
        let provider = self.providers.iter().find(issued)?;
        let target = target.map_or_else(String::new, |target| target.as_str().to_owned());
        let state =
            crypto::encode(&self.keyring.seal(Purpose::LoginAttempt, &state_context(context), target.as_bytes()));
        let url = provider.end_session_url(&LogoutRequest {
            id_token: ended.tokens.id.as_ref(),
            logout_hint: logout_hint(&ended.identity),
            redirect_uri: &context.signed_out_url(),
            state: &state,
        })?;
        HeaderValue::try_from(String::from(url)).ok()
    }

    fn confirm(&self, context: &RequestContext<'_>, action: &str) -> Verdict {
        let stay = RedirectTarget::root(context.redirect_base());
        let page = Page::ConfirmSignOut { action, stay: stay.as_str() };
        Verdict::Refuse(self.refusals.notice(context, Reason::ConfirmSignOut, &page, Vec::new()))
    }

    fn is_legacy(&self, name: &str) -> bool {
        self.legacy_cookies.iter().any(|pattern| match pattern.split_once('*') {
            Some((head, tail)) => {
                name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
            }
            None => name == pattern,
        })
    }
}

/// Returns the person in words of the provider: `login_hint`, which Entra issues for this very purpose, or else the user name.
fn logout_hint(identity: &Identity) -> &str {
    identity.claim("login_hint").and_then(Value::as_str).unwrap_or(&identity.user)
}

/// Returns what the `state` of a sign-out is bound to.
fn state_context(context: &RequestContext<'_>) -> Vec<u8> {
    format!("{STATE_CONTEXT}{}", context.authority).into_bytes()
}
