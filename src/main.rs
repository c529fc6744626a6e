//! Binary `doorward`: runs the command line and sets the allocator.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// mimalloc in place of the system's allocator: glibc walks over the memory of sessions whenever a connection's buffer is freed,
/// and returns little after a flood; musl has one lock for all threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    doorward::cli::run()
}
