//! The check in this process: the cost of a response after a request has been parsed. Time by criterion; allocations by a
//! counting allocator, which costs a little, so nothing else is measured here.
//!
//! `--allocations` only counts, and writes the numbers to a file for the report. `--rules` only compares an app with one rule with
//! many apps with many rules, in turns.

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::Criterion;
use support::{
    cases::{Case, CheckRunner},
    solo::{ConnectionUse, ServerKind, Solo},
};

/// Number of signed-in people: more than fit a core's caches.
const PEOPLE: usize = 10_000;
/// Misses of one gate before the next one is opened.
const MISSES: usize = 500;
/// Signed-in people where rules are compared: few, so that caches disturb neither side.
const SOME_PEOPLE: usize = 100;
/// Rounds of a comparison.
const ROUNDS: usize = 401;
/// Checks of one count or round.
const CHECKS: usize = 500;

fn main() {
    if std::env::args().any(|word| word == "--allocations") {
        count();
        return;
    }
    if std::env::args().any(|word| word == "--rules") {
        compare_rules();
        return;
    }
    let criterion = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut criterion = criterion.configure_from_args();
    for case in Case::ALL {
        match case {
            Case::Miss => misses(&mut criterion),
            _ => in_memory(&mut criterion, case),
        }
    }
    criterion.final_summary();
}

/// Measures a case that is answered from memory.
fn in_memory(criterion: &mut Criterion, case: Case) {
    let mut runner = CheckRunner::of(case, PEOPLE);
    runner.warm();
    criterion.benchmark_group("check").bench_function(case.name(), |bencher| {
        bencher.iter(|| black_box(runner.ask()));
    });
}

/// Measures misses. Each session can be missed once, so new gates are opened in between, which is not timed.
fn misses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10).bench_function(Case::Miss.name(), |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            let mut left = usize::try_from(times).expect("as many as fit memory");
            while left > 0 {
                let mut runner = CheckRunner::of(Case::Miss, MISSES);
                let batch = left.min(MISSES);
                let begun = Instant::now();
                for _ in 0..batch {
                    black_box(runner.ask());
                }
                took += begun.elapsed();
                left -= batch;
            }
            took
        });
    });
    group.finish();
}

/// Compares 200 apps with 50 rules each and 10,000 hosts with one app with one rule, for paths that a rule of every kind is about
/// and for one that no rule is about. Rounds alternate, and only the ratio within a round counts.
fn compare_rules() {
    let [mut few, mut many] = [Case::OneRule, Case::ManyRules].map(|case| CheckRunner::of(case, SOME_PEOPLE));
    few.warm();
    for uri in ["/d/abc?orgId=1", "/health/46", "/files/47/x.svg", "/settings/48", "/items45/7/edit"] {
        many.set_uri(uri);
        many.warm();
        let mut ratios: Vec<_> = (0..ROUNDS).map(|_| time(&mut many) / time(&mut few)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        println!("{uri}: {:.3} of one rule", ratios.get(ROUNDS / 2).expect("there are rounds"));
    }
}

/// Returns the seconds of some checks.
fn time(runner: &mut CheckRunner) -> f64 {
    let begun = Instant::now();
    for _ in 0..CHECKS {
        black_box(runner.ask());
    }
    begun.elapsed().as_secs_f64()
}

/// Counts allocations of a response in each case, and those from socket to socket beyond the ones of hyper for a response with
/// only a status.
fn count() {
    let mut counted: BTreeMap<&str, f64> =
        Case::ALL.into_iter().map(|case| (case.name(), allocations_in_process(case))).collect();
    counted.insert(
        "added",
        allocations_over_a_socket(ServerKind::Doorward) - allocations_over_a_socket(ServerKind::Silent),
    );
    let text = serde_json::to_string_pretty(&counted).expect("numbers can be written");
    println!("{text}");
    fs::create_dir_all("target/bench").expect("the target folder takes files");
    fs::write("target/bench/allocations.json", text).expect("the target folder takes files");
}

fn allocations_in_process(case: Case) -> f64 {
    let mut runner = CheckRunner::of(case, CHECKS);
    if case != Case::Miss {
        runner.warm();
    }
    allocations_of(|| {
        for _ in 0..CHECKS {
            runner.ask();
        }
    })
}

fn allocations_over_a_socket(kind: ServerKind) -> f64 {
    let mut solo = Solo::of(kind);
    solo.ask(CHECKS, ConnectionUse::Persistent);
    allocations_of(|| solo.ask(CHECKS, ConnectionUse::Persistent))
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn allocations_of(work: impl FnOnce()) -> f64 {
    allocation_counter::measure(work).count_total as f64 / CHECKS as f64
}
