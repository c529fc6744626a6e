//! A circuit breaker, for a token endpoint that does not answer.
//!
//! Promises: after some failures in a row the circuit is open and nothing is sent for a while; then it is half-open, and
//! one request at a time finds out whether the endpoint is back. A request that is given up half-way counts as a failure.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// Time for which the circuit first stays open; doubles with each further failure.
const MIN_OPEN: Duration = Duration::from_secs(2);
/// Short enough for a recovery to be noticed within 20 s.
const MAX_OPEN: Duration = Duration::from_secs(10);

/// A circuit breaker with one count of failures for all requests.
pub(super) struct CircuitBreaker {
    clock: Clock,
    /// Failures in a row that open the circuit.
    max_failures: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    circuit: Circuit,
}

#[derive(Clone, Copy, Debug, Default)]
enum Circuit {
    /// Requests go out.
    #[default]
    Closed,
    /// No request goes out for `span`.
    Open { since: Timestamp, span: Duration },
    /// One request is out to find out whether the endpoint is back.
    HalfOpen,
}

/// Permission for one request. Dropped without [`BreakerPermit::answered`] it counts as a failure.
pub(in crate::oidc) struct BreakerPermit<'b> {
    breaker: &'b CircuitBreaker,
    jitter: f64,
}

impl CircuitBreaker {
    pub(super) fn new(clock: Clock, max_failures: u32) -> Self {
        Self { clock, max_failures, state: Mutex::default() }
    }

    /// Returns the permission for a request, or `None` while the circuit is open. `jitter` from 0 to 1 spreads replicas.
    pub(super) fn admit(&self, jitter: f64) -> Option<BreakerPermit<'_>> {
        let now = self.clock.now();
        let mut state = self.state();
        match state.circuit {
            Circuit::Closed => {}
            // A clock that was set back must not keep the circuit open.
            Circuit::Open { since, span } if now < since || now.since(since) >= span => {
                state.circuit = Circuit::HalfOpen;
            }
            Circuit::Open { .. } | Circuit::HalfOpen => return None,
        }
        drop(state);
        Some(BreakerPermit { breaker: self, jitter })
    }

    fn record_failure(&self, jitter: f64) {
        let now = self.clock.now();
        let mut state = self.state();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        if let Some(doublings) = state.failures_in_a_row.checked_sub(self.max_failures) {
            let span = MIN_OPEN.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_OPEN);
            state.circuit = Circuit::Open { since: now, span: span.mul_f64(0.5 + 0.5 * jitter) };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BreakerPermit<'_> {
    /// Closes the circuit: the endpoint answered, whatever it said.
    pub(in crate::oidc) fn answered(self) {
        *self.breaker.state() = State::default();
        std::mem::forget(self);
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        self.breaker.record_failure(self.jitter);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;

    const MAX_FAILURES: u32 = 3;

    /// A breaker and the other end of its clock.
    struct ManualBreaker {
        breaker: CircuitBreaker,
        now: Arc<AtomicU64>,
    }

    impl ManualBreaker {
        fn closed() -> Self {
            let (clock, now) = Clock::manual(Timestamp::from_unix(1_000));
            Self { breaker: CircuitBreaker::new(clock, MAX_FAILURES), now }
        }

        fn open() -> Self {
            let manual = Self::closed();
            for _ in 0..MAX_FAILURES {
                drop(manual.admit().expect("a few failures leave it closed"));
            }
            manual
        }

        fn admit(&self) -> Option<BreakerPermit<'_>> {
            self.breaker.admit(1.0)
        }

        fn wait(&self, seconds: u64) -> &Self {
            self.now.fetch_add(seconds, Relaxed);
            self
        }
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let manual = ManualBreaker::closed();
        for _ in 0..10 {
            for _ in 1..MAX_FAILURES {
                drop(manual.admit().unwrap());
            }
            manual.admit().unwrap().answered();
        }
    }

    #[test]
    fn after_some_failures_the_circuit_is_open_for_a_while_and_then_half_open() {
        let manual = ManualBreaker::open();
        assert!(manual.wait(1).admit().is_none());
        let probe = manual.wait(1).admit().expect("it is half-open");
        assert!(manual.admit().is_none(), "one request is out already");
        probe.answered();
        let both = [manual.admit(), manual.admit()];
        assert!(both.iter().all(Option::is_some));
    }

    #[test]
    fn a_probe_that_is_given_up_lets_the_next_one_try_later() {
        let manual = ManualBreaker::open();
        let probe = manual.wait(2).admit().unwrap();
        manual.wait(7);
        drop(probe);
        assert!(manual.wait(3).admit().is_none(), "the time has doubled, and begins when the probe failed");
        assert!(manual.wait(1).admit().is_some());
    }

    #[test]
    fn the_circuit_is_never_open_for_longer_than_a_recovery_may_stay_unseen() {
        let manual = ManualBreaker::closed();
        for _ in 0..50 {
            let mut waited = 0;
            while manual.admit().is_none() {
                manual.wait(1);
                waited += 1;
            }
            assert!(waited <= MAX_OPEN.as_secs(), "{waited}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_the_circuit_open() {
        let manual = ManualBreaker::open();
        manual.now.fetch_sub(500, Relaxed);
        assert!(manual.admit().is_some());
    }
}
