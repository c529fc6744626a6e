//! The end of a session: revoked by whoever brings its cookie, removed from the store, or past its time.
//!
//! Promises: from the moment on at which its end is asked for this process refuses it, whatever the store does; an ending is
//! counted by whoever removes the row, once for all replicas.

use super::{
    Age, Found, Kept, Record, Sessions, in_time,
    store::{Selection, Store as _, Unavailable},
    token::{Key, Token},
};
use crate::metrics::{Logout, Lookup};

impl Sessions {
    /// Ends the session that a cookie's value stands for, and returns what it was; `None` where it is none of ours or was over
    /// already.
    ///
    /// Whatever the store does, and even if the caller does not wait for the answer, this process refuses the session
    /// from here on, and its row is removed when the store takes it.
    pub async fn revoke(&self, cookie: &[u8], why: Logout) -> Result<Option<Record>, Unavailable> {
        let Some(token) = Token::parse(cookie) else { return Ok(None) };
        if !self.made(&token)? {
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

    async fn revoke_owed(&self, token: &Token, why: Logout) -> Result<Option<Record>, Unavailable> {
        let (key, in_memory) = (token.key(), self.cache.take(token).await);
        let kept = self.read(&key).await?;
        // Memory may know of a later use, and of a session whose row cannot be read any more.
        let now = self.clock.now();
        let was_current = in_memory.is_some_and(|live| self.age_of(&live, now) == Age::Current)
            || kept
                .as_ref()
                .is_some_and(|Kept { row, record }| self.age(record.created, row.last_seen, now) == Age::Current);
        let record = kept.map(|kept| kept.record).filter(|_| was_current);
        let why = if was_current { why } else { Logout::Expired };
        let was_there = self.end(&key, why).await?;
        Ok(record.filter(|_| was_there))
    }

    /// Removes a session's row, says whether it was there, and counts the ending if so: whoever removes it counts it.
    pub(super) async fn end(&self, key: &Key, why: Logout) -> Result<bool, Unavailable> {
        let was_there = !self.store.delete(&Selection::from(*key), 1).await?.is_empty();
        self.backlog.settle(key);
        self.metrics.ended(why, u64::from(was_there));
        Ok(was_there)
    }

    /// Its row is left to the purge, which counts it once for all replicas and spares one that was used elsewhere.
    pub(super) fn expired(&self, token: &Token) -> Found {
        self.cache.bury(token.key());
        self.cache.forget(&token.key());
        self.backlog.meet_expired();
        self.counted(Lookup::Unknown, Found::Ended)
    }
}
