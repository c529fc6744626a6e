//! The session store in use, with a deadline, a metric and a log for each operation.
//!
//! Promises: every call ends within its deadline and is measured; an outage is logged once when it begins and once when
//! it ends.

use std::{
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    metrics::{self, StoreOperation},
    session::{
        cookie::SessionId,
        store::{
            adoptions::{AdoptionMark, Adoptions},
            error::Unavailable,
            lease::{Lease, Leases},
            page_uses::{PageUse, PageUseKey, PageUseStore},
            rotation::{KeyRotation, ReencryptedRow, RetiredCookieKey},
            row::{Cutoffs, Row, RowVersion, Selection, Touch},
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows, ServiceTokenSelection},
            traits::{Invalidations, Store},
        },
    },
};

/// Deadline of operations that the caller could go on without.
const SHORT_DEADLINE: Duration = Duration::from_millis(1_500);

/// The most reads of sessions that are handed to the store at once; others wait for their turn within the same deadline. Eight
/// times the connections of a pool by default, so that it never idles, and few enough that a sign-in, a renewal or a sign-out behind them is
/// written soon, however many sessions that are not in memory are asked for.
const MAX_LOADS: usize = 64;

/// The store in use, observed.
pub(in crate::session) struct ObservedStore {
    store: Box<dyn Store>,
    backend: &'static str,
    metrics: metrics::StoreMetrics,
    deadline: Duration,
    loads: Semaphore,
    available: AtomicBool,
    opened: AtomicBool,
    /// Beginning of the current outage.
    unavailable_since: Mutex<Option<Instant>>,
}

impl ObservedStore {
    /// Observes `store`, which counts as available until it is asked.
    pub(in crate::session) fn new(
        store: Box<dyn Store>,
        backend: &'static str,
        metrics: metrics::StoreMetrics,
        deadline: Duration,
    ) -> Self {
        Self {
            store,
            backend,
            metrics,
            deadline,
            loads: Semaphore::new(MAX_LOADS),
            available: AtomicBool::new(true),
            opened: AtomicBool::new(false),
            unavailable_since: Mutex::default(),
        }
    }

    /// Returns `true` if the store answered when it was last asked.
    pub(in crate::session) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Returns for how long every call has failed; `None` while the store is available.
    pub(in crate::session) fn outage(&self) -> Option<Duration> {
        if self.is_available() {
            return None;
        }
        let since = *self.unavailable_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }

    /// Returns `true` if the store ever answered.
    pub(in crate::session) fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Relaxed)
    }

    async fn observe<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let began = Instant::now();
        let deadline = match operation {
            StoreOperation::Ping | StoreOperation::Confirm => self.deadline.min(SHORT_DEADLINE),
            _ => self.deadline,
        };
        let answer = tokio::time::timeout(deadline, work).await.unwrap_or(Err(Unavailable::Deadline));
        self.metrics.record_operation(operation, began.elapsed(), answer.is_err());
        self.record_outcome(operation, answer.as_ref().err());
        answer
    }

    fn record_outcome(&self, operation: StoreOperation, error: Option<&Unavailable>) {
        let was_available = self.available.swap(error.is_none(), Ordering::Relaxed);
        let is_first = error.is_none() && !self.opened.swap(true, Ordering::Relaxed);
        self.metrics.set_up(error.is_none());
        let (backend, operation) = (self.backend, operation.label());
        let unavailable_since = || self.unavailable_since.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if was_available => {
                *unavailable_since() = Some(Instant::now());
                tracing::error!(backend, operation, %error, "the session store is unavailable");
            }
            None if is_first => tracing::info!(backend, "the session store is open"),
            None if !was_available => {
                let unavailable_seconds = unavailable_since().take().map(|since| since.elapsed().as_secs());
                tracing::info!(backend, unavailable_seconds, "the session store is available again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Store for ObservedStore {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        let load = async {
            // Never closed.
            let _turn = self.loads.acquire().await;
            self.store.load(key).await
        };
        self.observe(StoreOperation::Load, load).await
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Insert, self.store.insert(row)).await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        self.observe(StoreOperation::Delete, self.store.delete(selection, limit)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Touch, self.store.touch(touches)).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.observe(StoreOperation::Purge, self.store.purge(cutoffs, limit)).await
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        self.observe(StoreOperation::Confirm, self.store.versions(keys)).await
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Load, self.store.has_sid(provider, sid)).await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.observe(StoreOperation::Page, self.store.page(from, to, limit)).await
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Count, self.store.add_uncounted(many)).await
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        self.observe(StoreOperation::Count, self.store.take_uncounted()).await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Ping, self.store.ping()).await
    }

    async fn listen(&self, invalidations: &dyn Invalidations) -> Infallible {
        self.store.listen(invalidations).await
    }

    fn is_shared(&self) -> bool {
        self.store.is_shared()
    }
}

#[async_trait]
impl Leases for ObservedStore {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Claim, self.store.acquire_lease(lease, span)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Claim, self.store.release_lease(lease)).await
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Replace, self.store.replace(row)).await
    }

    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::RecordJti, self.store.record_jti(digest, until)).await
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        self.observe(StoreOperation::RecordJti, self.store.forget_jti(digest)).await
    }
}

#[async_trait]
impl Adoptions for ObservedStore {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Insert, self.store.adopt(row, mark, until)).await
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Load, self.store.is_marked(marks)).await
    }
}

#[async_trait]
impl PageUseStore for ObservedStore {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Touch, self.store.record_page_uses(uses)).await
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        self.observe(StoreOperation::Load, self.store.last_page_use(key)).await
    }
}

#[async_trait]
impl KeyRotation for ObservedStore {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.count_rows_by_other_secrets(newest)).await
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.rows_sealed_by(secret, from, limit)).await
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.reencrypt(rows)).await
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.load_retired_keys()).await
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.save_retired_key(retired_key)).await
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.delete_retired_keys(before)).await
    }
}

#[async_trait]
impl ServiceTokenRows for ObservedStore {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        self.observe(StoreOperation::Load, self.store.load_token(key)).await
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        self.observe(StoreOperation::Insert, self.store.insert_token(row)).await
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        self.observe(StoreOperation::Delete, self.store.delete_tokens(selection)).await
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        self.observe(StoreOperation::Confirm, self.store.existing_tokens(keys)).await
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Touch, self.store.touch_tokens(touches)).await
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        self.observe(StoreOperation::Page, self.store.page_tokens(from, limit)).await
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.count_tokens_by_other_secrets(newest)).await
    }

    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable> {
        self.observe(StoreOperation::Reencrypt, self.store.reencrypt_tokens(tokens)).await
    }
}
