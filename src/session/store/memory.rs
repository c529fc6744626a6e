//! Sessions in the memory of this process: for a laboratory, and for tests. Gone when the process ends.
//!
//! Rows are sealed as in every other store, so that nothing above it has a second way of working.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto::{self, KeyId},
    session::{
        cookie::SessionId,
        store::{
            Cutoffs, Row, RowVersion, Selection, Store, Touch, Unavailable,
            adoptions::{AdoptionMark, Adoptions},
            lease::{Lease, LeaseHolder, Leases},
            page_uses::{PageUse, PageUseKey, PageUseStore},
            rotation::{KeyRotation, MAX_COUNTED_ROWS, ReencryptedRow, RetiredCookieKey},
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows, ServiceTokenSelection},
        },
    },
};

/// Rows in memory.
#[derive(Default)]
pub(in crate::session) struct MemoryStore {
    rows: Mutex<HashMap<SessionId, Row>>,
    uncounted: AtomicU64,
    leases: Mutex<HashMap<(SessionId, u64), (LeaseHolder, Instant)>>,
    jtis: Mutex<HashSet<[u8; 32]>>,
    retired_keys: Mutex<BTreeMap<KeyId, RetiredCookieKey>>,
    service_tokens: Mutex<BTreeMap<SessionId, ServiceTokenRow>>,
    page_uses: Mutex<HashMap<PageUseKey, PageUse>>,
}

impl MemoryStore {
    fn rows(&self) -> MutexGuard<'_, HashMap<SessionId, Row>> {
        lock(&self.rows)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        Ok(self.rows().get(key).cloned())
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        match self.rows().entry(row.key) {
            Entry::Occupied(_) => Err(Unavailable::Failed("there is a session under this key already".to_owned())),
            Entry::Vacant(entry) => {
                entry.insert(row);
                Ok(())
            }
        }
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        let mut rows = self.rows();
        let mut gone: Vec<_> = match selection {
            Selection::Keys(keys) => keys.iter().filter(|key| rows.contains_key(key)).copied().collect(),
            Selection::Subject { provider, subject } => {
                let theirs = |row: &&Row| row.provider == *provider && row.subject == *subject;
                rows.values().filter(theirs).map(|row| row.key).collect()
            }
            Selection::Sid { provider, sid } => {
                let theirs = |row: &&Row| row.provider == *provider && row.sid.as_ref() == Some(sid);
                rows.values().filter(theirs).map(|row| row.key).collect()
            }
            Selection::Everything => rows.keys().copied().collect(),
        };
        gone.truncate(limit as usize);
        for key in &gone {
            rows.remove(key);
        }
        Ok(gone)
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let mut rows = self.rows();
        for touch in touches {
            if let Some(row) = rows.get_mut(&touch.key) {
                row.last_seen = row.last_seen.max(touch.last_seen);
            }
        }
        Ok(())
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        let mut rows = self.rows();
        let is_over = |row: &&Row| row.created <= cutoffs.created || row.last_seen <= cutoffs.last_seen;
        let over: Vec<_> = rows.values().filter(is_over).map(|row| row.key).take(limit as usize).collect();
        for key in &over {
            rows.remove(key);
        }
        Ok(u32::try_from(over.len()).unwrap_or(limit))
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        let rows = self.rows();
        let version =
            |key: &SessionId| rows.get(key).map(|row| RowVersion { key: row.key, generation: row.generation });
        Ok(keys.iter().filter_map(version).collect())
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        let is_theirs = |row: &Row| row.provider == provider && row.sid.as_deref() == Some(sid);
        Ok(self.rows().values().any(is_theirs))
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let mut rows: Vec<_> = self.rows().values().filter(|row| (from..=to).contains(&&row.key)).cloned().collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.uncounted.fetch_add(many, Ordering::Relaxed);
        Ok(())
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        Ok(self.uncounted.swap(0, Ordering::Relaxed))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        let Lease { key, generation, holder } = *lease;
        let is_current = self.rows().get(&key).is_some_and(|row| row.generation == generation);
        let (mut leases, now) = (lock(&self.leases), Instant::now());
        leases.retain(|_, (_, until)| *until > now);
        let is_free = is_current && leases.get(&(key, generation)).is_none_or(|(theirs, _)| *theirs == holder);
        if is_free {
            leases.insert((key, generation), (holder, now + span));
        }
        Ok(is_free)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        let is_theirs = |(key, generation): &(SessionId, u64), holder: LeaseHolder| {
            (*key, *generation, holder) == (lease.key, lease.generation, lease.holder)
        };
        lock(&self.leases).retain(|lease, (holder, _)| !is_theirs(lease, *holder));
        Ok(())
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        let mut rows = self.rows();
        let Some(kept) = rows.get_mut(&row.key).filter(|kept| kept.generation + 1 == row.generation) else {
            return Ok(false);
        };
        let last_seen = kept.last_seen;
        *kept = Row { last_seen, ..row.clone() };
        Ok(true)
    }

    async fn record_jti(&self, digest: &[u8; 32], _until: Timestamp) -> Result<bool, Unavailable> {
        // Never expires: a laboratory's process does not live that long.
        Ok(lock(&self.jtis).insert(*digest))
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        lock(&self.jtis).remove(digest);
        Ok(())
    }
}

#[async_trait]
impl Adoptions for MemoryStore {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, _until: Timestamp) -> Result<bool, Unavailable> {
        // Never expires, as a `jti`.
        let is_first = lock(&self.jtis).insert(*mark);
        if is_first {
            self.rows().insert(row.key, row);
        }
        Ok(is_first)
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        let set = lock(&self.jtis);
        Ok(marks.iter().any(|mark| set.contains(mark)))
    }
}

#[async_trait]
impl PageUseStore for MemoryStore {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        let mut recorded = lock(&self.page_uses);
        let latest = uses.iter().map(|page| page.at).max().unwrap_or_default();
        recorded.retain(|_, page| page.until >= latest);
        for page in uses {
            let own = recorded.entry(page.key).or_insert(*page);
            (own.at, own.until) = (own.at.max(page.at), own.until.max(page.until));
        }
        Ok(())
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        Ok(lock(&self.page_uses).get(key).map(|page| page.at))
    }
}

#[async_trait]
impl KeyRotation for MemoryStore {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        let mut counts = HashMap::new();
        for secret in self.rows().values().filter_map(|row| crypto::sealed_by(&row.sealed)) {
            let many: &mut u64 = counts.entry(secret).or_default();
            *many = u64::from(MAX_COUNTED_ROWS).min(*many + 1);
        }
        Ok(counts.into_iter().filter(|(secret, _)| *secret != newest).collect())
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let theirs = |row: &&Row| row.key >= *from && crypto::sealed_by(&row.sealed) == Some(secret);
        let mut rows: Vec<_> = self.rows().values().filter(theirs).cloned().collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn reencrypt(&self, reencrypted: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        let (mut rows, mut many) = (self.rows(), 0);
        for update in reencrypted {
            let is_as_read = |row: &&mut Row| {
                row.generation == update.generation && crypto::sealed_by(&row.sealed) == Some(update.from)
            };
            if let Some(row) = rows.get_mut(&update.key).filter(is_as_read) {
                row.sealed.clone_from(&update.sealed);
                many += 1;
            }
        }
        Ok(many)
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        Ok(lock(&self.retired_keys).values().cloned().collect())
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        lock(&self.retired_keys).insert(retired_key.secret, retired_key.clone());
        Ok(())
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        let oldest = self.rows().values().map(|row| row.created).min();
        let oldest_token = lock(&self.service_tokens).values().map(|row| row.created).min();
        let oldest = oldest.into_iter().chain(oldest_token).min();
        let is_needed = |retired_key: &RetiredCookieKey| oldest.is_some_and(|oldest| oldest <= retired_key.retired);
        lock(&self.retired_keys).retain(|_, retired_key| retired_key.retired >= before || is_needed(retired_key));
        Ok(())
    }
}

#[async_trait]
impl ServiceTokenRows for MemoryStore {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        Ok(lock(&self.service_tokens).get(key).cloned())
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        let mut tokens = lock(&self.service_tokens);
        let is_free = tokens.values().all(|token| token.name != row.name);
        if is_free {
            tokens.insert(row.key, ServiceTokenRow { last_used: None, ..row.clone() });
        }
        Ok(is_free)
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        let mut tokens = lock(&self.service_tokens);
        let before = tokens.len();
        tokens.retain(|_, token| match selection {
            ServiceTokenSelection::Name(name) => token.name != *name,
            ServiceTokenSelection::Everything => false,
        });
        Ok((before - tokens.len()) as u64)
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        let tokens = lock(&self.service_tokens);
        Ok(keys.iter().filter(|key| tokens.contains_key(key)).copied().collect())
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        let mut tokens = lock(&self.service_tokens);
        for touch in touches {
            if let Some(token) = tokens.get_mut(&touch.key) {
                token.last_used = token.last_used.max(Some(touch.last_seen));
            }
        }
        Ok(())
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        Ok(lock(&self.service_tokens).range(*from..).map(|(_, token)| token.clone()).take(limit as usize).collect())
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        let mut counts = BTreeMap::new();
        for secret in lock(&self.service_tokens).values().filter_map(|token| crypto::sealed_by(&token.sealed)) {
            *counts.entry(secret).or_default() += 1;
        }
        counts.remove(&newest);
        Ok(counts.into_iter().collect())
    }

    async fn reencrypt_tokens(&self, reencrypted: &[ReencryptedToken]) -> Result<(), Unavailable> {
        let mut tokens = lock(&self.service_tokens);
        for update in reencrypted {
            if let Some(token) = tokens.get_mut(&update.key).filter(|token| token.sealed == update.from) {
                token.sealed.clone_from(&update.sealed);
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
