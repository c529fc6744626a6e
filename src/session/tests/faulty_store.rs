//! A store in memory whose faults are planned, and sessions over it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::yield_now;

use crate::{
    clock::{Clock, Timestamp},
    crypto::{KeyId, Keyring},
    faults::plan::{FaultPlan, StoreFault},
    metrics,
    session::{
        SessionId, Sessions, Settings,
        service_tokens::admin::ServiceTokenAdmin,
        store::{
            Cutoffs, ObservedStore, Row, RowVersion, Selection, Store, Touch, Unavailable,
            adoptions::{AdoptionMark, Adoptions},
            lease::{Lease, Leases},
            memory::MemoryStore,
            page_uses::{PageUse, PageUseKey, PageUseStore},
            rotation::{KeyRotation, ReencryptedRow, RetiredCookieKey},
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows, ServiceTokenSelection},
        },
    },
};

/// A store in memory. Each call waits before it does anything and before it answers, as one of a server does, so that its
/// caller can be dropped at either.
pub(crate) struct FaultyStore {
    rows: MemoryStore,
    plan: Arc<FaultPlan<StoreFault>>,
    /// `true` for a store that other processes change too.
    shared: bool,
}

impl FaultyStore {
    pub(crate) fn new(plan: Arc<FaultPlan<StoreFault>>, shared: bool) -> Arc<Self> {
        Arc::new(Self { rows: MemoryStore::default(), plan, shared })
    }

    /// Deletes all rows, as another process would.
    pub(crate) async fn clear(&self) {
        let all = self.rows.page(&SessionId([0; 32]), &SessionId([255; 32]), u32::MAX).await.unwrap();
        for row in all {
            self.rows.delete(&Selection::from(row.key), 1).await.unwrap();
        }
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        let fault = self.plan.next();
        yield_now().await;
        match fault {
            Some(StoreFault::Refused) => return Err(Unavailable::Failed("refused on purpose".to_owned())),
            Some(StoreFault::Stalled) => std::future::pending().await,
            Some(StoreFault::AnswerLost) | None => {}
        }
        let answer = work.await;
        yield_now().await;
        match fault {
            Some(_) => answer.and(Err(Unavailable::Failed("the answer was lost on purpose".to_owned()))),
            None => answer,
        }
    }
}

/// Long enough for a busy machine: calls that stall on purpose are waited for together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sessions over such a store, with an empty cache, as those of a process that has just been started.
pub(crate) fn sessions_over(
    store: &Arc<FaultyStore>,
    settings: &Settings,
    keyring: Arc<Keyring>,
    clock: &Clock,
    metrics: &metrics::Metrics,
) -> Arc<Sessions> {
    let observed = ObservedStore::new(Box::new(Arc::clone(store)), "memory", metrics.store.clone(), DEADLINE);
    keyring.load_retired(Vec::new());
    Arc::new(Sessions::over(observed, settings, keyring, clock.clone(), metrics.sessions.clone()))
}

/// Service tokens in such a store, for an operator.
pub(crate) fn tokens_over(
    store: &Arc<FaultyStore>,
    keyring: Arc<Keyring>,
    clock: &Clock,
    metrics: &metrics::Metrics,
) -> ServiceTokenAdmin {
    let observed = ObservedStore::new(Box::new(Arc::clone(store)), "memory", metrics.store.clone(), DEADLINE);
    ServiceTokenAdmin::over(observed, keyring, clock.clone())
}

/// Asks the store whether it answers again, as the upkeep does every few seconds.
pub(crate) async fn recover(sessions: &Sessions) {
    sessions.store.ping().await.unwrap();
}

#[async_trait]
impl Store for Arc<FaultyStore> {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        self.call(self.rows.load(key)).await
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.call(self.rows.insert(row)).await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        self.call(self.rows.delete(selection, limit)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.call(self.rows.touch(touches)).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.call(self.rows.purge(cutoffs, limit)).await
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        self.call(self.rows.versions(keys)).await
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.call(self.rows.has_sid(provider, sid)).await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.call(self.rows.page(from, to, limit)).await
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.call(self.rows.add_uncounted(many)).await
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        self.call(self.rows.take_uncounted()).await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.call(self.rows.ping()).await
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}

#[async_trait]
impl Leases for Arc<FaultyStore> {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        self.call(self.rows.acquire_lease(lease, span)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        self.call(self.rows.release_lease(lease)).await
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        self.call(self.rows.replace(row)).await
    }

    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        self.call(self.rows.record_jti(digest, until)).await
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        self.call(self.rows.forget_jti(digest)).await
    }
}

#[async_trait]
impl Adoptions for Arc<FaultyStore> {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable> {
        self.call(self.rows.adopt(row, mark, until)).await
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        self.call(self.rows.is_marked(marks)).await
    }
}

#[async_trait]
impl PageUseStore for Arc<FaultyStore> {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        self.call(self.rows.record_page_uses(uses)).await
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        self.call(self.rows.last_page_use(key)).await
    }
}

#[async_trait]
impl ServiceTokenRows for Arc<FaultyStore> {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        self.call(self.rows.load_token(key)).await
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        self.call(self.rows.insert_token(row)).await
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        self.call(self.rows.delete_tokens(selection)).await
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        self.call(self.rows.existing_tokens(keys)).await
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.call(self.rows.touch_tokens(touches)).await
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        self.call(self.rows.page_tokens(from, limit)).await
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.call(self.rows.count_tokens_by_other_secrets(newest)).await
    }

    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable> {
        self.call(self.rows.reencrypt_tokens(tokens)).await
    }
}

#[async_trait]
impl KeyRotation for Arc<FaultyStore> {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.call(self.rows.count_rows_by_other_secrets(newest)).await
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.call(self.rows.rows_sealed_by(secret, from, limit)).await
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        self.call(self.rows.reencrypt(rows)).await
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        self.call(self.rows.load_retired_keys()).await
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        self.call(self.rows.save_retired_key(retired_key)).await
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.call(self.rows.delete_retired_keys(before)).await
    }
}
