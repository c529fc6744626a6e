//! Standard output of the subcommands.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Writes to standard output. A broken pipe is no failure; any other error is.
pub(super) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes to standard output as [`print()`] does, and returns the exit status.
pub(super) fn print_status(text: &str) -> ExitCode {
    if print(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
