//! Sessions: made at sign-in, found by their cookie on every request, ended once and for all.
//!
//! Promises: a cookie that we did not make costs no store look-up; a store that does not answer never looks like a
//! session that is over; nothing is written on a request's path. It must not know providers, edges or pages.

pub mod admin;
mod cache;
mod cookie;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lookup;
mod record;
mod renewal;
mod settings;
mod store;
mod terms;
mod upkeep;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use self::{
    cache::Cache,
    cookie::Token,
    freshness::ChangeFeed,
    lookup::Age,
    store::{ObservedStore, Row, Selection, Store as _, lease::LeaseHolder},
    terms::Terms,
    upkeep::{Backlog, Upkeep},
};
pub use self::{
    cache::session::CachedSession,
    cookie::{Cookie, SessionId},
    record::{NewSession, Record},
    renewal::{Claim, Due, LogoutTokenId, RenewalPermit, Renewed, Whose},
    settings::{Backend, Settings},
    store::{DEADLINE, Unavailable, postgres},
    upkeep::reencryption::RotationStatus,
};
use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics::{self, LogoutKind},
    shutdown,
};

/// How long the start waits to see whether the store is there. Whether or not it is changes nothing but the log.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How often a session's last use is written at most.
const TOUCH_INTERVAL: Duration = Duration::from_mins(1);

/// What a cookie turned out to be.
#[derive(Clone, Debug)]
pub enum Found {
    /// A session that lives.
    Live(Arc<CachedSession>),
    /// A session of ours that is over.
    Ended,
    /// Nothing that we made for where it was sent to.
    NotOurs,
}

/// All sessions of this gate.
pub struct Sessions {
    terms: Terms,
    clock: Clock,
    metrics: metrics::SessionMetrics,
    store: ObservedStore,
    cache: Cache,
    hearing: ChangeFeed,
    backlog: Backlog,
    /// Who this process is to those it shares a store with.
    holder: LeaseHolder,
}

/// What the store has of a session.
struct Kept {
    row: Row,
    record: Record,
}

impl Sessions {
    /// Opens the store. Fails only where waiting cannot help (a file that is no database, a directory that is not there);
    /// a server that is away is waited for by [`Sessions::maintain`].
    pub async fn open(
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        sessions: metrics::SessionMetrics,
        store: metrics::StoreMetrics,
    ) -> Result<Self, Unavailable> {
        let store = store::open::open(&settings.backend, store).await?;
        let sessions = Self::with(store, settings, keyring, clock, sessions);
        let first_look = async {
            if sessions.store.ping().await.is_ok() {
                sessions.settle().await;
            }
        };
        // The answer shows in the metric and in `is_up`; an outage now is no worse than one later.
        let _ = tokio::time::timeout(FIRST_LOOK, first_look).await;
        Ok(sessions)
    }

    fn with(
        store: ObservedStore,
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        metrics: metrics::SessionMetrics,
    ) -> Self {
        let hearing = if store.is_shared() { ChangeFeed::of_others() } else { ChangeFeed::of_nobody() };
        let (terms, cache) = (Terms::new(settings, keyring), Cache::new());
        Self { terms, clock, metrics, store, cache, hearing, backlog: Backlog::new(), holder: LeaseHolder::random() }
    }

    /// Other lifetimes and keys, for sessions that live already too. Where sessions are kept stays as it is.
    pub fn change(&self, settings: &Settings, keyring: Arc<Keyring>) {
        if self.terms.change(settings, keyring) {
            self.metrics.reset_rows_to_reencrypt();
        }
    }

    /// Makes a session and returns the value of its cookie: always a new one, written before it is returned.
    pub async fn create(&self, new: NewSession) -> Result<String, Unavailable> {
        let keyring = self.terms.keyring();
        let token = Token::fresh(&keyring, &new.scope.audience);
        let record = Record::new(new, self.clock.now());
        let row = record.seal(&keyring, token.key());
        let mut watch = self.cache.watch(token.key());
        let live = self.alive(&record, &token, &row, self.hearing.asking(self.clock.now()));
        self.store.insert(row).await?;
        self.cache.insert(Arc::clone(&live));
        self.heed(&mut watch, &live);
        Ok(token.encode())
    }

    /// Ends a cookie's session, and returns what it was; `None` where it is none of ours, is sent to where it does not count, or
    /// was over already.
    ///
    /// Whatever the store does, and even if the caller does not wait for the answer, this process refuses the session
    /// from here on, and its row is removed when the store takes it.
    pub async fn revoke(&self, cookie: Cookie<'_>, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        let Some(token) = Token::parse(cookie.value) else { return Ok(None) };
        if !self.made(&token, cookie.audience)? {
            return Ok(None);
        }
        let key = token.key();
        if self.cache.is_over(&key) && !self.backlog.owes(&key) {
            return Ok(None);
        }
        self.backlog.owe(token, why);
        self.cache.bury(key);
        in_time(self.revoke_owed(&token, why)).await
    }

    /// Whether the store answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.store.is_available()
    }

    /// Whether the store ever answered. Before that no session can be told from a stranger's cookie.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.store.was_opened() && self.terms.keyring().has_loaded_retired()
    }

    /// How long a new session's cookie is worth keeping.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.terms.lifetime()
    }

    /// When a session ends even if it is used until then.
    #[must_use]
    pub fn ends(&self, live: &CachedSession) -> Timestamp {
        live.created().plus(self.terms.lifetime())
    }

    /// Whether we made a cookie for where it was sent to, be its session over or not, or cannot tell yet. Asks no store.
    #[must_use]
    pub fn may_be_ours(&self, cookie: Cookie<'_>) -> bool {
        Token::parse(cookie.value).is_some_and(|token| self.made(&token, cookie.audience).unwrap_or(true))
    }

    /// Until asked to stop: writes when sessions were last used, removes expired ones in small batches, sees whether
    /// the store is there, hears what others do to sessions. Writes what is pending once more before it returns.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        tokio::select! {
            () = Upkeep::of(self).run(stop) => {}
            never = upkeep::settle_doubts(self) => match never {},
            never = upkeep::let_rest(self) => match never {},
            never = self.store.listen(self) => match never {},
        }
    }

    /// Whether a secret of ours made this for a host or domain. Until what dropped ones have left is read, whatever the others
    /// did not make may be theirs.
    fn made(&self, token: &Token, audience: &str) -> Result<bool, Unavailable> {
        let keyring = self.terms.keyring();
        let knows_all = keyring.has_loaded_retired();
        match token.is_made_by(&keyring, audience) {
            false if !knows_all => {
                Err(Unavailable::Failed("what dropped secrets have left is not read yet".to_owned()))
            }
            made => Ok(made),
        }
    }

    async fn revoke_owed(&self, token: &Token, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        let (key, in_memory) = (token.key(), self.cache.take(token).await);
        let kept = self.read(&key).await?;
        // Memory may know of a later use, and of a session whose row cannot be read any more.
        let now = self.clock.now();
        let was_current = in_memory.is_some_and(|live| self.age_of(&live, now) == Age::Current)
            || kept
                .as_ref()
                .is_some_and(|Kept { row, record }| self.age(record.created, row.last_seen, now) == Age::Current);
        let record = kept.map(|kept| kept.record).filter(|_| was_current);
        let why = if was_current { why } else { LogoutKind::Expired };
        let was_there = self.end(&key, why).await?;
        Ok(record.filter(|_| was_there))
    }

    /// Remembers that a session is over, and drops it from memory.
    fn bury(&self, key: SessionId) {
        self.cache.bury(key);
        self.cache.forget(&key);
    }

    /// Removes a session's row, says whether it was there, and counts the ending if so: whoever removes it counts it.
    async fn end(&self, key: &SessionId, why: LogoutKind) -> Result<bool, Unavailable> {
        let was_there = !self.store.delete(&Selection::from(*key), 1).await?.is_empty();
        self.backlog.settle(key);
        self.metrics.count_ended(why, u64::from(was_there));
        Ok(was_there)
    }
}

/// Each call to the store has a deadline of its own; this one bounds waiting for the calls of others as well.
async fn in_time<T>(work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
    tokio::time::timeout(DEADLINE + DEADLINE / 10, work).await.unwrap_or(Err(Unavailable::Deadline))
}
