//! What a store has to do, whatever it is made of, and the watch that is kept over the one in use.
//!
//! Promises: every call ends within a deadline and is measured; an outage is logged once when it begins and once when
//! it ends. It must not know what is sealed in a row.

pub(super) mod lease;
pub(super) mod memory;
pub(super) mod open;
pub mod postgres;
pub(super) mod rotation;
pub(super) mod sqlite;

use std::{
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    failure::Kind,
    metrics::{self, Operation},
    session::{
        cookie::SessionId,
        store::{lease::Leases, rotation::Rotation},
    },
};

/// How long a request waits for the store.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long it does where it could go on without.
const SHORT: Duration = Duration::from_millis(1_500);

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
    pub(super) key: SessionId,
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
    pub(super) key: SessionId,
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

/// How far a session has come, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: SessionId,
    pub(super) generation: u64,
}

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Those under these keys.
    Keys(Vec<SessionId>),
    /// Those of one person, as a provider knows them.
    Subject {
        provider: String,
        subject: String,
    },
    /// The one that a provider calls so.
    Sid {
        provider: String,
        sid: String,
    },
    Everything,
}

impl From<SessionId> for Selection {
    fn from(key: SessionId) -> Self {
        Self::Keys(vec![key])
    }
}

/// Where rows are kept.
#[async_trait]
pub(super) trait Store: Leases + Rotation {
    /// The row under `key`, if it is there.
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable>;
    /// Writes a new row durably. A row that is there already is never overwritten: that is an error.
    async fn insert(&self, row: Row) -> Result<(), Unavailable>;
    /// Removes at most `limit` rows durably and says which, so that of two who end a session one knows it was them.
    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable>;
    /// Notes later uses. An earlier one than is known, or a row that is gone, changes nothing.
    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable>;
    /// Removes at most `limit` rows that are over and says how many.
    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable>;
    /// Of these rows those that are there.
    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<Version>, Unavailable>;
    /// Whether there is a row of the session that a provider calls so. Reads an index and writes nothing.
    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable>;
    /// The first rows from one key to another, both included, in the order of their keys.
    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable>;
    /// Notes that somebody who shows no metrics ended this many sessions.
    async fn leave_uncounted(&self, many: u64) -> Result<(), Unavailable>;
    /// How many such there are. Nobody is told of the same ones again.
    async fn take_uncounted(&self) -> Result<u64, Unavailable>;
    /// Whether it would take a write now.
    async fn ping(&self) -> Result<(), Unavailable>;

    /// Passes on what others do to rows, for ever, as far as the store tells.
    async fn listen(&self, _ears: &dyn Invalidations) -> Infallible {
        std::future::pending().await
    }

    /// Whether others may change rows.
    fn is_shared(&self) -> bool;
}

/// Who is told what others do.
pub(super) trait Invalidations: Send + Sync {
    /// From now on everything is heard. What happened before may have been missed.
    fn hearing(&self);
    /// The time, for [`Invalidations::heard_until`].
    fn now(&self) -> Timestamp;
    /// Nothing has been missed up to this moment.
    fn heard_until(&self, moment: Timestamp);
    /// From now on things may be missed.
    fn deaf(&self);
    /// Somebody says that a session has been ended or is not as it was. Whoever may connect can say so: the store knows.
    fn hint(&self, key: SessionId);
}

/// The store in use, watched.
pub(super) struct ObservedStore {
    store: Box<dyn Store>,
    backend: &'static str,
    metrics: metrics::Store,
    deadline: Duration,
    up: AtomicBool,
    opened: AtomicBool,
    /// When it was first seen to be away, while it is.
    away_since: Mutex<Option<Instant>>,
}

impl ObservedStore {
    /// Watches `store`, which is taken to be up until it is asked.
    pub(super) fn new(
        store: Box<dyn Store>,
        backend: &'static str,
        metrics: metrics::Store,
        deadline: Duration,
    ) -> Self {
        Self {
            store,
            backend,
            metrics,
            deadline,
            up: AtomicBool::new(true),
            opened: AtomicBool::new(false),
            away_since: Mutex::default(),
        }
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether it ever answered.
    pub(super) fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    /// The store itself.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) async fn ask<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let began = Instant::now();
        let deadline = match operation {
            Operation::Ping | Operation::Confirm => self.deadline.min(SHORT),
            _ => self.deadline,
        };
        let answer = tokio::time::timeout(deadline, work).await.unwrap_or(Err(Unavailable::Deadline));
        self.metrics.observed(operation, began.elapsed(), answer.is_err());
        self.note(operation, answer.as_ref().err());
        answer
    }

    fn note(&self, operation: Operation, error: Option<&Unavailable>) {
        let was_up = self.up.swap(error.is_none(), Ordering::Relaxed);
        let is_first = error.is_none() && !self.opened.swap(true, Ordering::Relaxed);
        self.metrics.set_up(error.is_none());
        let (backend, operation) = (self.backend, operation.label());
        let away_since = || self.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if was_up => {
                *away_since() = Some(Instant::now());
                tracing::error!(backend, operation, %error, "the session store is away");
            }
            None if is_first => tracing::info!(backend, "the session store is open"),
            None if !was_up => {
                let away_seconds = away_since().take().map(|since| since.elapsed().as_secs());
                tracing::info!(backend, away_seconds, "the session store is back");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Store for ObservedStore {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        self.ask(Operation::Load, self.store.load(key)).await
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.ask(Operation::Insert, self.store.insert(row)).await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        self.ask(Operation::Delete, self.store.delete(selection, limit)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.ask(Operation::Touch, self.store.touch(touches)).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.ask(Operation::Purge, self.store.purge(cutoffs, limit)).await
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<Version>, Unavailable> {
        self.ask(Operation::Confirm, self.store.versions(keys)).await
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.ask(Operation::Load, self.store.has_sid(provider, sid)).await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.ask(Operation::Page, self.store.page(from, to, limit)).await
    }

    async fn leave_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.ask(Operation::Count, self.store.leave_uncounted(many)).await
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        self.ask(Operation::Count, self.store.take_uncounted()).await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.ask(Operation::Ping, self.store.ping()).await
    }

    async fn listen(&self, ears: &dyn Invalidations) -> Infallible {
        self.store.listen(ears).await
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
}
