//! `check`: the check in process. Its time comes from criterion's files and its allocations from a file as well, because a
//! counting allocator has no place in a program that measures time; its instructions are counted here.

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
        cases::{Case, Drill},
        solo::{On, Solo, Who},
    },
};

/// Sessions of a gate whose instructions are counted: no fewer than questions, because each can be missed once.
const PEOPLE: usize = 1_200;

/// The part of criterion's estimates that is read.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds.
    point_estimate: f64,
}

/// Counts, and gathers what was measured just before.
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
    part
}

/// User instructions that a check adds to what bare hyper needs for a constant, from socket to socket.
pub(crate) fn added_instructions() -> f64 {
    instructions::each("doorward") - instructions::each("hyper")
}

/// Allocations that a check adds to what bare hyper needs for nothing.
pub(crate) fn added_allocations() -> f64 {
    allocations().get("added").copied().expect("allocations were counted as a whole")
}

/// Answers so many questions: what valgrind watches.
pub(crate) fn count(what: &str, times: usize) {
    if let Some(case) = Case::named(what) {
        let mut drill = Drill::of(case, PEOPLE);
        if case != Case::Miss {
            drill.warm();
        }
        for _ in 0..times {
            drill.ask();
        }
    } else {
        let (who, on) = match what {
            "doorward" => (Who::Doorward, On::Kept),
            "doorward-fresh" => (Who::Doorward, On::Fresh),
            "hyper" => (Who::Hyper, On::Kept),
            "hyper-fresh" => (Who::Hyper, On::Fresh),
            other => panic!("nobody is called {other}"),
        };
        Solo::of(who).ask(times, on);
    }
}

fn allocations() -> BTreeMap<String, f64> {
    let text =
        fs::read_to_string("target/bench/allocations.json").expect("allocations are counted first: see the Makefile");
    serde_json::from_str(&text).expect("the file was written by the bench `check`")
}

/// By criterion, if it was run.
fn nanoseconds(case: &str) -> f64 {
    let file = format!("target/criterion/check/{case}/new/estimates.json");
    let estimates = fs::read_to_string(file).ok().and_then(|text| serde_json::from_str::<Estimates>(&text).ok());
    estimates.map_or(f64::NAN, |estimates| estimates.median.point_estimate)
}
