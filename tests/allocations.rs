//! Allocations of a check. The numbers are here and in ARCHITECTURE.md; a change that raises one fails.

#[path = "../benches/support/mod.rs"]
mod support;

use http::request::Parts;
use support::{gate::Bench, subrequest::Subrequest, token_issuer::TokenIssuer};

/// Checks in one measurement: enough to show an allocation in one of a hundred, as a cache's bookkeeping makes.
const CHECKS: u64 = 1_000;

/// Returns the average number of allocations of a check, in hundredths.
fn hundredths(bench: &Bench, runtime: &tokio::runtime::Runtime, request: &Parts, status: u16) -> u64 {
    let ask = || assert_eq!(runtime.block_on(bench.ask(request)).status(), status);
    // The first check renders the session's headers and binds the metric's handle.
    ask();
    let measured = allocation_counter::measure(|| (0..CHECKS).for_each(|_| ask()));
    measured.count_total * 100 / CHECKS
}

#[test]
fn a_check_makes_a_fixed_number_of_allocations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bench = runtime.block_on(Bench::with(1));
    let clients = runtime.block_on(Bench::for_api_clients(&TokenIssuer::start(), 1));
    let (cookie, token) = (bench.cookies[0].as_str(), clients.cookies[0].as_str());
    for (what, bench, request, most) in [
        ("signed in", &bench, Subrequest::dashboard(Some(cookie)).parts(), 250),
        ("API client", &clients, Subrequest::api(token).parts(), 250),
        ("public", &bench, Subrequest { uri: "/public/logo.svg", ..Subrequest::dashboard(None) }.parts(), 250),
    ] {
        let counted = hundredths(bench, &runtime, &request, 200);
        println!("{what}: {}.{:02} allocations a check", counted / 100, counted % 100);
        assert!(counted <= most, "{what}: {counted} hundredths of an allocation a check, at most {most} are allowed");
    }
}
