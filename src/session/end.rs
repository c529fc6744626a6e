//! Ending sessions: sign-out at the gate, and logout that a provider demands.
//!
//! Promises: a session with a tombstone is refused from then on, whatever the store does, and its row is deleted once the
//! store takes it; each ending is counted by the process that deletes the row; a logout token counts once for all
//! processes, so that a replay ends nothing. An ending that was given up half-way leaves no session in memory that is served
//! without the store being asked.

use crate::{
    clock::{Clock, Timestamp},
    crypto,
    identity::Registration,
    metrics::{self, LogoutKind},
    session::{
        active_settings::{ActiveSettings, Expiry},
        backlog::Backlog,
        cache::{Cache, session::CachedSession},
        cookie::{Cookie, SessionId, Token},
        freshness::ChangeFeed,
        load::{SessionLoader, StoredSession, in_time},
        record::Record,
        store::{ObservedStore, Selection, Store as _, Unavailable, lease::Leases as _},
    },
};

/// Rows that one statement ends.
const BATCH: u32 = 500;

/// The sessions of a provider that are to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutTarget {
    /// One session, by the provider's `sid`.
    Sid(String),
    /// All sessions of a person, by `sub`.
    Subject(String),
}

/// The `jti` of a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4), to be recorded against replay.
#[derive(Clone, Copy, Debug)]
pub struct LogoutTokenId<'a> {
    /// The configured name of the provider.
    pub provider: &'a str,
    /// The registration that the token was issued for: the same `jti` for another one is another token.
    pub registration: Registration,
    /// The token's own id.
    pub jti: &'a str,
    /// End of the time for which it has to be remembered.
    pub until: Timestamp,
}

/// Ends sessions.
#[derive(Clone, Copy)]
pub(super) struct SessionEnding<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) backlog: &'a Backlog,
    pub(super) metrics: &'a metrics::SessionMetrics,
    pub(super) loader: SessionLoader<'a>,
}

impl LogoutTokenId<'_> {
    /// The key that it is recorded under. Registrations are of one length, so that no two pairs look alike.
    fn digest(&self) -> [u8; 32] {
        crypto::digest(&[&self.registration.0, self.jti.as_bytes()].concat())
    }
}

impl SessionEnding<'_> {
    /// Ends a cookie's session and returns its record; `None` where it is not ours or had ended already.
    pub(super) async fn revoke(&self, cookie: Cookie<'_>, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        let Some(token) = Token::parse(cookie.value) else { return Ok(None) };
        if !self.settings.verify(&token, cookie.audience)? {
            return Ok(None);
        }
        self.end(&token, why).await
    }

    /// Ends the session of a token that was verified, and returns its record; `None` where it had ended already.
    pub(super) async fn end(&self, token: &Token, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        let id = token.id();
        if self.cache.is_tombstoned(&id) && !self.backlog.has_ending(&id) {
            return Ok(None);
        }
        self.backlog.add_ending(*token, why);
        self.cache.tombstone(id);
        in_time(self.revoke_tombstoned(token, why)).await
    }

    async fn revoke_tombstoned(&self, token: &Token, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        let (id, cached) = (token.id(), self.cache.remove_after_load(token).await);
        let stored = self.loader.read(&id).await?;
        // Memory may know of a later use, and of a session whose row cannot be opened any more.
        let now = self.clock.now();
        let was_active = cached.is_some_and(|session| self.settings.expiry_of(&session, now) == Expiry::Active)
            || stored.as_ref().is_some_and(|StoredSession { row, record }| {
                self.settings.expiry(record.created, row.last_seen, now) == Expiry::Active
            });
        let record = stored.map(|stored| stored.record).filter(|_| was_active);
        let why = if was_active { why } else { LogoutKind::Expired };
        // Gone by now where the retry of pending endings was faster: it is the same ending, and the caller's to tell of.
        self.delete(&id, why).await?;
        Ok(record)
    }

    /// Deletes a session's row. Returns `true` if it was there, and counts the ending then.
    pub(super) async fn delete(&self, id: &SessionId, why: LogoutKind) -> Result<bool, Unavailable> {
        let was_there = !self.store.delete(&Selection::from(*id), 1).await?.is_empty();
        self.backlog.finish_ending(id);
        self.metrics.count_ended(why, u64::from(was_there));
        Ok(was_there)
    }

    /// Deletes the rows of sessions that have ended and may still have one.
    pub(super) async fn finish_pending(&self) {
        for (token, why) in self.backlog.pending_endings() {
            // Again each time: while the row is there the session could come back from it, and the caller who began this may
            // have gone away half-way.
            self.cache.tombstone(token.id());
            self.cache.remove_after_load(&token).await;
            if self.delete(&token.id(), why).await.is_err() {
                return;
            }
        }
    }

    /// Ends sessions by their provider's names, in every process. Returns their number.
    pub(super) async fn end_by(
        &self,
        provider: &str,
        target: &LogoutTarget,
        why: LogoutKind,
    ) -> Result<u64, Unavailable> {
        let selection = match target.clone() {
            LogoutTarget::Sid(sid) => Selection::Sid { provider: provider.to_owned(), sid },
            LogoutTarget::Subject(subject) => Selection::Subject { provider: provider.to_owned(), subject },
        };
        let mut under_way =
            ProviderLogout { cache: self.cache, now: self.clock.now(), provider, target, is_finished: false };
        let mut ended = 0;
        loop {
            let deleted = self.store.delete(&selection, BATCH).await?;
            for id in &deleted {
                self.cache.tombstone_and_remove(*id);
            }
            let count = deleted.len() as u64;
            self.metrics.count_ended(why, count);
            ended += count;
            if count < u64::from(BATCH) {
                under_way.is_finished = true;
                return Ok(ended);
            }
        }
    }

    /// Ends sessions on a logout token, whose `jti` is recorded for all processes. Returns their number, or `None` for a
    /// replay. If the sessions cannot be ended, the token may come again.
    pub(super) async fn end_once(
        &self,
        token: LogoutTokenId<'_>,
        target: &LogoutTarget,
        why: LogoutKind,
    ) -> Result<Option<u64>, Unavailable> {
        let digest = token.digest();
        let is_retry = self.backlog.take_unfinished_logout(&digest);
        let mut under_way = LogoutTokenUse { ending: self, digest, until: token.until, is_finished: false };
        if !self.store.record_jti(&digest, token.until).await? && !is_retry {
            under_way.is_finished = true;
            return Ok(None);
        }
        let ended = self.end_by(token.provider, target, why).await;
        under_way.is_finished = ended.is_ok();
        if ended.is_err() {
            // Where this fails too, this process remembers it.
            let _recorded_at_worst = self.store.forget_jti(&digest).await;
        }
        ended.map(Some)
    }
}

/// Ending of sessions by their provider's names that is under way. Rows may be gone although the store said otherwise, or nobody
/// waited for what it said: unless it is finished, the sessions in memory that it is about are revalidated before they are
/// served.
struct ProviderLogout<'a> {
    cache: &'a Cache,
    now: Timestamp,
    provider: &'a str,
    target: &'a LogoutTarget,
    is_finished: bool,
}

impl ProviderLogout<'_> {
    fn may_be_about(&self, session: &CachedSession) -> bool {
        session.identity().provider() == self.provider
            && match self.target {
                // It is not in memory: any of them may be the one.
                LogoutTarget::Sid(_) => true,
                LogoutTarget::Subject(subject) => session.identity().subject() == subject,
            }
    }
}

impl Drop for ProviderLogout<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let about = self.cache.all().filter(|session| self.may_be_about(session));
            about.for_each(|session| ChangeFeed::expire(session.validation(), self.now));
        }
    }
}

/// Use of a logout token that is under way. It may be recorded although the store said otherwise, or nobody waited for what it
/// said: unless it is finished, this process takes the token once more. Rather that than a session that goes on.
struct LogoutTokenUse<'a> {
    ending: &'a SessionEnding<'a>,
    digest: [u8; 32],
    until: Timestamp,
    is_finished: bool,
}

impl Drop for LogoutTokenUse<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let SessionEnding { backlog, clock, .. } = self.ending;
            backlog.add_unfinished_logout(self.digest, self.until, clock.now());
        }
    }
}
