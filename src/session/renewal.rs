//! A session's renewal as the sessions see it: when it is due, whose turn it is, and how what it brings is kept.
//!
//! Promises: a [`RenewalPermit`] is held by one process at a time; a renewed session is served here before it is written, and
//! written before its lease ends; one that was ended meanwhile stays ended. It must not know providers.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    crypto,
    identity::{Identity, Registration, Tokens},
    metrics::LogoutKind,
    session::{
        Kept, Sessions,
        cache::{MOST_LOADS, session::CachedSession},
        cookie::SessionId,
        freshness::hints::Watch,
        record::Record,
        store::{
            Row, Selection, Store as _, Unavailable,
            lease::{Lease, Leases as _},
        },
    },
};

/// How long a lease lasts beyond the longest answer of a provider: for a store that takes no writes for a while.
const MARGIN: Duration = Duration::from_secs(40);
/// How long a session is left alone after a renewal that failed, at the least; at the most twice as long.
const PAUSE: Duration = Duration::from_secs(5);
/// Rows that one statement ends.
const BATCH: u32 = 500;

/// Whether a session is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Not yet, or never: it has no refresh token.
    No,
    /// Before its access token ends: in the background.
    Soon,
    /// Its access token has ended.
    Past {
        /// Whether it may go on as it is, for `outage_grace`, where nobody can be asked.
        graceful: bool,
    },
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Claim {
    /// Ours.
    Ours(RenewalPermit),
    /// Another process is at it.
    Theirs,
    /// Another process has done it.
    Done(Arc<CachedSession>),
    /// The session is over.
    Gone,
}

/// Proof that this process holds the lease of a session's renewal, and nobody else does.
#[derive(Debug)]
pub struct RenewalPermit {
    live: Arc<CachedSession>,
    record: Box<Record>,
    /// What was heard of it since its turn began.
    watch: Watch,
}

/// A renewed session that has yet to be written.
pub struct Renewed {
    live: Arc<CachedSession>,
    row: Row,
}

/// Whose sessions are to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one that the provider calls so.
    Sid(String),
    /// All of a person's.
    Subject(String),
}

/// A word that counts once.
#[derive(Clone, Copy, Debug)]
pub struct LogoutTokenId<'a> {
    /// The provider whose word it is.
    pub provider: &'a str,
    /// Under which registration it says so: under another one the same word is another word.
    pub registration: Registration,
    /// What it calls it.
    pub word: &'a str,
    /// Until when it has to be remembered.
    pub until: Timestamp,
}

impl RenewalPermit {
    /// The session as it was when its turn came.
    #[must_use]
    pub fn live(&self) -> &Arc<CachedSession> {
        &self.live
    }

    /// What is kept of it, tokens and all.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

impl Renewed {
    /// The key of its row.
    #[must_use]
    pub fn key(&self) -> SessionId {
        self.row.key
    }
}

impl Sessions {
    /// Whether a session is to be renewed. CacheKey of a token's life at the most is given away, however short it is.
    #[must_use]
    pub fn due(&self, live: &CachedSession) -> Due {
        self.due_at(live, self.clock.now())
    }

    /// The same for whoever knows the time already.
    #[must_use]
    pub fn due_at(&self, live: &CachedSession, now: Timestamp) -> Due {
        let Some(ends) = live.ends() else { return Due::No };
        let lead = self.terms.renew_before().min(ends.since(live.renewed()) / 2);
        // Nearly every request ends here.
        if now < ends.minus(lead) {
            return Due::No;
        }
        // Spread by the key, so that those who came in together do not all go to the provider at once.
        let spread = lead / 4 * u32::from(live.key().0[0]) / u32::from(u8::MAX);
        if now < ends.minus(lead.saturating_sub(spread)) {
            Due::No
        } else if now < ends {
            Due::Soon
        } else {
            Due::Past { graceful: now.since(ends) <= self.terms.outage_grace() }
        }
    }

    /// Whether enough time has passed since a renewal of this session failed here.
    #[must_use]
    pub fn may_try(&self, live: &CachedSession) -> bool {
        live.resting_until() <= self.clock.now()
    }

    /// Asks for a session's turn. `answers_within` is the longest that the provider may take.
    pub async fn claim(&self, live: &Arc<CachedSession>, answers_within: Duration) -> Result<Claim, Unavailable> {
        // Read first: a turn that came to nothing for want of a refresh token would hold up everybody else. If it is not of this
        // generation any more, there is no turn.
        let mut watch = self.cache.watch(live.key());
        let asked = self.hearing.asking(self.clock.now());
        let Some(Kept { row, record }) = self.read(&live.key()).await? else {
            self.bury(live.key());
            return Ok(Claim::Gone);
        };
        if row.generation > live.generation() {
            let newest = self.alive(&record, &live.token(), &row, asked);
            self.cache.insert(Arc::clone(&newest));
            // It may have been ended since it was read: then whoever asks again is told so.
            return Ok(if self.heed(&mut watch, &newest) { Claim::Theirs } else { Claim::Done(newest) });
        }
        let is_ours = self.store.acquire_lease(&self.lease(live), answers_within + MARGIN).await?;
        Ok(if is_ours {
            Claim::Ours(RenewalPermit { live: Arc::clone(live), record: Box::new(record), watch })
        } else {
            Claim::Theirs
        })
    }

    /// Takes what a provider gave. It is served at once; [`Sessions::write`] keeps it.
    #[must_use]
    pub fn renewed(
        &self,
        permit: RenewalPermit,
        identity: Option<Identity>,
        tokens: Tokens,
        sid: Option<String>,
    ) -> Renewed {
        let (old, before, mut watch) = (permit.live, *permit.record, permit.watch);
        let now = self.clock.now();
        let record = Record {
            identity: identity.unwrap_or(before.identity),
            tokens,
            sid: sid.or(before.sid),
            scope: before.scope,
            created: before.created,
            renewed: now,
        };
        let token = old.token();
        let row = Row {
            generation: old.generation() + 1,
            last_seen: old.last_seen(),
            ..record.seal(&self.terms.keyring(), token.key())
        };
        let live = self.alive(&record, &token, &row, self.hearing.asking(now));
        self.cache.insert(Arc::clone(&live));
        self.heed(&mut watch, &live);
        Renewed { live, row }
    }

    /// Writes a renewed session: the session as it is kept now, `None` where it was ended meanwhile.
    pub async fn write(&self, renewed: &Renewed) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        if self.store.replace(&renewed.row).await? {
            return Ok(Some(Arc::clone(&renewed.live)));
        }
        // Written by a try whose answer was lost, ended, or renewed by another process after our lease.
        match self.store.load(&renewed.row.key).await? {
            Some(row) if row.sealed == renewed.row.sealed => Ok(Some(Arc::clone(&renewed.live))),
            _ => self.newest(&renewed.live).await,
        }
    }

    /// Leaves a session as it is for a while, and lets others try.
    pub async fn put_off(&self, permit: RenewalPermit) {
        let jitter = PAUSE * u32::from(crypto::random::<1>()[0]) / u32::from(u8::MAX);
        permit.live.rest_until(self.clock.now().plus(PAUSE + jitter));
        // If this fails, the lease ends by itself.
        let _ended_anyway = self.store.release_lease(&self.lease(&permit.live)).await;
    }

    /// Ends a session that its provider will not renew, unless somebody else has renewed it: then that one is returned.
    pub async fn end_unless_renewed(
        &self,
        permit: RenewalPermit,
        why: LogoutKind,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let live = permit.live;
        match self.newest(&live).await? {
            Some(newest) if newest.generation() > live.generation() => Ok(Some(newest)),
            None => Ok(None),
            Some(_) => {
                self.bury(live.key());
                self.end(&live.key(), why).await.map(|_| None)
            }
        }
    }

    /// Whether there is a session that its provider calls so: for words that anybody can say, which must not cost a write.
    pub async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.store.has_sid(provider, sid).await
    }

    /// Ends sessions by what their provider calls them, here and at every other process. Says how many.
    pub async fn end_by(&self, provider: &str, whose: &Whose, why: LogoutKind) -> Result<u64, Unavailable> {
        let provider = provider.to_owned();
        let selection = match whose.clone() {
            Whose::Sid(sid) => Selection::Sid { provider, sid },
            Whose::Subject(subject) => Selection::Subject { provider, subject },
        };
        let mut ended = 0;
        loop {
            let gone = self.store.delete(&selection, BATCH).await?;
            for key in &gone {
                self.bury(*key);
            }
            let many = gone.len() as u64;
            self.metrics.count_ended(why, many);
            ended += many;
            if many < u64::from(BATCH) {
                return Ok(ended);
            }
        }
    }

    /// The same on a provider's word that counts once for all processes and is remembered until a moment, such as the
    /// `jti` of a logout token: `None` where it was spent before. If the sessions cannot be ended, it may come again.
    pub async fn end_once(
        &self,
        once: LogoutTokenId<'_>,
        whose: &Whose,
        why: LogoutKind,
    ) -> Result<Option<u64>, Unavailable> {
        let word = once.digest();
        if !self.store.record_jti(&word, once.until).await? {
            return Ok(None);
        }
        let ended = self.end_by(once.provider, whose, why).await;
        if ended.is_err() {
            let _remembered_at_worst = self.store.forget_jti(&word).await;
        }
        ended.map(Some)
    }

    /// Counts an answer from a session that could not be renewed in time.
    pub fn served_stale(&self) {
        self.metrics.stale_served.inc();
    }

    fn lease(&self, live: &CachedSession) -> Lease {
        Lease { key: live.key(), generation: live.generation(), holder: self.holder }
    }

    /// The session as the store has it, put in memory where it is newer; `None` where it is over.
    async fn newest(&self, live: &Arc<CachedSession>) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let (token, key) = (live.token(), live.key());
        let mut watch = self.cache.watch(key);
        for _ in 0..MOST_LOADS {
            let Some(newest) = self.load(&token).await? else {
                self.bury(key);
                return Ok(None);
            };
            if newest.generation() > live.generation() {
                self.cache.insert(Arc::clone(&newest));
            }
            if !self.heed(&mut watch, &newest) {
                return Ok(Some(newest));
            }
        }
        Err(Unavailable::Failed("the session is said to change faster than it can be read".to_owned()))
    }
}

impl LogoutTokenId<'_> {
    /// What it is kept as. Registrations are of one length, so that no two pairs look alike.
    fn digest(&self) -> [u8; 32] {
        crypto::digest(&[&self.registration.0, self.word.as_bytes()].concat())
    }
}
