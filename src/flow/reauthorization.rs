//! Reauthorization: a page that is opened long after its session was authorized takes the browser past the provider again,
//! without a prompt (`prompt=none`), because renewals do not tell everything that a provider knows.
//!
//! Promises: nothing but a page that a person opens goes to the provider; a refusal of the provider ends the session, and so
//! do two trips that do not come back, but never while the provider or the store is not known to answer; nobody else's
//! authorization goes on with a session.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use super::{context::RequestContext, refusal_log::truncate, renewal::Renewer, unknown_sids::UnknownSids};
use crate::{
    edge::Reason,
    identity::PackedIdentity,
    metrics::LogoutKind as Ending,
    oidc::{Provider, SignedIn, SilentRequest},
    policy::App,
    session::{AuthorizationAge, CachedSession, NewGrant, Sessions, Trip, Unavailable},
};

/// Has sessions authorized again.
pub(super) struct Reauthorization {
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    /// The providers, by place in the configuration.
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) unknown_sids: Arc<UnknownSids>,
    /// `session.reauthorize`.
    pub(super) default: Option<Duration>,
}

/// Request, by what it may do about its session's authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traveller<'t> {
    /// A page that a person opens: its browser may go past the provider and come back to this path.
    Page(&'t str),
    /// Anything else, and a page that needs nobody.
    Other,
}

/// State of a session's authorization, for one request.
#[derive(Debug)]
pub(super) enum Authorization {
    /// In force.
    Current(Arc<CachedSession>),
    /// To be repeated by this page.
    Repeat(Box<SilentTrip>),
    /// Not in force.
    Absent(Reason),
    /// Not to be repeated at the moment, with `session.outage_grace` over.
    Unavailable(Outage),
}

/// What has to answer before a session can be authorized again, and does not.
#[derive(Debug)]
pub(super) enum Outage {
    /// The store.
    Store(Unavailable),
    /// The provider.
    Provider,
}

/// A page's way past the provider.
#[derive(Debug)]
pub(super) struct SilentTrip {
    /// Name of its session in the attempt.
    session: u64,
    id_token: Option<SecretString>,
    user: String,
}

/// Purpose of an authorization request.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestPurpose<'t> {
    /// A sign-in, for this reason.
    SignIn(Reason),
    /// A session is authorized again.
    Reauthorize(&'t SilentTrip),
}

/// What came of the authorization that came back.
pub(super) enum Completed {
    /// The session goes on.
    GoesOn,
    /// It is a sign-in: of somebody else, or the session has ended meanwhile.
    SignIn(Box<SignedIn>),
}

impl<'t> RequestPurpose<'t> {
    /// Reason of the redirect.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::SignIn(reason) => reason,
            Self::Reauthorize(_) => Reason::Reauthorize,
        }
    }

    /// Name of the session in the attempt.
    pub(super) fn session(self) -> Option<u64> {
        self.trip().map(|trip| trip.session)
    }

    /// What the provider is told about a session: it may not ask the person anything, and whom it is about.
    pub(super) fn silent_request(self) -> Option<SilentRequest<'t>> {
        let request =
            |trip: &'t SilentTrip| SilentRequest { id_token_hint: trip.id_token.as_ref(), login_hint: &trip.user };
        self.trip().map(request)
    }

    fn trip(self) -> Option<&'t SilentTrip> {
        match self {
            Self::SignIn(_) => None,
            Self::Reauthorize(trip) => Some(trip),
        }
    }
}

impl Reauthorization {
    /// Returns `true` unless the authorization of a session may have to be repeated. Asks memory alone.
    pub(super) fn is_recent(&self, app: &App, session: &CachedSession) -> bool {
        let limit = app.reauthorize.or(self.default);
        limit.is_none_or(|limit| self.sessions.reauthorization().age(session, limit) == AuthorizationAge::Recent)
    }

    /// Returns `true` while the app's provider answers.
    pub(super) fn can_travel(&self, app: &App) -> bool {
        self.providers.get(app.provider).is_some_and(|provider| provider.is_available())
    }

    /// Returns the state of a session's authorization. May ask the store, and the provider whether it answers.
    pub(super) async fn check(
        &self,
        context: &RequestContext<'_>,
        session: Arc<CachedSession>,
        traveller: Traveller<'_>,
    ) -> Authorization {
        let app = context.site.app;
        let Some(limit) = app.reauthorize.or(self.default) else { return Authorization::Current(session) };
        match (self.sessions.reauthorization().age(&session, limit), traveller) {
            (AuthorizationAge::Recent, _) | (AuthorizationAge::Due, Traveller::Other) => {
                return Authorization::Current(session);
            }
            (AuthorizationAge::Due, Traveller::Page(_)) | (AuthorizationAge::Overdue, _) => {}
        }
        // Another replica may have had it authorized a moment ago.
        let (session, record) = match self.sessions.reauthorization().read_again(&session).await {
            Ok(Some(newest)) => newest,
            Ok(None) => return Authorization::Absent(Reason::SessionEnded),
            Err(error) => return self.during_outage(session, limit, Outage::Store(error)),
        };
        if self.is_recent(app, &session) {
            return Authorization::Current(session);
        }
        let Some(provider) = self.providers.get(app.provider).filter(|provider| provider.is_available()) else {
            return self.during_outage(session, limit, Outage::Provider);
        };
        let Traveller::Page(page) = traveller else { return Authorization::Absent(Reason::Reauthorize) };
        let trip = SilentTrip { session: session.id().short(), id_token: record.tokens.id, user: record.identity.user };
        match self.begin_trip(provider, &session, page).await {
            Ok(TripOutcome::Begun) => Authorization::Repeat(Box::new(trip)),
            Ok(TripOutcome::ProviderUnavailable) => self.during_outage(session, limit, Outage::Provider),
            Ok(TripOutcome::Lost) => {
                self.end(context, &session, "two trips to the provider did not come back").await;
                Authorization::Absent(Reason::SessionEnded)
            }
            Err(error) => self.during_outage(session, limit, Outage::Store(error)),
        }
    }

    /// Returns `true` if an attempt names this session.
    pub(super) fn is_named(session: &CachedSession, named: u64) -> bool {
        session.id().short() == named
    }

    /// Ends a session that the provider refused to authorize again.
    pub(super) async fn refused(&self, context: &RequestContext<'_>, session: &CachedSession, error: &str) {
        self.end(context, session, known(error)).await;
    }

    /// Goes on with a session that was authorized again, where it is the same person's.
    pub(super) async fn authorized(
        &self,
        context: &RequestContext<'_>,
        session: Option<Arc<CachedSession>>,
        signed_in: SignedIn,
    ) -> Result<Completed, Unavailable> {
        let is_same = |session: &Arc<CachedSession>| session.identity().subject() == signed_in.identity.subject.0;
        let Some(session) = session.filter(is_same) else { return Ok(Completed::SignIn(Box::new(signed_in))) };
        let SignedIn { identity, tokens, sid } = signed_in.clone();
        if let Some(sid) = &sid {
            self.unknown_sids.forget(&identity.provider, sid);
        }
        let written = self.sessions.reauthorization().write(&session, NewGrant { identity, tokens, sid }).await?;
        if written.is_none() {
            return Ok(Completed::SignIn(Box::new(signed_in)));
        }
        tracing::debug!(request_id = %context.id, session = ?session.id(), "a session was authorized again");
        Ok(Completed::GoesOn)
    }

    async fn begin_trip(
        &self,
        provider: &Provider,
        session: &CachedSession,
        page: &str,
    ) -> Result<TripOutcome, Unavailable> {
        if self.sessions.reauthorization().begin_trip(session, page).await? != Trip::Repeated {
            return Ok(TripOutcome::Begun);
        }
        // A provider that has just gone away loses trips too.
        if !provider.answers_now().await {
            return Ok(TripOutcome::ProviderUnavailable);
        }
        let is_second = self.sessions.reauthorization().begin_second_trip(session).await?;
        Ok(if is_second { TripOutcome::Begun } else { TripOutcome::Lost })
    }

    /// Goes on with a session while provider or store is unavailable, within the grace.
    fn during_outage(&self, session: Arc<CachedSession>, limit: Duration, cause: Outage) -> Authorization {
        if self.sessions.reauthorization().is_within_grace(&session, limit) {
            self.sessions.count_stale_served();
            return Authorization::Current(session);
        }
        Authorization::Unavailable(cause)
    }

    async fn end(&self, context: &RequestContext<'_>, session: &CachedSession, why: &str) {
        let who: &PackedIdentity = session.identity();
        tracing::info!(
            request_id = %context.id,
            app = context.site.app.name,
            host = truncate(context.authority.host()),
            client = context.client_text(),
            user = truncate(who.user()),
            subject = truncate(who.subject()),
            why,
            "a session has ended: its provider did not authorize it again"
        );
        match self.sessions.end(session, Ending::Provider).await {
            Ok(Some(record)) => self.renewer.revoke_refresh_token(&record),
            Ok(None) => {}
            // Refused here from now on all the same.
            Err(error) => {
                tracing::warn!(request_id = %context.id, %error, "an ended session is still in the store; it is deleted once that is possible");
            }
        }
    }
}

/// What came of a page that wants to go past the provider.
enum TripOutcome {
    /// It may.
    Begun,
    /// Two before it did not come back.
    Lost,
    /// An earlier one did not come back, and the provider does not answer.
    ProviderUnavailable,
}

/// Returns the code of an error response for the log, where it is one that providers send: anybody may have written it into
/// the URL.
fn known(error: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "login_required",
        "interaction_required",
        "consent_required",
        "account_selection_required",
        "access_denied",
        "unauthorized_client",
        "invalid_request",
        "invalid_scope",
    ];
    KNOWN.into_iter().find(|code| *code == error).unwrap_or("another error")
}
