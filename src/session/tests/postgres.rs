//! Tests of sessions in PostgreSQL, over real servers, poolers and a faulty network.

mod connections;
#[path = "../../../tests/it/world/database.rs"]
mod database;
mod notifications;
mod outages;
mod privileges;
mod rows;
mod schema;

use self::database::{Database, name_in, url};
use crate::{
    metrics::Metrics,
    session::{
        Backend, Settings,
        store::postgres::{PostgresStore, PostgresUrl, Settings as Server},
        tests::{
            doubles::{keyring, new_session, sent},
            *,
        },
    },
};

/// A database for sessions.
#[derive(Clone)]
pub(super) struct TestDatabase {
    server: Server,
    name: String,
}

impl TestDatabase {
    /// Creates an empty database on the server that tests share.
    pub(super) fn fresh() -> Self {
        Self::at(&Database::shared().create())
    }

    fn at(url: &str) -> Self {
        let server =
            Server { url: PostgresUrl::parse(url).unwrap(), listen_url: None, password_file: None, pool_size: 8 };
        Self { server, name: name_in(url).to_owned() }
    }

    /// Returns the same database through another port.
    fn through(&self, port: u16) -> Self {
        let mut db = Self::at(&url(port, &self.name));
        db.server.pool_size = self.server.pool_size;
        db
    }

    fn pool_size(mut self, size: usize) -> Self {
        self.server.pool_size = size;
        self
    }

    /// Opens the store alone.
    pub(super) async fn opened(&self) -> PostgresStore {
        let store = PostgresStore::new(&self.server, metrics().store).unwrap();
        store.ping().await.unwrap();
        store
    }

    fn sql(&self, statement: &str) -> String {
        Database::shared().sql(&self.name, statement)
    }
}

fn metrics() -> Metrics {
    Metrics::new(&crate::metrics::Settings { backend: "postgres", version: "", commit: "" })
}

/// One replica with its upkeep running.
struct Replica {
    sessions: Arc<Sessions>,
    metrics: Metrics,
    _upkeep: JoinSet<()>,
}

impl Replica {
    async fn start(db: &TestDatabase) -> Self {
        let (metrics, settings) = (metrics(), settings(db));
        let sessions = Sessions::open(
            &settings,
            Arc::new(keyring()),
            Clock::System,
            metrics.sessions.clone(),
            metrics.store.clone(),
        );
        let sessions = Arc::new(sessions.await.unwrap());
        let mut upkeep = JoinSet::new();
        let maintained = Arc::clone(&sessions);
        upkeep.spawn(async move { maintained.maintain(shutdown::Signal::default()).await });
        Self { sessions, metrics, _upkeep: upkeep }
    }

    /// Starts a replica and waits until it listens.
    async fn listening(db: &TestDatabase) -> Self {
        let replica = Self::start(db).await;
        eventually("it listens", async || replica.is_listening()).await;
        replica
    }

    fn is_listening(&self) -> bool {
        let long_ago = Timestamp::from_unix(1);
        let voucher = self.sessions.feed.request_time(long_ago);
        let live = doubles::cached_session(voucher);
        self.sessions.feed.freshness(live.validation(), Clock::System.now()) == Freshness::Fresh
    }

    async fn find(&self, cookie: &str) -> Result<LookupOutcome, Unavailable> {
        self.sessions.find(sent(cookie)).await
    }

    async fn sign_in(&self, name: &str) -> String {
        self.sessions.create(new_session(name)).await.unwrap()
    }

    fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.print();
        text.lines().find_map(|line| line.strip_prefix(series)).expect(series).trim().parse().unwrap()
    }

    fn asked(&self, operation: &str) -> u64 {
        self.metric(&format!(r#"doorward_store_duration_seconds_count{{operation="{operation}"}}"#))
    }
}

fn settings(db: &TestDatabase) -> Settings {
    Settings {
        lifetime: 28 * DAY,
        adopted_lifetime: None,
        idle_timeout: 7 * DAY,
        renew_before: MINUTE,
        outage_grace: HOUR,
        reauthorize: None,
        passes_tokens: false,
        backend: Backend::Postgres(Box::new(db.server.clone())),
    }
}

/// Polls a condition until it holds. The limit is a way out, not an expectation.
async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{what}: never"));
}
