//! Negative cache of `sid`s, in front of front-channel logout: anybody may name one, without a cookie of ours.
//!
//! Promises: a `sid` costs the store one read a minute, with few reads at a time, and memory is bounded.

use std::time::Duration;

use moka::sync::Cache;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::crypto;

/// The most entries, of some hundred bytes each.
const CAPACITY: u64 = 10_000;
/// Time for which a `sid` is not looked up again.
const TTL: Duration = Duration::from_mins(1);
/// The most concurrent reads of the store.
const CONCURRENCY: usize = 4;
/// The longest wait for a permit to read.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The `sid`s that were lately looked up in vain.
pub(super) struct UnknownSids {
    looked_up: Cache<[u8; 32], ()>,
    permits: Semaphore,
}

impl UnknownSids {
    /// An empty cache.
    pub(super) fn new() -> Self {
        let looked_up = Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build();
        Self { looked_up, permits: Semaphore::new(CONCURRENCY) }
    }

    /// Returns `true` if this `sid` was not looked up within [`TTL`], and remembers that it is now.
    pub(super) fn is_first(&self, provider: &str, sid: &str) -> bool {
        self.looked_up.entry(key(provider, sid)).or_insert(()).is_fresh()
    }

    /// Drops a `sid`: its session has just been made, or the store could not say.
    pub(super) fn forget(&self, provider: &str, sid: &str) {
        self.looked_up.invalidate(&key(provider, sid));
    }

    /// Waits for a permit to read the store once; `None` after [`PERMIT_TIMEOUT`].
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PERMIT_TIMEOUT, self.permits.acquire()).await.ok()?.ok()
    }
}

/// Digest of a pair. The provider's length comes first, so that no two pairs look alike.
fn key(provider: &str, sid: &str) -> [u8; 32] {
    let length = (provider.len() as u64).to_be_bytes();
    crypto::digest(&[length.as_slice(), provider.as_bytes(), sid.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_sid_is_looked_up_once_and_again_after_it_was_forgotten() {
        let sids = UnknownSids::new();
        assert!(sids.is_first("p", "s") && !sids.is_first("p", "s"));
        assert!(sids.is_first("ps", "") && sids.is_first("q", "s"), "another pair is another entry");
        sids.forget("p", "s");
        assert!(sids.is_first("p", "s"));
    }

    #[tokio::test]
    async fn few_are_looked_up_at_once() {
        let sids = UnknownSids::new();
        let mut held = Vec::new();
        for _ in 0..CONCURRENCY {
            held.push(sids.permit().await.unwrap());
        }
        assert!(sids.permit().now_or_never().is_none(), "the next one waits");
        held.pop();
        assert!(sids.permit().await.is_some());
    }
}
