//! Negative cache of `sid`s, in front of front-channel logout: anybody may name one, without a cookie of ours.
//!
//! Promises: a `sid` costs the store one read a minute, with few reads at a time, and memory is bounded; a look-up that was given
//! up says nothing about its `sid`.

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

/// Look-up of a `sid`. Unless it was in vain, the `sid` is looked up again the next time: also where nobody waited for the end.
pub(super) struct SidLookup<'a> {
    sids: &'a UnknownSids,
    key: [u8; 32],
    was_in_vain: bool,
}

impl UnknownSids {
    /// An empty cache.
    pub(super) fn new() -> Self {
        let looked_up = Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build();
        Self { looked_up, permits: Semaphore::new(CONCURRENCY) }
    }

    /// Begins to look up a `sid`; `None` where that was done within [`TTL`], or is being done.
    pub(super) fn begin(&self, provider: &str, sid: &str) -> Option<SidLookup<'_>> {
        let key = key(provider, sid);
        let is_first = self.looked_up.entry(key).or_insert(()).is_fresh();
        // Not `then_some`: a look-up that is made and dropped forgets the `sid`.
        is_first.then(|| SidLookup { sids: self, key, was_in_vain: false })
    }

    /// Drops a `sid`: its session has just been made.
    pub(super) fn forget(&self, provider: &str, sid: &str) {
        self.looked_up.invalidate(&key(provider, sid));
    }

    /// Waits for a permit to read the store once; `None` after [`PERMIT_TIMEOUT`].
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PERMIT_TIMEOUT, self.permits.acquire()).await.ok()?.ok()
    }
}

impl SidLookup<'_> {
    /// Remembers that there is no session of this `sid`.
    pub(super) fn was_in_vain(mut self) {
        self.was_in_vain = true;
    }
}

impl Drop for SidLookup<'_> {
    fn drop(&mut self) {
        if !self.was_in_vain {
            self.sids.looked_up.invalidate(&self.key);
        }
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
    fn a_sid_that_was_looked_up_in_vain_is_looked_up_again_after_it_was_forgotten() {
        let sids = UnknownSids::new();
        for (provider, sid) in [("p", "s"), ("ps", ""), ("q", "s")] {
            sids.begin(provider, sid).expect("another pair is another entry").was_in_vain();
            for _ in 0..3 {
                assert!(sids.begin(provider, sid).is_none(), "however often it is named");
            }
        }
        sids.forget("p", "s");
        assert!(sids.begin("p", "s").is_some());
    }

    #[test]
    fn a_look_up_that_was_given_up_says_nothing() {
        let sids = UnknownSids::new();
        let under_way = sids.begin("p", "s").unwrap();
        for _ in 0..3 {
            assert!(sids.begin("p", "s").is_none(), "one look-up at a time");
        }
        drop(under_way);
        assert!(sids.begin("p", "s").is_some());
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
