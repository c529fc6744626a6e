//! Sessions in this process alone: for a laboratory, and for tests. Gone when the process ends.
//!
//! It keeps the same rows as every other store, sealed and all, so that nothing above it has a second way of working.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    store::{Cutoffs, Row, Store, Touch, Unavailable},
    token::Key,
};

/// Rows in memory.
#[derive(Default)]
pub(super) struct Memory {
    rows: Mutex<HashMap<Key, Row>>,
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

    async fn delete(&self, key: &Key) -> Result<bool, Unavailable> {
        Ok(self.rows().remove(key).is_some())
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

    async fn ping(&self) -> Result<(), Unavailable> {
        Ok(())
    }
}
