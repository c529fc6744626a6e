//! Instructions per request, without the start-up.

use crate::support::callgrind;

/// Requests of a short and a long run, whose difference is requests only.
const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// Returns the user instructions of this process per request of `what`, a name of `--count`.
pub(crate) fn each(what: &str) -> f64 {
    (counted(what, MANY) - counted(what, FEW)) / f64::from(MANY - FEW)
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 instructions")]
fn counted(what: &str, times: u32) -> f64 {
    let counted = callgrind::instructions(|run| run.args(["--count", what, &times.to_string()]));
    counted as f64
}
