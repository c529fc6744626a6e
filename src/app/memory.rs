//! Giving memory back to the system after a load: the allocator has to be asked.
//!
//! mimalloc collects what other threads have freed, and lets go of what has been free for a while, only when a thread asks it for
//! more, and only every ten thousandth time. After a load nobody does. So every thread that answers requests asks from time to
//! time. It must not know for what the memory was.

use std::{convert::Infallible, hint::black_box, num::NonZero, thread::available_parallelism, time::Duration};

use tokio::time::sleep;

use crate::shutdown::Tasks;

/// How often the allocator is asked.
const EVERY: Duration = Duration::from_secs(10);

/// Questions after which mimalloc collects (`generic_collect`), with those that it counts by the thousand.
const QUESTIONS: usize = 11_000;

/// Larger than what is answered from a list of free blocks without a look.
const PIECE: usize = 2 * 1024;

/// A page of its own, whose end has the allocator look for what it can let go.
const PAGE: usize = 256 * 1024;

/// Asks the allocator on every thread, for as long as it is polled.
pub(super) async fn give_back(tasks: Tasks) -> Infallible {
    let threads = available_parallelism().map_or(1, NonZero::get);
    loop {
        sleep(EVERY).await;
        // More than there are threads: which of them runs what is theirs to say.
        for _ in 0..threads * 2 {
            tasks.spawn(async { ask() });
        }
    }
}

/// Takes a third of a millisecond.
fn ask() {
    drop(black_box(Vec::<u8>::with_capacity(PAGE)));
    for _ in 0..QUESTIONS {
        drop(black_box(Vec::<u8>::with_capacity(PIECE)));
    }
}
