//! Doorward compared with its limits: real sockets, real edges, a real database, and ratios within one run.
//!
//! No machine is quiet, so servers take turns in many short rounds and only ratios within a round count. Arguments: none for
//! all benches, names of benches, `quick`, or `documents`; valgrind runs `--count WHAT TIMES`.

#![expect(clippy::panic, reason = "a bench that cannot go on has failed, and the panic says where")]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod disturbance;
mod edge;
mod loopback;
mod quick;
mod renewal;
mod report;
mod rig;
mod scale;
mod soak;
mod store;
mod tls;

use mimalloc::MiMalloc;
use report::part::Part;

/// The program's allocator, because gates run in this process too. Bare hyper uses it as well.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Function that runs a bench.
type Run = fn() -> Part;

/// The benches, in the order of the report.
const BENCHES: &[(&str, Run)] = &[
    ("loopback", loopback::run),
    ("check", check::run),
    ("scale", scale::run),
    ("edge", edge::run),
    ("store", store::run),
    ("renewal", renewal::run),
    ("tls", tls::run),
    ("disturbance", disturbance::run),
    ("soak", soak::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words.as_slice() {
        ["--count", what, times] => check::count(what, times.parse().expect("a number of questions")),
        ["quick"] => quick::run(),
        ["documents"] => report::documents::refresh(),
        names => benches(names),
    }
}

fn benches(names: &[&str]) {
    for name in names {
        assert!(BENCHES.iter().any(|(bench, _)| bench == name), "there is no bench {name}");
    }
    for (name, run) in BENCHES.iter().filter(|(bench, _)| names.is_empty() || names.contains(bench)) {
        println!("\n== {name}");
        run().save(name);
    }
    report::write(BENCHES.iter().map(|(bench, _)| *bench));
}
