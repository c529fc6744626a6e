//! Sessions in memory: those that live, by id, and the keys of those that are known to be over.
//!
//! Promises: of any number who miss the same session one asks the store; a session that was buried is not brought back
//! by a load that was under way. Memory follows use: what no request asked for in hours is dropped and read again when
//! it is wanted. It must not know why a session ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moka::{future, notification::RemovalCause, policy::EvictionPolicy, sync};

use super::{
    record::Live,
    store::Unavailable,
    token::{Id, Key, Token},
};

/// Roughly how many bytes of sessions are held: some hundred thousand of the usual size.
const WEIGHT: u64 = 1 << 30;
/// How long a session stays that no request asks for.
const UNUSED: Duration = Duration::from_hours(4);
/// How many ids too many are worth looking for.
const SLACK: u64 = 4_096;
/// How many ended sessions are remembered; they cost a hundred bytes each.
const ENDED: u64 = 100_000;
/// How long they are. Forgetting one costs a look-up in the store, nothing else, once its row is gone.
const REMEMBERED: Duration = Duration::from_hours(1);

/// Sessions in memory.
pub(super) struct Cache {
    /// The authority on what is in memory, and for how long.
    live: sync::Cache<Id, Arc<Live>, Plain>,
    /// The same sessions, where requests read them: moka's account of every reading costs ten times the reading.
    front: Arc<papaya::HashMap<Id, Arc<Live>, Plain>>,
    /// The ids of those in memory, for whoever knows their keys alone. No request looks here.
    ids: Arc<Ids>,
    over: sync::Cache<Key, ()>,
    /// Loads under way. It has room for nothing: what it gives is that of many who ask at once one does the work.
    flights: future::Cache<Id, Arc<Live>>,
}

/// Ids were random before they were hashed: the hash need not withstand anybody.
type Plain = foldhash::fast::RandomState;

#[derive(Default)]
struct Ids(Mutex<HashMap<Key, Id>>);

impl Ids {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Id>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a load gave no session.
#[derive(Clone, Debug)]
enum Miss {
    Over,
    Unavailable(Unavailable),
}

impl Cache {
    /// Nothing in memory.
    pub(super) fn new() -> Self {
        let ids = Arc::new(Ids::default());
        let front = Arc::new(papaya::HashMap::default());
        let (known, shown) = (Arc::clone(&ids), Arc::clone(&front));
        let live = sync::Cache::builder()
            .max_capacity(WEIGHT)
            .weigher(|_, live: &Arc<Live>| live.weight())
            .time_to_idle(UNUSED)
            .eviction_listener(move |id: Arc<Id>, live: Arc<Live>, cause| {
                if cause != RemovalCause::Replaced {
                    shown.pin().remove(&*id);
                    known.lock().remove(&live.key());
                }
            })
            .build_with_hasher(Plain::default());
        // The newest endings are the ones that are asked for, so frequency counts for nothing.
        let over = sync::Cache::builder()
            .max_capacity(ENDED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(REMEMBERED)
            .build();
        Self { live, front, ids, over, flights: future::Cache::new(0) }
    }

    /// The session in memory under this id. Its tag has yet to be compared.
    pub(super) fn get(&self, id: &Id) -> Option<Arc<Live>> {
        self.front.pin().get(id).map(Arc::clone).or_else(|| self.live.get(id))
    }

    /// Notes that a session is in use, so that it stays. Once in minutes is enough.
    pub(super) fn keep(&self, id: &Id) {
        let _kept = self.live.get(id);
    }

    /// Keeps a session that has just been made.
    pub(super) fn insert(&self, id: Id, live: Arc<Live>) {
        let key = live.key();
        // In front first: what is evicted from then on is taken away there too. What only the authority has is found all
        // the same; what only the front had would stay for ever.
        self.front.pin().insert(id, Arc::clone(&live));
        self.live.insert(id, live);
        self.ids.lock().insert(key, id);
        // Whoever buried it before now may not have found it.
        if self.is_over(&key) {
            self.forget(&id);
        }
    }

    /// Drops a session from memory; the store decides whether it comes back.
    pub(super) fn forget(&self, id: &Id) {
        self.front.pin().remove(id);
        self.live.invalidate(id);
    }

    /// Drops the session under `key` from memory.
    pub(super) fn forget_key(&self, key: &Key) {
        let id = self.ids.lock().get(key).copied();
        if let Some(id) = id {
            self.forget(&id);
        }
    }

    /// Every session in memory.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Live>> {
        self.live.iter().map(|(_, live)| live)
    }

    /// Remembers that the session under `key` is over. Ids are never used again, so that stays true.
    pub(super) fn bury(&self, key: Key) {
        self.over.insert(key, ());
    }

    /// Whether the session under `key` is known to be over.
    pub(super) fn is_over(&self, key: &Key) -> bool {
        self.over.contains_key(key)
    }

    /// The session of `token`, through `load` where it is not in memory or not `good`: one caller loads, the others
    /// wait for it. `None` where it is over.
    pub(super) async fn get_or_load(
        &self,
        token: &Token,
        good: impl Fn(&Live) -> bool,
        load: impl Future<Output = Result<Option<Arc<Live>>, Unavailable>>,
    ) -> Result<Option<Arc<Live>>, Unavailable> {
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
            if let Some(live) = self.get(token.id()).filter(|live| good(live)) {
                return Ok(live);
            }
            match load.await {
                Ok(Some(live)) => {
                    self.insert(*token.id(), Arc::clone(&live));
                    Ok(live)
                }
                Ok(None) => Err(Miss::Over),
                Err(error) => Err(Miss::Unavailable(error)),
            }
        };
        let loaded = self.flights.try_get_with(*token.id(), flight).await;
        if self.is_over(&key) {
            self.forget(token.id());
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

    /// Takes a buried session out of memory for good, waiting for a load that is under way.
    pub(super) async fn take(&self, token: &Token) -> Option<Arc<Live>> {
        // A flight of our own has nothing to do.
        let landed = self.flights.try_get_with(*token.id(), async { Err(Miss::Over) }).await.ok();
        let shown = self.front.pin().remove(token.id()).map(Arc::clone);
        self.live.remove(token.id()).or(shown).or(landed)
    }

    /// Does the cache's own housekeeping and says how many sessions there are.
    pub(super) fn tidy(&self) -> u64 {
        self.over.run_pending_tasks();
        self.live.run_pending_tasks();
        let live = self.live.entry_count();
        let mut ids = self.ids.lock();
        // One that was evicted while it was being inserted may have left its id behind.
        if ids.len() as u64 > live + SLACK {
            ids.retain(|_, id| self.live.contains_key(id));
        }
        live
    }
}
