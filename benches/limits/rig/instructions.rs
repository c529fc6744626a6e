//! Instructions, counted by callgrind: the same on every run, whatever else the machine does.

use std::process::Command;

/// Two lengths of a run: what lies between them is questions and nothing else.
const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// User instructions of this process for one question of `what`, as `--count` knows it.
pub(crate) fn each(what: &str) -> f64 {
    (counted(what, MANY) - counted(what, FEW)) / f64::from(MANY - FEW)
}

fn counted(what: &str, times: u32) -> f64 {
    let own = std::env::current_exe().expect("this program has a path");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--count", what, &times.to_string()])
        .output()
        .expect("valgrind is installed: make setup");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected.and_then(|(_, number)| number.trim().parse().ok()).expect("callgrind says what it has collected")
}
