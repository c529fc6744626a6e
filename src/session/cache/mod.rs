//! Sessions in memory: those that live, by cookie and by key, and the keys of those that are known to be over.
//!
//! Promises: of any number who miss the same session one asks the store; a session that was buried is not brought back
//! by a load that was under way. Memory follows use: what no request asked for in hours is dropped and read again when
//! it is wanted. It must not know why a session ended.

mod budget;
pub(super) mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{future, notification::RemovalCause, ops::compute::Op, policy::EvictionPolicy, sync};

use crate::{
    clock::Timestamp,
    session::{
        cache::session::CachedSession,
        cookie::{CacheKey, CookieHash, CookieValue, SessionId, Token},
        freshness::hints::{Hints, Watch},
        store::Unavailable,
    },
};

/// How long a session stays that no request asks for.
const UNUSED: Duration = Duration::from_hours(4);
/// How many ended sessions are remembered; they cost a hundred bytes each.
const ENDED: u64 = 100_000;
/// How long they are. Forgetting one costs a look-up in the store, nothing else, once its row is gone.
const REMEMBERED: Duration = Duration::from_hours(1);

/// How often a session is read in one go while hints about it keep coming.
pub(super) const MOST_LOADS: usize = 3;
/// How old the last of these readings may be for whoever waits for it, with another hint since: less than the second within
/// which a session that was ended elsewhere has to be refused.
const RECENT: Duration = Duration::from_millis(500);

/// Sessions in memory.
pub(super) struct Cache {
    /// The authority on what is in memory, and for how long: by key, which is what others know of a session.
    live: sync::Cache<CacheKey, Arc<CachedSession>, Plain>,
    /// The same sessions by their cookies, where requests read them: nothing is decoded, and moka's account of every reading
    /// costs ten times the reading. Of two with the same handle the older one is not here, and read from the store each time.
    front: Arc<Front>,
    over: sync::Cache<SessionId, ()>,
    /// Loads under way. It has room for nothing: what it gives is that of many who ask at once one does the work.
    flights: future::Cache<SessionId, Arc<CachedSession>>,
    hints: Arc<Hints>,
}

type Front = papaya::HashMap<CookieHash, Arc<CachedSession>, Plain>;

/// Cookies are random and keys are hashes: what places them in a table need not withstand anybody.
type Plain = foldhash::fast::RandomState;

/// Why a load gave no session.
#[derive(Clone, Debug)]
enum Miss {
    Over,
    Unavailable(Unavailable),
}

impl Cache {
    /// Nothing in memory.
    pub(super) fn new() -> Self {
        let front = Arc::new(Front::default());
        let shown = Arc::clone(&front);
        let live = sync::Cache::builder()
            .max_capacity(budget::for_sessions())
            .weigher(|_, live: &Arc<CachedSession>| live.weight())
            // The newest are the ones that are asked for, here and among the endings: how often somebody came counts for
            // nothing, and moka is not told.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(UNUSED)
            .eviction_listener(move |_, live: Arc<CachedSession>, cause| {
                if cause != RemovalCause::Replaced {
                    // What has taken its place meanwhile stays.
                    let _newer = shown.pin().remove_if(&live.handle(), |_, shown| Arc::ptr_eq(shown, &live));
                }
            })
            .build_with_hasher(Plain::default());
        let over = sync::Cache::builder()
            .max_capacity(ENDED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(REMEMBERED)
            .build();
        Self { live, front, over, flights: future::Cache::new(0), hints: Arc::default() }
    }

    /// What `read` makes of the session in memory that has this cookie and counts where it was sent to. Nothing is counted or
    /// copied for it, so that many cores can read the same session.
    pub(super) fn with<T>(
        &self,
        cookie: &CookieValue,
        audience: &str,
        read: impl FnOnce(&Arc<CachedSession>) -> Option<T>,
    ) -> Option<T> {
        let front = self.front.pin();
        front.get(&cookie.handle()).filter(|live| live.answers_to(cookie, audience)).and_then(read)
    }

    /// The session in memory that has this cookie, wherever it counts.
    fn shown(&self, cookie: &CookieValue) -> Option<Arc<CachedSession>> {
        self.front.pin().get(&cookie.handle()).filter(|live| live.has(cookie)).cloned()
    }

    /// The session in memory that has this cookie and counts where it was sent to.
    pub(super) fn get(&self, cookie: &CookieValue, audience: &str) -> Option<Arc<CachedSession>> {
        self.with(cookie, audience, |live| Some(Arc::clone(live)))
    }

    /// Watches for hints about a session, for whoever is about to ask the store.
    pub(super) fn watch(&self, key: SessionId) -> Watch {
        self.hints.watch(key)
    }

    /// The keys that are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> Vec<SessionId> {
        self.hints.keys()
    }

    /// Tells those who are asking the store that it may say something else by now; the session, where it is in memory.
    pub(super) fn hint(&self, key: &SessionId) -> Option<Arc<CachedSession>> {
        // In this order: whoever puts it into memory afterwards has been told.
        self.hints.give(key);
        self.live.get(&key.half()).filter(|live| live.key() == *key)
    }

    /// Notes that a session is in use, so that it stays. Once in minutes is enough.
    pub(super) fn keep(&self, key: &SessionId) {
        let _kept = self.live.get(&key.half());
    }

    /// Keeps a session that has just been made or read, unless a newer one is kept.
    pub(super) fn insert(&self, live: Arc<CachedSession>) {
        let key = live.key();
        // One after the other for each key. In front first: what is evicted from then on is taken away there too, and what
        // only the front had would stay for ever.
        self.live.entry(key.half()).and_compute_with(|kept| match kept {
            Some(kept) if kept.value().generation() > live.generation() => {
                self.front.pin().insert(live.handle(), kept.into_value());
                Op::Nop
            }
            _ => {
                self.front.pin().insert(live.handle(), Arc::clone(&live));
                Op::Put(live)
            }
        });
        // Whoever buried it before now may not have found it.
        if self.is_over(&key) {
            self.forget(&key);
        }
    }

    /// Drops a session from memory; the store decides whether it comes back.
    pub(super) fn forget(&self, key: &SessionId) -> Option<Arc<CachedSession>> {
        // What it drops leaves the front as well, by the listener.
        self.live.remove(&key.half())
    }

    /// Has every session in memory that was last used before `since` give back what only those in use need.
    pub(super) async fn rest(&self, since: Timestamp) {
        let front = self.front.pin_owned();
        for (seen, live) in front.values().enumerate() {
            if live.last_seen() < since {
                live.rest();
            }
            // There may be millions, and requests are waiting for this thread.
            if seen % 1_000 == 999 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Every session in memory.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<CachedSession>> {
        self.live.iter().map(|(_, live)| live)
    }

    /// Remembers that the session under `key` is over. Ids are never used again, so that stays true.
    pub(super) fn bury(&self, key: SessionId) {
        self.over.insert(key, ());
    }

    /// Whether the session under `key` is known to be over.
    pub(super) fn is_over(&self, key: &SessionId) -> bool {
        self.over.contains_key(key)
    }

    /// The session of `token`, through `load` where it is not in memory or not `good`: one caller loads, the others
    /// wait for it. Loaded again where somebody hints meanwhile that it has changed. `None` where it is over.
    pub(super) async fn get_or_load<L>(
        &self,
        token: &Token,
        good: impl Fn(&CachedSession) -> bool,
        load: impl Fn() -> L,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable>
    where
        L: Future<Output = Result<Option<Arc<CachedSession>>, Unavailable>>,
    {
        let key = token.key();
        if self.is_over(&key) {
            return Ok(None);
        }
        let flight = async {
            // Asked again within the flight: whoever buries waits for the flights that began before (`take`), and
            // those that begin afterwards end here.
            if self.is_over(&key) {
                return Err(Miss::Over);
            }
            // The flight before this one may have landed since the caller looked.
            match self.shown(&token.spelling()).filter(|live| good(live)) {
                Some(live) => Ok(live),
                None => self.load_watched(key, load).await,
            }
        };
        let loaded = self.flights.try_get_with(key, flight).await;
        if self.is_over(&key) {
            self.forget(&key);
            return Ok(None);
        }
        match loaded.as_ref().map_err(|miss| &**miss) {
            Ok(live) => Ok(Some(Arc::clone(live))),
            Err(Miss::Unavailable(error)) => Err(error.clone()),
            Err(Miss::Over) => {
                self.bury(key);
                Ok(None)
            }
        }
    }

    async fn load_watched<L>(&self, key: SessionId, load: impl Fn() -> L) -> Result<Arc<CachedSession>, Miss>
    where
        L: Future<Output = Result<Option<Arc<CachedSession>>, Unavailable>>,
    {
        let mut watch = self.watch(key);
        for turn in 1..=MOST_LOADS {
            let asked = Instant::now();
            let live = load().await.map_err(Miss::Unavailable)?.ok_or(Miss::Over)?;
            self.insert(Arc::clone(&live));
            if !watch.was_hinted() {
                return Ok(live);
            }
            live.voucher().void();
            if turn == MOST_LOADS && asked.elapsed() < RECENT {
                return Ok(live);
            }
        }
        Err(Miss::Unavailable(Unavailable::Failed(
            "the session is said to change faster than it can be read".to_owned(),
        )))
    }

    /// Takes a buried session out of memory for good, waiting for a load that is under way.
    pub(super) async fn take(&self, token: &Token) -> Option<Arc<CachedSession>> {
        // A flight of our own has nothing to do.
        let landed = self.flights.try_get_with(token.key(), async { Err(Miss::Over) }).await.ok();
        self.forget(&token.key()).or(landed)
    }

    /// Does the cache's own housekeeping and says how many sessions there are.
    pub(super) fn tidy(&self) -> u64 {
        self.over.run_pending_tasks();
        self.live.run_pending_tasks();
        self.live.entry_count()
    }
}
