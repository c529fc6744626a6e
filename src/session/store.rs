//! What a store has to do, whatever it is made of, and the watch that is kept over the one in use.
//!
//! Promises: every call ends within a deadline and is measured; an outage is logged once when it begins and once when
//! it ends. It must not know what is sealed in a row.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::token::Key;
use crate::{
    clock::Timestamp,
    failure::Kind,
    metrics::{self, Operation},
};

/// How long a request waits for the store.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The store did not do what it was asked for. Never a reason to believe that a session is over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// It did not answer in time.
    #[error("the session store did not answer within {DEADLINE:?}")]
    Deadline,
    /// It answered with an error.
    #[error("the session store failed: {0}")]
    Failed(String),
    /// It cannot be opened, and waiting will not help: what is wrong, and how to mend it.
    #[error("the session store cannot be used: {0}")]
    Unusable(String),
}

impl Unavailable {
    /// What it means to the one who has to act on it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::Store
    }
}

/// A session as the store sees it. The columns are what rows are found by; they are trusted for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Key,
    /// The configured name of the provider.
    pub(super) provider: String,
    /// The provider's name for the person.
    pub(super) subject: String,
    /// The provider's name for its session.
    pub(super) sid: Option<String>,
    /// How often the sealed part was written; the first time counts.
    pub(super) generation: u64,
    pub(super) created: Timestamp,
    pub(super) last_seen: Timestamp,
    /// The record, readable with our secrets and under this key alone.
    pub(super) sealed: Vec<u8>,
}

/// When a session was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) key: Key,
    pub(super) last_seen: Timestamp,
}

/// Which rows are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cutoffs {
    /// Those made at this moment or before it.
    pub(super) created: Timestamp,
    /// Those last used at this moment or before it.
    pub(super) last_seen: Timestamp,
}

/// Where rows are kept.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// The row under `key`, if it is there.
    async fn load(&self, key: &Key) -> Result<Option<Row>, Unavailable>;
    /// Writes a new row durably. A row that is there already is never overwritten: that is an error.
    async fn insert(&self, row: Row) -> Result<(), Unavailable>;
    /// Removes a row durably and says whether it was there, so that of two who end a session one knows it was them.
    async fn delete(&self, key: &Key) -> Result<bool, Unavailable>;
    /// Notes later uses. An earlier one than is known, or a row that is gone, changes nothing.
    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable>;
    /// Removes at most `limit` rows that are over and says how many.
    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable>;
    /// Whether it would take a write now.
    async fn ping(&self) -> Result<(), Unavailable>;
}

/// The store in use, watched.
pub(super) struct Watched {
    store: Box<dyn Store>,
    backend: &'static str,
    metrics: metrics::Store,
    deadline: Duration,
    up: AtomicBool,
}

impl Watched {
    /// Watches `store`, which is taken to be up until it is asked.
    pub(super) fn new(
        store: Box<dyn Store>,
        backend: &'static str,
        metrics: metrics::Store,
        deadline: Duration,
    ) -> Self {
        Self { store, backend, metrics, deadline, up: AtomicBool::new(true) }
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    async fn ask<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.deadline, work).await.unwrap_or(Err(Unavailable::Deadline));
        self.metrics.observed(operation, began.elapsed(), answer.is_err());
        self.note(operation, answer.as_ref().err());
        answer
    }

    fn note(&self, operation: Operation, error: Option<&Unavailable>) {
        let was_up = self.up.swap(error.is_none(), Ordering::Relaxed);
        self.metrics.set_up(error.is_none());
        let (backend, operation) = (self.backend, operation.label());
        match error {
            Some(error) if was_up => tracing::error!(backend, operation, %error, "the session store is away"),
            None if !was_up => tracing::info!(backend, "the session store is back"),
            _ => {}
        }
    }
}

#[async_trait]
impl Store for Watched {
    async fn load(&self, key: &Key) -> Result<Option<Row>, Unavailable> {
        self.ask(Operation::Load, self.store.load(key)).await
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.ask(Operation::Insert, self.store.insert(row)).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Unavailable> {
        self.ask(Operation::Delete, self.store.delete(key)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.ask(Operation::Touch, self.store.touch(touches)).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.ask(Operation::Purge, self.store.purge(cutoffs, limit)).await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.ask(Operation::Ping, self.store.ping()).await
    }
}
