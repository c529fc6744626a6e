//! The check in this process: what the gate needs for an answer once a request has been read. Time by criterion;
//! allocations by a counting allocator, which costs a little and is the reason why nothing else is measured here.
//!
//! `--allocations` only counts, and writes the numbers to a file for the report.

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
    cases::{Case, Drill},
    solo::{On, Solo, Who},
};

/// People who are signed in: more than fit a core's own memory.
const PEOPLE: usize = 10_000;
/// Sessions that one gate misses in memory before the next one is opened.
const MISSES: usize = 500;
/// Checks in one count.
const MANY: usize = 500;

fn main() {
    if std::env::args().any(|word| word == "--allocations") {
        count();
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

/// Answers that need nothing but memory.
fn in_memory(criterion: &mut Criterion, case: Case) {
    let mut drill = Drill::of(case, PEOPLE);
    drill.warm();
    criterion.benchmark_group("check").bench_function(case.name(), |bencher| {
        bencher.iter(|| black_box(drill.ask()));
    });
}

/// Each session can be missed once, so a new gate is opened now and then, which is not timed.
fn misses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10).bench_function(Case::Miss.name(), |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            let mut left = usize::try_from(times).expect("as many as fit memory");
            while left > 0 {
                let mut drill = Drill::of(Case::Miss, MISSES);
                let batch = left.min(MISSES);
                let begun = Instant::now();
                for _ in 0..batch {
                    black_box(drill.ask());
                }
                took += begun.elapsed();
                left -= batch;
            }
            took
        });
    });
    group.finish();
}

/// Allocations for an answer in each case, and the whole way from the socket to the socket, beyond those that hyper makes for
/// a status and nothing else.
fn count() {
    let mut counted: BTreeMap<&str, f64> =
        Case::ALL.into_iter().map(|case| (case.name(), allocations_in_process(case))).collect();
    counted.insert("added", allocations_over_a_socket(Who::Doorward) - allocations_over_a_socket(Who::Silent));
    let text = serde_json::to_string_pretty(&counted).expect("numbers can be written");
    println!("{text}");
    fs::create_dir_all("target/bench").expect("the target folder takes files");
    fs::write("target/bench/allocations.json", text).expect("the target folder takes files");
}

fn allocations_in_process(case: Case) -> f64 {
    let mut drill = Drill::of(case, MANY);
    if case != Case::Miss {
        drill.warm();
    }
    allocations_of(|| {
        for _ in 0..MANY {
            drill.ask();
        }
    })
}

fn allocations_over_a_socket(who: Who) -> f64 {
    let mut solo = Solo::of(who);
    solo.ask(MANY, On::Kept);
    allocations_of(|| solo.ask(MANY, On::Kept))
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn allocations_of(work: impl FnOnce()) -> f64 {
    allocation_counter::measure(work).count_total as f64 / MANY as f64
}
