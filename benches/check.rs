//! The check in this process: what the gate needs for an answer once a request has been read. Time by criterion;
//! allocations by a counting allocator, which costs a little and is the reason why nothing else is measured here.
//!
//! `--allocations` only counts, for a check as a server makes it, and prints the number.

#[path = "support/mod.rs"]
mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::Criterion;
use futures_util::FutureExt as _;
use http::{StatusCode, request::Parts};
use support::{
    gate::Bench,
    question::Question,
    solo::{Solo, Who},
};
use tokio::runtime::{Builder, Runtime};

/// People who are signed in: more than fit a core's own memory.
const PEOPLE: usize = 10_000;
/// Sessions that one gate misses in memory before the next one is opened.
const MISSES: usize = 500;
/// Checks in one count.
const MANY: usize = 1_000;

fn main() {
    if std::env::args().any(|word| word == "--allocations") {
        println!("{:.2}", added_allocations());
        return;
    }
    let mut criterion = Criterion::default().configure_from_args().measurement_time(Duration::from_secs(3));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    from_memory(&mut criterion, &runtime);
    from_the_store(&mut criterion, &runtime);
    criterion.final_summary();
}

/// Answers that need nothing but memory.
fn from_memory(criterion: &mut Criterion, runtime: &Runtime) {
    let bench = runtime.block_on(Bench::with(PEOPLE));
    let ours = |cookie| Question::dashboard(Some(cookie)).parts();
    let first = bench.cookies.first().expect("somebody is signed in").as_str();
    let everybody: Vec<Parts> = bench.cookies.iter().map(|cookie| ours(cookie)).collect();
    let forged = first.chars().rev().collect::<String>();
    // A cookie that is not in memory is looked up under a deadline, even one that we never made.
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("check");
    for (name, questions, status) in [
        ("hit", everybody, StatusCode::OK),
        ("hit, one session", vec![ours(first)], StatusCode::OK),
        ("public", vec![Question { uri: "/public/logo.svg", ..Question::dashboard(None) }.parts()], StatusCode::OK),
        ("no session", vec![Question { mode: "cors", ..Question::dashboard(None) }.parts()], StatusCode::UNAUTHORIZED),
        (
            "made-up cookie",
            vec![Question { mode: "cors", ..Question::dashboard(Some(&forged)) }.parts()],
            StatusCode::UNAUTHORIZED,
        ),
        (
            "unknown host",
            vec![Question { host: "nobody.example.com", ..Question::dashboard(Some(first)) }.parts()],
            StatusCode::FORBIDDEN,
        ),
        (
            "forbidden",
            vec![Question { host: "vault.example.com", ..Question::dashboard(Some(first)) }.parts()],
            StatusCode::FORBIDDEN,
        ),
    ] {
        let mut turn = questions.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let question = turn.next().expect("a cycle does not end");
                let answer = bench.ask(black_box(question)).now_or_never().expect("nothing is waited for");
                assert_eq!(answer.status(), status);
                answer
            });
        });
    }
    group.finish();
}

/// A session that is not in memory: one look-up in a SQLite file, and the record is opened.
fn from_the_store(criterion: &mut Criterion, runtime: &Runtime) {
    let folder = tempfile::tempdir().expect("a folder for the store");
    let url = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let mut before = runtime.block_on(Bench::on(&url, 1));
    runtime.block_on(before.sign_in(MISSES));
    let questions: Vec<Parts> = before.cookies.iter().map(|cookie| Question::dashboard(Some(cookie)).parts()).collect();
    criterion.benchmark_group("check").bench_function("miss", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            let mut left = usize::try_from(times).expect("as many as fit memory");
            while left > 0 {
                let after = runtime.block_on(Bench::on(&url, 1));
                let batch = left.min(MISSES);
                let begun = Instant::now();
                for question in questions.iter().take(batch) {
                    assert_eq!(runtime.block_on(after.ask(question)).status(), StatusCode::OK);
                }
                took += begun.elapsed();
                left -= batch;
            }
            took
        });
    });
}

/// Allocations for an answer, the whole way from the socket to the socket, beyond those that hyper makes for a status and
/// nothing else.
fn added_allocations() -> f64 {
    let of = |who| {
        let mut solo = Solo::of(who);
        solo.ask(MANY);
        let counted = allocation_counter::measure(|| solo.ask(MANY));
        i64::try_from(counted.count_total).expect("a number of allocations")
    };
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let added = (of(Who::Doorward) - of(Who::Silent)) as f64 / MANY as f64;
    added
}
