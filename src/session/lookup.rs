//! Look-up: finding the session of a cookie, in memory or else in the store.
//!
//! Promises: a cookie that we did not make, or not for the host that it was sent to, costs no call to the store; a store that
//! does not answer is never taken for a session that has ended; while it is unavailable known sessions are served for
//! `session.outage_grace` (stale-if-error), and each such answer is counted.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, Timestamp},
    metrics::{self, Lookup},
    session::{
        active_settings::{ActiveSettings, Expiry},
        backlog::Backlog,
        cache::{Cache, session::CachedSession},
        cookie::{Cookie, CookieValue, Token},
        freshness::{ChangeFeed, Freshness},
        load::{SessionLoader, in_time},
        revalidation::Revalidation,
        store::{ObservedStore, Unavailable},
    },
};

/// Interval at which a session's last use is written at most.
const LAST_USE_INTERVAL: Duration = Duration::from_mins(1);

/// The outcome of a look-up.
#[derive(Clone, Debug)]
pub enum LookupOutcome {
    /// A session that is in force.
    Live(Arc<CachedSession>),
    /// A session of ours that has ended.
    Ended,
    /// A cookie that we did not make for the host that it was sent to.
    NotOurs,
}

/// State of a session in memory, before the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CacheState {
    /// To be served.
    Fresh,
    /// To be served, and revalidated in the background: stale-while-revalidate.
    Revalidate,
    /// To be served once the store has been asked: not confirmed recently, or the tokens that apps are passed have changed.
    Stale,
    /// Idle, or past its lifetime.
    Expired,
    /// No secret in force made its cookie.
    Unverified,
}

/// Looks sessions up.
pub(super) struct SessionLookup<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) feed: &'a ChangeFeed,
    pub(super) backlog: &'a Backlog,
    pub(super) metrics: &'a metrics::SessionMetrics,
}

impl CacheState {
    fn of(session: &CachedSession, settings: &ActiveSettings, feed: &ChangeFeed, now: Timestamp) -> Self {
        if !settings.verify_cached(session) {
            return Self::Unverified;
        }
        if settings.expiry_of(session, now) != Expiry::Active {
            return Self::Expired;
        }
        if !settings.has_right_tokens(session) {
            return Self::Stale;
        }
        match feed.freshness(session.validation(), now) {
            Freshness::Fresh => Self::Fresh,
            Freshness::Revalidate => Self::Revalidate,
            Freshness::Stale => Self::Stale,
        }
    }
}

impl<'a> SessionLookup<'a> {
    /// Returns what `read` makes of a cookie's session, if memory alone can answer. The hot path.
    #[inline]
    pub(super) fn get_cached<T>(
        &self,
        cookie: Cookie<'_>,
        read: impl FnOnce(&Arc<CachedSession>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        // The fields by themselves, so that the compiler need not build this structure for a hit.
        let Self { settings, cache, feed, backlog, metrics, .. } = *self;
        let now = self.clock.now();
        cache.with(&CookieValue::of(cookie.value)?, cookie.audience, |session| {
            match CacheState::of(session, settings, feed, now) {
                CacheState::Fresh => {}
                CacheState::Revalidate => backlog.queue_revalidation(session),
                CacheState::Stale | CacheState::Expired | CacheState::Unverified => return None,
            }
            read(session, now).inspect(|_| {
                record_use(session, now, settings, cache, backlog);
                metrics.count_lookup(Lookup::Hit);
            })
        })
    }

    /// Looks up a cookie's session. Waits for the store little longer than [`DEADLINE`](crate::session::DEADLINE).
    pub(super) async fn find(&self, cookie: Cookie<'_>) -> Result<LookupOutcome, Unavailable> {
        let (now, value, audience) = (self.clock.now(), CookieValue::of(cookie.value), cookie.audience);
        // Misses are boxed, so that the future of a hit stays small.
        let Some(session) = value.as_ref().and_then(|value| self.cache.get(value, audience)) else {
            return match value.and_then(|value| Token::decode(&value)) {
                Some(token) => Box::pin(self.find_uncached(&token, audience, now)).await,
                None => Ok(self.counted(Lookup::Forged, LookupOutcome::NotOurs)),
            };
        };
        match CacheState::of(&session, self.settings, self.feed, now) {
            CacheState::Fresh => Ok(self.hit(session, now)),
            CacheState::Revalidate => {
                self.backlog.queue_revalidation(&session);
                Ok(self.hit(session, now))
            }
            CacheState::Stale => Box::pin(self.find_stale(session, now)).await,
            CacheState::Expired => Box::pin(self.find_expired(&session, now)).await,
            CacheState::Unverified => {
                self.cache.remove(&session.id());
                Box::pin(self.find_uncached(&session.token(), audience, now)).await
            }
        }
    }

    /// Looks up a session that is not in memory.
    async fn find_uncached(&self, token: &Token, audience: &str, now: Timestamp) -> Result<LookupOutcome, Unavailable> {
        if !self.settings.verify(token, audience)? {
            return Ok(self.counted(Lookup::Forged, LookupOutcome::NotOurs));
        }
        self.load(token, audience, now).await
    }

    /// Looks up a session that is stale in memory: the store is asked, and while it is unavailable the session is served for
    /// the grace.
    async fn find_stale(&self, session: Arc<CachedSession>, now: Timestamp) -> Result<LookupOutcome, Unavailable> {
        let token = session.token();
        // Its ending may be waiting for a store that does not answer.
        if self.cache.is_tombstoned(&session.id()) {
            return Ok(self.counted(Lookup::Unknown, LookupOutcome::Ended));
        }
        // A known outage makes no request wait, unless a hint has come: then the session is served only on the store's word.
        if !self.store.is_available() && !session.validation().is_invalidated() {
            return self.serve_stale_if_error(session, now, Unavailable::Deadline);
        }
        let is_usable = |session: &CachedSession| self.is_usable(session, self.clock.now());
        let revalidation = self.revalidation();
        let revalidate = || revalidation.revalidate(&token, &session);
        match in_time(self.cache.get_or_load(&token, is_usable, revalidate)).await {
            Ok(Some(session)) => Ok(self.hit(session, now)),
            Ok(None) => Ok(self.counted(Lookup::Unknown, LookupOutcome::Ended)),
            Err(_) if self.cache.is_tombstoned(&session.id()) => {
                Ok(self.counted(Lookup::Unknown, LookupOutcome::Ended))
            }
            Err(error) => self.serve_stale_if_error(session, now, error),
        }
    }

    /// Looks up a session that has expired in memory.
    async fn find_expired(&self, session: &CachedSession, now: Timestamp) -> Result<LookupOutcome, Unavailable> {
        let token = session.token();
        self.cache.remove(&token.id());
        // Past its lifetime the store need not be asked. Idle here, it may have been used at another replica.
        if self.settings.expiry_of(session, now) == Expiry::Expired {
            return Ok(self.expired(&token));
        }
        self.load(&token, session.identity().audience(), now).await
    }

    async fn load(&self, token: &Token, audience: &str, now: Timestamp) -> Result<LookupOutcome, Unavailable> {
        let loader = self.loader();
        let is_usable = |session: &CachedSession| self.is_usable(session, now);
        match in_time(self.cache.get_or_load(token, is_usable, || loader.load(token))).await? {
            None => Ok(self.counted(Lookup::Unknown, LookupOutcome::Ended)),
            Some(session) if !session.matches(&token.value(), audience) => {
                Ok(self.counted(Lookup::Forged, LookupOutcome::NotOurs))
            }
            Some(session) if self.settings.expiry_of(&session, now) == Expiry::Active => {
                record_use(&session, now, self.settings, self.cache, self.backlog);
                Ok(self.counted(Lookup::Miss, LookupOutcome::Live(session)))
            }
            Some(_) => Ok(self.expired(token)),
        }
    }

    /// Serves a session that could not be revalidated (RFC 5861 §4), or fails with the store's error: past the grace, or
    /// where a hint says that the session has changed, which is no outage.
    fn serve_stale_if_error(
        &self,
        session: Arc<CachedSession>,
        now: Timestamp,
        error: Unavailable,
    ) -> Result<LookupOutcome, Unavailable> {
        let is_stale = self.feed.freshness(session.validation(), now) == Freshness::Stale;
        if session.validation().is_invalidated() {
            return Err(error);
        }
        if is_stale && now.since(session.validation().at()) > self.settings.outage_grace() {
            return Err(error);
        }
        self.metrics.stale_served.inc();
        Ok(self.hit(session, now))
    }

    /// Returns `true` if a session can be served as it is in memory.
    fn is_usable(&self, session: &CachedSession, now: Timestamp) -> bool {
        self.settings.has_right_tokens(session) && self.feed.freshness(session.validation(), now) != Freshness::Stale
    }

    /// Ends a session here. Its row is left to the purge, which counts it once for all replicas and spares a session that was
    /// used elsewhere.
    fn expired(&self, token: &Token) -> LookupOutcome {
        self.cache.tombstone_and_remove(token.id());
        self.backlog.note_expired();
        self.counted(Lookup::Unknown, LookupOutcome::Ended)
    }

    fn hit(&self, session: Arc<CachedSession>, now: Timestamp) -> LookupOutcome {
        record_use(&session, now, self.settings, self.cache, self.backlog);
        self.counted(Lookup::Hit, LookupOutcome::Live(session))
    }

    fn counted(&self, result: Lookup, outcome: LookupOutcome) -> LookupOutcome {
        self.metrics.count_lookup(result);
        outcome
    }

    // Made where memory cannot answer, so that the future of a hit does not carry them.

    fn loader(&self) -> SessionLoader<'a> {
        let Self { settings, clock, store, feed, backlog, .. } = *self;
        SessionLoader { settings, clock, store, feed, backlog }
    }

    fn revalidation(&self) -> Revalidation<'a> {
        let Self { settings, clock, store, cache, feed, backlog, .. } = *self;
        Revalidation { settings, clock, store, cache, feed, backlog, loader: self.loader() }
    }
}

/// Records a use, and once in an interval queues it to be written.
fn record_use(
    session: &Arc<CachedSession>,
    now: Timestamp,
    settings: &ActiveSettings,
    cache: &Cache,
    backlog: &Backlog,
) {
    session.record_use(now);
    // More often where the idle timeout is short, or a restart would end sessions in use.
    let interval = LAST_USE_INTERVAL.min(settings.idle_timeout() / 4);
    if session.begin_write_of_last_use(now, interval) {
        cache.mark_used(&session.id());
        if !backlog.queue_last_use(session) {
            session.cancel_write_of_last_use();
        }
    }
}
