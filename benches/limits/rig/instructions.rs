//! Instructions of one question, without what comes before the first.

use crate::support::callgrind;

/// Two lengths of a run: what lies between them is questions and nothing else.
const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// User instructions of this process for one question of `what`, as `--count` knows it.
pub(crate) fn each(what: &str) -> f64 {
    (counted(what, MANY) - counted(what, FEW)) / f64::from(MANY - FEW)
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 instructions")]
fn counted(what: &str, times: u32) -> f64 {
    let counted = callgrind::instructions(|run| run.args(["--count", what, &times.to_string()]));
    counted as f64
}
