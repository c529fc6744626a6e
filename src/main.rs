//! `doorward`: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorward::cli::run()
}
