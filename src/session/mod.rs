//! Sessions: made at sign-in, found by their cookie on every request, ended once and for all.
//!
//! Promises: a cookie that we did not make costs no store look-up; a store that does not answer never looks like a
//! session that is over; nothing is written on a request's path. It must not know providers, edges or pages.

mod backend;
mod cache;
mod confirm;
mod ending;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod lease;
mod live;
mod memory;
pub mod postgres;
mod record;
pub mod register;
mod renewal;
mod reseal;
mod room;
mod rotation;
mod settings;
mod sqlite;
mod store;
mod terms;
mod token;
mod trust;
mod upkeep;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use self::{
    cache::Cache,
    lease::Holder,
    live::Passed,
    record::Unreadable,
    store::{Row, Store, Watched},
    terms::Terms,
    token::{Spelling, Token},
    trust::{Hearing, Trust},
    upkeep::{Backlog, Upkeep},
};
pub use self::{
    live::Live,
    record::{NewSession, Record},
    renewal::{Claim, Due, Once, Permit, Renewed, Whose},
    reseal::Left,
    settings::{Backend, Settings},
    store::{DEADLINE, Unavailable},
    token::Key,
};
use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics::{self, Lookup},
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
    Live(Arc<Live>),
    /// A session of ours that is over.
    Ended,
    /// Nothing that we made.
    NotOurs,
}

/// All sessions of this gate.
pub struct Sessions {
    terms: Terms,
    clock: Clock,
    metrics: metrics::Sessions,
    store: Watched,
    cache: Cache,
    hearing: Hearing,
    backlog: Backlog,
    /// Who this process is to those it shares a store with.
    holder: Holder,
}

/// What the store has of a session.
struct Kept {
    row: Row,
    record: Record,
}

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
enum Age {
    Current,
    /// Not used for long enough, as far as this process knows.
    Idle,
    /// Past its lifetime, whoever uses it.
    Over,
}

impl Sessions {
    /// Opens the store. Fails only where waiting cannot help (a file that is no database, a directory that is not there);
    /// a server that is away is waited for by [`Sessions::maintain`].
    pub async fn open(
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        sessions: metrics::Sessions,
        store: metrics::Store,
    ) -> Result<Self, Unavailable> {
        let store = backend::open(&settings.backend, store).await?;
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
        store: Watched,
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        metrics: metrics::Sessions,
    ) -> Self {
        let hearing = if store.is_shared() { Hearing::of_others() } else { Hearing::of_nobody() };
        let (terms, cache) = (Terms::new(settings, keyring), Cache::new());
        Self { terms, clock, metrics, store, cache, hearing, backlog: Backlog::new(), holder: Holder::fresh() }
    }

    /// Other lifetimes and keys, for sessions that live already too. Where sessions are kept stays as it is.
    pub fn change(&self, settings: &Settings, keyring: Arc<Keyring>) {
        if self.terms.change(settings, keyring) {
            self.metrics.count_again();
        }
    }

    /// What `read` makes of the session that a cookie's value stands for, where memory alone can vouch for it. Of all others
    /// only [`Sessions::find`] can tell what they are, and that counts them; so it does where `read` makes nothing of it.
    pub fn recall<T>(&self, cookie: &[u8], read: impl FnOnce(&Arc<Live>, Timestamp) -> Option<T>) -> Option<T> {
        let now = self.clock.now();
        self.cache.with(&Spelling::of(cookie)?, |live| {
            if self.standing(live, now) != Standing::Good {
                return None;
            }
            read(live, now).inspect(|_| self.used(live, now))
        })
    }

    /// Looks up the session that a cookie's value stands for. Waits for the store little longer than [`DEADLINE`].
    pub async fn find(&self, cookie: &[u8]) -> Result<Found, Unavailable> {
        let (now, cookie) = (self.clock.now(), Spelling::of(cookie));
        // On the heap, so that the future of a hit stays small.
        let Some(live) = cookie.as_ref().and_then(|cookie| self.cache.get(cookie)) else {
            return match cookie.and_then(|cookie| cookie.read()) {
                Some(token) => Box::pin(self.look_up(&token, None, now)).await,
                None => Ok(self.counted(Lookup::Forged, Found::NotOurs)),
            };
        };
        match self.standing(&live, now) {
            Standing::Good => Ok(self.hit(live, now)),
            Standing::Doubtful => Box::pin(self.confirm(&live.token(), Arc::clone(&live), now)).await,
            Standing::Past => Box::pin(self.look_up(&live.token(), Some(&live), now)).await,
            Standing::Foreign => {
                self.cache.forget(&live.key());
                Box::pin(self.look_up(&live.token(), None, now)).await
            }
        }
    }

    /// Makes a session and returns the value of its cookie: always a new one, written before it is returned.
    pub async fn create(&self, new: NewSession) -> Result<String, Unavailable> {
        let keyring = self.terms.keyring();
        let token = Token::fresh(&keyring);
        let record = Record::new(new, self.clock.now());
        let row = record.seal(&keyring, token.key());
        let live = self.alive(&record, &token, &row, self.hearing.asking(self.clock.now()));
        self.store.insert(row).await?;
        self.cache.insert(live);
        Ok(token.encode())
    }

    /// Whether the store answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.store.is_up()
    }

    /// Whether the store ever answered. Before that no session can be told from a stranger's cookie.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.store.was_opened() && self.terms.keyring().has_inherited()
    }

    /// How long a new session's cookie is worth keeping.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.terms.lifetime()
    }

    /// When a session ends even if it is used until then.
    #[must_use]
    pub fn ends(&self, live: &Live) -> Timestamp {
        live.created().plus(self.terms.lifetime())
    }

    /// Whether we made a cookie's value, be its session over or not, or cannot tell yet. Asks no store.
    #[must_use]
    pub fn may_be_ours(&self, cookie: &[u8]) -> bool {
        Token::parse(cookie).is_some_and(|token| self.made(&token).unwrap_or(true))
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

    /// How far memory can speak for a session.
    fn standing(&self, live: &Arc<Live>, now: Timestamp) -> Standing {
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
            Trust::Full => Standing::Good,
            Trust::Waning => {
                self.doubt(live);
                Standing::Good
            }
            Trust::Gone => Standing::Doubtful,
        }
    }

    /// Whether a session can be answered from as it is in memory.
    fn will_do(&self, live: &Live, now: Timestamp) -> bool {
        self.has_what_is_passed(live) && self.hearing.trust(live, now) != Trust::Gone
    }

    /// Whether its tokens are in memory just where an app is passed them.
    fn has_what_is_passed(&self, live: &Live) -> bool {
        live.has_tokens() == self.terms.passes_tokens()
    }

    /// Whether a secret of ours made this. Until what dropped ones have left is read, whatever the others did not make may be
    /// theirs.
    fn made(&self, token: &Token) -> Result<bool, Unavailable> {
        let keyring = self.terms.keyring();
        let knows_all = keyring.has_inherited();
        match token.is_made_by(&keyring) {
            false if !knows_all => {
                Err(Unavailable::Failed("what dropped secrets have left is not read yet".to_owned()))
            }
            made => Ok(made),
        }
    }

    /// What the store says of a session that memory could not vouch for.
    async fn look_up(&self, token: &Token, cached: Option<&Live>, now: Timestamp) -> Result<Found, Unavailable> {
        if cached.is_none() && !self.made(token)? {
            return Ok(self.counted(Lookup::Forged, Found::NotOurs));
        }
        if let Some(live) = cached {
            // Past its lifetime nothing can save it. Idle here, it may have been used at another replica.
            self.cache.forget(&token.key());
            if self.age_of(live, now) == Age::Over {
                return Ok(self.expired(token));
            }
        }
        let good = |live: &Live| self.will_do(live, now);
        match in_time(self.cache.get_or_load(token, good, self.load(token))).await? {
            None => Ok(self.counted(Lookup::Unknown, Found::Ended)),
            Some(live) if !live.answers_to(&token.spelling()) => Ok(self.counted(Lookup::Forged, Found::NotOurs)),
            Some(live) if self.age_of(&live, now) == Age::Current => {
                self.note_use(&live, now);
                Ok(self.counted(Lookup::Miss, Found::Live(live)))
            }
            Some(_) => Ok(self.expired(token)),
        }
    }

    async fn load(&self, token: &Token) -> Result<Option<Arc<Live>>, Unavailable> {
        let asked = self.hearing.asking(self.clock.now());
        let kept = self.read(&token.key()).await?;
        Ok(kept.map(|Kept { row, record }| {
            let live = self.alive(&record, token, &row, asked);
            self.note_seal(row);
            live
        }))
    }

    /// What the store has of a session; `None` where that is nothing, or nothing that can ever be read again.
    async fn read(&self, key: &Key) -> Result<Option<Kept>, Unavailable> {
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
    fn alive(&self, record: &Record, token: &Token, row: &Row, asked: trust::Asked) -> Arc<Live> {
        let passed = self.terms.passes_tokens().then(|| Passed::of(record, row));
        Arc::new(Live::new(record, token, row, asked, passed))
    }

    fn age_of(&self, live: &Live, now: Timestamp) -> Age {
        self.age(live.created(), live.last_seen(), now)
    }

    fn age(&self, created: Timestamp, last_seen: Timestamp, now: Timestamp) -> Age {
        if now.since(created) >= self.terms.lifetime() {
            Age::Over
        } else if now.since(last_seen) >= self.terms.idle_timeout() {
            Age::Idle
        } else {
            Age::Current
        }
    }

    fn note_use(&self, live: &Arc<Live>, now: Timestamp) {
        live.see(now);
        // More often than an idle timeout that is shorter than the interval, or a restart would end sessions in use.
        let interval = TOUCH_INTERVAL.min(self.terms.idle_timeout() / 4);
        if live.put_forward(now, interval) {
            self.cache.keep(&live.key());
            if !self.backlog.leave(live) {
                live.put_back();
            }
        }
    }

    fn hit(&self, live: Arc<Live>, now: Timestamp) -> Found {
        self.used(&live, now);
        Found::Live(live)
    }

    fn used(&self, live: &Arc<Live>, now: Timestamp) {
        self.note_use(live, now);
        self.metrics.looked_up(Lookup::Hit);
    }

    fn counted(&self, result: Lookup, found: Found) -> Found {
        self.metrics.looked_up(result);
        found
    }
}

/// Each call to the store has a deadline of its own; this one bounds waiting for the calls of others as well.
async fn in_time<T>(work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
    tokio::time::timeout(DEADLINE + DEADLINE / 10, work).await.unwrap_or(Err(Unavailable::Deadline))
}
