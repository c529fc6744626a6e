//! The schema in PostgreSQL: migrations, and versions side by side.

use crate::session::tests::postgres::*;

#[tokio::test]
async fn a_newer_schema_is_used_where_it_says_that_it_may_be() {
    for (oldest_reader, usable) in [(1, true), (99, false)] {
        let db = TestDatabase::fresh();
        let cookie = Replica::start(&db).await.sign_in("ann").await;
        db.sql("ALTER TABLE doorward_sessions ADD COLUMN later text");
        db.sql(&format!("UPDATE doorward_schema SET version = 99, oldest_reader = {oldest_reader}"));
        let replica = Replica::start(&db).await;
        assert_eq!(replica.sessions.was_opened(), usable);
        assert_eq!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Live(_))), usable);
        assert_eq!(db.sql("SELECT version FROM doorward_schema"), "99", "nothing is ever taken back");
        db.sql("UPDATE doorward_schema SET oldest_reader = 1");
        eventually("it is opened", async || replica.sessions.was_opened()).await;
    }
}

#[tokio::test]
async fn a_migration_that_waits_for_a_lock_blocks_nobody() {
    let db = TestDatabase::fresh();
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(x'646f6f7277617264'::bigint)";
    let held = Database::shared().visitor(&db.name, lock);
    let replicas = [Replica::start(&db).await, Replica::start(&db).await];
    assert!(replicas.iter().all(|replica| !replica.sessions.was_opened()));
    assert_eq!(db.sql("SELECT count(*) FROM pg_locks WHERE NOT granted"), "0");
    drop(held);
    eventually("both are open", async || replicas.iter().all(|replica| replica.sessions.was_opened())).await;
    assert_eq!(db.sql("SELECT version FROM doorward_schema"), "3");
}

#[tokio::test]
async fn of_many_who_start_at_once_one_makes_the_schema() {
    let db = TestDatabase::fresh();
    let replicas = join_all((0..8).map(|_| Replica::start(&db))).await;
    eventually("all are open", async || replicas.iter().all(|replica| replica.sessions.was_opened())).await;
    assert_eq!(db.sql("SELECT count(*) FROM doorward_schema"), "1");
}

#[tokio::test]
async fn the_version_before_this_one_goes_on_beside_it() {
    for is_indexed in [false, true] {
        let db = TestDatabase::fresh();
        db.sql(include_str!("../../store/postgres/1.sql"));
        if is_indexed {
            // As an operator does whose table is too large to be locked for it.
            db.sql(
                "CREATE INDEX CONCURRENTLY doorward_sessions_by_secret ON doorward_sessions \
                 (substring(sealed FROM 1 FOR 4), key)",
            );
        }
        let keyring = doubles::keyring();
        let token = Token::fresh(&keyring, HOST);
        let row = Record::new(new_session("ann"), Clock::System.now()).seal(&keyring, token.id());
        // As that version writes, with the columns that it knows.
        let insert = |key: &SessionId| {
            let sealed = row.sealed.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            db.sql(&format!(
                "INSERT INTO doorward_sessions (key, provider, subject, sid, generation, created, last_seen, sealed) \
                 VALUES ('\\x{}', 'authentik', 'ann', NULL, 1, {now}, {now}, '\\x{sealed}')",
                key.hex(),
                now = row.created.unix(),
            ));
        };
        insert(&token.id());
        let replica = Replica::start(&db).await;
        assert_eq!(db.sql("SELECT version, oldest_reader FROM doorward_schema"), "3|1", "it may go on");
        let session = expect_live(replica.find(&token.encode()).await);
        insert(&SessionId([9; 32]));
        assert!(matches!(
            replica.sessions.renewal().acquire_lease(&session, MINUTE).await,
            Ok(LeaseOutcome::Acquired(_))
        ));
        // Our lease runs out, and that version takes the next one.
        db.sql("UPDATE doorward_sessions SET lease = 60, held = 60");
        db.sql("UPDATE doorward_sessions SET lease = extract(epoch FROM now())::bigint + 60 WHERE lease <= 60");
        assert!(matches!(
            replica.sessions.renewal().acquire_lease(&session, MINUTE).await,
            Ok(LeaseOutcome::HeldElsewhere)
        ));
    }
}
