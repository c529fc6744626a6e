//! Instruction counts by callgrind, independent of the machine's load.

use std::process::Command;

/// Returns the user instructions of a run of this program with the arguments and variables that `give` sets.
pub(crate) fn instructions(give: impl FnOnce(&mut Command) -> &mut Command) -> u64 {
    let own = std::env::current_exe().expect("this program has a path");
    let mut run = Command::new("valgrind");
    run.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own);
    let run = give(&mut run).output().expect("valgrind is installed: make setup");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected.and_then(|(_, number)| number.trim().parse().ok()).expect("callgrind says what it has collected")
}
