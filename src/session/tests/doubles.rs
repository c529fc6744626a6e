//! Test doubles: a store that can be held, broken and counted, and a replica over it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::{
    clock::{Clock, Timestamp},
    crypto::{KeyId, Keyring},
    identity::{Identity, Registration, SessionScope, Subject, Tokens},
    metrics,
    session::{
        Backend, CachedSession, DEADLINE, LookupOutcome, NewSession, Record, RenewedGrant, SessionId, Sessions,
        Settings,
        cookie::{Cookie, Token},
        freshness::RequestTime,
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

/// The host of every sign-in.
pub(super) const HOST: &str = "app.test";

/// A cookie as it is sent to its host.
pub(super) fn sent(cookie: &str) -> Cookie<'_> {
    Cookie { value: cookie.as_bytes(), audience: HOST }
}

/// Behaviour of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Available,
    /// Answers every call with an error.
    Failing,
    /// Does what it is asked, and its answer is lost.
    AnswerLost,
    /// Does not answer before it is set to something else.
    Held,
    /// Reads the rows, and does not answer before it is set to something else.
    AnswerHeld,
}

/// A store in memory that fails on demand.
pub(super) struct FakeStore {
    rows: MemoryStore,
    mode: watch::Sender<Mode>,
    loads: watch::Sender<usize>,
    touches: AtomicUsize,
    /// Last pages that the store was asked for.
    pub(super) page_use_loads: AtomicUsize,
    /// Sessions that the store was asked to confirm.
    revalidated: AtomicUsize,
    shared: AtomicBool,
    /// Runs while a row that was read is on its way back.
    on_load: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl FakeStore {
    /// Runs `callback` whenever a row that was read is on its way back.
    pub(super) fn on_load(&self, callback: impl Fn() + Send + 'static) {
        *self.on_load.lock().unwrap() = Some(Box::new(callback));
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns once a load has been asked for.
    pub(super) async fn load_began(&self) {
        self.loads.subscribe().wait_for(|loads| *loads > 0).await.unwrap();
    }

    pub(super) fn loads(&self) -> usize {
        *self.loads.borrow()
    }

    pub(super) fn touches(&self) -> usize {
        self.touches.load(Ordering::Relaxed)
    }

    /// Makes it a store that others change, for replicas that are built from now on.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    pub(super) fn revalidated(&self) -> usize {
        self.revalidated.load(Ordering::Relaxed)
    }

    pub(super) fn reset_counts(&self) {
        self.revalidated.store(0, Ordering::Relaxed);
        self.loads.send_replace(0);
        self.touches.store(0, Ordering::Relaxed);
    }

    /// Returns the answer, unless it is to be lost.
    fn answer<T>(&self, answer: T) -> Result<T, Unavailable> {
        match *self.mode.borrow() {
            Mode::AnswerLost => Err(Unavailable::Failed("the connection was lost on purpose".to_owned())),
            _ => Ok(answer),
        }
    }

    async fn let_answer(&self) {
        self.mode.subscribe().wait_for(|mode| *mode != Mode::AnswerHeld).await.unwrap();
    }

    async fn let_in(&self) -> Result<(), Unavailable> {
        let mode = *self.mode.subscribe().wait_for(|mode| *mode != Mode::Held).await.unwrap();
        if mode == Mode::Failing { Err(Unavailable::Failed("broken on purpose".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Arc<FakeStore> {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        self.loads.send_modify(|loads| *loads += 1);
        self.let_in().await?;
        let row = self.rows.load(key).await;
        if let Some(callback) = &*self.on_load.lock().unwrap() {
            callback();
        }
        self.let_answer().await;
        row
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.insert(row).await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        self.let_in().await?;
        self.rows.delete(selection, limit).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.touches.fetch_add(touches.len(), Ordering::Relaxed);
        self.rows.touch(touches).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.let_in().await?;
        self.rows.purge(cutoffs, limit).await
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        self.revalidated.fetch_add(keys.len(), Ordering::Relaxed);
        self.let_in().await?;
        let versions = self.rows.versions(keys).await;
        self.let_answer().await;
        versions
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.rows.has_sid(provider, sid).await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.let_in().await?;
        self.rows.page(from, to, limit).await
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.add_uncounted(many).await
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        self.let_in().await?;
        self.rows.take_uncounted().await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.let_in().await
    }

    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }
}

/// One replica, with a clock that tests move.
pub(super) struct TestReplica {
    pub(super) sessions: Arc<Sessions>,
    pub(super) store: Arc<FakeStore>,
    pub(super) time: Arc<AtomicU64>,
    clock: Clock,
    metrics: Arc<metrics::Metrics>,
    deadline: Duration,
}

impl TestReplica {
    /// A replica over an empty store: 28 days of lifetime, 7 of idle timeout.
    pub(super) fn new() -> Self {
        Self::over(DEADLINE)
    }

    /// A replica that waits 10 ms for the store.
    pub(super) fn with_short_deadline() -> Self {
        Self::over(Duration::from_millis(10))
    }

    fn over(deadline: Duration) -> Self {
        let (clock, time) = Clock::manual(Timestamp::from_unix(1_800_000_000));
        let store = Arc::new(FakeStore {
            rows: MemoryStore::default(),
            mode: watch::Sender::new(Mode::Available),
            loads: watch::Sender::new(0),
            touches: AtomicUsize::new(0),
            page_use_loads: AtomicUsize::new(0),
            revalidated: AtomicUsize::new(0),
            shared: AtomicBool::new(false),
            on_load: Mutex::default(),
        });
        let metrics =
            Arc::new(metrics::Metrics::new(&metrics::Settings { backend: "memory", version: "", commit: "" }));
        let sessions = sessions(&store, &clock, &metrics, deadline, &["old"]);
        Self { sessions, store, time, clock, metrics, deadline }.with_no_retired_keys()
    }

    /// As if the cookie keys of retired secrets had been loaded.
    fn with_no_retired_keys(self) -> Self {
        self.sessions.settings.keyring().load_retired(Vec::new());
        self
    }

    /// Another replica over the same store with an empty cache. The counts are reset.
    pub(super) fn restarted(&self) -> Self {
        self.restarted_with(&["old"]).with_no_retired_keys()
    }

    /// The same with other secrets, and with the cookie keys of retired ones not loaded yet.
    pub(super) fn restarted_with(&self, secrets: &[&str]) -> Self {
        self.store.reset_counts();
        let sessions = sessions(&self.store, &self.clock, &self.metrics, self.deadline, secrets);
        let (store, time) = (Arc::clone(&self.store), Arc::clone(&self.time));
        Self {
            sessions,
            store,
            time,
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            deadline: self.deadline,
        }
    }

    /// The administration of service tokens over the same store, with the keys that replicas have by default.
    pub(super) fn token_admin(&self) -> ServiceTokenAdmin {
        let (store, metrics) = (Box::new(Arc::clone(&self.store)), self.metrics.store.clone());
        let store = ObservedStore::new(store, "memory", metrics, self.deadline);
        ServiceTokenAdmin::over(store, Arc::new(keyring()), self.clock.clone())
    }

    pub(super) async fn find(&self, cookie: &str) -> Result<LookupOutcome, Unavailable> {
        self.sessions.find(sent(cookie)).await
    }

    /// Reloads.
    pub(super) fn change(&self, settings: &Settings, secrets: &[&str]) {
        self.sessions.change(settings, Arc::new(keyring_of(secrets)));
    }

    /// The session of a cookie, if memory alone can answer.
    pub(super) fn get_cached(&self, cookie: &str) -> Option<Arc<CachedSession>> {
        self.sessions.get_cached(sent(cookie), |session, _| Some(Arc::clone(session)))
    }

    /// Moves the clock.
    pub(super) fn advance(&self, by: Duration) {
        self.time.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// The value of one metric series.
    pub(super) fn metric(&self, series: &str) -> u64 {
        self.text(series).parse().expect(series)
    }

    /// The value of one metric series, as text.
    pub(super) fn text(&self, series: &str) -> String {
        let text = self.metrics.print();
        text.lines().find_map(|line| line.strip_prefix(series)).expect(series).trim().to_owned()
    }
}

fn sessions(
    store: &Arc<FakeStore>,
    clock: &Clock,
    metrics: &metrics::Metrics,
    deadline: Duration,
    secrets: &[&str],
) -> Arc<Sessions> {
    let observed = ObservedStore::new(Box::new(Arc::clone(store)), "memory", metrics.store.clone(), deadline);
    let keyring = Arc::new(keyring_of(secrets));
    Arc::new(Sessions::over(observed, &settings(), keyring, clock.clone(), metrics.sessions.clone()))
}

/// The settings that replicas are built with.
pub(super) fn settings() -> Settings {
    Settings {
        lifetime: Duration::from_hours(28 * 24),
        adopted_lifetime: None,
        idle_timeout: Duration::from_hours(7 * 24),
        backend: Backend::Memory,
        renew_before: Duration::from_mins(1),
        outage_grace: Duration::from_hours(1),
        reauthorize: None,
        passes_tokens: false,
    }
}

/// The keyring that replicas are built with by default.
pub(super) fn keyring() -> Keyring {
    keyring_of(&["old"])
}

fn keyring_of(secrets: &[&str]) -> Keyring {
    let secrets: Vec<_> = secrets.iter().map(|secret| SecretString::from(secret.repeat(16))).collect();
    Keyring::new(&secrets).unwrap()
}

/// The result of a sign-in of this person.
pub(super) fn new_session(name: &str) -> NewSession {
    let secret = |kind: &str| Some(SecretString::from(format!("{kind} token of {name}")));
    NewSession {
        identity: Identity {
            provider: "authentik".to_owned(),
            subject: Subject(format!("subject of {name}")),
            user: name.to_owned(),
            email: format!("{name}@example.com"),
            email_verified: true,
            name: name.to_uppercase(),
            groups: vec!["staff".to_owned()],
            claims: serde_json::Map::new(),
            standing: crate::identity::ClaimsStanding::default(),
        },
        tokens: Tokens { access: secret("access"), access_ends: None, refresh: secret("refresh"), id: secret("id") },
        sid: Some(format!("sid of {name}")),
        scope: SessionScope { audience: HOST.to_owned(), registration: Registration([7; 8]) },
    }
}

/// The result of a renewal that brought these tokens and nothing else.
pub(super) fn renewed_grant(tokens: Tokens) -> RenewedGrant {
    RenewedGrant { identity: None, tokens, first_sid: None, sid_repeated: false }
}

/// The result of a sign-in whose access token ends after this time.
pub(super) fn expiring_session(replica: &TestReplica, name: &str, span: Duration) -> NewSession {
    let new = new_session(name);
    NewSession { tokens: Tokens { access_ends: Some(replica.clock.now().plus(span)), ..new.tokens }, ..new }
}

/// A session in memory that was read at this request time.
pub(super) fn cached_session(request: RequestTime) -> CachedSession {
    let token = Token::fresh(&keyring(), HOST);
    let record = Record::new(new_session("ann"), Timestamp::from_unix(1));
    let row = record.seal(&keyring(), token.id());
    CachedSession::new(&record, &token, &row, request, None)
}

#[async_trait]
impl Leases for Arc<FakeStore> {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.answer(self.rows.acquire_lease(lease, span).await?)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.release_lease(lease).await
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.answer(self.rows.replace(row).await?)
    }

    async fn record_jti(&self, word: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.answer(self.rows.record_jti(word, until).await?)
    }

    async fn forget_jti(&self, word: &[u8; 32]) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.forget_jti(word).await
    }
}

#[async_trait]
impl Adoptions for Arc<FakeStore> {
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.answer(self.rows.adopt(row, mark, until).await?)
    }

    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.rows.is_marked(marks).await
    }
}

#[async_trait]
impl PageUseStore for Arc<FakeStore> {
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.record_page_uses(uses).await
    }

    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable> {
        self.let_in().await?;
        self.page_use_loads.fetch_add(1, Ordering::Relaxed);
        self.rows.last_page_use(key).await
    }
}

#[async_trait]
impl KeyRotation for Arc<FakeStore> {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.let_in().await?;
        self.rows.count_rows_by_other_secrets(newest).await
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.let_in().await?;
        self.rows.rows_sealed_by(secret, from, limit).await
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        self.let_in().await?;
        self.rows.reencrypt(rows).await
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        self.let_in().await?;
        self.rows.load_retired_keys().await
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.save_retired_key(retired_key).await
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.delete_retired_keys(before).await
    }
}

#[async_trait]
impl ServiceTokenRows for Arc<FakeStore> {
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable> {
        self.loads.send_modify(|loads| *loads += 1);
        self.let_in().await?;
        let row = self.rows.load_token(key).await;
        if let Some(callback) = &*self.on_load.lock().unwrap() {
            callback();
        }
        self.let_answer().await;
        row
    }

    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable> {
        self.let_in().await?;
        self.rows.insert_token(row).await
    }

    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable> {
        self.let_in().await?;
        self.rows.delete_tokens(selection).await
    }

    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable> {
        self.revalidated.fetch_add(keys.len(), Ordering::Relaxed);
        self.let_in().await?;
        self.rows.existing_tokens(keys).await
    }

    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.touches.fetch_add(touches.len(), Ordering::Relaxed);
        self.rows.touch_tokens(touches).await
    }

    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable> {
        self.let_in().await?;
        self.rows.page_tokens(from, limit).await
    }

    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.let_in().await?;
        self.rows.count_tokens_by_other_secrets(newest).await
    }

    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable> {
        self.let_in().await?;
        self.rows.reencrypt_tokens(tokens).await
    }
}
