//! Connections to PostgreSQL: the pool, poolers before the server, and TLS.

use std::fs;

use crate::session::tests::postgres::{database::PgBouncer, *};

#[tokio::test]
async fn a_statement_that_is_stuck_fails_and_its_connection_is_not_used_again() {
    let db = TestDatabase::fresh().pool_size(2);
    let replica = Replica::start(&db).await;
    let cookie = replica.sign_in("ann").await;
    let lock = Database::shared().visitor(&db.name, "BEGIN; SELECT 1 FROM doorward_sessions FOR UPDATE");
    let mut revoking = Box::pin(replica.sessions.revoke(sent(&cookie), LogoutKind::User));
    assert!(is_pending(&mut revoking).await);
    let gone = tokio::time::timeout(Duration::from_millis(100), &mut revoking).await;
    assert!(gone.is_err(), "it waits for the lock");
    drop(revoking);
    // The one connection of the pool would still be waiting.
    replica.sign_in("bob").await;
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    drop(lock);
    eventually("the row goes", async || db.sql("SELECT count(*) FROM doorward_sessions") == "1").await;
}

#[tokio::test]
async fn a_caller_does_not_wait_for_the_statement_of_one_who_gave_up() {
    let db = TestDatabase::fresh().pool_size(1);
    let store = db.opened().await;
    drop(Replica::start(&db).await.sign_in("ann").await);
    let _lock = Database::shared().visitor(&db.name, "BEGIN; SELECT 1 FROM doorward_sessions FOR UPDATE");
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        _ = store.delete(&Selection::Everything, 1) => panic!("nobody holds the lock"),
        () = eventually("it waits", async || db.sql(waiting) == "1") => {}
    }
    store.ping().await.unwrap();
    assert_eq!(db.sql(waiting), "1", "the answer came over the same connection");
}

#[tokio::test]
async fn connections_stay_within_the_pool_and_idle_ones_are_closed() {
    let db = TestDatabase::fresh().pool_size(4);
    let replica = Replica::listening(&db).await;
    let cookies = join_all((0..200).map(|number| {
        let sessions = Arc::clone(&replica.sessions);
        async move { sessions.create(new_session(&format!("person {number}"))).await }
    }));
    assert!(cookies.await.iter().all(Result::is_ok));
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", db.name);
    assert_eq!(Database::shared().sql("postgres", &count), "4");
    eventually("idle ones are closed", async || Database::shared().sql("postgres", &count) == "2").await;
    // It may be at work just now: the store is asked every few seconds whether it is there.
    eventually("one is idle", async || replica.metric(r#"doorward_store_connections{state="idle"}"#) == 1).await;
}

#[tokio::test]
async fn poolers_with_fewer_connections_than_replicas_want_serve_them_all() {
    for (mode, size) in [("session", 8), ("transaction", 2)] {
        let bouncer = PgBouncer::start(Database::shared(), mode, size);
        let db = TestDatabase::fresh().through(bouncer.port);
        let replicas = [Replica::start(&db).await, Replica::start(&db).await];
        let mut cookies = Vec::new();
        for round in 0..50 {
            let [one, other] = &replicas;
            let (ann, bob) = (format!("ann {round}"), format!("bob {round}"));
            let (first, second) = tokio::join!(one.sign_in(&ann), other.sign_in(&bob));
            expect_live(other.find(&first).await);
            expect_live(one.find(&second).await);
            cookies.push(first);
        }
        let [one, other] = &replicas;
        eventually("they listen, or know that they do not", async || {
            mode == "transaction" || replicas.iter().all(Replica::is_listening)
        })
        .await;
        one.sessions.revoke(sent(&cookies[0]), LogoutKind::User).await.unwrap().unwrap();
        eventually("it is refused", async || matches!(other.find(&cookies[0]).await, Ok(LookupOutcome::Ended))).await;
        assert!(mode == "session" || !other.is_listening(), "notifications do not pass a pooler in transaction mode");
    }
}

/// A server with TLS, the certificate of the authority that signed its own, and that of another authority.
struct TlsServer {
    database: Database,
    name: String,
    ours: String,
    theirs: String,
}

impl TlsServer {
    fn start() -> Self {
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
        Self { database, name, ours, theirs }
    }

    fn store(&self, host: &str, query: &str) -> PostgresStore {
        let db = TestDatabase::at(&format!("postgres://tester@{host}:{}/{}?{query}", self.database.port, self.name));
        PostgresStore::new(&db.server, metrics().store).unwrap()
    }
}

#[tokio::test]
async fn the_servers_certificate_has_to_prove_what_sslmode_says() {
    let server = TlsServer::start();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (file("ours.pem", &server.ours), file("theirs.pem", &server.theirs));
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
        let answer = server.store(host, &query).ping().await;
        assert_eq!(answer.is_ok(), accepted, "{host} {query}: {answer:?}");
    }
}

#[tokio::test]
async fn a_new_root_certificate_is_trusted_without_a_restart() {
    let server = TlsServer::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &server.theirs).unwrap();
    let store = server.store("localhost", &format!("sslmode=verify-full&sslrootcert={}", file.path().display()));
    assert!(store.ping().await.is_err());
    fs::write(file.path(), "nothing yet").unwrap();
    assert!(store.ping().await.unwrap_err().to_string().contains("sslrootcert"));
    fs::write(file.path(), format!("{}{}", server.theirs, server.ours)).unwrap();
    store.ping().await.unwrap();
}
