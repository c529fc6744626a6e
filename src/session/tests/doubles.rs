//! A store that can be held, broken and counted, and a house full of sessions over it.

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
        Backend, CachedSession, DEADLINE, Found, NewSession, Record, SessionId, Sessions, Settings,
        cookie::{Cookie, Token},
        freshness::Asked,
        store::{
            Cutoffs, ObservedStore, Row, RowVersion, Selection, Store, Touch, Unavailable,
            lease::{Lease, Leases},
            memory::MemoryStore,
            rotation::{KeyRotation, ReencryptedRow, RetiredCookieKey},
        },
    },
};

/// Where everybody signs in.
pub(super) const HOST: &str = "app.test";

/// A cookie as it is sent to where it counts.
pub(super) fn sent(cookie: &str) -> Cookie<'_> {
    Cookie { value: cookie.as_bytes(), audience: HOST }
}

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Up,
    /// Answers every call with an error.
    Failing,
    /// Does what it is asked, and its answer is lost.
    Unheard,
    /// Does not answer before it is set to something else.
    Held,
    /// Looks at the rows, and does not answer before it is set to something else.
    Late,
}

/// The store.
pub(super) struct Double {
    rows: MemoryStore,
    mode: watch::Sender<Mode>,
    loads: watch::Sender<usize>,
    touches: AtomicUsize,
    /// How many sessions the store was asked to confirm.
    confirmed: AtomicUsize,
    shared: AtomicBool,
    /// What happens while a row that was read is on its way back.
    meanwhile: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Double {
    /// Has something happen whenever a row that was read is on its way back.
    pub(super) fn meanwhile(&self, happens: impl Fn() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(happens));
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns once a load has been asked for.
    pub(super) async fn arrived(&self) {
        self.loads.subscribe().wait_for(|loads| *loads > 0).await.unwrap();
    }

    pub(super) fn loads(&self) -> usize {
        *self.loads.borrow()
    }

    pub(super) fn touches(&self) -> usize {
        self.touches.load(Ordering::Relaxed)
    }

    /// From now on replicas take it that others change rows and do not tell.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    pub(super) fn confirmed(&self) -> usize {
        self.confirmed.load(Ordering::Relaxed)
    }

    pub(super) fn forget_counts(&self) {
        self.confirmed.store(0, Ordering::Relaxed);
        self.loads.send_replace(0);
        self.touches.store(0, Ordering::Relaxed);
    }

    /// On the way back.
    fn answer<T>(&self, answer: T) -> Result<T, Unavailable> {
        match *self.mode.borrow() {
            Mode::Unheard => Err(Unavailable::Failed("the connection was lost on purpose".to_owned())),
            _ => Ok(answer),
        }
    }

    async fn come_back(&self) {
        self.mode.subscribe().wait_for(|mode| *mode != Mode::Late).await.unwrap();
    }

    async fn pass(&self) -> Result<(), Unavailable> {
        let mode = *self.mode.subscribe().wait_for(|mode| *mode != Mode::Held).await.unwrap();
        if mode == Mode::Failing { Err(Unavailable::Failed("broken on purpose".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Arc<Double> {
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable> {
        self.loads.send_modify(|loads| *loads += 1);
        self.pass().await?;
        let row = self.rows.load(key).await;
        if let Some(happens) = &*self.meanwhile.lock().unwrap() {
            happens();
        }
        self.come_back().await;
        row
    }

    async fn insert(&self, row: Row) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.insert(row).await
    }

    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable> {
        self.pass().await?;
        self.rows.delete(selection, limit).await
    }

    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable> {
        self.pass().await?;
        self.touches.fetch_add(touches.len(), Ordering::Relaxed);
        self.rows.touch(touches).await
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable> {
        self.pass().await?;
        self.rows.purge(cutoffs, limit).await
    }

    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable> {
        self.confirmed.fetch_add(keys.len(), Ordering::Relaxed);
        self.pass().await?;
        let versions = self.rows.versions(keys).await;
        self.come_back().await;
        versions
    }

    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.pass().await?;
        self.rows.has_sid(provider, sid).await
    }

    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.pass().await?;
        self.rows.page(from, to, limit).await
    }

    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.add_uncounted(many).await
    }

    async fn take_uncounted(&self) -> Result<u64, Unavailable> {
        self.pass().await?;
        self.rows.take_uncounted().await
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.pass().await
    }

    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }
}

/// One replica.
pub(super) struct House {
    pub(super) sessions: Arc<Sessions>,
    pub(super) store: Arc<Double>,
    pub(super) hand: Arc<AtomicU64>,
    clock: Clock,
    metrics: Arc<metrics::Metrics>,
    deadline: Duration,
}

impl House {
    /// A replica over an empty store: 28 days of lifetime, 7 of idle timeout.
    pub(super) fn new() -> Self {
        Self::over(DEADLINE)
    }

    /// One that waits for the store hardly at all.
    pub(super) fn impatient() -> Self {
        Self::over(Duration::from_millis(10))
    }

    fn over(deadline: Duration) -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_unix(1_800_000_000));
        let store = Arc::new(Double {
            rows: MemoryStore::default(),
            mode: watch::Sender::new(Mode::Up),
            loads: watch::Sender::new(0),
            touches: AtomicUsize::new(0),
            confirmed: AtomicUsize::new(0),
            shared: AtomicBool::new(false),
            meanwhile: Mutex::default(),
        });
        let metrics =
            Arc::new(metrics::Metrics::new(&metrics::Settings { backend: "memory", version: "", commit: "" }));
        let sessions = sessions(&store, &clock, &metrics, deadline, &["old"]);
        Self { sessions, store, hand, clock, metrics, deadline }.with_nothing_left()
    }

    /// As if the store had been asked what dropped secrets have left.
    fn with_nothing_left(self) -> Self {
        self.sessions.terms.keyring().load_retired(Vec::new());
        self
    }

    /// Another replica over the same store with nothing in memory. The counts begin at nothing.
    pub(super) fn restarted(&self) -> Self {
        self.restarted_with(&["old"]).with_nothing_left()
    }

    /// The same with other secrets, which have not asked yet what others have left.
    pub(super) fn restarted_with(&self, secrets: &[&str]) -> Self {
        self.store.forget_counts();
        let sessions = sessions(&self.store, &self.clock, &self.metrics, self.deadline, secrets);
        let (store, hand) = (Arc::clone(&self.store), Arc::clone(&self.hand));
        Self {
            sessions,
            store,
            hand,
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            deadline: self.deadline,
        }
    }

    pub(super) async fn find(&self, cookie: &str) -> Result<Found, Unavailable> {
        self.sessions.find(sent(cookie)).await
    }

    /// As a reload does.
    pub(super) fn change(&self, settings: &Settings, secrets: &[&str]) {
        self.sessions.change(settings, Arc::new(keyring_of(secrets)));
    }

    /// What memory alone says, as the hot path asks it.
    pub(super) fn recalls(&self, cookie: &str) -> Option<Arc<CachedSession>> {
        self.sessions.recall(sent(cookie), |live, _| Some(Arc::clone(live)))
    }

    pub(super) fn pass(&self, time: Duration) {
        self.hand.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// The value of one series.
    pub(super) fn metric(&self, series: &str) -> u64 {
        self.text(series).parse().expect(series)
    }

    /// The same as it stands there.
    pub(super) fn text(&self, series: &str) -> String {
        let text = self.metrics.print();
        text.lines().find_map(|line| line.strip_prefix(series)).expect(series).trim().to_owned()
    }
}

fn sessions(
    store: &Arc<Double>,
    clock: &Clock,
    metrics: &metrics::Metrics,
    deadline: Duration,
    secrets: &[&str],
) -> Arc<Sessions> {
    let watched = ObservedStore::new(Box::new(Arc::clone(store)), "memory", metrics.store.clone(), deadline);
    let keyring = Arc::new(keyring_of(secrets));
    Arc::new(Sessions::with(watched, &settings(), keyring, clock.clone(), metrics.sessions.clone()))
}

/// The settings that replicas are built with.
pub(super) fn settings() -> Settings {
    Settings {
        lifetime: Duration::from_hours(28 * 24),
        idle_timeout: Duration::from_hours(7 * 24),
        backend: Backend::Memory,
        renew_before: Duration::from_mins(1),
        outage_grace: Duration::from_hours(1),
        passes_tokens: false,
    }
}

/// The keyring that replicas are built with, unless said otherwise.
pub(super) fn keyring() -> Keyring {
    keyring_of(&["old"])
}

fn keyring_of(secrets: &[&str]) -> Keyring {
    let secrets: Vec<_> = secrets.iter().map(|secret| SecretString::from(secret.repeat(16))).collect();
    Keyring::new(&secrets).unwrap()
}

/// What a sign-in of this person yields.
pub(super) fn somebody(name: &str) -> NewSession {
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
        },
        tokens: Tokens { access: secret("access"), access_ends: None, refresh: secret("refresh"), id: secret("id") },
        sid: Some(format!("sid of {name}")),
        scope: SessionScope { audience: HOST.to_owned(), registration: Registration([7; 8]) },
    }
}

/// Somebody whose access token lasts so long from now on.
pub(super) fn lasting(house: &House, name: &str, span: Duration) -> NewSession {
    let new = somebody(name);
    NewSession { tokens: Tokens { access_ends: Some(house.clock.now().plus(span)), ..new.tokens }, ..new }
}

/// A session in memory that the store spoke of at this moment.
pub(super) fn live(asked: Asked) -> CachedSession {
    let token = Token::fresh(&keyring(), HOST);
    let record = Record::new(somebody("ann"), Timestamp::from_unix(1));
    let row = record.seal(&keyring(), token.key());
    CachedSession::new(&record, &token, &row, asked, None)
}

#[async_trait]
impl Leases for Arc<Double> {
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        self.pass().await?;
        self.answer(self.rows.acquire_lease(lease, span).await?)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.release_lease(lease).await
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        self.pass().await?;
        self.answer(self.rows.replace(row).await?)
    }

    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        self.pass().await?;
        self.answer(self.rows.record_jti(digest, until).await?)
    }

    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.forget_jti(digest).await
    }
}

#[async_trait]
impl KeyRotation for Arc<Double> {
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.pass().await?;
        self.rows.count_rows_by_other_secrets(newest).await
    }

    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.pass().await?;
        self.rows.rows_sealed_by(secret, from, limit).await
    }

    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable> {
        self.pass().await?;
        self.rows.reencrypt(rows).await
    }

    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable> {
        self.pass().await?;
        self.rows.load_retired_keys().await
    }

    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.save_retired_key(retired_key).await
    }

    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.pass().await?;
        self.rows.delete_retired_keys(before).await
    }
}
