//! The service tokens in memory, and tombstones of those that are no more.
//!
//! Promises: reading one takes no lock; of any number of requests that miss the same one a single one asks the store; only tokens
//! that operators have made are in memory, so that strangers cannot fill it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{future, sync};

use super::cached::CachedServiceToken;
use crate::session::{
    cache::{MAX_LOADS, RECENT},
    cookie::{CookieHash, CookieValue, SessionId},
    freshness::{HintWatch, Hints},
    store::Unavailable,
};

/// Capacity for tombstones.
const TOMBSTONES: u64 = 10_000;
/// Lifetime of a tombstone. Losing one costs a look-up in the store.
const TOMBSTONE_LIFETIME: Duration = Duration::from_hours(1);

type FastMap<K> = papaya::HashMap<K, Arc<CachedServiceToken>, foldhash::fast::RandomState>;

/// Service tokens in memory.
pub(in crate::session) struct ServiceTokenCache {
    by_value: FastMap<CookieHash>,
    /// The same tokens, as other processes name them.
    by_id: FastMap<SessionId>,
    tombstones: sync::Cache<SessionId, ()>,
    /// Questions to the store under way. Its capacity is 0, because only moka's single-flight is wanted.
    flights: future::Cache<SessionId, Arc<CachedServiceToken>>,
    hints: Arc<Hints>,
}

/// The reason why a question gave no token.
#[derive(Clone, Debug)]
enum FlightError {
    Gone,
    Unavailable(Unavailable),
}

impl ServiceTokenCache {
    /// An empty cache.
    pub(in crate::session) fn new() -> Self {
        let tombstones = sync::Cache::builder().max_capacity(TOMBSTONES).time_to_live(TOMBSTONE_LIFETIME).build();
        Self {
            by_value: FastMap::default(),
            by_id: FastMap::default(),
            tombstones,
            flights: future::Cache::new(0),
            hints: Arc::default(),
        }
    }

    /// Returns what `read` makes of a token.
    #[inline]
    pub(super) fn with<T>(
        &self,
        value: &CookieValue,
        read: impl FnOnce(&Arc<CachedServiceToken>) -> Option<T>,
    ) -> Option<T> {
        let by_value = self.by_value.pin();
        by_value.get(&value.hash()).filter(|token| token.is(value)).and_then(read)
    }

    /// Returns a token.
    pub(super) fn get(&self, value: &CookieValue) -> Option<Arc<CachedServiceToken>> {
        self.with(value, |token| Some(Arc::clone(token)))
    }

    /// Visits every token.
    pub(in crate::session) fn for_each(&self, visit: impl FnMut(&Arc<CachedServiceToken>)) {
        self.by_id.pin().values().for_each(visit);
    }

    /// Watches for hints about a token. To be called before the store is asked.
    pub(super) fn watch(&self, id: SessionId) -> HintWatch {
        self.hints.watch(id)
    }

    /// Tells the watches on a token that it may have been revoked. Returns the token if it is in memory.
    pub(in crate::session) fn hint(&self, id: &SessionId) -> Option<Arc<CachedServiceToken>> {
        // In this order: a question whose answer comes into memory afterwards has been notified.
        self.hints.notify(id);
        self.by_id.pin().get(id).cloned()
    }

    /// Drops a token from memory; the store decides whether it comes back.
    pub(super) fn remove(&self, token: &CachedServiceToken) {
        self.by_id.pin().remove(&token.id());
        let _another = self.by_value.pin().remove_if(&token.hash(), |_, kept| kept.id() == token.id());
    }

    /// Notes that a token is no more, and drops it from memory. Ids are never used again, so it stays true.
    pub(super) fn bury(&self, token: &CachedServiceToken) {
        self.tombstones.insert(token.id(), ());
        self.remove(token);
    }

    /// Returns `true` if a token is known to be no more.
    pub(super) fn is_tombstoned(&self, id: &SessionId) -> bool {
        self.tombstones.contains_key(id)
    }

    /// Returns what `ask` learns of a token from the store; `None` where it is no more. Single-flight: one caller asks, the others
    /// wait for it. Asked again where a hint arrives meanwhile.
    pub(super) async fn ask<A>(
        &self,
        id: SessionId,
        ask: impl Fn() -> A,
    ) -> Result<Option<Arc<CachedServiceToken>>, Unavailable>
    where
        A: Future<Output = Result<Option<Arc<CachedServiceToken>>, Unavailable>>,
    {
        if self.is_tombstoned(&id) {
            return Ok(None);
        }
        match self.flights.try_get_with(id, self.ask_watched(id, ask)).await.as_ref().map_err(|error| &**error) {
            Ok(token) => Ok(Some(Arc::clone(token))),
            Err(FlightError::Unavailable(error)) => Err(error.clone()),
            Err(FlightError::Gone) => {
                self.tombstones.insert(id, ());
                let kept = self.by_id.pin().get(&id).cloned();
                if let Some(token) = kept {
                    self.remove(&token);
                }
                Ok(None)
            }
        }
    }

    async fn ask_watched<A>(&self, id: SessionId, ask: impl Fn() -> A) -> Result<Arc<CachedServiceToken>, FlightError>
    where
        A: Future<Output = Result<Option<Arc<CachedServiceToken>>, Unavailable>>,
    {
        let mut watch = self.watch(id);
        for attempt in 1..=MAX_LOADS {
            let began = Instant::now();
            let token = ask().await.map_err(FlightError::Unavailable)?.ok_or(FlightError::Gone)?;
            self.insert(&token);
            if !watch.take_hint() {
                return Ok(token);
            }
            token.validation().invalidate();
            if attempt == MAX_LOADS && began.elapsed() < RECENT {
                return Ok(token);
            }
        }
        Err(FlightError::Unavailable(Unavailable::Failed(
            "the service token is said to change faster than it can be read".to_owned(),
        )))
    }

    fn insert(&self, token: &Arc<CachedServiceToken>) {
        self.by_id.pin().insert(token.id(), Arc::clone(token));
        self.by_value.pin().insert(token.hash(), Arc::clone(token));
        // A tombstone that was set before now may not have found it.
        if self.is_tombstoned(&token.id()) {
            self.remove(token);
        }
    }
}
