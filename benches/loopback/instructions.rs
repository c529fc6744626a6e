//! Instructions of a check, counted by callgrind: the same on every run, whatever else the machine does.

use std::process::Command;

use crate::support::solo::Who;

/// Two lengths of a run: what lies between them is questions and nothing else.
const FEW: u64 = 200;
const MANY: u64 = 1_200;

/// User instructions that a check adds to what bare hyper needs for a constant.
pub(crate) fn added() -> i64 {
    let of = |who| i64::try_from(per_answer(who)).expect("a number of instructions");
    of(Who::Doorward) - of(Who::Hyper)
}

/// User instructions of server and client for one answer.
pub(crate) fn per_answer(who: Who) -> u64 {
    (counted(who, MANY) - counted(who, FEW)) / (MANY - FEW)
}

/// The server of this name, as `--count` has it.
pub(crate) fn named(name: &str) -> Who {
    match name {
        "doorward" => Who::Doorward,
        "hyper" => Who::Hyper,
        _ => Who::Silent,
    }
}

fn counted(who: Who, times: u64) -> u64 {
    let name = match who {
        Who::Doorward => "doorward",
        Who::Hyper => "hyper",
        Who::Silent => "silent",
    };
    let own = std::env::current_exe().expect("this program has a path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--count", name, &times.to_string()])
        .output()
        .expect("valgrind is installed: make setup");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected.and_then(|(_, number)| number.trim().parse().ok()).expect("callgrind says what it has collected")
}
