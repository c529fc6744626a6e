//! How often a check touches the heap. The numbers stand here and in ARCHITECTURE.md; a change that raises one fails.

#[path = "../benches/support/mod.rs"]
mod support;

use http::request::Parts;
use support::{gate::Bench, question::Question};

/// Checks in one measurement: enough that an allocation in one of a hundred, as a cache's bookkeeping makes, shows.
const MANY: u64 = 1_000;

/// Allocations of a check, on average, in hundredths.
fn hundredths(bench: &Bench, runtime: &tokio::runtime::Runtime, request: &Parts, status: u16) -> u64 {
    let ask = || assert_eq!(runtime.block_on(bench.ask(request)).status(), status);
    // The first renders the session's headers and binds the metric's handle.
    ask();
    let measured = allocation_counter::measure(|| (0..MANY).for_each(|_| ask()));
    measured.count_total * 100 / MANY
}

#[test]
fn a_check_allocates_a_counted_number_of_times() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bench = runtime.block_on(Bench::with(1));
    let cookie = bench.cookies[0].as_str();
    for (what, request, status, most) in [
        ("signed in", Question::dashboard(Some(cookie)).parts(), 200, 250),
        ("public", Question { uri: "/public/logo.svg", ..Question::dashboard(None) }.parts(), 200, 250),
    ] {
        let counted = hundredths(&bench, &runtime, &request, status);
        println!("{what}: {}.{:02} allocations a check", counted / 100, counted % 100);
        assert!(counted <= most, "{what}: {counted} hundredths of an allocation a check, at most {most} are allowed");
    }
}
