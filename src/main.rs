//! `doorward`: arguments in, exit status out, and the allocator.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Not the system's: glibc walks over the memory of sessions whenever a connection's buffer is freed, and gives little back
/// after a flood; musl has one lock for all threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    doorward::cli::run()
}
