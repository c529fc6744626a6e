//! `check`: the check in process. Its instructions are counted here. Time and allocations come from files: of criterion, and of
//! a run with a counting allocator, which would distort times here.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;

use crate::{
    report::{
        figure::Unit,
        part::Part,
        table::{Column, Table},
    },
    rig::instructions,
    support::{
        cases::{Case, CheckRunner},
        solo::{ConnectionUse, ServerKind, Solo},
    },
};

/// Sessions of a gate whose instructions are counted: at least as many as requests, because each can be missed once.
const PEOPLE: usize = 1_200;

/// The relevant part of criterion's estimates.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds.
    point_estimate: f64,
}

/// Counts instructions, and reads the results of the measurements before.
pub(crate) fn run() -> Part {
    let mut part = Part::default();
    let allocations = allocations();
    let columns = [
        Column::plotted("ns", Unit::Count),
        Column::of("instructions", Unit::Count),
        Column::of("allocations", Unit::Fine),
    ];
    let mut table = Table::new("a check in process", columns);
    for case in Case::ALL {
        let name = case.name();
        let allocated = allocations.get(name).copied().unwrap_or(f64::NAN);
        table.row(name, [nanoseconds(name), instructions::each(name), allocated]);
    }
    part.table(table);
    part.figure("check.instructions", added_instructions());
    part.figure("check.fresh", instructions::each("doorward-fresh") - instructions::each("hyper-fresh"));
    part.figure("check.allocations", added_allocations());
    let [few, many] = [Case::OneRule, Case::ManyRules].map(|case| instructions::each(case.name()));
    part.figure("check.rules", many / few);
    part
}

/// Returns the user instructions of a check beyond those of bare hyper for a constant, from socket to socket.
pub(crate) fn added_instructions() -> f64 {
    instructions::each("doorward") - instructions::each("hyper")
}

/// Returns the allocations of a check beyond those of bare hyper for an empty response.
pub(crate) fn added_allocations() -> f64 {
    allocations().get("added").copied().expect("allocations were counted as a whole")
}

/// Serves a number of requests, under valgrind.
pub(crate) fn count(what: &str, times: usize) {
    if let Some(case) = Case::named(what) {
        let mut runner = CheckRunner::of(case, PEOPLE);
        if case != Case::Miss {
            runner.warm();
        }
        for _ in 0..times {
            runner.ask();
        }
    } else {
        let (kind, on) = match what {
            "doorward" => (ServerKind::Doorward, ConnectionUse::Persistent),
            "doorward-fresh" => (ServerKind::Doorward, ConnectionUse::Fresh),
            "hyper" => (ServerKind::Hyper, ConnectionUse::Persistent),
            "hyper-fresh" => (ServerKind::Hyper, ConnectionUse::Fresh),
            other => panic!("nobody is called {other}"),
        };
        Solo::of(kind).ask(times, on);
    }
}

fn allocations() -> BTreeMap<String, f64> {
    let text =
        fs::read_to_string("target/bench/allocations.json").expect("allocations are counted first: see the Makefile");
    serde_json::from_str(&text).expect("the file was written by the bench `check`")
}

/// Returns criterion's median, or NaN if it was not run.
fn nanoseconds(case: &str) -> f64 {
    let file = format!("target/criterion/check/{case}/new/estimates.json");
    let estimates = fs::read_to_string(file).ok().and_then(|text| serde_json::from_str::<Estimates>(&text).ok());
    estimates.map_or(f64::NAN, |estimates| estimates.median.point_estimate)
}
