//! The session cache: sessions in memory by cookie and by id, and tombstones of those that have ended.
//!
//! - [`session`]: one session in memory;
//! - [`budget`]: the memory that all of them may take.
//!
//! Promises: of any number of requests that miss the same session one asks the store (single-flight); a load under way
//! does not bring back a session with a tombstone; a session that no request has asked for in hours is dropped and read
//! again when it is needed.

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
        freshness::{HintWatch, Hints},
        store::Unavailable,
    },
};

/// Time after which an unused session is evicted.
const EVICTED_AFTER: Duration = Duration::from_hours(4);
/// Capacity for tombstones; they cost a hundred bytes each.
const TOMBSTONES: u64 = 100_000;
/// Lifetime of a tombstone. Losing one costs a look-up in the store, nothing else, once the row is gone.
const TOMBSTONE_LIFETIME: Duration = Duration::from_hours(1);
/// Capacity for pauses after renewals that failed. Losing one costs a renewal that is tried too early.
const BACKOFFS: u64 = 100_000;
/// Time after which they are forgotten: longer than any of them.
const BACKOFF_LIFETIME: Duration = Duration::from_mins(1);
/// Sessions that a sweep visits before it yields to requests.
const YIELD_EVERY: usize = 1_000;

/// Reads of a session in one load while hints about it keep coming.
pub(super) const MAX_LOADS: usize = 3;
/// Largest age of the last of these reads that is still served, with another hint since: less than the second within which
/// a session that was ended elsewhere has to be refused.
pub(super) const RECENT: Duration = Duration::from_millis(500);

/// Sessions in memory.
pub(super) struct Cache {
    /// Decides what is in memory, and for how long. By id, because that is how other processes name a session.
    by_id: sync::Cache<CacheKey, Arc<CachedSession>, FastHasher>,
    /// The same sessions by cookie, where requests read them: nothing is decoded, and moka's bookkeeping for each read costs
    /// ten times the read. Of two sessions with the same hash the older one is not here, and read from the store each time.
    by_cookie: Arc<CookieMap>,
    tombstones: sync::Cache<SessionId, ()>,
    /// Ends of the pauses after renewals that failed. Few, and of no use to requests: not worth a field in every session.
    backoffs: sync::Cache<SessionId, Timestamp>,
    /// Loads under way. Its capacity is 0, because only moka's single-flight is wanted: of many who ask at once one loads.
    loads: future::Cache<SessionId, Arc<CachedSession>>,
    hints: Arc<Hints>,
}

type CookieMap = papaya::HashMap<CookieHash, Arc<CachedSession>, FastHasher>;

/// Not resistant to chosen keys, and need not be: cookies are random and ids are hashes.
type FastHasher = foldhash::fast::RandomState;

/// The reason why a load gave no session.
#[derive(Clone, Debug)]
enum LoadError {
    Ended,
    Unavailable(Unavailable),
}

impl Cache {
    /// An empty cache.
    pub(super) fn new() -> Self {
        let by_cookie = Arc::new(CookieMap::default());
        let evicted_from = Arc::clone(&by_cookie);
        let by_id = sync::Cache::builder()
            .max_capacity(budget::for_sessions())
            .weigher(|_, session: &Arc<CachedSession>| session.weight())
            // The most recent are the ones that are asked for, tombstones too. Frequencies would not help: moka does not see
            // the reads by cookie.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(EVICTED_AFTER)
            .eviction_listener(move |_, evicted: Arc<CachedSession>, cause| {
                if cause != RemovalCause::Replaced {
                    // A newer session that has taken its place stays.
                    let _newer = evicted_from
                        .pin()
                        .remove_if(&evicted.cookie_hash(), |_, session| Arc::ptr_eq(session, &evicted));
                }
            })
            .build_with_hasher(FastHasher::default());
        let tombstones = sync::Cache::builder()
            .max_capacity(TOMBSTONES)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(TOMBSTONE_LIFETIME)
            .build();
        let backoffs = sync::Cache::builder().max_capacity(BACKOFFS).time_to_live(BACKOFF_LIFETIME).build();
        Self { by_id, by_cookie, tombstones, backoffs, loads: future::Cache::new(0), hints: Arc::default() }
    }

    /// Returns what `read` makes of the session of a cookie that was sent to the host or domain it was made for. Without
    /// bookkeeping or cloning an `Arc`, so that many cores can read the same session.
    pub(super) fn with<T>(
        &self,
        cookie: &CookieValue,
        audience: &str,
        read: impl FnOnce(&Arc<CachedSession>) -> Option<T>,
    ) -> Option<T> {
        let by_cookie = self.by_cookie.pin();
        by_cookie.get(&cookie.hash()).filter(|session| session.matches(cookie, audience)).and_then(read)
    }

    /// Returns the session of a cookie, whatever host it was sent to.
    fn get_anywhere(&self, cookie: &CookieValue) -> Option<Arc<CachedSession>> {
        self.by_cookie.pin().get(&cookie.hash()).filter(|session| session.has_cookie(cookie)).cloned()
    }

    /// Returns the session of a cookie that was sent to the host or domain it was made for.
    pub(super) fn get(&self, cookie: &CookieValue, audience: &str) -> Option<Arc<CachedSession>> {
        self.with(cookie, audience, |session| Some(Arc::clone(session)))
    }

    /// Lets no renewal of a session be tried before this moment.
    pub(super) fn back_off(&self, id: SessionId, until: Timestamp) {
        self.backoffs.insert(id, until);
    }

    /// Returns `true` unless a renewal of the session failed a moment ago.
    pub(super) fn may_renew(&self, id: &SessionId, now: Timestamp) -> bool {
        self.backoffs.get(id).is_none_or(|until| until <= now)
    }

    /// Watches for hints about a session. To be called before the store is asked.
    pub(super) fn watch(&self, id: SessionId) -> HintWatch {
        self.hints.watch(id)
    }

    /// Ids of the watched sessions.
    #[cfg(test)]
    pub(super) fn watched(&self) -> Vec<SessionId> {
        self.hints.ids()
    }

    /// Tells the watches on a session that it may have changed. Returns the session if it is in memory.
    pub(super) fn hint(&self, id: &SessionId) -> Option<Arc<CachedSession>> {
        // In this order: a load that puts it into memory afterwards has been notified.
        self.hints.notify(id);
        self.by_id.get(&id.cache_key()).filter(|session| session.id() == *id)
    }

    /// Marks a session as used, so that it is not evicted. Once in minutes is enough.
    pub(super) fn mark_used(&self, id: &SessionId) {
        let _marked = self.by_id.get(&id.cache_key());
    }

    /// Puts a session into memory that was just created or read, unless a newer generation is there.
    pub(super) fn insert(&self, session: Arc<CachedSession>) {
        let id = session.id();
        // One after the other for each id. By cookie first: an eviction from then on removes it there too, and an entry that
        // is only there would stay for ever.
        self.by_id.entry(id.cache_key()).and_compute_with(|current| match current {
            Some(current) if current.value().generation() > session.generation() => {
                self.by_cookie.pin().insert(session.cookie_hash(), current.into_value());
                Op::Nop
            }
            _ => {
                self.by_cookie.pin().insert(session.cookie_hash(), Arc::clone(&session));
                Op::Put(session)
            }
        });
        // A tombstone that was set before now may not have found it.
        if self.is_tombstoned(&id) {
            self.remove(&id);
        }
    }

    /// Drops a session from memory; the store decides whether it comes back.
    pub(super) fn remove(&self, id: &SessionId) -> Option<Arc<CachedSession>> {
        // The eviction listener removes it by cookie as well.
        self.by_id.remove(&id.cache_key())
    }

    /// Drops the derived parts of every session that was last used before `since`.
    pub(super) async fn shrink_unused(&self, since: Timestamp) {
        let by_cookie = self.by_cookie.pin_owned();
        for (visited, session) in by_cookie.values().enumerate() {
            if session.last_seen() < since {
                session.drop_derived();
            }
            // There may be millions, and requests are waiting for this thread.
            if visited % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Every session in memory.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<CachedSession>> {
        self.by_id.iter().map(|(_, session)| session)
    }

    /// Sets a tombstone: the session has ended, and no load brings it back. Ids are never used again, so it stays true.
    pub(super) fn tombstone(&self, id: SessionId) {
        self.tombstones.insert(id, ());
    }

    /// Sets a tombstone and drops the session from memory.
    pub(super) fn tombstone_and_remove(&self, id: SessionId) {
        self.tombstone(id);
        self.remove(&id);
    }

    /// Returns `true` if the session is known to have ended.
    pub(super) fn is_tombstoned(&self, id: &SessionId) -> bool {
        self.tombstones.contains_key(id)
    }

    /// Returns the session of `token`, through `load` where it is not in memory or not usable; `None` where it has ended.
    /// Single-flight: one caller loads, the others wait for it. Loaded again where a hint arrives meanwhile.
    pub(super) async fn get_or_load<L>(
        &self,
        token: &Token,
        is_usable: impl Fn(&CachedSession) -> bool,
        load: impl Fn() -> L,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable>
    where
        L: Future<Output = Result<Option<Arc<CachedSession>>, Unavailable>>,
    {
        let id = token.id();
        if self.is_tombstoned(&id) {
            return Ok(None);
        }
        let flight = async {
            // Checked again within the flight: an ending waits for the flights that began before its tombstone
            // (`remove_after_load`), and those that begin afterwards end here.
            if self.is_tombstoned(&id) {
                return Err(LoadError::Ended);
            }
            // The flight before this one may have landed since the caller looked.
            match self.get_anywhere(&token.value()).filter(|session| is_usable(session)) {
                Some(session) => Ok(session),
                None => self.load_watched(id, load).await,
            }
        };
        let loaded = self.loads.try_get_with(id, flight).await;
        if self.is_tombstoned(&id) {
            self.remove(&id);
            return Ok(None);
        }
        match loaded.as_ref().map_err(|error| &**error) {
            Ok(session) => Ok(Some(Arc::clone(session))),
            Err(LoadError::Unavailable(error)) => Err(error.clone()),
            Err(LoadError::Ended) => {
                self.tombstone(id);
                Ok(None)
            }
        }
    }

    async fn load_watched<L>(&self, id: SessionId, load: impl Fn() -> L) -> Result<Arc<CachedSession>, LoadError>
    where
        L: Future<Output = Result<Option<Arc<CachedSession>>, Unavailable>>,
    {
        let mut watch = self.watch(id);
        for attempt in 1..=MAX_LOADS {
            let began = Instant::now();
            let session = load().await.map_err(LoadError::Unavailable)?.ok_or(LoadError::Ended)?;
            self.insert(Arc::clone(&session));
            if !watch.take_hint() {
                return Ok(session);
            }
            session.validation().invalidate();
            if attempt == MAX_LOADS && began.elapsed() < RECENT {
                return Ok(session);
            }
        }
        Err(LoadError::Unavailable(Unavailable::Failed(
            "the session is said to change faster than it can be read".to_owned(),
        )))
    }

    /// Removes a session with a tombstone for good, once the load under way has finished.
    pub(super) async fn remove_after_load(&self, token: &Token) -> Option<Arc<CachedSession>> {
        // A flight of our own has nothing to do.
        let landed = self.loads.try_get_with(token.id(), async { Err(LoadError::Ended) }).await.ok();
        self.remove(&token.id()).or(landed)
    }

    /// Runs pending evictions and returns the number of sessions in memory.
    pub(super) fn run_maintenance(&self) -> u64 {
        self.tombstones.run_pending_tasks();
        self.by_id.run_pending_tasks();
        self.by_id.entry_count()
    }
}
