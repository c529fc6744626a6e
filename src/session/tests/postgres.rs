//! What sessions in PostgreSQL promise, over real servers, poolers and a wire that misbehaves.

#[path = "../../../tests/it/world/database.rs"]
mod database;

use std::fs;

use self::database::{Bouncer, Database, Weather, Wire, name_in, url};
use super::{
    super::{
        Backend, Settings,
        postgres::{Address, Postgres, Settings as Server},
        register::{Place as From, Register, Search},
        store::{Cutoffs, Row, Touch},
    },
    doubles::{keyring, somebody},
    *,
};
use crate::metrics::Metrics;

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
        let voucher = self.sessions.hearing.asking(long_ago);
        let live = doubles::live(voucher);
        self.sessions.hearing.trust(&live, Clock::System.now()) == Trust::Full
    }

    async fn find(&self, cookie: &str) -> Result<Found, Unavailable> {
        self.sessions.find(cookie.as_bytes()).await
    }

    async fn sign_in(&self, name: &str) -> String {
        self.sessions.create(somebody(name)).await.unwrap()
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

#[tokio::test]
async fn a_session_revoked_at_one_replica_is_refused_by_another_that_was_told_and_did_not_ask() {
    let place = Place::fresh();
    let (here, there) = (Replica::hearing(&place).await, Replica::hearing(&place).await);
    let cookie = here.sign_in("ann").await;
    live(there.find(&cookie).await);
    here.sessions.revoke(cookie.as_bytes(), Logout::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(Found::Ended))).await;
    assert_eq!((there.asked("confirm"), there.asked("load")), (0, 1));
}

#[tokio::test]
async fn without_a_connection_to_listen_with_it_is_refused_all_the_same() {
    let place = Place::fresh().pool_size(1);
    let (here, there) = (Replica::of(&place).await, Replica::of(&place).await);
    let cookie = here.sign_in("ann").await;
    live(there.find(&cookie).await);
    here.sessions.revoke(cookie.as_bytes(), Logout::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(Found::Ended))).await;
    assert!(!there.hears() && there.asked("confirm") > 0);
}

#[tokio::test]
async fn a_session_that_ends_while_nobody_hears_is_refused_once_somebody_does() {
    let place = Place::fresh();
    let wire = Wire::to(Database::shared().port).await;
    let there = Replica::hearing(&place.through(wire.port)).await;
    let cookie = Replica::of(&place).await.sign_in("ann").await;
    live(there.find(&cookie).await);
    wire.set(Weather::Cut);
    eventually("it is deaf", async || !there.hears()).await;
    place.sql("DELETE FROM doorward_sessions");
    live(there.find(&cookie).await);
    wire.set(Weather::Fair);
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(Found::Ended))).await;
    eventually("it hears again", async || there.hears()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_refuses_no_known_session_and_is_found_again() {
    let mut database = Database::start();
    let place = Place::at(&database.create());
    let replica = Replica::hearing(&place).await;
    let cookie = replica.sign_in("ann").await;
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (sessions, cookie) = (Arc::clone(&replica.sessions), cookie.clone());
        load.spawn(async move {
            loop {
                live(sessions.find(cookie.as_bytes()).await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    database.crash();
    eventually("the outage is seen", async || !replica.sessions.is_up()).await;
    eventually("it is served stale", async || replica.metric("doorward_session_stale_served_total") > 100).await;
    assert!(replica.sessions.create(somebody("bob")).await.is_err());
    database.start_again();
    eventually("it is back", async || replica.sessions.is_up() && replica.hears()).await;
    assert!(load.try_join_next().is_none(), "a request failed");
    live(Replica::of(&place).await.find(&cookie).await);
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_and_ends_no_session() {
    let place = Place::fresh();
    let wire = Wire::to(Database::shared().port).await;
    let replica = Replica::hearing(&place.through(wire.port)).await;
    let known = replica.sign_in("ann").await;
    let unknown = Replica::of(&place).await.sign_in("bob").await;
    wire.set(Weather::Stalled);
    let began = std::time::Instant::now();
    assert!(replica.find(&unknown).await.is_err());
    assert!(began.elapsed() < DEADLINE + Duration::from_secs(1), "contract, section 8: six seconds");
    live(replica.find(&known).await);
    wire.set(Weather::Fair);
    eventually("it is found", async || matches!(replica.find(&unknown).await, Ok(Found::Live(_)))).await;
}

#[tokio::test]
async fn a_replica_starts_without_its_server_and_opens_it_when_it_comes() {
    let place = Place::fresh();
    let wire = Wire::to(Database::shared().port).await;
    for weather in [Weather::Cut, Weather::Stalled] {
        wire.set(weather);
        let replica = Replica::of(&place.through(wire.port)).await;
        assert!(!replica.sessions.was_opened(), "{weather:?}");
        wire.set(Weather::Fair);
        eventually("it is opened", async || replica.sessions.was_opened()).await;
        replica.sign_in("ann").await;
    }
}

#[tokio::test]
async fn ten_thousand_who_miss_the_same_session_are_one_query_and_made_up_cookies_none() {
    let place = Place::fresh();
    let cookie = Replica::of(&place).await.sign_in("ann").await;
    let replica = Replica::of(&place).await;
    for found in join_all((0..10_000).map(|_| replica.find(&cookie))).await {
        live(found);
    }
    for _ in 0..100_000 {
        let made_up = crate::crypto::encode(&crate::crypto::random::<48>());
        assert!(matches!(replica.find(&made_up).await, Ok(Found::NotOurs)));
    }
    assert_eq!((replica.asked("load"), replica.asked("confirm")), (1, 0));
}

#[tokio::test]
async fn a_statement_that_is_stuck_fails_and_its_connection_is_not_used_again() {
    let place = Place::fresh().pool_size(2);
    let replica = Replica::of(&place).await;
    let cookie = replica.sign_in("ann").await;
    let lock = Database::shared().visitor(&place.name, "BEGIN; SELECT 1 FROM doorward_sessions FOR UPDATE");
    let mut revoking = Box::pin(replica.sessions.revoke(cookie.as_bytes(), Logout::User));
    assert!(is_pending(&mut revoking).await);
    let gone = tokio::time::timeout(Duration::from_millis(100), &mut revoking).await;
    assert!(gone.is_err(), "it waits for the lock");
    drop(revoking);
    // The one connection of the pool would still be waiting.
    replica.sign_in("bob").await;
    assert!(matches!(replica.find(&cookie).await, Ok(Found::Ended)));
    drop(lock);
    eventually("the row goes", async || place.sql("SELECT count(*) FROM doorward_sessions") == "1").await;
}

#[tokio::test]
async fn whoever_comes_after_a_caller_who_gave_up_does_not_wait_for_his_statement() {
    let place = Place::fresh().pool_size(1);
    let store = place.opened().await;
    drop(Replica::of(&place).await.sign_in("ann").await);
    let _lock = Database::shared().visitor(&place.name, "BEGIN; SELECT 1 FROM doorward_sessions FOR UPDATE");
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        _ = store.delete(&Selection::Everything, 1) => panic!("nobody holds the lock"),
        () = eventually("it waits", async || place.sql(waiting) == "1") => {}
    }
    store.ping().await.unwrap();
    assert_eq!(place.sql(waiting), "1", "the answer came over the same connection");
}

#[tokio::test]
async fn connections_stay_within_the_pool_and_idle_ones_are_closed() {
    let place = Place::fresh().pool_size(4);
    let replica = Replica::hearing(&place).await;
    let cookies = join_all((0..200).map(|number| {
        let sessions = Arc::clone(&replica.sessions);
        async move { sessions.create(somebody(&format!("person {number}"))).await }
    }));
    assert!(cookies.await.iter().all(Result::is_ok));
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", place.name);
    assert_eq!(Database::shared().sql("postgres", &count), "4");
    eventually("idle ones are closed", async || Database::shared().sql("postgres", &count) == "2").await;
    assert_eq!(replica.metric(r#"doorward_store_connections{state="idle"}"#), 1);
}

#[tokio::test]
async fn poolers_with_fewer_connections_than_replicas_want_serve_them_all() {
    for (mode, size) in [("session", 8), ("transaction", 2)] {
        let bouncer = Bouncer::start(Database::shared(), mode, size);
        let place = Place::fresh().through(bouncer.port);
        let replicas = [Replica::of(&place).await, Replica::of(&place).await];
        let mut cookies = Vec::new();
        for round in 0..50 {
            let [one, other] = &replicas;
            let (ann, bob) = (format!("ann {round}"), format!("bob {round}"));
            let (first, second) = tokio::join!(one.sign_in(&ann), other.sign_in(&bob));
            live(other.find(&first).await);
            live(one.find(&second).await);
            cookies.push(first);
        }
        let [one, other] = &replicas;
        eventually("they hear, or know that they do not", async || {
            mode == "transaction" || replicas.iter().all(Replica::hears)
        })
        .await;
        one.sessions.revoke(cookies[0].as_bytes(), Logout::User).await.unwrap().unwrap();
        eventually("it is refused", async || matches!(other.find(&cookies[0]).await, Ok(Found::Ended))).await;
        assert!(mode == "session" || !other.hears(), "notifications do not pass a pooler in transaction mode");
    }
}

#[tokio::test]
async fn past_a_pooler_in_transaction_mode_notifications_are_heard() {
    let bouncer = Bouncer::start(Database::shared(), "transaction", 4);
    let direct = Place::fresh();
    let mut place = direct.through(bouncer.port);
    place.server.listen = Some(direct.server.address.clone());
    let (here, there) = (Replica::hearing(&place).await, Replica::hearing(&place).await);
    let cookie = here.sign_in("ann").await;
    live(there.find(&cookie).await);
    here.sessions.revoke(cookie.as_bytes(), Logout::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(Found::Ended))).await;
    assert_eq!(there.asked("confirm"), 0);
}

#[tokio::test]
async fn a_password_that_is_rotated_is_read_again() {
    let database = Database::start();
    let name = name_in(&database.create()).to_owned();
    let rotate = |password: &str| database.sql("postgres", &format!("ALTER ROLE careful PASSWORD '{password}'"));
    database.sql("postgres", "CREATE ROLE careful LOGIN");
    database.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO careful"));
    rotate("first");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "first\n").unwrap();
    let mut place = Place::at(&database.url(&name).replace("doorward@", "careful:wrong@"));
    place.server.password = Some(file.path().to_owned());
    let replica = Replica::hearing(&place).await;
    let cookie = replica.sign_in("ann").await;
    rotate("second");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'careful'";
    database.sql("postgres", end);
    eventually("it is refused", async || !replica.sessions.is_up()).await;
    live(replica.find(&cookie).await);
    fs::write(file.path(), "second\n").unwrap();
    eventually("it is back", async || replica.sessions.is_up() && replica.hears()).await;
    replica.sign_in("bob").await;
}

#[tokio::test]
async fn a_newer_schema_is_used_where_it_says_that_it_may_be() {
    for (oldest_reader, usable) in [(1, true), (99, false)] {
        let place = Place::fresh();
        let cookie = Replica::of(&place).await.sign_in("ann").await;
        place.sql("ALTER TABLE doorward_sessions ADD COLUMN later text");
        place.sql(&format!("UPDATE doorward_schema SET version = 99, oldest_reader = {oldest_reader}"));
        let replica = Replica::of(&place).await;
        assert_eq!(replica.sessions.was_opened(), usable);
        assert_eq!(matches!(replica.find(&cookie).await, Ok(Found::Live(_))), usable);
        assert_eq!(place.sql("SELECT version FROM doorward_schema"), "99", "nothing is ever taken back");
        place.sql("UPDATE doorward_schema SET oldest_reader = 1");
        eventually("it is opened", async || replica.sessions.was_opened()).await;
    }
}

#[tokio::test]
async fn a_change_of_schema_that_somebody_holds_up_holds_nobody_up() {
    let place = Place::fresh();
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(x'646f6f7277617264'::bigint)";
    let held = Database::shared().visitor(&place.name, lock);
    let replicas = [Replica::of(&place).await, Replica::of(&place).await];
    assert!(replicas.iter().all(|replica| !replica.sessions.was_opened()));
    assert_eq!(place.sql("SELECT count(*) FROM pg_locks WHERE NOT granted"), "0");
    drop(held);
    eventually("both are open", async || replicas.iter().all(|replica| replica.sessions.was_opened())).await;
    assert_eq!(place.sql("SELECT version FROM doorward_schema"), "1");
}

#[tokio::test]
async fn of_many_who_start_at_once_one_makes_the_schema() {
    let place = Place::fresh();
    let replicas = join_all((0..8).map(|_| Replica::of(&place))).await;
    eventually("all are open", async || replicas.iter().all(|replica| replica.sessions.was_opened())).await;
    assert_eq!(place.sql("SELECT count(*) FROM doorward_schema"), "1");
}

#[tokio::test]
async fn a_database_that_is_replaced_by_an_empty_one_is_used() {
    let place = Place::fresh();
    let replica = Replica::of(&place).await;
    replica.sign_in("ann").await;
    place.sql("DROP TABLE doorward_sessions, doorward_spent, doorward_uncounted, doorward_schema");
    eventually("sign-ins work again", async || replica.sessions.create(somebody("bob")).await.is_ok()).await;
}

#[tokio::test]
async fn the_standby_that_is_promoted_is_found() {
    let mut primary = Database::start();
    let name = name_in(&primary.create()).to_owned();
    let standby = primary.standby();
    let both =
        format!("postgres://doorward@127.0.0.1:{},127.0.0.1:{}/{name}?sslmode=disable", standby.port, primary.port);
    let replica = Replica::hearing(&Place::at(&both)).await;
    let cookie = replica.sign_in("ann").await;
    eventually("the standby has it", async || standby.sql(&name, "SELECT count(*) FROM doorward_sessions") == "1")
        .await;
    primary.crash();
    eventually("the outage is seen", async || !replica.sessions.is_up()).await;
    live(replica.find(&cookie).await);
    standby.promote();
    eventually("it is back", async || replica.sessions.is_up() && replica.hears()).await;
    replica.sign_in("bob").await;
    live(Replica::of(&Place::at(&both)).await.find(&cookie).await);
}

#[tokio::test]
async fn every_statement_that_looks_for_rows_finds_them_by_an_index() {
    let place = Place::fresh();
    drop(place.opened().await);
    place.sql(
        "INSERT INTO doorward_sessions (key, provider, subject, sid, generation, created, last_seen, sealed) \
         SELECT sha256(n::text::bytea), 'authentik', 'subject ' || n, 'sid ' || n, 1, \
         1000000 + n, 1000000 + n, '\\x00' FROM generate_series(1, 200000) AS n",
    );
    place.sql("ANALYZE doorward_sessions");
    let scans = async || {
        // A backend reports what it did when it ends, at the latest.
        let gone = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'doorward'";
        eventually("the store's connections end", async || place.sql(gone) == "0").await;
        place.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'doorward_sessions'")
    };
    let before = scans().await;
    let store = place.opened().await;
    let key = Key([7; 32]);
    let now = Timestamp::from_unix(1_000_100);
    store.load(&key).await.unwrap();
    store.versions(&[key; 100]).await.unwrap();
    store.touch(&[Touch { key, last_seen: now }; 100]).await.unwrap();
    store.delete(&Selection::Keys(vec![key; 100]), 500).await.unwrap();
    let ann = Selection::Subject { provider: "authentik".to_owned(), subject: "subject 77".to_owned() };
    assert_eq!(store.delete(&ann, 500).await.unwrap().len(), 1);
    assert_eq!(store.purge(Cutoffs { created: now, last_seen: now }, 500).await.unwrap(), 99);
    assert_eq!(store.page(&Key::ENDS.0, &Key::ENDS.1, 500).await.unwrap().len(), 500);
    drop(store);
    assert_eq!(scans().await, before, "a statement has read the whole table");
}

#[tokio::test]
async fn an_operator_ends_sessions_that_running_replicas_then_refuse_and_count_once() {
    let place = Place::fresh();
    let replicas = [Replica::hearing(&place).await, Replica::hearing(&place).await];
    let mut cookies = Vec::new();
    for name in ["ann", "ann", "bob", "eve"] {
        let cookie = replicas[0].sign_in(name).await;
        live(replicas[1].find(&cookie).await);
        cookies.push(cookie);
    }
    let register = Register::open(settings(&place), Arc::new(keyring()), Clock::System, metrics().store).await.unwrap();
    let all = register.next(&Search::Everybody, &mut From::first()).await.unwrap().unwrap();
    assert_eq!(all.len(), 4);
    assert!(!format!("{all:?}").contains("token of"));
    let bob = all.iter().find(|entry| entry.subject == "subject of bob").unwrap();
    assert_eq!(register.find(&bob.id[..12]).await.unwrap().person.unwrap().email, "bob@example.com");
    assert_eq!(register.revoke_all(&Search::User("ANN@example.com".to_owned())).await.unwrap(), 2);
    assert_eq!(register.revoke(&bob.id[..12]).await.unwrap(), 1);
    assert!(register.revoke(&bob.id[..12]).await.is_err());
    for (cookie, ended) in cookies.iter().zip([true, true, true, false]) {
        for replica in &replicas {
            eventually("it is as it should be", async || {
                matches!((replica.find(cookie).await, ended), (Ok(Found::Ended), true) | (Ok(Found::Live(_)), false))
            })
            .await;
        }
    }
    let operator = r#"doorward_logouts_total{kind="operator"}"#;
    let counted = || replicas.iter().map(|replica| replica.metric(operator)).sum::<u64>();
    eventually("they are counted", async || counted() == 3).await;
    assert_eq!(register.revoke_all(&Search::Everybody).await.unwrap(), 1);
    eventually("they are counted", async || counted() == 4).await;
}

#[tokio::test]
async fn a_row_read_while_others_write_is_whole() {
    let place = Place::fresh();
    let store = place.opened().await;
    let rows = (0..50).map(|number| Row {
        key: Key([number; 32]),
        provider: "authentik".to_owned(),
        subject: "it's \"quoted\" \\ and é".to_owned(),
        sid: None,
        generation: 1,
        created: Timestamp::from_unix(1),
        last_seen: Timestamp::from_unix(1),
        sealed: vec![number; 100_000],
    });
    let written = join_all(rows.map(|row| async { (store.insert(row.clone()).await, row) })).await;
    for (outcome, row) in written {
        outcome.unwrap();
        assert_eq!(store.load(&row.key).await.unwrap(), Some(row));
    }
}

#[tokio::test]
async fn the_servers_certificate_has_to_prove_what_sslmode_says() {
    let authority = || {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), rcgen::Issuer::new(params, key))
    };
    let ((ours, issuer), (theirs, _)) = (authority(), authority());
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let database = Database::start();
    let name = name_in(&database.create()).to_owned();
    database.encrypt(&certificate.pem(), &key.serialize_pem());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (file("ours.pem", &ours), file("theirs.pem", &theirs));
    for (host, query, accepted) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ours}"), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={theirs}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ours}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={theirs}"), false),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={theirs}"), false),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
    ] {
        let place = Place::at(&format!("postgres://tester@{host}:{}/{name}?{query}", database.port));
        let store = Postgres::new(&place.server, metrics().store).unwrap();
        let answer = store.ping().await;
        assert_eq!(answer.is_ok(), accepted, "{host} {query}: {answer:?}");
    }
}
