//! Cost of a check: no call of the store, no new connection, a fixed number of instructions.

#[path = "../benches/support/mod.rs"]
mod support;

use std::env;

use support::{
    callgrind,
    gate::Bench,
    solo::{ConnectionUse, ServerKind, Solo},
    subrequest::Subrequest,
};

/// Returns the number of all calls of the store.
fn store_calls(bench: &Bench) -> u64 {
    let text = bench.metrics.print();
    let counts = text.lines().filter_map(|line| line.strip_prefix("doorward_store_duration_seconds_count"));
    counts.filter_map(|rest| rest.rsplit(' ').next()).map(|count| count.parse::<u64>().expect("a count")).sum()
}

#[test]
fn a_session_in_memory_is_answered_without_the_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::with(100));
    let before = store_calls(&bench);
    assert!(before >= 100, "signing in is counted: {before}");
    for _ in 0..10 {
        for cookie in bench.cookies.iter() {
            let question = Subrequest::dashboard(Some(cookie)).parts();
            assert_eq!(runtime.block_on(bench.ask(&question)).status(), 200);
        }
    }
    assert_eq!(store_calls(&bench) - before, 0);
}

/// Variable that sets the number of checks of the next test.
const CHECKS: &str = "DOORWARD_TEST_CHECKS";

#[test]
#[expect(clippy::disallowed_methods, reason = "the next test sets the number of checks this way")]
fn ten_thousand_checks_need_one_connection() {
    let checks = env::var(CHECKS).map_or(10_000, |checks| checks.parse().unwrap());
    // It fails if its only connection is closed.
    Solo::of(ServerKind::Doorward).ask(checks, ConnectionUse::Persistent);
}

/// User instructions of a check in this build, server and client together. To be updated when the compiler or a crate
/// changes.
const INSTRUCTIONS: u64 = 434_900;

#[test]
fn a_check_executes_a_fixed_number_of_instructions() {
    // Many, because the work before the first check varies.
    let each = (instructions_of(2_200) - instructions_of(200)) / 2_000;
    println!("{each} instructions a check");
    let most = INSTRUCTIONS + INSTRUCTIONS * 3 / 100;
    assert!(each <= most, "{each} instructions a check; {INSTRUCTIONS} are on record, and up to {most} are no alarm");
}

/// Returns callgrind's count of instructions while the test above makes so many checks.
fn instructions_of(checks: u64) -> u64 {
    callgrind::instructions(|run| {
        run.args(["--exact", "ten_thousand_checks_need_one_connection"]).env(CHECKS, checks.to_string())
    })
}
