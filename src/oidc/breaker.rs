//! Leaving a provider in peace that does not answer renewals.
//!
//! Promises: after a few failures in a row nothing is asked for a while, then one request at a time finds out whether the
//! provider is back; whoever gives up half-way keeps nobody else from asking. It must not know what is asked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// Failures in a row after which the provider counts as away.
const MOST_FAILURES: u32 = 3;
/// The first rest; it doubles with each further failure.
const SHORTEST_REST: Duration = Duration::from_secs(2);
/// Short enough for a recovery to be noticed within 20 s.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Whether requests may go out.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    rest: Option<Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Timestamp,
    span: Duration,
    /// Whether somebody is finding out already.
    is_probed: bool,
}

/// The permission for one request. Dropped without a word it counts as a failure.
#[derive(Debug)]
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    clock: &'b Clock,
    jitter: f64,
}

impl Breaker {
    /// The permission to ask, unless the provider is to be left in peace. `jitter` from 0 to 1 spreads replicas.
    pub(super) fn admit<'b>(&'b self, clock: &'b Clock, jitter: f64) -> Option<Pass<'b>> {
        let now = clock.now();
        if let Some(rest) = &mut self.state().rest {
            // A clock that was set back must not keep the gate from asking.
            let is_over = now < rest.since || now.since(rest.since) >= rest.span;
            if rest.is_probed || !is_over {
                return None;
            }
            rest.is_probed = true;
        }
        Some(Pass { breaker: self, clock, jitter })
    }

    fn fail(&self, now: Timestamp, jitter: f64) {
        let mut state = self.state();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        if let Some(doublings) = state.failures_in_a_row.checked_sub(MOST_FAILURES) {
            let rest = SHORTEST_REST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_REST);
            state.rest = Some(Rest { since: now, span: rest.mul_f64(0.5 + 0.5 * jitter), is_probed: false });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The provider answered, whatever it said.
    pub(super) fn answered(self) {
        *self.breaker.state() = State::default();
        std::mem::forget(self);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.breaker.fail(self.clock.now(), self.jitter);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;

    struct Bench {
        breaker: Breaker,
        clock: Clock,
        hand: Arc<AtomicU64>,
    }

    impl Bench {
        fn new() -> Self {
            let (clock, hand) = Clock::manual(Timestamp::from_unix(1_000));
            Self { breaker: Breaker::default(), clock, hand }
        }

        fn broken() -> Self {
            let bench = Self::new();
            for _ in 0..MOST_FAILURES {
                drop(bench.admit().expect("a few failures are forgiven"));
            }
            bench
        }

        fn admit(&self) -> Option<Pass<'_>> {
            self.breaker.admit(&self.clock, 1.0)
        }

        fn wait(&self, seconds: u64) -> &Self {
            self.hand.fetch_add(seconds, Relaxed);
            self
        }
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let bench = Bench::new();
        for _ in 0..10 {
            for _ in 1..MOST_FAILURES {
                drop(bench.admit().unwrap());
            }
            bench.admit().unwrap().answered();
        }
    }

    #[test]
    fn after_some_failures_nothing_is_asked_for_a_while_and_then_one_at_a_time() {
        let bench = Bench::broken();
        assert!(bench.wait(1).admit().is_none());
        let probe = bench.wait(1).admit().expect("the rest is over");
        assert!(bench.admit().is_none(), "somebody is finding out");
        probe.answered();
        let both = [bench.admit(), bench.admit()];
        assert!(both.iter().all(Option::is_some));
    }

    #[test]
    fn a_probe_that_is_given_up_lets_the_next_one_try_later() {
        let bench = Bench::broken();
        let probe = bench.wait(2).admit().unwrap();
        bench.wait(7);
        drop(probe);
        assert!(bench.wait(3).admit().is_none(), "the rest has doubled, and begins when the probe failed");
        assert!(bench.wait(1).admit().is_some());
    }

    #[test]
    fn no_rest_is_longer_than_a_recovery_may_stay_unseen() {
        let bench = Bench::new();
        for _ in 0..50 {
            let mut waited = 0;
            while bench.admit().is_none() {
                bench.wait(1);
                waited += 1;
            }
            assert!(waited <= LONGEST_REST.as_secs(), "{waited}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_it_from_asking() {
        let bench = Bench::broken();
        bench.hand.fetch_sub(500, Relaxed);
        assert!(bench.admit().is_some());
    }
}
