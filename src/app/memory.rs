//! Memory: returns freed pages to the system after a load.
//!
//! mimalloc collects blocks that other threads have freed, and returns pages that have been free for a while, only when a thread
//! allocates, and only at every ten thousandth allocation. After a load no thread does. So every thread that answers requests
//! allocates from time to time.

use std::{convert::Infallible, hint::black_box, num::NonZero, thread::available_parallelism, time::Duration};

use tokio::time::sleep;

use crate::shutdown::Tasks;

/// Interval between collections.
const COLLECT_INTERVAL: Duration = Duration::from_secs(10);

/// Allocations after which mimalloc collects (`generic_collect`), including those that it counts by the thousand.
const ALLOCATIONS: usize = 11_000;

/// Larger than the blocks of the free lists that mimalloc serves without counting.
const BLOCK: usize = 2 * 1024;

/// Size of a page of its own; freeing it makes the allocator look for pages to return.
const PAGE: usize = 256 * 1024;

/// Makes the allocator collect on every thread, for as long as it is polled.
pub(super) async fn return_free_pages(tasks: Tasks) -> Infallible {
    let threads = available_parallelism().map_or(1, NonZero::get);
    loop {
        sleep(COLLECT_INTERVAL).await;
        // More than there are threads, because tokio decides which of them runs a task.
        for _ in 0..threads * 2 {
            tasks.spawn(async { collect() });
        }
    }
}

/// Allocates until mimalloc collects: a third of a millisecond.
fn collect() {
    drop(black_box(Vec::<u8>::with_capacity(PAGE)));
    for _ in 0..ALLOCATIONS {
        drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
    }
}
