//! What sessions in PostgreSQL promise, over real servers, poolers and a wire that misbehaves.

mod connections;
#[path = "../../../tests/it/world/database.rs"]
mod database;
mod hearing;
mod outages;
mod rows;
mod schema;
mod strangers;

use self::database::{Database, name_in, url};
use crate::{
    metrics::Metrics,
    session::{
        Backend, Settings,
        store::postgres::{Address, Postgres, Settings as Server},
        tests::{
            doubles::{keyring, new_session, sent},
            *,
        },
    },
};

/// A place for sessions.
#[derive(Clone)]
pub(super) struct Place {
    server: Server,
    name: String,
}

impl Place {
    /// A database with nothing in it, on the server that tests share.
    pub(super) fn fresh() -> Self {
        Self::at(&Database::shared().create())
    }

    fn at(url: &str) -> Self {
        let address = Address::parse(url).unwrap();
        Self { server: Server { address, listen: None, password: None, pool_size: 8 }, name: name_in(url).to_owned() }
    }

    /// The same database through another port.
    fn through(&self, port: u16) -> Self {
        let mut place = Self::at(&url(port, &self.name));
        place.server.pool_size = self.server.pool_size;
        place
    }

    fn pool_size(mut self, size: usize) -> Self {
        self.server.pool_size = size;
        self
    }

    /// The store alone.
    pub(super) async fn opened(&self) -> Postgres {
        let store = Postgres::new(&self.server, metrics().store).unwrap();
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
    async fn of(place: &Place) -> Self {
        let (metrics, settings) = (metrics(), settings(place));
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

    /// One that hears what others do.
    async fn hearing(place: &Place) -> Self {
        let replica = Self::of(place).await;
        eventually("it hears", async || replica.hears()).await;
        replica
    }

    fn hears(&self) -> bool {
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

fn settings(place: &Place) -> Settings {
    Settings {
        lifetime: 28 * DAY,
        idle_timeout: 7 * DAY,
        renew_before: MINUTE,
        outage_grace: HOUR,
        passes_tokens: false,
        backend: Backend::Postgres(Box::new(place.server.clone())),
    }
}

/// Waits for something that comes by itself. The limit is a way out, not an expectation.
async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{what}: never"));
}
