//! Front-channel logout (OpenID Connect Front-Channel Logout 1.0): the provider's sign-out page has the browser request
//! `/frontchannel_logout`.
//!
//! Promises: only a request with the right `iss` and `sid` ends anything; requests with made-up values cost the store little.

use std::sync::Arc;

use super::{
    backchannel_logout::sessions_of, context::RequestContext, refusal::Refusals, session_finder::Undetermined,
    unknown_sids::UnknownSids,
};
use crate::{
    edge::{Reason, Verdict},
    metrics::LogoutKind as Ending,
    oidc::{LogoutSubject, Provider},
    pages::Page,
    policy::redirect::RedirectTarget,
    session::{Sessions, Unavailable},
};

/// Ends sessions that a provider names through the browser.
pub(super) struct FrontchannelLogout {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) unknown_sids: Arc<UnknownSids>,
}

impl FrontchannelLogout {
    /// Ends the sessions that `iss` and `sid` name. A third party cannot know the `sid`.
    pub(super) async fn handle(&self, context: &RequestContext<'_>, iss: Option<&str>, sid: Option<&str>) -> Verdict {
        let own = self.providers.get(context.site.app.provider);
        let named = own.and_then(|provider| Some((provider, provider.frontchannel_logout(iss, sid)?)));
        let Some((provider, whom)) = named else {
            let page = Page::BadRequest { detail: "The provider's sign-out names no session that it could be about." };
            return Verdict::Refuse(self.refusals.refuse(context, Reason::BadRequest, &page));
        };
        let name = &provider.settings().name;
        match self.end_sessions(name, whom).await {
            Ok(Some(0)) => {}
            Ok(Some(sessions)) => {
                let (app, client) = (context.site.app.name.as_str(), context.client_text());
                tracing::info!(request_id = %context.id, app, client, provider = name, sessions, "front-channel logout: signed out at the provider");
            }
            Ok(None) => {
                let retry = RedirectTarget::root(context.redirect_base());
                let page = Page::StoreUnavailable { retry: retry.as_str() };
                return Verdict::Refuse(self.refusals.refuse(context, Reason::Overloaded, &page));
            }
            Err(error) => {
                let retry = RedirectTarget::root(context.redirect_base());
                let cause = Undetermined::Store(error);
                return Verdict::Refuse(self.refusals.undetermined(context, &cause, retry.as_str()));
            }
        }
        // The answer does not reveal whether there was such a session.
        Verdict::Refuse(self.refusals.signed_out(context, Vec::new()))
    }

    /// Ends the named sessions and returns how many there were; `None` where too many names are being looked up. Nothing is
    /// written to the store for a name that it does not know.
    async fn end_sessions(&self, provider: &str, whom: LogoutSubject) -> Result<Option<u64>, Unavailable> {
        if let LogoutSubject::Sid(sid) = &whom {
            let Some(lookup) = self.unknown_sids.begin(provider, sid) else { return Ok(Some(0)) };
            let known = match self.unknown_sids.permit().await {
                Some(_permit) => self.sessions.has_sid(provider, sid).await.map(Some),
                None => Ok(None),
            };
            match known {
                Ok(Some(false)) => {
                    lookup.was_in_vain();
                    return Ok(Some(0));
                }
                Ok(Some(true)) => {}
                other => return other.map(|_| None),
            }
        }
        self.sessions.end_by(provider, &sessions_of(whom), Ending::Frontchannel).await.map(Some)
    }
}
