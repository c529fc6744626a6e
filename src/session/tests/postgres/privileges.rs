//! Privileges: a role that may only connect to the database can end no session.

use crate::session::tests::postgres::*;

/// A role that may connect to a replica's database, and nothing else.
struct ConnectOnlyRole {
    name: String,
    db: TestDatabase,
}

impl ConnectOnlyRole {
    fn at(db: &TestDatabase) -> Self {
        let name = format!("stranger_{}", db.name);
        db.sql(&format!("CREATE ROLE {name} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC"));
        let role = Self { name, db: db.clone() };
        for statement in ["SELECT 1 FROM doorward_sessions", "SELECT 1 FROM doorward_schema", "CREATE TABLE t (a int)"]
        {
            assert!(!role.executes(statement), "{statement}");
        }
        role
    }

    fn executes(&self, statement: &str) -> bool {
        Database::shared().takes_from(&self.name, &self.db.name, statement)
    }

    /// Notifies the replicas.
    fn notifies(&self, payload: &str) {
        assert!(self.executes(&format!("SELECT pg_notify('doorward_sessions', '{payload}')")), "{payload}");
    }
}

impl Drop for ConnectOnlyRole {
    fn drop(&mut self) {
        self.db.sql(&format!("DROP ROLE IF EXISTS {}", self.name));
    }
}

#[tokio::test]
async fn a_role_that_may_only_connect_ends_no_session_whatever_it_sends() {
    let db = TestDatabase::fresh();
    let (here, there) = (Replica::listening(&db).await, Replica::listening(&db).await);
    let cookie = here.sign_in("ann").await;
    let key = expect_live(there.find(&cookie).await).id().hex();
    let role = ConnectOnlyRole::at(&db);
    for (sent, word) in ["ended", "changed", "anything", ""].into_iter().enumerate() {
        let asked = there.asked("confirm");
        role.notifies(&format!("{word} {key}"));
        let has_asked = || there.asked("confirm") > asked;
        eventually("it asks", async || {
            expect_live(there.find(&cookie).await);
            expect_live(here.find(&cookie).await);
            has_asked()
        })
        .await;
        assert!(there.asked("confirm") <= 3 * (sent as u64 + 1), "{word}");
    }
    let (asked, long) = (there.asked("confirm"), "x".repeat(7_900));
    for payload in [
        "",
        " ",
        "ended",
        "ended ",
        &key,
        "ended zz",
        &format!("ended {key}00"),
        &format!("ended {}", &key[2..]),
        "round x",
        &long,
    ] {
        role.notifies(payload);
    }
    role.notifies(&format!("ended {key}"));
    eventually("what was sent before has come", async || {
        expect_live(there.find(&cookie).await);
        there.asked("confirm") > asked
    })
    .await;
    assert!(there.asked("confirm") <= asked + 2);
    assert_eq!(there.asked("load"), 1, "the session stayed in memory");
    assert!(there.is_listening() && here.is_listening());
    expect_live(Replica::start(&db).await.find(&cookie).await);
}

#[tokio::test]
async fn a_flood_of_notifications_costs_few_questions_and_hides_no_ending() {
    let db = TestDatabase::fresh();
    let (here, there) = (Replica::listening(&db).await, Replica::listening(&db).await);
    let (ann, bob) = (here.sign_in("ann").await, here.sign_in("bob").await);
    let key = expect_live(there.find(&ann).await).id().hex();
    expect_live(there.find(&bob).await);
    let role = ConnectOnlyRole::at(&db);
    let before = there.asked("confirm");
    // Each is another one, or the server would send them once.
    let endings = "PERFORM pg_notify('doorward_sessions', 'ended ' || encode(sha256(i::text::bytea), 'hex'))";
    let garbage = "PERFORM pg_notify('doorward_sessions', i || repeat('x', 7000))";
    let told = format!("PERFORM pg_notify('doorward_sessions', 'ended' || i || ' {key}')");
    for (many, what) in [(120_000, endings), (5_000, garbage), (20_000, &told)] {
        assert!(role.executes(&format!("DO $$ BEGIN FOR i IN 1..{many} LOOP {what}; END LOOP; END $$")), "{what}");
    }
    // Its upkeep may be the one that removes the row.
    here.sessions.revoke(sent(&bob), LogoutKind::User).await.unwrap();
    eventually("it is refused", async || matches!(there.find(&bob).await, Ok(LookupOutcome::Ended))).await;
    expect_live(there.find(&ann).await);
    let asked = there.asked("confirm") - before;
    assert!(asked < 500, "{asked} questions");
    assert_eq!(there.asked("load"), 2);
}
