//! Session finder: the session of a request, with the store and the provider where it takes them.
//!
//! Promises: a session counts only for the app's provider as it is configured now.

use std::sync::Arc;

use super::{
    adopt::{Adoption, AdoptionError, FoundAdopted},
    context::RequestContext,
    reauthorization::{Authorization, Outage, Reauthorization, SilentTrip, Traveller},
    renewal::{AfterRenewal, Renewer},
};
use crate::{
    clock::Timestamp,
    cookie::{self, GateCookies, HostCookies},
    edge::Reason,
    identity::{PackedIdentity, Registration},
    oidc,
    policy::App,
    session::{CachedSession, Cookie, LookupOutcome, Sessions, Unavailable},
};

/// The most session cookies of ours that are tried in one request: a browser has one for each path and domain. Made-up ones do
/// not count; otherwise another site on our domain could hide the valid cookie behind its own.
const MAX_COOKIES: usize = 8;

/// Finds the sessions of requests.
pub(super) struct SessionFinder {
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    pub(super) reauthorization: Arc<Reauthorization>,
    pub(super) jar: Arc<GateCookies>,
    /// The providers, by place in the configuration.
    pub(super) providers: Vec<TrustedProvider>,
    /// `[adopt]`.
    pub(super) adoption: Option<Arc<Adoption>>,
}

/// Provider whose sessions count.
pub(super) struct TrustedProvider {
    name: String,
    registration: Registration,
}

/// A principal's provider in comparison with the app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProviderMatch {
    /// The same.
    Current,
    /// The same name, when it stood for another issuer or client.
    Superseded,
    /// Another one. A principal of one provider means nothing to an app of another.
    Other,
}

/// Session of a request.
#[derive(Debug)]
pub(super) enum RequestSession {
    /// Current, and from the app's provider.
    Current(Arc<CachedSession>),
    /// None that counts here.
    Absent(Reason),
}

/// Cause of not knowing whether there is a session.
#[derive(Debug)]
pub(super) enum Undetermined {
    /// The store is unavailable.
    Store(Unavailable),
    /// The provider is unavailable, the session cannot be renewed, and `session.outage_grace` is over.
    Provider,
    /// The old outpost whose cookies were sent has not answered, or is not asked any more at the moment.
    OldOutpost,
}

impl From<AdoptionError> for Undetermined {
    fn from(error: AdoptionError) -> Self {
        match error {
            AdoptionError::Store(error) => Self::Store(error),
            AdoptionError::OldOutpost => Self::OldOutpost,
        }
    }
}

/// Outcome of looking for a session whose authorization is in force.
#[derive(Debug)]
pub(super) enum SessionSearch {
    /// There is one, or none.
    Found(RequestSession),
    /// There is one that its provider has to authorize again, and the page can go there.
    Unauthorized(Box<SilentTrip>),
}

impl SessionFinder {
    /// Returns `true` if a session can be used as it is in memory, and without waiting. Nearly every request ends at the first
    /// comparison.
    pub(super) fn is_usable_at(&self, app: &App, session: &Arc<CachedSession>, now: Timestamp) -> bool {
        !session.may_be_due(now)
            || (self.renewer.is_usable_at(session, now) && self.reauthorization.is_recent(app, session))
    }

    /// Finds the session that counts for the app at the requested host, and whose authorization is in force.
    pub(super) async fn find_authorized(
        &self,
        context: &RequestContext<'_>,
        traveller: Traveller<'_>,
    ) -> Result<SessionSearch, Undetermined> {
        let session = match self.find(context).await? {
            RequestSession::Absent(Reason::NoSession) => {
                return match &self.adoption {
                    Some(adoption) => Box::pin(self.find_adopted(adoption, context, traveller)).await,
                    None => Ok(SessionSearch::Found(RequestSession::Absent(Reason::NoSession))),
                };
            }
            RequestSession::Current(session) if !self.reauthorization.is_recent(context.site.app, &session) => session,
            other => return Ok(SessionSearch::Found(other)),
        };
        self.authorized(context, session, traveller).await
    }

    /// Finds the adopted session that counts for the app at the requested host. One that its provider has to authorize again is none
    /// where a person can sign in: that makes a full session.
    async fn find_adopted(
        &self,
        adoption: &Adoption,
        context: &RequestContext<'_>,
        traveller: Traveller<'_>,
    ) -> Result<SessionSearch, Undetermined> {
        let session = match adoption.find(context).await? {
            FoundAdopted::Session(session) => session,
            FoundAdopted::Absent(reason) => return Ok(SessionSearch::Found(RequestSession::Absent(reason))),
        };
        if self.reauthorization.is_recent(context.site.app, &session) {
            return Ok(SessionSearch::Found(RequestSession::Current(session)));
        }
        if matches!(traveller, Traveller::Page(_)) && self.reauthorization.can_travel(context.site.app) {
            return Ok(SessionSearch::Found(RequestSession::Absent(Reason::NoSession)));
        }
        self.authorized(context, session, Traveller::Other).await
    }

    async fn authorized(
        &self,
        context: &RequestContext<'_>,
        session: Arc<CachedSession>,
        traveller: Traveller<'_>,
    ) -> Result<SessionSearch, Undetermined> {
        match Box::pin(self.reauthorization.check(context, session, traveller)).await {
            Authorization::Current(session) => Ok(SessionSearch::Found(RequestSession::Current(session))),
            Authorization::Absent(reason) => Ok(SessionSearch::Found(RequestSession::Absent(reason))),
            Authorization::Repeat(trip) => Ok(SessionSearch::Unauthorized(trip)),
            Authorization::Unavailable(Outage::Store(error)) => Err(Undetermined::Store(error)),
            Authorization::Unavailable(Outage::Provider) => Err(Undetermined::Provider),
        }
    }

    /// Finds the session that counts for the app at the requested host. Every cookie of the name is tried; one that cannot be
    /// looked up is only reported when no other is current.
    pub(super) async fn find(&self, context: &RequestContext<'_>) -> Result<RequestSession, Undetermined> {
        let (app, own) = (context.site.app, context.cookies(&self.jar));
        let mut reason = Reason::NoSession;
        let (mut undetermined, mut tried) = (None, 0);
        for value in cookie::values(context.headers, own.session_name()) {
            if self.is_of_surrounding_domain(&own, value) {
                continue;
            }
            if tried == MAX_COOKIES {
                break;
            }
            tried += 1;
            match self.sessions.find(Cookie { value, audience: own.audience() }).await {
                Ok(LookupOutcome::Live(session)) => match self.provider_match(app, session.identity()) {
                    ProviderMatch::Current => match self.renewer.ensure_usable(session).await {
                        AfterRenewal::Usable(session) => return Ok(RequestSession::Current(session)),
                        AfterRenewal::Ended => reason = Reason::SessionEnded,
                        AfterRenewal::Unavailable => undetermined = Some(Undetermined::Provider),
                    },
                    ProviderMatch::Superseded => reason = Reason::SessionEnded,
                    ProviderMatch::Other => {}
                },
                Ok(LookupOutcome::NotOurs) => tried -= 1,
                Ok(LookupOutcome::Ended) => reason = Reason::SessionEnded,
                Err(unavailable) => undetermined = Some(Undetermined::Store(unavailable)),
            }
        }
        undetermined.map_or(Ok(RequestSession::Absent(reason)), Err)
    }

    /// Returns `true` for a session cookie of a domain around the host's own. Browsers send it here too, under the same name:
    /// it is of other hosts, so that it is neither tried nor counted as made up.
    #[inline]
    pub(super) fn is_of_surrounding_domain(&self, own: &HostCookies<'_>, value: &[u8]) -> bool {
        own.outer_audiences().any(|audience| self.sessions.is_made_for(Cookie { value, audience }))
    }

    /// Compares a principal's provider with the app's.
    pub(super) fn provider_match(&self, app: &App, identity: &PackedIdentity) -> ProviderMatch {
        match self.providers.get(app.provider) {
            Some(provider) if identity.has_registration(&provider.registration) => ProviderMatch::Current,
            Some(provider) if identity.provider() == provider.name => ProviderMatch::Superseded,
            _ => ProviderMatch::Other,
        }
    }
}

impl TrustedProvider {
    /// The provider with these settings.
    pub(super) fn of(settings: &oidc::Settings) -> Self {
        Self { name: settings.name.clone(), registration: settings.registration() }
    }
}
