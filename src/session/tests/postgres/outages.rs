//! Outages of PostgreSQL: killed, hanging, late, with another password, empty, or failed over.

use std::fs;

use crate::session::tests::postgres::{
    database::{ChaosProxy, LinkState},
    *,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_refuses_no_known_session_and_is_found_again() {
    let mut database = Database::start();
    let db = TestDatabase::at(&database.create());
    let replica = Replica::listening(&db).await;
    let cookie = replica.sign_in("ann").await;
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (sessions, cookie) = (Arc::clone(&replica.sessions), cookie.clone());
        load.spawn(async move {
            loop {
                expect_live(sessions.find(sent(&cookie)).await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    database.crash();
    eventually("the outage is seen", async || !replica.sessions.is_available()).await;
    eventually("it is served stale", async || replica.metric("doorward_session_stale_served_total") > 100).await;
    assert!(replica.sessions.create(new_session("bob")).await.is_err());
    database.start_again();
    eventually("it is back", async || replica.sessions.is_available() && replica.is_listening()).await;
    assert!(load.try_join_next().is_none(), "a request failed");
    expect_live(Replica::start(&db).await.find(&cookie).await);
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_and_ends_no_session() {
    let db = TestDatabase::fresh();
    let proxy = ChaosProxy::to(Database::shared().port).await;
    let replica = Replica::listening(&db.through(proxy.port)).await;
    let known = replica.sign_in("ann").await;
    let unknown = Replica::start(&db).await.sign_in("bob").await;
    proxy.set(LinkState::Stalled);
    let began = std::time::Instant::now();
    assert!(replica.find(&unknown).await.is_err());
    assert!(began.elapsed() < DEADLINE + Duration::from_secs(1), "contract, section 8: six seconds");
    expect_live(replica.find(&known).await);
    proxy.set(LinkState::Open);
    eventually("it is found", async || matches!(replica.find(&unknown).await, Ok(LookupOutcome::Live(_)))).await;
}

#[tokio::test]
async fn a_replica_starts_without_its_server_and_opens_it_when_it_comes() {
    let db = TestDatabase::fresh();
    let proxy = ChaosProxy::to(Database::shared().port).await;
    for state in [LinkState::Cut, LinkState::Stalled] {
        proxy.set(state);
        let replica = Replica::start(&db.through(proxy.port)).await;
        assert!(!replica.sessions.was_opened(), "{state:?}");
        proxy.set(LinkState::Open);
        eventually("it is opened", async || replica.sessions.was_opened()).await;
        replica.sign_in("ann").await;
    }
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
    let mut db = TestDatabase::at(&url(database.port, &name).replace("doorward@", "careful:wrong@"));
    db.server.password_file = Some(file.path().to_owned());
    let replica = Replica::listening(&db).await;
    let cookie = replica.sign_in("ann").await;
    rotate("second");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'careful'";
    database.sql("postgres", end);
    eventually("it is refused", async || !replica.sessions.is_available()).await;
    expect_live(replica.find(&cookie).await);
    fs::write(file.path(), "second\n").unwrap();
    eventually("it is back", async || replica.sessions.is_available() && replica.is_listening()).await;
    replica.sign_in("bob").await;
}

#[tokio::test]
async fn while_the_password_file_is_written_wrongly_the_last_password_stays_in_use() {
    let database = Database::start();
    let name = name_in(&database.create()).to_owned();
    database.sql("postgres", "CREATE ROLE careful LOGIN PASSWORD 'first'");
    database.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO careful"));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "first\r\n").unwrap();
    let mut db = TestDatabase::at(&url(database.port, &name).replace("doorward@", "careful:wrong@"));
    db.server.password_file = Some(file.path().to_owned());
    let replica = Replica::listening(&db).await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'careful'";
    for wrong in ["'first'", "", "${PASSWORD}"] {
        fs::write(file.path(), wrong).unwrap();
        assert_ne!(database.sql("postgres", end), "0", "it had connected");
        eventually("it connects again", async || replica.sessions.create(new_session("ann")).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_database_that_is_replaced_by_an_empty_one_is_used() {
    let db = TestDatabase::fresh();
    let replica = Replica::start(&db).await;
    replica.sign_in("ann").await;
    db.sql("DROP TABLE doorward_sessions, doorward_tokens, doorward_spent, doorward_uncounted, doorward_bequests, doorward_page_uses, doorward_schema");
    eventually("sign-ins work again", async || replica.sessions.create(new_session("bob")).await.is_ok()).await;
}

#[tokio::test]
async fn the_standby_that_is_promoted_is_found() {
    let mut primary = Database::start();
    let name = name_in(&primary.create()).to_owned();
    let standby = primary.standby();
    let both =
        format!("postgres://doorward@127.0.0.1:{},127.0.0.1:{}/{name}?sslmode=disable", standby.port, primary.port);
    let replica = Replica::listening(&TestDatabase::at(&both)).await;
    let cookie = replica.sign_in("ann").await;
    let written = primary.sql(&name, "SELECT pg_current_wal_lsn()");
    let there = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    eventually("the standby has it", async || standby.sql(&name, &there) == "t").await;
    primary.crash();
    eventually("the outage is seen", async || !replica.sessions.is_available()).await;
    expect_live(replica.find(&cookie).await);
    standby.promote();
    eventually("it is back", async || replica.sessions.is_available() && replica.is_listening()).await;
    replica.sign_in("bob").await;
    expect_live(Replica::start(&TestDatabase::at(&both)).await.find(&cookie).await);
}
