//! A check over loopback, beside its limits in the same run: a bare hyper server and nginx that answer the same constant.
//!
//! The machine is never quiet, so the servers take turns in many short rounds and only ratios within a round count.
//! `--count WHO TIMES` is what valgrind runs.

#![expect(clippy::panic, reason = "a bench that cannot go on has failed, and says where")]

#[path = "../support/mod.rs"]
mod support;

mod contest;
mod contestant;
mod cores;
mod instructions;
mod load;
mod nginx;

use std::time::Duration;

use contest::Contest;
use contestant::Contestant;
use support::{gate::Size, solo::Solo};

/// How busy the servers are.
const CONNECTIONS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["--count", who, times] => count(who, times),
        _ => quick(),
    }
}

fn count(who: &str, times: &str) {
    let who = instructions::named(who);
    Solo::of(who).ask(times.parse().expect("a number of questions"));
}

/// What `check --allocations` counted just before: its allocator has no place in a program that measures time.
fn allocations() -> f64 {
    let counted = std::fs::read_to_string("target/bench/allocations").ok();
    counted.and_then(|text| text.trim().parse().ok()).expect("allocations are counted first: make bench-quick")
}

fn quick() {
    let doorward = Contestant::doorward(Size { people: 10_000, hosts: 1 });
    let hyper = Contestant::hyper(&doorward);
    let nginx = Contestant::nginx(&doorward);
    cores::keep(cores::this_thread(), cores::GENERATOR);
    let contest = Contest::between(&[&doorward, &hyper, &nginx], CONNECTIONS, 20, Duration::from_millis(400));
    println!("{contest}");
    let instructions = instructions::added();
    println!(
        "hyper={:.2} nginx={:.2} p99={:.2} instructions={instructions} allocations={:.0}",
        contest.requests(0, 1),
        contest.requests(0, 2),
        contest.p99(0, 1),
        allocations(),
    );
}
