//! Sessions of a provider that are known not to be here: what anybody may ask about by name, without our cookies.
//!
//! Promises: a name costs the store one read a minute, few names at a time, and memory is bounded.

use std::time::Duration;

use moka::sync::Cache;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::crypto;

/// Names that are remembered; they cost some hundred bytes each.
const MOST: u64 = 10_000;
/// The time for which a name is not asked about again.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Reads of the store at once.
const AT_ONCE: usize = 4;
/// The longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(2);

/// Provider sessions that have lately been asked about in vain.
pub(super) struct UnknownSids {
    asked: Cache<[u8; 32], ()>,
    room: Semaphore,
}

impl UnknownSids {
    /// Nothing has been asked about.
    pub(super) fn new() -> Self {
        let asked = Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build();
        Self { asked, room: Semaphore::new(AT_ONCE) }
    }

    /// Whether nobody has asked about this session within a minute. Whoever asks from now on has.
    pub(super) fn is_news(&self, provider: &str, sid: &str) -> bool {
        self.asked.entry(key(provider, sid)).or_insert(()).is_fresh()
    }

    /// The session may be there after all: it has just been made, or the store did not say.
    pub(super) fn forget(&self, provider: &str, sid: &str) {
        self.asked.invalidate(&key(provider, sid));
    }

    /// Room for one read of the store; `None` where there is none for a while.
    pub(super) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PATIENCE, self.room.acquire()).await.ok()?.ok()
    }
}

/// The provider's length goes first, so that no two pairs look alike.
fn key(provider: &str, sid: &str) -> [u8; 32] {
    let length = (provider.len() as u64).to_be_bytes();
    crypto::digest(&[length.as_slice(), provider.as_bytes(), sid.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_name_is_asked_about_once_and_again_after_it_was_forgotten() {
        let sids = UnknownSids::new();
        assert!(sids.is_news("p", "s") && !sids.is_news("p", "s"));
        assert!(sids.is_news("ps", "") && sids.is_news("q", "s"), "another pair is another name");
        sids.forget("p", "s");
        assert!(sids.is_news("p", "s"));
    }

    #[tokio::test]
    async fn few_are_asked_about_at_once() {
        let sids = UnknownSids::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(sids.room().await.unwrap());
        }
        assert!(sids.room().now_or_never().is_none(), "the next one waits");
        held.pop();
        assert!(sids.room().await.is_some());
    }
}
