//! Capacity for sign-ins at one provider: so many codes are redeemed at once, some more wait for a moment, the rest is shed.
//!
//! Promises: callbacks, however many come, leave room at the provider for renewals, which have a capacity of their own, and hold no
//! more requests here than are named below.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::error::Error;

/// The most codes that are redeemed at once. With as many renewals as there may be, fewer than the hundred streams that servers
/// take on one HTTP/2 connection at least (RFC 9113, section 6.5.2).
const CONCURRENCY: usize = 32;
/// The most callbacks that wait for that or are being redeemed: an office that signs in at once, and less than half of the
/// requests for the gate's own pages.
const PLACES: usize = 384;
/// The longest wait. A whole office has its turn in it where the provider takes a second for each; with the provider's own
/// timeout it is as long as edges wait.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Capacity for the redemption of authorization codes.
pub(super) struct SignInCapacity {
    places: Semaphore,
    turns: Semaphore,
}

/// Permission to redeem one code.
pub(super) struct SignInTurn<'c> {
    _place: SemaphorePermit<'c>,
    _turn: SemaphorePermit<'c>,
}

impl SignInCapacity {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(PLACES), turns: Semaphore::new(CONCURRENCY) }
    }

    /// Waits for a turn, first come, first served.
    ///
    /// # Errors
    ///
    /// `Overloaded` at once where too many wait already, or after [`MAX_WAIT`].
    pub(super) async fn turn(&self) -> Result<SignInTurn<'_>, Error> {
        let overloaded = || Error::Overloaded("sign-ins");
        let place = self.places.try_acquire().map_err(|_| overloaded())?;
        match timeout(MAX_WAIT, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(SignInTurn { _place: place, _turn: turn }),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn some_are_redeemed_some_wait_for_their_turn_and_the_rest_is_shed_at_once() {
        let capacity = SignInCapacity::new();
        let mut turns = Vec::new();
        for _ in 0..CONCURRENCY {
            turns.push(capacity.turn().now_or_never().expect("nobody waits yet").unwrap());
        }
        let mut waiting: Vec<_> = (CONCURRENCY..PLACES).map(|_| Box::pin(capacity.turn())).collect();
        for one in &mut waiting {
            assert!(poll!(one.as_mut()).is_pending());
        }
        let shed = capacity.turn().now_or_never().expect("it does not wait");
        assert!(matches!(shed, Err(Error::Overloaded(_))));
        turns.pop();
        assert!(poll!(waiting.remove(0).as_mut()).is_ready(), "the first who waits is next");
        assert!(poll!(pin!(capacity.turn())).is_pending(), "and leaves its place to another");
    }
}
