//! The tables in PostgreSQL: who makes them, who may use them.

use crate::session::tests::postgres::*;

#[tokio::test]
async fn a_newer_schema_is_used_where_it_says_that_it_may_be() {
    for (oldest_reader, usable) in [(1, true), (99, false)] {
        let place = Place::fresh();
        let cookie = Replica::of(&place).await.sign_in("ann").await;
        place.sql("ALTER TABLE doorward_sessions ADD COLUMN later text");
        place.sql(&format!("UPDATE doorward_schema SET version = 99, oldest_reader = {oldest_reader}"));
        let replica = Replica::of(&place).await;
        assert_eq!(replica.sessions.was_opened(), usable);
        assert_eq!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Live(_))), usable);
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
    assert_eq!(place.sql("SELECT version FROM doorward_schema"), "2");
}

#[tokio::test]
async fn of_many_who_start_at_once_one_makes_the_schema() {
    let place = Place::fresh();
    let replicas = join_all((0..8).map(|_| Replica::of(&place))).await;
    eventually("all are open", async || replicas.iter().all(|replica| replica.sessions.was_opened())).await;
    assert_eq!(place.sql("SELECT count(*) FROM doorward_schema"), "1");
}

#[tokio::test]
async fn the_version_before_this_one_goes_on_beside_it() {
    for is_indexed in [false, true] {
        let place = Place::fresh();
        place.sql(include_str!("../../store/postgres/1.sql"));
        if is_indexed {
            // As an operator does whose table is too large to be locked for it.
            place.sql(
                "CREATE INDEX CONCURRENTLY doorward_sessions_by_secret ON doorward_sessions \
                 (substring(sealed FROM 1 FOR 4), key)",
            );
        }
        let keyring = doubles::keyring();
        let token = Token::fresh(&keyring, HOST);
        let row = Record::new(new_session("ann"), Clock::System.now()).seal(&keyring, token.id());
        // What that version writes before and after, with the columns that it knows.
        let insert = |key: &SessionId| {
            let sealed = row.sealed.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            place.sql(&format!(
                "INSERT INTO doorward_sessions (key, provider, subject, sid, generation, created, last_seen, sealed) \
                 VALUES ('\\x{}', 'authentik', 'ann', NULL, 1, {now}, {now}, '\\x{sealed}')",
                key.hex(),
                now = row.created.unix(),
            ));
        };
        insert(&token.id());
        let replica = Replica::of(&place).await;
        assert_eq!(place.sql("SELECT version, oldest_reader FROM doorward_schema"), "2|1", "it may go on");
        let session = expect_live(replica.find(&token.encode()).await);
        insert(&SessionId([9; 32]));
        assert!(matches!(replica.sessions.acquire_lease(&session, MINUTE).await, Ok(LeaseOutcome::Acquired(_))));
        // Our lease runs out, and that version takes the next one.
        place.sql("UPDATE doorward_sessions SET lease = 60, held = 60");
        place.sql("UPDATE doorward_sessions SET lease = extract(epoch FROM now())::bigint + 60 WHERE lease <= 60");
        assert!(matches!(replica.sessions.acquire_lease(&session, MINUTE).await, Ok(LeaseOutcome::HeldElsewhere)));
    }
}
