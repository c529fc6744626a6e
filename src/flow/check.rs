//! Check: authentication and authorisation of a request. The hot path, and the only place that lets in.
//!
//! Promises: a session in memory is answered without I/O, without a lock of ours and without formatting anything.

use std::sync::Arc;

use http::{HeaderMap, header};

use super::{
    context::RequestContext,
    header_cuts::HeaderCuts,
    reauthorization::{Authorization, Outage, Reauthorization, SilentTrip, Traveller},
    renewal::{AfterRenewal, Renewer},
};
use crate::{
    clock::Timestamp,
    cookie::{self, GateCookies},
    edge::{Admission, Reason, Verdict},
    identity::{PackedIdentity, Principal, Registration},
    oidc,
    policy::{App, Denial, MissingGrant, Requirement, Site},
    session::{CachedSession, Cookie, LookupOutcome, Sessions, Unavailable},
};

/// The most session cookies of ours that are tried in one request: a browser has one for each path and domain. Made-up ones do
/// not count; otherwise another site on our domain could hide the valid cookie behind its own.
const MAX_COOKIES: usize = 8;

/// The longest `Cookie` header that an app is passed with `session.hide_cookies`, in bytes: with the identity headers it fits
/// the buffers that edges are configured to have.
const MAX_COOKIE_HEADER: usize = 32 << 10;

/// Looks up sessions, judges principals and admits them.
pub(super) struct Check {
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    pub(super) reauthorization: Arc<Reauthorization>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) own_cookies: OwnCookies,
    pub(super) header_cuts: Arc<HeaderCuts>,
    /// The providers, by place in the configuration.
    pub(super) providers: Vec<TrustedProvider>,
}

/// Visibility of the gate's own cookies to apps (`session.hide_cookies`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnCookies {
    /// Apps get the `Cookie` header that the client sent.
    Shown,
    /// Admissions carry the client's `Cookie` header without the gate's own cookies.
    Hidden,
}

/// Provider whose sessions count.
pub(super) struct TrustedProvider {
    name: String,
    registration: Registration,
}

/// A principal's provider in comparison with the app's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProviderMatch {
    /// The same.
    Current,
    /// The same name, when it stood for another issuer or client.
    Superseded,
    /// Another one. A principal of one provider means nothing to an app of another.
    Other,
}

/// The asking party, as far as it is known.
#[derive(Clone, Copy)]
enum Caller<'c> {
    /// Not looked up yet.
    Unknown,
    /// Authenticated.
    Principal(&'c Principal<'c>),
    /// No session that counts here.
    Anonymous(Reason),
}

/// Outcome of holding a caller against a requirement.
#[derive(Clone, Copy)]
enum Decision<'p, 'c> {
    /// Let in, with the identity headers of a principal or with empty ones.
    Admit(Option<&'c Principal<'c>>),
    /// The caller has to be looked up.
    LookUp,
    /// The caller has to sign in.
    Unauthenticated(Reason),
    /// The caller may not pass.
    Forbidden(Denial<'p>),
}

/// Cause of not being let in.
#[derive(Debug)]
pub(super) enum NotAdmitted<'p> {
    /// No session, or one that is over.
    Unauthenticated(Reason),
    /// No permission: the session, where one was looked up, and the rule or `allow` that refused it.
    Forbidden(Option<Arc<CachedSession>>, Denial<'p>),
    /// The app's own cookies are longer than an answer may be.
    CookiesTooLong,
    /// A page whose session its provider has to authorize again.
    Unauthorized(Box<SilentTrip>),
    /// Unknown whether there is a session.
    Undetermined(Undetermined),
}

/// Cause of not knowing whether there is a session.
#[derive(Debug)]
pub(super) enum Undetermined {
    /// The store is unavailable.
    Store(Unavailable),
    /// The provider is unavailable, the session cannot be renewed, and `session.outage_grace` is over.
    Provider,
}

/// Session of a request.
#[derive(Debug)]
pub(super) enum RequestSession {
    /// Current, and from the app's provider.
    Current(Arc<CachedSession>),
    /// None that counts here.
    Absent(Reason),
}

impl Check {
    /// Lets a request in where memory alone can decide that: a public path, or the session of the first cookie. `None` is no
    /// refusal: [`Check::decide`] goes on from there.
    pub(super) fn admit_at_once(
        &self,
        site: &Site<'_>,
        requirement: &Requirement<'_>,
        host: &str,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        match judge(requirement, Caller::Unknown) {
            Decision::Admit(nobody) => self.admit(site, nobody, headers).ok(),
            Decision::LookUp => {
                let value = cookie::values(headers, self.jar.session_name()).next()?;
                self.sessions.get_cached(Cookie { value, audience: self.jar.audience(host) }, |session, now| {
                    let principal = session.principal();
                    if self.provider_match(site.app, principal.identity) != ProviderMatch::Current {
                        return None;
                    }
                    match judge(requirement, Caller::Principal(&principal)) {
                        Decision::Admit(principal) if self.is_usable_at(site.app, session, now) => {
                            self.admit(site, principal, headers).ok()
                        }
                        _ => None,
                    }
                })
            }
            Decision::Unauthenticated(_) | Decision::Forbidden(_) => None,
        }
    }

    /// Returns `true` if a session can be used as it is in memory, and without waiting. Nearly every request ends at the first
    /// comparison.
    fn is_usable_at(&self, app: &App, session: &Arc<CachedSession>, now: Timestamp) -> bool {
        !session.may_be_due(now)
            || (self.renewer.is_usable_at(session, now) && self.reauthorization.is_recent(app, session))
    }

    /// Decides about a request that [`Check::admit_at_once`] did not let in. Nothing but the `Ok` of this function and the
    /// `Some` of that one lets in.
    pub(super) async fn decide<'p>(
        &self,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
        target: &str,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let (site, headers) = (&context.site, context.headers);
        let decision = judge(requirement, Caller::Unknown);
        if !matches!(decision, Decision::LookUp) {
            return self.conclude(site, headers, decision, None);
        }
        let traveller = match requirement {
            Requirement::Identity(_) if context.is_opened_by_a_person() => Traveller::Page(target),
            _ => Traveller::Other,
        };
        let session = self.find_authorized_session(context, traveller).await?;
        let (principal, session) = match &session {
            RequestSession::Current(session) => (Ok(session.principal()), Some(session)),
            RequestSession::Absent(reason) => (Err(*reason), None),
        };
        let caller = match &principal {
            Ok(principal) => Caller::Principal(principal),
            Err(reason) => Caller::Anonymous(*reason),
        };
        self.conclude(site, headers, judge(requirement, caller), session)
    }

    fn conclude<'p>(
        &self,
        site: &Site<'_>,
        headers: &HeaderMap,
        decision: Decision<'p, '_>,
        session: Option<&Arc<CachedSession>>,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        match decision {
            Decision::Admit(principal) => self.admit(site, principal, headers),
            Decision::Unauthenticated(reason) => Err(NotAdmitted::Unauthenticated(reason)),
            Decision::Forbidden(denial) => Err(NotAdmitted::Forbidden(session.cloned(), denial)),
            // Never comes here; fail closed all the same.
            Decision::LookUp => Err(NotAdmitted::Unauthenticated(Reason::NoSession)),
        }
    }

    /// Finds the session that counts for the app at the requested host, and whose authorization is in force.
    pub(super) async fn find_authorized_session<'p>(
        &self,
        context: &RequestContext<'_>,
        traveller: Traveller<'_>,
    ) -> Result<RequestSession, NotAdmitted<'p>> {
        let session = match self.find_session(context).await? {
            RequestSession::Current(session) if !self.reauthorization.is_recent(context.site.app, &session) => session,
            other => return Ok(other),
        };
        match Box::pin(self.reauthorization.check(context, session, traveller)).await {
            Authorization::Current(session) => Ok(RequestSession::Current(session)),
            Authorization::Absent(reason) => Ok(RequestSession::Absent(reason)),
            Authorization::Repeat(trip) => Err(NotAdmitted::Unauthorized(trip)),
            Authorization::Unavailable(Outage::Store(error)) => Err(Undetermined::Store(error).into()),
            Authorization::Unavailable(Outage::Provider) => Err(Undetermined::Provider.into()),
        }
    }

    /// Finds the session that counts for the app at the requested host. Every cookie of the name is tried; one that cannot be
    /// looked up is only reported when no other is current.
    pub(super) async fn find_session(&self, context: &RequestContext<'_>) -> Result<RequestSession, Undetermined> {
        let (app, audience) = (context.site.app, self.jar.audience(context.authority.host()));
        let mut reason = Reason::NoSession;
        let (mut undetermined, mut tried) = (None, 0);
        for value in cookie::values(context.headers, self.jar.session_name()) {
            if tried == MAX_COOKIES {
                break;
            }
            tried += 1;
            match self.sessions.find(Cookie { value, audience }).await {
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

    fn provider_match(&self, app: &App, identity: &PackedIdentity) -> ProviderMatch {
        match self.providers.get(app.provider) {
            Some(provider) if identity.has_registration(&provider.registration) => ProviderMatch::Current,
            Some(provider) if identity.provider() == provider.name => ProviderMatch::Superseded,
            _ => ProviderMatch::Other,
        }
    }

    /// Lets in: the only call of [`Admission::grant`]. All of the app's headers are there, empty without a principal.
    fn admit<'p>(
        &self,
        site: &Site<'_>,
        principal: Option<&Principal<'_>>,
        sent: &HeaderMap,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let plan = &site.app.headers;
        let mut headers = match principal {
            Some(principal) => plan.headers_for(principal, |cut| self.header_cuts.record(site, principal, cut)),
            None => plan.blank(),
        };
        if self.own_cookies == OwnCookies::Hidden {
            let others = self.jar.forwarded(sent, MAX_COOKIE_HEADER).ok_or(NotAdmitted::CookiesTooLong)?;
            headers.insert(header::COOKIE, others);
        }
        Ok(Verdict::Allow(Admission::grant(headers)))
    }
}

impl TrustedProvider {
    /// The provider with these settings.
    pub(super) fn of(settings: &oidc::Settings) -> Self {
        Self { name: settings.name.clone(), registration: settings.registration() }
    }
}

impl From<Undetermined> for NotAdmitted<'_> {
    fn from(cause: Undetermined) -> Self {
        Self::Undetermined(cause)
    }
}

/// Holds a caller against a requirement: the one match on what a path requires, for both stages.
#[inline]
fn judge<'p, 'c>(requirement: &Requirement<'p>, caller: Caller<'c>) -> Decision<'p, 'c> {
    match (requirement, caller) {
        (Requirement::Public, _) | (Requirement::Optional, Caller::Anonymous(_)) => Decision::Admit(None),
        (Requirement::Denied, _) => Decision::Forbidden(Denial::Rule),
        (Requirement::Optional | Requirement::Identity(_), Caller::Unknown) => Decision::LookUp,
        (Requirement::Optional, Caller::Principal(principal)) => Decision::Admit(Some(principal)),
        (Requirement::Identity(test), Caller::Principal(principal)) => match test.judge(principal.identity) {
            Ok(()) => Decision::Admit(Some(principal)),
            Err(denial) => Decision::Forbidden(denial),
        },
        (Requirement::Identity(_), Caller::Anonymous(reason)) => Decision::Unauthenticated(reason),
    }
}

/// Returns the reason for a denial.
pub(super) fn denial_reason(denial: Denial<'_>, identity: Option<&PackedIdentity>) -> Reason {
    match (denial, identity) {
        (Denial::Rule, _) => Reason::RuleDenied,
        (Denial::NotAllowed(allow), Some(identity)) => match allow.missing(identity) {
            MissingGrant::Group => Reason::GroupMissing,
            MissingGrant::AllGroups => Reason::GroupsIncomplete,
            MissingGrant::Other => Reason::NotAllowed,
            MissingGrant::VerifiedEmail => Reason::EmailUnverified,
        },
        (Denial::NotAllowed(_), None) => Reason::NotAllowed,
    }
}
