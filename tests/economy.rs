//! What a check does not do: it asks no store and opens no connection.

#[path = "../benches/support/mod.rs"]
mod support;

use support::{
    gate::Bench,
    question::Question,
    solo::{Solo, Who},
};

/// Calls of the store so far, of whatever kind.
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
            let question = Question::dashboard(Some(cookie)).parts();
            assert_eq!(runtime.block_on(bench.ask(&question)).status(), 200);
        }
    }
    assert_eq!(store_calls(&bench) - before, 0);
}

#[test]
fn ten_thousand_checks_need_one_connection() {
    // It fails where its one connection is closed.
    Solo::of(Who::Doorward).ask(10_000);
}
