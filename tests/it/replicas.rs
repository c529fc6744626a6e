//! Replicas that are killed, and a store with a million sessions.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::StatusCode;
use tokio::task::JoinSet;

use crate::{
    postgres::{EDGE, ask, refused, replica},
    world::{
        Gate, Signal, WorldBuilder,
        database::{Database, name_in},
        eventually,
    },
};

const VISITORS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sign_in_that_was_answered_with_a_cookie_outlives_the_replica_that_was_killed_in_their_midst() {
    let mut world = WorldBuilder::with(EDGE).store(&Database::shared().create()).start().await;
    let other = replica(&world).await;
    let url = world.at("app", "/");
    let place: url::Url = url.parse().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut visits = JoinSet::new();
    for number in 0..VISITORS {
        let (visitor, url, place, answered) =
            (world.person(["alice", "bob"][number % 2]), url.clone(), place.clone(), Arc::clone(&answered));
        visits.spawn(async move {
            // The last request may fail: only the cookie matters.
            visitor.visit(&url).await;
            let is_signed_in = visitor.cookies(&place).split("; ").any(|cookie| cookie.starts_with("__Host-doorward="));
            answered.fetch_add(usize::from(is_signed_in), Ordering::Relaxed);
            is_signed_in.then_some(visitor)
        });
    }
    eventually("some have signed in", async || (answered.load(Ordering::Relaxed) >= VISITORS / 8).then_some(())).await;
    world.gate.signal(Signal::Kill);
    world.gate.exited().await;
    let signed_in: Vec<_> = visits.join_all().await.into_iter().flatten().collect();
    assert!((VISITORS / 8..VISITORS).contains(&signed_in.len()), "{} of {VISITORS} had signed in", signed_in.len());
    for visitor in &signed_in {
        let answer = ask(&world, &other, visitor).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}

/// Returns the resident memory of the gate in bytes.
async fn resident(gate: &Gate) -> u64 {
    let metrics = gate.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
    line.parse().unwrap()
}

#[tokio::test]
async fn a_million_sessions_in_the_store_cost_no_memory_and_no_statement_reads_them_all() {
    let database = Database::shared();
    let store = database.create();
    let name = name_in(&store);
    let mut world = WorldBuilder::with(EDGE).server("shutdown_grace = \"1s\"").store(&store).start().await;
    let alice = world.signed_in("alice").await;
    let before = resident(&world.gate).await;
    // The first 2,500 have expired.
    database.fill(
        name,
        "SELECT sha256(n::text::bytea), 'neighbour', 'subject ' || n, 'sid ' || n, 1, seen, seen, \
         decode('6f6c6421' || repeat(md5(n::text), 4), 'hex') FROM generate_series(1, 1000000) AS n, \
         LATERAL (SELECT CASE WHEN n <= 2500 THEN 1 ELSE extract(epoch FROM now()) END AS seen) AS moment",
    );
    let read_whole = || {
        let whole = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'doorward_sessions'";
        database.sql(name, whole)
    };
    // Backends report their statistics at their end at the latest, including those of the time when the table was small.
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let nobody_is_connected = async || (database.sql(name, gone) == "0").then_some(());
    world.gate.signal(Signal::Term);
    world.gate.exited().await;
    eventually("its connections end", nobody_is_connected).await;
    let scans = read_whole();

    // At its start it sweeps expired sessions and counts the rows of older secrets.
    world.gate.start().await;
    eventually("what is over is removed", async || {
        world.gate.metrics().await.contains("doorward_logouts_total{kind=\"expired\"} 2500\n").then_some(())
    })
    .await;
    eventually("other secrets' rows are counted, up to a hundred thousand", async || {
        let metrics = world.gate.metrics().await;
        metrics.contains("doorward_session_rows_to_reseal{secret=\"unknown\"} 100000\n").then_some(())
    })
    .await;
    let list = world.gate.command(&["sessions", "list", "--user", "subject 777777"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(world.gate.command(&["sessions", "revoke", "--user", "subject 777777"]), "ended 1 session\n");
    assert_eq!(ask(&world, &world.gate, &alice).await.status, StatusCode::OK);
    let stolen = alice.copied_cookies();
    alice.visit(&world.at("app", "/_doorward/sign_out")).await;
    refused(&world, &[&world.gate], &stolen).await;
    let after = resident(&world.gate).await;
    assert!(after < before + (16 << 20), "{before} bytes before, {after} after");
    world.gate.signal(Signal::Term);
    world.gate.exited().await;
    eventually("its connections end", nobody_is_connected).await;
    assert_eq!(read_whole(), scans, "a statement has read the whole table");
    assert_eq!(database.sql(name, "SELECT count(*) FROM doorward_sessions"), "997499");
}
