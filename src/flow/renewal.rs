//! Single-flight renewal: sessions in use are renewed with their refresh token before the access token ends.
//!
//! Promises: no request waits while the old token is valid; whatever the number of requests and replicas, the provider sees one
//! refresh for each due renewal; a refresh that was begun is finished and written, even if no request waits for it any more; no
//! request waits for the revocation of a refresh token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    clock::Timestamp,
    identity::{Registration, Tokens},
    metrics::{LogoutKind as Ending, RenewalMetrics, RenewalResult},
    oidc::{self, PreviousSid, Provider, Refreshed, RenewedSid},
    session::{CachedSession, LeaseOutcome, Record, RenewalDue, RenewalPermit, RenewedGrant, SessionId, Sessions},
    shutdown,
};

/// The longest wait of requests for a renewal once the access token has ended, counted from the first of them: behind a renewal
/// that hangs, later requests go on at once. Shorter than any edge waits, except Envoy.
const JOIN_TIMEOUT: Duration = Duration::from_secs(8);
/// Capacity of the queue. Beyond it, the session's next request enqueues it again.
const QUEUE: usize = 4_096;
/// The most concurrent renewals, so that the provider is not flooded when a whole office comes back from lunch.
const MAX_RENEWALS: usize = 64;
/// The most concurrent revocations of refresh tokens.
const MAX_REVOCATIONS: usize = 8;
/// Interval between looks at a renewal whose lease another replica holds.
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The shortest pause between tries to write a renewed session.
const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between them. The new refresh token exists nowhere else.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Tries to write a renewed session that are left once the process is to end.
const LAST_TRIES: u32 = 5;

/// Outcome of a renewal.
#[derive(Clone, Debug)]
pub(super) enum RenewalOutcome {
    /// The session as it is now, renewed here or by another replica.
    Renewed(Arc<CachedSession>),
    /// The provider says that it is over, or it was ended meanwhile.
    Ended,
    /// Provider or store unavailable.
    Unavailable,
}

/// Session of a request after the renewal that it may have needed.
#[derive(Debug)]
pub(super) enum AfterRenewal {
    /// Goes on with this one.
    Usable(Arc<CachedSession>),
    /// Over; or not renewable although everything is available, with `session.outage_grace` over.
    Ended,
    /// Not renewable at the moment, with `session.outage_grace` over and provider or store unavailable.
    Unavailable,
}

/// Renews sessions, and revokes refresh tokens of sessions that have ended.
pub struct Renewer {
    sessions: Arc<Sessions>,
    config: ArcSwap<RenewalConfig>,
    /// Renewals that are queued or running in this process, by session.
    in_flight: Mutex<HashMap<SessionId, InFlightRenewal>>,
    stop: shutdown::Signal,
    queue: mpsc::Sender<RenewalJob>,
    jobs: Mutex<Option<mpsc::Receiver<RenewalJob>>>,
}

/// Work that is done off the path of any request.
enum RenewalJob {
    /// Renew a session.
    Renew(QueuedRenewal),
    /// Revoke the refresh token of a session that has ended, at the provider that issued it.
    Revoke { registration: Registration, refresh: SecretString },
}

/// Renewals under the configuration in force. One that was begun is finished under the configuration that it began with.
pub(super) struct RenewalConfig {
    /// The providers in their order.
    providers: Vec<Arc<Provider>>,
    /// The metrics, bound to them.
    metrics: RenewalMetrics,
}

/// Renewal that is queued or running.
#[derive(Clone)]
struct InFlightRenewal {
    begun: Instant,
    outcome: watch::Receiver<Option<RenewalOutcome>>,
}

/// Renewal in the queue, and the sender of its outcome.
struct QueuedRenewal {
    session: Arc<CachedSession>,
    outcome: watch::Sender<Option<RenewalOutcome>>,
}

impl Renewer {
    /// A renewer that is idle until [`Renewer::run`].
    pub(super) fn new(sessions: Arc<Sessions>, config: RenewalConfig) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Mutex::new(Some(jobs));
        Self {
            sessions,
            config: ArcSwap::from_pointee(config),
            in_flight: Mutex::default(),
            stop: shutdown::Signal::default(),
            queue,
            jobs,
        }
    }

    /// Puts another configuration in force, for renewals that have not begun.
    pub(super) fn change(&self, config: RenewalConfig) {
        self.config.store(Arc::new(config));
    }

    /// Returns `true` if a current session can be used without waiting: its access token has not ended. Enqueues its renewal
    /// where that is due soon.
    pub(super) fn is_usable_at(&self, session: &Arc<CachedSession>, now: Timestamp) -> bool {
        !matches!(self.enqueue_if_due(session, self.sessions.renewal_due_at(session, now)), RenewalDue::Overdue { .. })
    }

    /// Renews a current session where it has to be before it can be used. Waits only where its access token has ended and the
    /// provider answers.
    pub(super) async fn ensure_usable(&self, session: Arc<CachedSession>) -> AfterRenewal {
        match self.enqueue_if_due(&session, self.sessions.renewal_due(&session)) {
            RenewalDue::Overdue { within_grace: graceful } => Box::pin(self.join(session, graceful)).await,
            RenewalDue::No | RenewalDue::Soon => AfterRenewal::Usable(session),
        }
    }

    fn enqueue_if_due(&self, session: &Arc<CachedSession>, due: RenewalDue) -> RenewalDue {
        if due == RenewalDue::Soon {
            self.enqueue(session);
        }
        due
    }

    async fn join(&self, session: Arc<CachedSession>, graceful: bool) -> AfterRenewal {
        let in_flight = self.enqueue(&session);
        let config = self.config.load_full();
        let outcome = match (in_flight, config.provider(&session)) {
            // Within the grace, no request waits for a provider or store that is known to be unavailable.
            (Some(in_flight), Some((index, provider)))
                if !graceful || (self.sessions.is_available() && provider.is_available()) =>
            {
                config.metrics.count_wait(index);
                in_flight.outcome().await
            }
            _ => None,
        };
        match outcome {
            Some(RenewalOutcome::Renewed(renewed)) => AfterRenewal::Usable(renewed),
            Some(RenewalOutcome::Ended) => AfterRenewal::Ended,
            Some(RenewalOutcome::Unavailable) | None if graceful => {
                self.sessions.count_stale_served();
                AfterRenewal::Usable(session)
            }
            // Where the provider is there, signing in mends whatever keeps this session from being renewed.
            Some(RenewalOutcome::Unavailable) | None if self.may_sign_in(&config, &session) => AfterRenewal::Ended,
            Some(RenewalOutcome::Unavailable) | None => AfterRenewal::Unavailable,
        }
    }

    fn may_sign_in(&self, config: &RenewalConfig, session: &CachedSession) -> bool {
        self.sessions.is_available() && config.provider(session).is_some_and(|(_, provider)| provider.is_available())
    }

    /// Joins the renewal of a session, or begins it: single-flight. `None` where it may not be tried now, or the queue is full.
    fn enqueue(&self, session: &Arc<CachedSession>) -> Option<InFlightRenewal> {
        let key = session.id();
        let mut all = self.in_flight();
        if let Some(in_flight) = all.get(&key) {
            return Some(in_flight.clone());
        }
        if !self.sessions.may_renew(session) {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        // A full queue is no loss: the next request enqueues it again.
        self.queue.try_send(RenewalJob::Renew(QueuedRenewal { session: Arc::clone(session), outcome: sender })).ok()?;
        let in_flight = InFlightRenewal { begun: Instant::now(), outcome };
        all.insert(key, in_flight.clone());
        Some(in_flight)
    }

    /// Enqueues the revocation of an ended session's refresh token (RFC 7009), where the provider offers that: a copy of it is
    /// worthless from then on.
    pub(super) fn revoke_refresh_token(&self, ended: &Record) {
        self.revoke_token(ended.scope.registration, ended.tokens.refresh.clone());
    }

    fn revoke_token(&self, registration: Registration, refresh: Option<SecretString>) {
        let Some(refresh) = refresh else { return };
        if let Err(error) = self.queue.try_send(RenewalJob::Revoke { registration, refresh }) {
            tracing::info!(%error, "a refresh token was not revoked and ends by itself");
        }
    }

    /// Takes jobs from the queue until asked to stop. Each runs as a task of its own, and is finished even then.
    pub async fn run(self: Arc<Self>, tasks: shutdown::Tasks, stop: shutdown::Signal) {
        let Some(mut jobs) = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let renewals = Arc::new(Semaphore::new(MAX_RENEWALS));
        let revocations = Arc::new(Semaphore::new(MAX_REVOCATIONS));
        loop {
            let job = tokio::select! { job = jobs.recv() => job, () = stop.raised() => None };
            let renewer = Arc::clone(&self);
            match job {
                Some(RenewalJob::Renew(queued)) => {
                    let permit = Arc::clone(&renewals).acquire_owned().await;
                    tasks.spawn(async move {
                        let outcome = renewer.renew(&queued.session).await;
                        // Out of the list first: a request from here on finds the new session, and not this renewal.
                        renewer.in_flight().remove(&queued.session.id());
                        queued.outcome.send_replace(Some(outcome));
                        drop(permit);
                    });
                }
                Some(RenewalJob::Revoke { registration, refresh }) => {
                    // Renewals do not wait for a provider whose revocation endpoint is slow.
                    let revocations = Arc::clone(&revocations);
                    tasks.spawn(async move {
                        let _permit = revocations.acquire().await;
                        let config = renewer.config.load_full();
                        // Only the issuer is sent a token, under the client that it was issued to.
                        if let Some((_, provider)) = config.issuer(|issued| *issued == registration) {
                            provider.revoke(&refresh).await;
                        }
                    });
                }
                None => {
                    self.stop.raise();
                    return;
                }
            }
        }
    }

    async fn renew(&self, session: &Arc<CachedSession>) -> RenewalOutcome {
        let config = self.config.load_full();
        let Some((index, provider)) = config.provider(session) else { return RenewalOutcome::Unavailable };
        let count = |result| config.metrics.count(index, result);
        loop {
            match self.sessions.renewal().acquire_lease(session, provider.refresh_timeout()).await {
                Ok(LeaseOutcome::Acquired(permit)) => return self.redeem(provider, permit, count).await,
                Ok(LeaseOutcome::AlreadyRenewed(renewed)) => {
                    count(RenewalResult::Shared);
                    return RenewalOutcome::Renewed(renewed);
                }
                Ok(LeaseOutcome::Ended) => return RenewalOutcome::Ended,
                // Another replica holds the lease, which ends by itself if that replica dies.
                Ok(LeaseOutcome::HeldElsewhere) => tokio::time::sleep(LEASE_POLL_INTERVAL).await,
                Err(error) => {
                    tracing::debug!(session = ?session.id(), %error, "session store unavailable: a renewal has to wait");
                    count(RenewalResult::Unavailable);
                    return RenewalOutcome::Unavailable;
                }
            }
        }
    }

    async fn redeem(
        &self,
        provider: &Provider,
        permit: RenewalPermit,
        count: impl Fn(RenewalResult),
    ) -> RenewalOutcome {
        let record = permit.record();
        let Some(refresh) = &record.tokens.refresh else { return RenewalOutcome::Unavailable };
        let renewal = oidc::RefreshRequest {
            refresh_token: refresh,
            id_token: record.tokens.id.as_ref(),
            identity: &record.identity,
            sid: PreviousSid { sid: record.sid.as_deref(), was_repeated: record.sid_repeated },
        };
        let error = match provider.refresh(&renewal).await {
            Ok(Refreshed { sid: RenewedSid::Lost, tokens, .. }) => {
                count(RenewalResult::Rejected);
                return self.end_lost(permit, tokens).await;
            }
            Ok(refreshed) => {
                count(RenewalResult::Renewed);
                return self.write(provider, permit, refreshed).await;
            }
            Err(error) => error,
        };
        count(error.renewal_result());
        if error.renewal_result() == RenewalResult::Rejected {
            return self.end_rejected(permit, &error).await;
        }
        let (user, subject) = (&record.identity.user, &record.identity.subject);
        tracing::warn!(session = ?permit.session().id(), provider = provider.settings().name, user, %subject, %error, "a session could not be renewed; it goes on within session.outage_grace");
        self.sessions.renewal().back_off(permit).await;
        RenewalOutcome::Unavailable
    }

    /// Writes until it succeeds: the provider no longer accepts the old refresh token.
    async fn write(&self, provider: &Provider, permit: RenewalPermit, refreshed: Refreshed) -> RenewalOutcome {
        let Refreshed { identity, tokens, sid } = refreshed;
        let refresh = tokens.refresh.clone();
        let (first_sid, sid_repeated) = match sid {
            RenewedSid::First(sid) => (Some(sid), false),
            other => (None, other == RenewedSid::Repeated),
        };
        let renewed = self.sessions.renewal().renew(permit, RenewedGrant { identity, tokens, first_sid, sid_repeated });
        let (mut pause, mut last_tries) = (FIRST_RETRY_PAUSE, LAST_TRIES);
        loop {
            match self.sessions.renewal().write(&renewed).await {
                Ok(Some(session)) => return RenewalOutcome::Renewed(session),
                // Signed out, here or there, during the refresh: it stays ended, and the new tokens are of no use.
                Ok(None) => {
                    if let Some(refresh) = &refresh {
                        provider.revoke(refresh).await;
                    }
                    return RenewalOutcome::Ended;
                }
                Err(error) => {
                    tracing::warn!(session = ?renewed.id(), %error, "a renewed session could not be written yet; retrying");
                }
            }
            if self.stop.is_raised() {
                last_tries -= 1;
                if last_tries == 0 {
                    tracing::error!(session = ?renewed.id(), "a renewed session could not be written before shutdown, and is lost");
                    return RenewalOutcome::Unavailable;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
        }
    }

    /// Ends a session whose provider's own session is over, by its renewed ID token. The new tokens are worth nothing then.
    async fn end_lost(&self, permit: RenewalPermit, tokens: Tokens) -> RenewalOutcome {
        let (key, who) = (permit.session().id(), permit.record().identity.clone());
        self.revoke_token(permit.record().scope.registration, tokens.refresh);
        tracing::info!(session = ?key, user = who.user, subject = %who.subject, "a session has ended: its renewed ID token lacks the sid that it was made with");
        if let Err(error) = self.sessions.end(permit.session(), Ending::Provider).await {
            // Refused here from now on all the same.
            tracing::warn!(session = ?key, %error, "an ended session is still in the store; it is deleted once that is possible");
        }
        RenewalOutcome::Ended
    }

    /// Ends a session that the provider will not renew, unless another replica has renewed it meanwhile.
    async fn end_rejected(&self, permit: RenewalPermit, refusal: &oidc::Error) -> RenewalOutcome {
        let (key, who) = (permit.session().id(), permit.session().identity());
        let (user, subject) = (who.user().to_owned(), who.subject().to_owned());
        match self.sessions.renewal().end_unless_renewed(permit, Ending::Expired).await {
            Ok(Some(session)) => RenewalOutcome::Renewed(session),
            Ok(None) => {
                tracing::info!(session = ?key, user, subject, %refusal, "a session has ended: its provider will not renew it");
                RenewalOutcome::Ended
            }
            Err(error) => {
                tracing::warn!(session = ?key, user, subject, %error, "the provider refused to renew a session, and the store cannot say whether another replica did");
                RenewalOutcome::Unavailable
            }
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<SessionId, InFlightRenewal>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RenewalConfig {
    /// Renewals at these providers.
    pub(super) fn new(providers: &[Arc<Provider>], metrics: &RenewalMetrics) -> Self {
        Self { providers: providers.to_owned(), metrics: metrics.clone() }
    }

    /// Returns the provider that issued a session's tokens, and its place; `None` where it has another registration now.
    fn provider(&self, session: &CachedSession) -> Option<(usize, &Arc<Provider>)> {
        self.issuer(|registration| session.identity().has_registration(registration))
    }

    fn issuer(&self, issued: impl Fn(&Registration) -> bool) -> Option<(usize, &Arc<Provider>)> {
        self.providers.iter().enumerate().find(|(_, provider)| issued(&provider.settings().registration()))
    }
}

impl InFlightRenewal {
    /// Waits for the outcome; `None` after [`JOIN_TIMEOUT`].
    async fn outcome(mut self) -> Option<RenewalOutcome> {
        let left = JOIN_TIMEOUT.saturating_sub(self.begun.elapsed());
        let outcome = tokio::time::timeout(left, self.outcome.wait_for(Option::is_some)).await;
        outcome.ok().and_then(Result::ok).and_then(|outcome| outcome.clone())
    }
}
