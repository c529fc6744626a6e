//! Signing out: here first, then at the provider (OpenID Connect RP-Initiated Logout 1.0), and the way out for a
//! browser that is stuck.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{
    answer::{Answers, redirect},
    check::Unknown,
    context::RequestContext,
    refusals::cut,
    renew::Renewer,
    sids::UnknownSids,
};
use crate::{
    cookie::{self, GateCookies},
    crypto::{self, Keyring, Purpose},
    edge::{Reason, Redirect, Refusal, Verdict},
    metrics::LogoutKind,
    oidc::{Provider, Whom},
    pages::Page,
    policy::{Policy, redirect::RedirectTarget},
    session::{Cookie, LogoutTarget, Record, Sessions, Unavailable},
};

/// Separates the state of a sign-out from that of a sign-in, before the host (and port) that it began on.
const STATE: &str = "sign-out ";
/// How many sessions of one request are ended; made-up cookies do not count.
const MOST_COOKIES: usize = 8;

/// Signs people out.
pub(super) struct Logout {
    pub(super) policy: Arc<Policy>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) answers: Arc<Answers>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) legacy_cookies: Vec<String>,
    pub(super) unknown_sids: Arc<UnknownSids>,
}

impl Logout {
    /// Ends the caller's session here and at the provider. Asks first where another origin may have made the request.
    pub(super) async fn sign_out(&self, visit: &RequestContext<'_>, rd: Option<&str>) -> Verdict {
        if visit.is_foreign() {
            return self.confirm(visit, &visit.own("/sign_out"));
        }
        let ended = match self.end_sessions(visit).await {
            Ok(ended) => ended,
            Err(error) => {
                let retry = visit.own("/sign_out");
                return Verdict::Refuse(self.answers.cannot_tell(visit, &Unknown::Store(error), &retry));
            }
        };
        if let Some(record) = &ended {
            tracing::info!(
                request_id = %visit.id,
                app = visit.site.app.name,
                host = cut(visit.authority.host()),
                client = visit.client_text(),
                user = cut(&record.identity.user),
                subject = cut(&record.identity.subject),
                "signed out"
            );
            self.renewer.forget(record);
        }
        let target = rd.and_then(|rd| RedirectTarget::parse(rd, visit.here(), &self.policy));
        let cookies = vec![self.jar.clear_session(), self.jar.clear_login()];
        if let Some(location) = ended.and_then(|record| self.provider_sign_out(visit, &record, target.as_ref())) {
            return Verdict::Redirect(Redirect { reason: Reason::SignedOut, location, cookies });
        }
        match target {
            Some(target) => redirect(Reason::SignedOut, &target, cookies),
            None => Verdict::Refuse(self.farewell(visit, cookies)),
        }
    }

    /// Where the provider sends the browser back: on to where the person wanted to go, or a page that says it is done.
    pub(super) fn signed_out(&self, visit: &RequestContext<'_>, state: Option<&str>) -> Verdict {
        let target = state
            .and_then(|state| crypto::decode(state.as_bytes()))
            .and_then(|sealed| self.keyring.open(Purpose::LoginAttempt, &context(visit), &sealed))
            .and_then(|plain| RedirectTarget::parse(std::str::from_utf8(&plain).ok()?, visit.here(), &self.policy));
        match target {
            Some(target) => redirect(Reason::SignedOut, &target, Vec::new()),
            None => Verdict::Refuse(self.farewell(visit, Vec::new())),
        }
    }

    /// Clears every cookie that the gate may have set on this host.
    pub(super) async fn reset(&self, visit: &RequestContext<'_>) -> Verdict {
        if visit.is_foreign() {
            return self.confirm(visit, &visit.own("/reset"));
        }
        // The page says that it is over, so it has to be for a copy of the cookie as well. A store that is away must not
        // bar the way out: this process refuses the session from here on, and the row goes when the store takes it.
        if let Err(error) = self.end_sessions(visit).await {
            tracing::warn!(request_id = %visit.id, app = visit.site.app.name, client = visit.client_text(), %error, "a session could not be ended");
        }
        let own = [self.jar.clear_session(), self.jar.clear_login()];
        let legacy = cookie::names(visit.headers)
            .filter(|name| self.is_legacy(name))
            .flat_map(|name| self.jar.clear_foreign(name));
        let cookies = own.into_iter().chain(legacy).collect();
        let back = RedirectTarget::root(visit.here());
        let mut refusal = self.answers.notice(visit, Reason::Reset, &Page::Reset { back: back.as_str() }, cookies);
        refusal.headers.push((HeaderName::from_static("clear-site-data"), HeaderValue::from_static("\"cookies\"")));
        Verdict::Refuse(refusal)
    }

    /// A provider's page tells this browser's sessions to end, through the browser (`OpenID` Connect Front-Channel Logout
    /// 1.0). The `sid` is what somebody else could not know, and its issuer has to be the right one.
    pub(super) async fn told(&self, visit: &RequestContext<'_>, iss: Option<&str>, sid: Option<&str>) -> Verdict {
        let own = self.providers.get(visit.site.app.provider);
        let meant = own.and_then(|provider| Some((provider, provider.frontchannel_logout(iss, sid)?)));
        let Some((provider, whom)) = meant else {
            let page = Page::BadRequest { detail: "The provider's sign-out names no session that it could be about." };
            return Verdict::Refuse(self.answers.refuse(visit, Reason::BadRequest, &page));
        };
        let name = &provider.settings().name;
        match self.end_told(name, whom).await {
            Ok(Some(0)) => {}
            Ok(Some(sessions)) => {
                let (app, client) = (visit.site.app.name.as_str(), visit.client_text());
                tracing::info!(request_id = %visit.id, app, client, provider = name, sessions, "signed out at the provider, through the browser");
            }
            Ok(None) => {
                let retry = RedirectTarget::root(visit.here());
                let page = Page::StoreUnavailable { retry: retry.as_str() };
                return Verdict::Refuse(self.answers.refuse(visit, Reason::Overloaded, &page));
            }
            Err(error) => {
                let retry = RedirectTarget::root(visit.here());
                return Verdict::Refuse(self.answers.cannot_tell(visit, &Unknown::Store(error), retry.as_str()));
            }
        }
        // That there was no such session is nothing to tell anybody.
        Verdict::Refuse(self.farewell(visit, Vec::new()))
    }

    /// Ends the sessions that anybody may have named, and says how many; `None` where too many are asked about at once. The
    /// store writes nothing for a name that it does not know.
    async fn end_told(&self, provider: &str, whom: LogoutSubject) -> Result<Option<u64>, Unavailable> {
        if let LogoutSubject::Sid(sid) = &whom {
            if !self.unknown_sids.is_news(provider, sid) {
                return Ok(Some(0));
            }
            let known = match self.unknown_sids.room().await {
                Some(_room) => self.sessions.has_sid(provider, sid).await.map(Some),
                None => Ok(None),
            };
            match known {
                Ok(Some(false)) => return Ok(Some(0)),
                Ok(Some(true)) => self.unknown_sids.forget(provider, sid),
                other => {
                    self.unknown_sids.forget(provider, sid);
                    return other.map(|_| None);
                }
            }
        }
        self.sessions.end_by(provider, &whose(whom), LogoutKind::Frontchannel).await.map(Some)
    }

    /// Ends every session that the browser brought; the first of them knows how to sign out at the provider.
    async fn end_sessions(&self, visit: &RequestContext<'_>) -> Result<Option<Record>, Unavailable> {
        let (mut first, audience) = (None, self.jar.audience(visit.authority.host()));
        let brought = cookie::values(visit.headers, self.jar.session_name()).map(|value| Cookie { value, audience });
        for cookie in brought.filter(|cookie| self.sessions.may_be_ours(*cookie)).take(MOST_COOKIES) {
            let ended = self.sessions.revoke(cookie, LogoutKind::User).await?;
            first = first.or(ended);
        }
        Ok(first)
    }

    fn provider_sign_out(
        &self,
        visit: &RequestContext<'_>,
        ended: &Record,
        target: Option<&RedirectTarget>,
    ) -> Option<HeaderValue> {
        // An ID token is a hint to whoever issued it, under the client that it was issued to, and to nobody else.
        let issued = |provider: &&Arc<Provider>| provider.settings().registration() == ended.scope.registration;
        let provider = self.providers.iter().find(issued)?;
        let target = target.map_or_else(String::new, |target| target.as_str().to_owned());
        let state = crypto::encode(&self.keyring.seal(Purpose::LoginAttempt, &context(visit), target.as_bytes()));
        let url = provider.end_session_url(ended.tokens.id.as_ref(), &visit.own("/signed_out"), &state)?;
        HeaderValue::try_from(String::from(url)).ok()
    }

    fn farewell(&self, visit: &RequestContext<'_>, cookies: Vec<HeaderValue>) -> Refusal {
        let sign_in = RedirectTarget::root(visit.here());
        self.answers.notice(visit, Reason::SignedOut, &Page::SignedOut { sign_in: sign_in.as_str() }, cookies)
    }

    fn confirm(&self, visit: &RequestContext<'_>, action: &str) -> Verdict {
        let stay = RedirectTarget::root(visit.here());
        let page = Page::ConfirmSignOut { action, stay: stay.as_str() };
        Verdict::Refuse(self.answers.notice(visit, Reason::ConfirmSignOut, &page, Vec::new()))
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

/// What the state of a sign-out is bound to.
fn context(visit: &RequestContext<'_>) -> Vec<u8> {
    format!("{STATE}{}", visit.authority).into_bytes()
}

/// Whose sessions a provider means.
pub(super) fn whose(whom: LogoutSubject) -> Whose {
    match whom {
        LogoutSubject::Sid(sid) => Whose::Sid(sid),
        LogoutSubject::Subject(subject) => Whose::Subject(subject.0),
    }
}
