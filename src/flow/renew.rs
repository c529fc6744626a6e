//! Silent renewal: sessions in use are renewed with their refresh token before the access token ends.
//!
//! Promises: no request waits while the old token is valid; whatever the number of requests and replicas, the provider
//! sees one refresh for each due renewal; a refresh that was begun is finished and written, even if nobody waits for it
//! any more; nobody waits while a provider forgets a refresh token. It must not know what a request asked for.

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
    identity::Registration,
    metrics::{LogoutKind, RenewalMetrics, RenewalResult},
    oidc::{self, Provider, Refreshed},
    session::{CachedSession, LeaseOutcome, Record, RenewalDue, RenewalPermit, SessionId, Sessions},
    shutdown,
};

/// How long requests wait for a renewal once the access token has ended, from the first of them on: behind one that hangs
/// the later ones go on at once. Shorter than any edge waits, but Envoy.
const JOIN: Duration = Duration::from_secs(8);
/// Renewals that wait for their turn; beyond that a session is nudged again by its next request.
const QUEUE: usize = 4_096;
/// Renewals at once: a provider is not to be flooded when a whole office comes back from lunch.
const AT_ONCE: usize = 64;
/// Refresh tokens that are being forgotten at once.
const FORGOTTEN_AT_ONCE: usize = 8;
/// How often a renewal that another replica is at is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The longest pause between tries to write a renewed session, whose refresh token exists nowhere else.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a renewed session is still tried to be written when the process is to end.
const LAST_TRIES: u32 = 5;

/// What became of a renewal.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The session as it is now, renewed here or by another replica.
    Renewed(Arc<CachedSession>),
    /// The provider says that it is over, or it was ended meanwhile.
    Ended,
    /// Nobody can tell at the moment.
    Unknown,
}

/// What a request is to do about its session.
#[derive(Debug)]
pub(super) enum Advice {
    /// Go on with this one.
    GoOn(Arc<CachedSession>),
    /// It is over.
    Ended,
    /// It cannot be renewed, and the grace has passed.
    Away,
}

/// Renews sessions.
pub struct Renewer {
    sessions: Arc<Sessions>,
    with: ArcSwap<Renewing>,
    /// Renewals that wait or are under way in this process, by session.
    turns: Mutex<HashMap<SessionId, UnderWay>>,
    stop: shutdown::Signal,
    queue: mpsc::Sender<Errand>,
    waiting: Mutex<Option<mpsc::Receiver<Errand>>>,
}

/// What is done off the path of any request.
enum Errand {
    /// Renew a session.
    Renew(Turn),
    /// Have the provider that issued it forget the refresh token of a session that has ended.
    Forget { registration: Registration, refresh: SecretString },
}

/// What the configuration in force says about renewals. One that was begun is finished with what it began with.
pub(super) struct Renewing {
    /// The providers in their order.
    pub(super) providers: Vec<Arc<Provider>>,
    /// The numbers, bound to them.
    pub(super) metrics: RenewalMetrics,
}

/// A renewal that waits or is under way.
#[derive(Clone)]
struct UnderWay {
    begun: Instant,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// One renewal to be done, and where its outcome is told.
struct Turn {
    live: Arc<CachedSession>,
    told: watch::Sender<Option<Outcome>>,
}

impl Renewer {
    /// Renews nothing yet: [`Renewer::work`] does.
    pub(super) fn new(sessions: Arc<Sessions>, with: Renewing) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Mutex::new(Some(waiting));
        Self {
            sessions,
            with: ArcSwap::from_pointee(with),
            turns: Mutex::default(),
            stop: shutdown::Signal::default(),
            queue,
            waiting,
        }
    }

    /// Renews with these providers from now on.
    pub(super) fn change(&self, with: Renewing) {
        self.with.store(Arc::new(with));
    }

    /// Whether a session that lives goes on as it is, without anything to wait for: its access token has not ended. Sees to
    /// its renewal where that is due soon.
    pub(super) fn lets_go_on(&self, live: &Arc<CachedSession>, now: Timestamp) -> bool {
        !matches!(self.nudged(live, self.sessions.renewal_due_at(live, now)), RenewalDue::Overdue { .. })
    }

    /// What to do about a session that lives. Waits only where its access token has ended and the provider answers.
    pub(super) async fn advise(&self, live: Arc<CachedSession>) -> Advice {
        match self.nudged(&live, self.sessions.renewal_due(&live)) {
            RenewalDue::Overdue { within_grace: graceful } => Box::pin(self.join(live, graceful)).await,
            RenewalDue::No | RenewalDue::Soon => Advice::GoOn(live),
        }
    }

    fn nudged(&self, live: &Arc<CachedSession>, due: RenewalDue) -> RenewalDue {
        if due == RenewalDue::Soon {
            self.nudge(live);
        }
        due
    }

    async fn join(&self, live: Arc<CachedSession>, graceful: bool) -> Advice {
        let under_way = self.nudge(&live);
        // An outage that is known of makes nobody wait.
        let with = self.with.load_full();
        let settled = match (under_way, with.provider(&live)) {
            (Some(under_way), Some((index, provider))) if !graceful || (self.sessions.is_up() && provider.is_up()) => {
                with.metrics.count_wait(index);
                under_way.settled().await
            }
            _ => None,
        };
        match settled {
            Some(Outcome::Renewed(renewed)) => Advice::GoOn(renewed),
            Some(Outcome::Ended) => Advice::Ended,
            Some(Outcome::Unknown) | None if graceful => {
                self.sessions.count_stale_served();
                Advice::GoOn(live)
            }
            Some(Outcome::Unknown) | None => Advice::Away,
        }
    }

    /// Sees to it that a session is renewed, once however often it is asked for; `None` where it is not its turn.
    fn nudge(&self, live: &Arc<CachedSession>) -> Option<UnderWay> {
        let key = live.id();
        let mut turns = self.turns();
        if let Some(under_way) = turns.get(&key) {
            return Some(under_way.clone());
        }
        if !self.sessions.may_renew(live) {
            return None;
        }
        let (told, outcome) = watch::channel(None);
        // A full queue is no loss: the next request nudges again.
        self.queue.try_send(Errand::Renew(Turn { live: Arc::clone(live), told })).ok()?;
        let under_way = UnderWay { begun: Instant::now(), outcome };
        turns.insert(key, under_way.clone());
        Some(under_way)
    }

    /// Has the provider forget the refresh token of a session that has ended, where it offers that: a copy of it is then
    /// worth nothing. Nobody waits for it.
    pub(super) fn forget(&self, ended: &Record) {
        let Some(refresh) = ended.tokens.refresh.clone() else { return };
        if let Err(error) = self.queue.try_send(Errand::Forget { registration: ended.scope.registration, refresh }) {
            tracing::info!(%error, "a refresh token was not revoked and ends by itself");
        }
    }

    /// Until asked to stop: takes errands from the queue. Each runs as a task of its own, and is finished even then.
    pub async fn work(self: Arc<Self>, tasks: shutdown::Tasks, stop: shutdown::Signal) {
        let Some(mut waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (room, rest) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(FORGOTTEN_AT_ONCE)));
        loop {
            let errand = tokio::select! { errand = waiting.recv() => errand, () = stop.raised() => None };
            let renewer = Arc::clone(&self);
            match errand {
                Some(Errand::Renew(turn)) => {
                    let permit = Arc::clone(&room).acquire_owned().await;
                    tasks.spawn(async move {
                        let outcome = renewer.renew(&turn.live).await;
                        // Out of the list first: whoever comes now finds the new session, and not this turn.
                        renewer.turns().remove(&turn.live.id());
                        turn.told.send_replace(Some(outcome));
                        drop(permit);
                    });
                }
                Some(Errand::Forget { registration, refresh }) => {
                    // Renewals do not wait for a provider that is slow to forget.
                    let rest = Arc::clone(&rest);
                    tasks.spawn(async move {
                        let _permit = rest.acquire().await;
                        let with = renewer.with.load_full();
                        // One that was issued by somebody else, or to another client, is shown to nobody.
                        if let Some((_, provider)) = with.of(|issued| *issued == registration) {
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

    async fn renew(&self, live: &Arc<CachedSession>) -> Outcome {
        let with = self.with.load_full();
        let Some((index, provider)) = with.provider(live) else { return Outcome::Unknown };
        let count = |result| with.metrics.count(index, result);
        loop {
            match self.sessions.claim(live, provider.refresh_timeout()).await {
                Ok(Claim::Ours(permit)) => return self.redeem(provider, permit, count).await,
                Ok(Claim::Done(renewed)) => {
                    count(RenewalResult::Shared);
                    return Outcome::Renewed(renewed);
                }
                Ok(LeaseOutcome::Ended) => return Outcome::Ended,
                // Another replica is at it: its lease ends by itself if it dies.
                Ok(LeaseOutcome::HeldElsewhere) => tokio::time::sleep(LOOK).await,
                Err(error) => {
                    tracing::debug!(session = ?live.key(), %error, "a renewal has to wait for the session store");
                    count(RenewalResult::Unavailable);
                    return Outcome::Unknown;
                }
            }
        }
    }

    async fn redeem(&self, provider: &Provider, permit: RenewalPermit, count: impl Fn(RenewalResult)) -> Outcome {
        let record = permit.record();
        let Some(refresh) = &record.tokens.refresh else { return Outcome::Unknown };
        let renewal = oidc::RefreshRequest {
            refresh_token: refresh,
            id_token: record.tokens.id.as_ref(),
            identity: &record.identity,
        };
        let error = match provider.refresh(&renewal).await {
            Ok(refreshed) => {
                count(RenewalResult::Renewed);
                return self.write(provider, permit, refreshed).await;
            }
            Err(error) => error,
        };
        count(error.renewal());
        if error.renewal() == RenewalResult::Rejected {
            return self.believe(permit, &error).await;
        }
        let (user, subject) = (&record.identity.user, &record.identity.subject);
        tracing::warn!(session = ?permit.session().id(), provider = provider.settings().name, user, %subject, %error, "a session could not be renewed; it goes on within session.outage_grace");
        self.sessions.back_off(permit).await;
        Outcome::Unknown
    }

    /// Writes until it holds: the provider has forgotten the old refresh token already.
    async fn write(&self, provider: &Provider, permit: RenewalPermit, refreshed: Refreshed) -> Outcome {
        let Refreshed { identity, tokens, sid } = refreshed;
        let refresh = tokens.refresh.clone();
        let renewed = self.sessions.renew(permit, identity, tokens, sid);
        let (mut pause, mut last_tries) = (Duration::from_millis(50), LAST_TRIES);
        loop {
            match self.sessions.write_renewed(&renewed).await {
                Ok(Some(live)) => return Outcome::Renewed(live),
                // Signed out, here or there, while the provider was asked: it stays ended, and what came is of no use.
                Ok(None) => {
                    if let Some(refresh) = &refresh {
                        provider.revoke(refresh).await;
                    }
                    return Outcome::Ended;
                }
                Err(error) => {
                    tracing::warn!(session = ?renewed.id(), %error, "a renewed session could not be written yet; trying again");
                }
            }
            if self.stop.is_raised() {
                last_tries -= 1;
                if last_tries == 0 {
                    tracing::error!(session = ?renewed.id(), "a renewed session could not be written before the end, and is lost");
                    return Outcome::Unknown;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The provider will not renew it: over, unless somebody else has renewed it meanwhile.
    async fn believe(&self, permit: RenewalPermit, refusal: &oidc::Error) -> Outcome {
        let (key, who) = (permit.session().id(), permit.session().identity());
        let (user, subject) = (who.user().to_owned(), who.subject().to_owned());
        match self.sessions.end_unless_renewed(permit, LogoutKind::Expired).await {
            Ok(Some(live)) => Outcome::Renewed(live),
            Ok(None) => {
                tracing::info!(session = ?key, user, subject, %refusal, "a session has ended: its provider will not renew it");
                Outcome::Ended
            }
            Err(error) => {
                tracing::warn!(session = ?key, user, subject, %error, "the provider refused to renew a session, and the store cannot say whether another replica did");
                Outcome::Unknown
            }
        }
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<SessionId, UnderWay>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewing {
    /// The provider that issued a session's tokens, while it is who it was.
    fn provider(&self, live: &CachedSession) -> Option<(usize, &Arc<Provider>)> {
        self.of(|registration| live.who().has_registration(registration))
    }

    fn of(&self, issued: impl Fn(&Registration) -> bool) -> Option<(usize, &Arc<Provider>)> {
        self.providers.iter().enumerate().find(|(_, provider)| issued(&provider.settings().registration()))
    }
}

impl UnderWay {
    /// What became of it; `None` where that takes too long.
    async fn settled(mut self) -> Option<Outcome> {
        let left = JOIN.saturating_sub(self.begun.elapsed());
        let told = tokio::time::timeout(left, self.outcome.wait_for(Option::is_some)).await;
        told.ok().and_then(Result::ok).and_then(|told| told.clone())
    }
}
