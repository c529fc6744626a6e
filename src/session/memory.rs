//! Sessions in this process alone: for a laboratory, and for tests. Gone when the process ends.
//!
//! It keeps the same rows as every other store, sealed and all, so that nothing above it has a second way of working.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    store::{Cutoffs, Row, Selection, Store, Touch, Unavailable, Version},
    token::Key,
};

/// Rows in memory.
#[derive(Default)]
pub(super) struct Memory {
    rows: Mutex<HashMap<Key, Row>>,
    uncounted: AtomicU64,
}

impl Memory {
    fn rows(&self) -> MutexGuard<'_, HashMap<Key, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self, key: &Key) -> Result<Option<Row>, Unavailable> {
        Ok(self.rows().get(key).cloned())
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        match self.rows().entry(row.key) {
            Entry::Occupied(_) => Err(Unavailable::Failed("there is a session under this key already".to_owned())),
            Entry::Vacant(place) => {
                place.insert(row);
                Ok(())
            }
        }
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<Key>, Unavailable> {
        let mut rows = self.rows();
        let mut gone: Vec<_> = match selection {
            Selection::Keys(keys) => keys.iter().filter(|key| rows.contains_key(key)).copied().collect(),
            Selection::Subject { provider, subject } => {
                let theirs = |row: &&Row| row.provider == *provider && row.subject == *subject;
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
        let mut left = limit;
        rows.retain(|_, row| {
            let over = row.created <= cutoffs.created || row.last_seen <= cutoffs.last_seen;
            let goes = over && left > 0;
            left -= u32::from(goes);
            !goes
        });
        Ok(limit - left)
    }

    async fn versions(&self, keys: &[Key]) -> Result<Vec<Version>, Unavailable> {
        let rows = self.rows();
        let version = |key: &Key| rows.get(key).map(|row| Version { key: row.key, generation: row.generation });
        Ok(keys.iter().filter_map(version).collect())
    }

    async fn page(&self, from: &Key, to: &Key, limit: u32) -> Result<Vec<Row>, Unavailable> {
        let mut rows: Vec<_> = self.rows().values().filter(|row| (from..=to).contains(&&row.key)).cloned().collect();
        rows.sort_unstable_by_key(|row| row.key);
        rows.truncate(limit as usize);
        Ok(rows)
    }

    async fn leave_uncounted(&self, many: u64) -> Result<(), Unavailable> {
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
