//! What a role can do to sessions that may connect to the database, and nothing else.

use crate::session::tests::postgres::*;

/// A role that may connect to a replica's database.
struct Stranger {
    role: String,
    place: Place,
}

impl Stranger {
    fn at(place: &Place) -> Self {
        let role = format!("stranger_{}", place.name);
        place.sql(&format!("CREATE ROLE {role} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC"));
        let stranger = Self { role, place: place.clone() };
        for statement in ["SELECT 1 FROM doorward_sessions", "SELECT 1 FROM doorward_schema", "CREATE TABLE t (a int)"]
        {
            assert!(!stranger.says(statement), "{statement}");
        }
        stranger
    }

    fn says(&self, statement: &str) -> bool {
        Database::shared().takes_from(&self.role, &self.place.name, statement)
    }

    /// A notification to the replicas.
    fn notifies(&self, payload: &str) {
        assert!(self.says(&format!("SELECT pg_notify('doorward_sessions', '{payload}')")), "{payload}");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.place.sql(&format!("DROP ROLE IF EXISTS {}", self.role));
    }
}

#[tokio::test]
async fn whoever_may_only_connect_ends_no_session_whatever_is_sent() {
    let place = Place::fresh();
    let (here, there) = (Replica::hearing(&place).await, Replica::hearing(&place).await);
    let cookie = here.sign_in("ann").await;
    let key = expect_live(there.find(&cookie).await).id().hex();
    let stranger = Stranger::at(&place);
    for (sent, word) in ["ended", "changed", "anything", ""].into_iter().enumerate() {
        let asked = there.asked("confirm");
        stranger.notifies(&format!("{word} {key}"));
        let is_told = || there.asked("confirm") > asked;
        eventually("it asks", async || {
            expect_live(there.find(&cookie).await);
            expect_live(here.find(&cookie).await);
            is_told()
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
        stranger.notifies(payload);
    }
    stranger.notifies(&format!("ended {key}"));
    eventually("what was sent before has come", async || {
        expect_live(there.find(&cookie).await);
        there.asked("confirm") > asked
    })
    .await;
    assert!(there.asked("confirm") <= asked + 2);
    assert_eq!(there.asked("load"), 1, "the session stayed in memory");
    assert!(there.hears() && here.hears());
    expect_live(Replica::of(&place).await.find(&cookie).await);
}

#[tokio::test]
async fn a_flood_of_notifications_costs_few_questions_and_hides_no_ending() {
    let place = Place::fresh();
    let (here, there) = (Replica::hearing(&place).await, Replica::hearing(&place).await);
    let (ann, bob) = (here.sign_in("ann").await, here.sign_in("bob").await);
    let key = expect_live(there.find(&ann).await).id().hex();
    expect_live(there.find(&bob).await);
    let stranger = Stranger::at(&place);
    let before = there.asked("confirm");
    // Each is another one, or the server would send them once.
    let endings = "PERFORM pg_notify('doorward_sessions', 'ended ' || encode(sha256(i::text::bytea), 'hex'))";
    let garbage = "PERFORM pg_notify('doorward_sessions', i || repeat('x', 7000))";
    let told = format!("PERFORM pg_notify('doorward_sessions', 'ended' || i || ' {key}')");
    for (many, what) in [(120_000, endings), (5_000, garbage), (20_000, &told)] {
        assert!(stranger.says(&format!("DO $$ BEGIN FOR i IN 1..{many} LOOP {what}; END LOOP; END $$")), "{what}");
    }
    // Its upkeep may be the one that removes the row.
    here.sessions.revoke(sent(&bob), Logout::User).await.unwrap();
    eventually("it is refused", async || matches!(there.find(&bob).await, Ok(LookupOutcome::Ended))).await;
    expect_live(there.find(&ann).await);
    let asked = there.asked("confirm") - before;
    assert!(asked < 500, "{asked} questions");
    assert_eq!(there.asked("load"), 2);
}
