//! Finding the session of a cookie: in memory, or else in the store.
//!
//! Promises: a cookie that we did not make, or not for where it was sent to, costs no look-up; a store that does not answer
//! never looks like a session that is over.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    metrics::Lookup,
    session::{
        Found, Kept, Sessions,
        cache::session::{CachedSession, ForwardedTokens},
        cookie::{Cookie, CookieValue, SessionId, Token},
        freshness::{Asked, Freshness},
        in_time,
        record::{Record, Unreadable},
        store::{Row, Store as _, Unavailable},
    },
};

/// How far memory can speak for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It lives and can be believed.
    Good,
    /// The store has to be asked first: nobody vouches for it, or what is to stay of its tokens has changed.
    Doubtful,
    /// It is not current.
    Past,
    /// No secret in force made its cookie.
    Foreign,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Current,
    /// Not used for long enough, as far as this process knows.
    Idle,
    /// Past its lifetime, whoever uses it.
    Over,
}

impl Sessions {
    /// What `read` makes of a cookie's session, where memory alone can vouch for it. Of all others only [`Sessions::find`] can
    /// tell what they are, and that counts them; so it does where `read` makes nothing of it.
    pub fn recall<T>(
        &self,
        cookie: Cookie<'_>,
        read: impl FnOnce(&Arc<CachedSession>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let now = self.clock.now();
        self.cache.with(&CookieValue::of(cookie.value)?, cookie.audience, |live| {
            if self.standing(live, now) != Standing::Good {
                return None;
            }
            read(live, now).inspect(|_| self.used(live, now))
        })
    }

    /// Looks up a cookie's session. Waits for the store little longer than [`crate::session::DEADLINE`].
    pub async fn find(&self, cookie: Cookie<'_>) -> Result<Found, Unavailable> {
        let (now, spelling, audience) = (self.clock.now(), CookieValue::of(cookie.value), cookie.audience);
        // On the heap, so that the future of a hit stays small.
        let Some(live) = spelling.as_ref().and_then(|spelling| self.cache.get(spelling, audience)) else {
            return match spelling.and_then(|spelling| spelling.read()) {
                Some(token) => Box::pin(self.meet(&token, audience, now)).await,
                None => Ok(self.counted(Lookup::Forged, Found::NotOurs)),
            };
        };
        match self.standing(&live, now) {
            Standing::Good => Ok(self.hit(live, now)),
            Standing::Doubtful => Box::pin(self.confirm(&live.token(), Arc::clone(&live), now)).await,
            Standing::Past => Box::pin(self.look_again(&live, now)).await,
            Standing::Foreign => {
                self.cache.forget(&live.key());
                Box::pin(self.meet(&live.token(), audience, now)).await
            }
        }
    }

    /// How far memory can speak for a session.
    fn standing(&self, live: &Arc<CachedSession>, now: Timestamp) -> Standing {
        if !self.terms.acknowledge(live) {
            return Standing::Foreign;
        }
        if self.age_of(live, now) != Age::Current {
            return Standing::Past;
        }
        if !self.has_what_is_passed(live) {
            return Standing::Doubtful;
        }
        match self.hearing.trust(live, now) {
            Freshness::Fresh => Standing::Good,
            Freshness::Revalidate => {
                self.doubt(live);
                Standing::Good
            }
            Freshness::Stale => Standing::Doubtful,
        }
    }

    /// Whether a session can be answered from as it is in memory.
    pub(super) fn will_do(&self, live: &CachedSession, now: Timestamp) -> bool {
        self.has_what_is_passed(live) && self.hearing.trust(live, now) != Freshness::Stale
    }

    /// Whether its tokens are in memory just where an app is passed them.
    pub(super) fn has_what_is_passed(&self, live: &CachedSession) -> bool {
        live.has_tokens() == self.terms.passes_tokens()
    }

    /// What the store says of a cookie that memory does not know.
    async fn meet(&self, token: &Token, audience: &str, now: Timestamp) -> Result<Found, Unavailable> {
        if !self.made(token, audience)? {
            return Ok(self.counted(Lookup::Forged, Found::NotOurs));
        }
        self.look_up(token, audience, now).await
    }

    /// What the store says of a session that is past here.
    async fn look_again(&self, live: &CachedSession, now: Timestamp) -> Result<Found, Unavailable> {
        // Past its lifetime nothing can save it. Idle here, it may have been used at another replica.
        let token = live.token();
        self.cache.forget(&token.key());
        if self.age_of(live, now) == Age::Over {
            return Ok(self.expired(&token));
        }
        self.look_up(&token, live.who().audience(), now).await
    }

    async fn look_up(&self, token: &Token, audience: &str, now: Timestamp) -> Result<Found, Unavailable> {
        let good = |live: &CachedSession| self.will_do(live, now);
        match in_time(self.cache.get_or_load(token, good, || self.load(token))).await? {
            None => Ok(self.counted(Lookup::Unknown, Found::Ended)),
            Some(live) if !live.answers_to(&token.spelling(), audience) => {
                Ok(self.counted(Lookup::Forged, Found::NotOurs))
            }
            Some(live) if self.age_of(&live, now) == Age::Current => {
                self.note_use(&live, now);
                Ok(self.counted(Lookup::Miss, Found::Live(live)))
            }
            Some(_) => Ok(self.expired(token)),
        }
    }

    /// The session as the store has it now; `None` where it is over.
    pub(super) async fn load(&self, token: &Token) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let asked = self.hearing.asking(self.clock.now());
        let kept = self.read(&token.key()).await?;
        Ok(kept.map(|Kept { row, record }| {
            let live = self.alive(&record, token, &row, asked);
            self.note_seal(row);
            live
        }))
    }

    /// What the store has of a session; `None` where that is nothing, or nothing that can ever be read again.
    pub(super) async fn read(&self, key: &SessionId) -> Result<Option<Kept>, Unavailable> {
        let Some(row) = self.store.load(key).await? else {
            return Ok(None);
        };
        match Record::open(&self.terms.keyring(), *key, &row.sealed) {
            Ok(record) => Ok(Some(Kept { row, record })),
            // It lives, for the replicas that have been updated already.
            Err(Unreadable::Newer) => {
                Err(Unavailable::Failed("the session was written by a newer version of doorward".to_owned()))
            }
            Err(unreadable) => {
                tracing::warn!(session = ?key, ?unreadable, "a session can never be read again and counts as ended");
                Ok(None)
            }
        }
    }

    /// A session as memory keeps it.
    pub(super) fn alive(&self, record: &Record, token: &Token, row: &Row, asked: Asked) -> Arc<CachedSession> {
        let passed = self.terms.passes_tokens().then(|| ForwardedTokens::of(record, row));
        Arc::new(CachedSession::new(record, token, row, asked, passed))
    }

    /// Its row is left to the purge, which counts it once for all replicas and spares one that was used elsewhere.
    fn expired(&self, token: &Token) -> Found {
        self.bury(token.key());
        self.backlog.meet_expired();
        self.counted(Lookup::Unknown, Found::Ended)
    }

    pub(super) fn age_of(&self, live: &CachedSession, now: Timestamp) -> Age {
        self.age(live.created(), live.last_seen(), now)
    }

    pub(super) fn age(&self, created: Timestamp, last_seen: Timestamp, now: Timestamp) -> Age {
        if now.since(created) >= self.terms.lifetime() {
            Age::Over
        } else if now.since(last_seen) >= self.terms.idle_timeout() {
            Age::Idle
        } else {
            Age::Current
        }
    }

    fn note_use(&self, live: &Arc<CachedSession>, now: Timestamp) {
        live.see(now);
        // More often than an idle timeout that is shorter than the interval, or a restart would end sessions in use.
        let interval = crate::session::TOUCH_INTERVAL.min(self.terms.idle_timeout() / 4);
        if live.put_forward(now, interval) {
            self.cache.keep(&live.key());
            if !self.backlog.leave(live) {
                live.put_back();
            }
        }
    }

    pub(super) fn hit(&self, live: Arc<CachedSession>, now: Timestamp) -> Found {
        self.used(&live, now);
        Found::Live(live)
    }

    fn used(&self, live: &Arc<CachedSession>, now: Timestamp) {
        self.note_use(live, now);
        self.metrics.count_lookup(Lookup::Hit);
    }

    pub(super) fn counted(&self, result: Lookup, found: Found) -> Found {
        self.metrics.count_lookup(result);
        found
    }
}
