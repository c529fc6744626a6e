//! Adoption: sessions of an old outpost, honoured without a sign-in (`[adopt]`).
//!
//! A request that brings no session of the gate's own and cookies of the old outpost has the outpost asked, once for each host,
//! and what it says becomes a session under a keyed hash of those cookies.
//!
//! - `old_cookies`: the cookies of a request;
//! - `question`, `answer`: what the old outpost is asked, and the identity that it tells;
//! - `memory`: cookies that are no session, and how often it may be asked.
//!
//! Promises: nothing is stored but for somebody whom the old outpost knows; what has ended is not adopted again; an outpost that does
//! not answer is never taken for one that refuses.

mod answer;
mod memory;
mod old_cookies;
mod question;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};

pub(super) use self::memory::AdoptionMemory;
use self::{
    answer::{Answer, OldSession},
    old_cookies::SentCookies,
};
use super::{context::RequestContext, refusal_log::truncate};
use crate::{
    clock::{Clock, Timestamp},
    edge::{Edge, Reason},
    identity::{Principal, PrincipalSource, Tokens},
    metrics::{AdoptionMetrics, AdoptionResult, LogoutKind},
    oidc::Provider,
    policy::Site,
    session::{AdoptedSession, CachedSession, NewSession, OldCookies, Record, Sessions, Unavailable},
    upstream::{self, Upstream},
};

/// Deadline of the old outpost's answer: edges wait for longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most bytes of an answer's body that are read, so that its connection can be used again.
const MAX_BODY: usize = 64 << 10;

/// Settings of `[adopt]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptSettings {
    /// The old outpost.
    pub upstream: upstream::Settings,
    /// Path at which it is asked.
    pub path: String,
    /// Dialect in which it is asked, by the end of the path.
    pub dialect: Edge,
    /// `adopt.provider`, by its place; `None`: the app's.
    pub provider: Option<usize>,
    /// `adopt.per_minute`.
    pub per_minute: NonZeroU32,
}

/// Adopts sessions of an old outpost.
pub(super) struct Adoption {
    pub(super) settings: AdoptSettings,
    /// Absent where it could not be prepared: nothing is adopted then.
    pub(super) upstream: Option<Arc<Upstream>>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) memory: Arc<AdoptionMemory>,
    pub(super) metrics: AdoptionMetrics,
    pub(super) clock: Clock,
}

/// Returns the principal of a session.
pub(super) fn principal_of(session: &CachedSession) -> Principal<'_> {
    let principal = session.principal();
    if session.is_adopted() { Principal { source: PrincipalSource::Adopted, ..principal } } else { principal }
}

/// What became of old cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is a session of them.
    Adopted,
    /// There was one, or will be none.
    Over,
    /// The old outpost does not know them.
    Refused,
    /// It lets anybody pass.
    Anybody,
    /// It did not answer.
    Unanswered,
    /// It was not asked: too many questions.
    Limited,
}

/// Adopted session of a request.
#[derive(Debug)]
pub(super) enum FoundAdopted {
    /// In force.
    Session(Arc<CachedSession>),
    /// None, for this reason.
    Absent(Reason),
}

/// Errors of an adoption: it is not known whether there is a session.
#[derive(Debug)]
pub(super) enum AdoptionError {
    /// The store is unavailable.
    Store(Unavailable),
    /// The old outpost has not answered, or is not asked any more at the moment.
    OldOutpost,
}

/// Why an adoption came to no outcome of its own: `moka` shares errors and keeps none of them.
#[derive(Clone, Debug)]
enum Landed {
    Outcome(Outcome),
    Store(Unavailable),
}

impl Adoption {
    /// Returns what `read` makes of the adopted session of a request, if memory alone can answer.
    pub(super) fn get_cached<T>(
        &self,
        site: &Site<'_>,
        host: &str,
        headers: &HeaderMap,
        read: impl FnOnce(&Arc<CachedSession>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let (_, old) = self.old_cookies(site, host, headers)?;
        self.sessions.adoption().get_cached(&old, read)
    }

    /// Finds the adopted session of a request, or adopts one.
    pub(super) async fn find(&self, context: &RequestContext<'_>) -> Result<FoundAdopted, AdoptionError> {
        let Some((sent, old)) = self.old_cookies(&context.site, context.authority.host(), context.headers) else {
            return Ok(FoundAdopted::Absent(Reason::NoSession));
        };
        let adoption = self.sessions.adoption();
        let outcome = match self.memory.settled(&old.digest()) {
            Some(settled) => settled,
            None if adoption.is_in_memory(&old) => Outcome::Adopted,
            None if self.memory.is_barred(context.client) => self.limited(),
            None => self.in_one_flight(context, &sent, &old).await?,
        };
        match outcome {
            Outcome::Adopted => match adoption.find(&old).await.map_err(AdoptionError::Store)? {
                AdoptedSession::Live(session) => Ok(FoundAdopted::Session(session)),
                AdoptedSession::Over | AdoptedSession::Unknown => Ok(FoundAdopted::Absent(Reason::SessionEnded)),
            },
            Outcome::Over => Ok(FoundAdopted::Absent(Reason::SessionEnded)),
            Outcome::Refused | Outcome::Anybody => Ok(FoundAdopted::Absent(Reason::NoSession)),
            Outcome::Unanswered | Outcome::Limited => Err(AdoptionError::OldOutpost),
        }
    }

    /// Ends the adopted session of somebody who signs out, and has none be made of the same cookies again, at any host. `ended` is
    /// the session of the gate's own that was ended before.
    pub(super) async fn sign_out(
        &self,
        context: &RequestContext<'_>,
        ended: Option<Record>,
    ) -> Result<Option<Record>, Unavailable> {
        let Some((_, old)) = self.old_cookies(&context.site, context.authority.host(), context.headers) else {
            return Ok(ended);
        };
        let adoption = self.sessions.adoption();
        let known = if ended.is_some() {
            adoption.find(&old).await?
        } else {
            // Not adopted yet: it would be by the next request.
            match self.find(context).await {
                Ok(FoundAdopted::Session(session)) => AdoptedSession::Live(session),
                Ok(FoundAdopted::Absent(_)) | Err(AdoptionError::OldOutpost) => AdoptedSession::Unknown,
                Err(AdoptionError::Store(error)) => return Err(error),
            }
        };
        let ended = match known {
            AdoptedSession::Live(session) => ended.or(self.sessions.end(&session, LogoutKind::User).await?),
            AdoptedSession::Over | AdoptedSession::Unknown => ended,
        };
        if ended.is_some() {
            adoption.close_everywhere(&old).await?;
        }
        Ok(ended)
    }

    /// Has a sign-in take the place of the adopted session at this host, now and from now on.
    pub(super) async fn signed_in(&self, context: &RequestContext<'_>) -> Result<(), Unavailable> {
        let Some((_, old)) = self.old_cookies(&context.site, context.authority.host(), context.headers) else {
            return Ok(());
        };
        let adoption = self.sessions.adoption();
        adoption.close(&old).await?;
        if let AdoptedSession::Live(session) = adoption.find(&old).await? {
            self.sessions.end(&session, LogoutKind::User).await?;
        }
        Ok(())
    }

    /// Returns the old cookies of a request where they count, and what sessions know them by.
    fn old_cookies<'r>(
        &self,
        site: &Site<'_>,
        host: &str,
        headers: &'r HeaderMap,
    ) -> Option<(SentCookies<'r>, OldCookies)> {
        let place = site.app.provider;
        if self.settings.provider.is_some_and(|only| only != place) {
            return None;
        }
        let (provider, sent) = (self.providers.get(place)?, SentCookies::of(headers)?);
        let old = sent.at(host, provider.settings().registration());
        Some((sent, old))
    }

    /// Finds out about cookies; of many requests that bring the same, one does.
    async fn in_one_flight(
        &self,
        context: &RequestContext<'_>,
        sent: &SentCookies<'_>,
        old: &OldCookies,
    ) -> Result<Outcome, AdoptionError> {
        let flight = async {
            // The flight before this one may have landed since the caller looked.
            if let Some(settled) = self.memory.settled(&old.digest()) {
                return Err(Landed::Outcome(settled));
            }
            match self.adopt(context, sent, old).await {
                Ok(outcome) => {
                    self.memory.settle(old.digest(), outcome);
                    Err(Landed::Outcome(outcome))
                }
                Err(error) => Err(Landed::Store(error)),
            }
        };
        let landed: Result<(), _> = self.memory.flights.try_get_with(old.digest(), Box::pin(flight)).await;
        match landed.map_err(|landed| (*landed).clone()) {
            Err(Landed::Outcome(outcome)) => Ok(outcome),
            Err(Landed::Store(error)) => Err(AdoptionError::Store(error)),
            // Never comes here; no answer all the same.
            Ok(()) => Ok(Outcome::Unanswered),
        }
    }

    async fn adopt(
        &self,
        context: &RequestContext<'_>,
        sent: &SentCookies<'_>,
        old: &OldCookies,
    ) -> Result<Outcome, Unavailable> {
        let adoption = self.sessions.adoption();
        match adoption.find(old).await? {
            AdoptedSession::Live(_) => return Ok(Outcome::Adopted),
            AdoptedSession::Over => return Ok(Outcome::Over),
            AdoptedSession::Unknown => {}
        }
        if !self.memory.may_ask(self.settings.per_minute) {
            self.memory.strike(context.client);
            return Ok(self.limited());
        }
        let (outcome, result) = match self.ask(context, sent).await {
            Answer::SignedIn(session) => match self.keep(context, old, *session).await? {
                AdoptedSession::Live(_) => return Ok(Outcome::Adopted),
                AdoptedSession::Over | AdoptedSession::Unknown => return Ok(Outcome::Over),
            },
            Answer::Refused => (Outcome::Refused, AdoptionResult::Refused),
            Answer::Anybody => (Outcome::Anybody, AdoptionResult::Refused),
            Answer::Invalid(problem) => {
                if let Some(count) = self.memory.invalid.count_if_due(self.clock.now()) {
                    tracing::warn!(
                        request_id = %context.id, app = context.site.app.name, host = truncate(context.authority.host()), %problem, count,
                        mend = "adopt.url has to be the old outpost's, and the provider in [[providers]] the old one's, with its client_id and client_secret",
                        "an answer of the old outpost is not believed; nobody is adopted by it"
                    );
                }
                (Outcome::Refused, AdoptionResult::Invalid)
            }
            Answer::Unavailable => {
                if let Some(count) = self.memory.unavailable.count_if_due(self.clock.now()) {
                    tracing::warn!(
                        request_id = %context.id, app = context.site.app.name, host = truncate(context.authority.host()), count,
                        mend = "adopt.url has to be reachable from here; people who are not adopted sign in",
                        "the old outpost does not answer"
                    );
                }
                (Outcome::Unanswered, AdoptionResult::Unavailable)
            }
        };
        self.metrics.count(result);
        if outcome != Outcome::Unanswered {
            self.memory.strike(context.client);
        }
        Ok(outcome)
    }

    async fn ask(&self, context: &RequestContext<'_>, sent: &SentCookies<'_>) -> Answer {
        let Some((upstream, provider)) = self.upstream.as_ref().zip(self.providers.get(context.site.app.provider))
        else {
            return Answer::Unavailable;
        };
        let question = sent.header().and_then(|cookies| question::question(&self.settings, context, cookies));
        let Some(question) = question else {
            return Answer::Refused;
        };
        let answered = async {
            let response = upstream.send(question).await?;
            let (head, body) = response.into_parts();
            // To its end, so that the connection can be used again; what it says is not needed.
            let _read = Limited::new(body, MAX_BODY).collect().await;
            Ok::<_, upstream::Error>((head.status, head.headers))
        };
        let answered: Result<Result<(StatusCode, HeaderMap), _>, _> = tokio::time::timeout(DEADLINE, answered).await;
        match answered {
            Ok(Ok((status, headers))) => answer::read(status, &headers, provider.settings(), self.clock.now()),
            Ok(Err(error)) => {
                tracing::debug!(request_id = %context.id, %error, "the old outpost could not be asked");
                Answer::Unavailable
            }
            Err(_) => Answer::Unavailable,
        }
    }

    /// Makes a session of what the old outpost told.
    async fn keep(
        &self,
        context: &RequestContext<'_>,
        old: &OldCookies,
        told: OldSession,
    ) -> Result<AdoptedSession, Unavailable> {
        let OldSession { identity, sid } = told;
        let (user, subject) = (identity.user.clone(), identity.subject.clone());
        let new = NewSession { identity, tokens: Tokens::default(), sid, scope: old.scope() };
        let kept = self.sessions.adoption().adopt(old, new).await?;
        if let AdoptedSession::Live(session) = &kept {
            self.metrics.count(AdoptionResult::Adopted);
            tracing::info!(
                request_id = %context.id,
                app = context.site.app.name,
                host = truncate(context.authority.host()),
                client = context.client_text(),
                user = truncate(&user),
                subject = truncate(&subject.0),
                session = ?session.id(),
                "adopted a session of the old outpost"
            );
        }
        Ok(kept)
    }

    fn limited(&self) -> Outcome {
        self.metrics.count(AdoptionResult::Limited);
        Outcome::Limited
    }
}
