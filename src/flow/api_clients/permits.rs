//! Permits for verifications at one provider.
//!
//! Promises: what strangers send has few verifications under way at a time, and a bounded number that wait; credentials that are
//! known to be good have permits of their own.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Verifications of strangers' credentials under way.
const STRANGERS: usize = 16;
/// Of those, the most that are under way or wait.
const STRANGERS_QUEUE: usize = 256;
/// Longest wait of a stranger.
const STRANGERS_WAIT: Duration = Duration::from_secs(2);
/// Verifications of known credentials under way.
const KNOWN: usize = 64;

/// Standing of a credential before it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was found good not long ago.
    Known,
    /// Nothing is known about it.
    Stranger,
}

/// Permits for verifications at one provider.
pub(super) struct VerificationPermits {
    known: Semaphore,
    strangers: Semaphore,
    queue: Semaphore,
}

/// Permit for one verification.
pub(super) struct VerificationPermit<'a> {
    _place: Option<SemaphorePermit<'a>>,
    _permit: SemaphorePermit<'a>,
}

impl VerificationPermits {
    pub(super) fn new() -> Self {
        Self {
            known: Semaphore::new(KNOWN),
            strangers: Semaphore::new(STRANGERS),
            queue: Semaphore::new(STRANGERS_QUEUE),
        }
    }

    /// Returns a permit; `None` where too many strangers wait already, or this one has waited for two seconds.
    pub(super) async fn acquire(&self, standing: Standing) -> Option<VerificationPermit<'_>> {
        if standing == Standing::Known {
            let permit = self.known.acquire().await.ok()?;
            return Some(VerificationPermit { _place: None, _permit: permit });
        }
        let place = self.queue.try_acquire().ok()?;
        let permit = timeout(STRANGERS_WAIT, self.strangers.acquire()).await.ok()?.ok()?;
        Some(VerificationPermit { _place: Some(place), _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn strangers_fill_their_own_permits_and_no_others() {
        let permits = VerificationPermits::new();
        let mut under_way = Vec::new();
        for _ in 0..STRANGERS {
            under_way.push(permits.acquire(Standing::Stranger).now_or_never().flatten().expect("there is room"));
        }
        let mut waiting: Vec<_> =
            (STRANGERS..STRANGERS_QUEUE).map(|_| Box::pin(permits.acquire(Standing::Stranger))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()), "the rest waits");
        assert!(
            permits.acquire(Standing::Stranger).now_or_never().expect("no wait").is_none(),
            "beyond the queue nobody waits"
        );
        assert!(permits.acquire(Standing::Known).now_or_never().flatten().is_some());
        drop(under_way.pop());
        assert!(waiting.remove(0).await.is_some(), "the first that waits is next");
    }
}
