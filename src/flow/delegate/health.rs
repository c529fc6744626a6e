//! Health of an outpost, by its answers to the questions that there are.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::answer::OutpostAnswer;
use crate::clock::Clock;

/// Time after its last failure from which on nothing is known of an outpost that nobody asks.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// Answers in a row that have to be missing before an outpost counts as unavailable: one or two are slow, or are restarts.
const MIN_FAILURES: u32 = 3;

/// Health of an outpost.
#[derive(Debug)]
pub(in crate::flow) struct OutpostHealth {
    pub(in crate::flow) name: String,
    clock: Clock,
    outage: Mutex<Option<OutpostOutage>>,
}

/// Failures since the last success.
#[derive(Clone, Copy, Debug)]
struct OutpostOutage {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl OutpostHealth {
    pub(super) fn new(name: String, clock: Clock) -> Self {
        Self { name, clock, outage: Mutex::default() }
    }

    /// Takes an answer for what it says of the outpost's health. A request that cannot be described says nothing.
    pub(super) fn record(&self, answer: &OutpostAnswer) {
        let now = self.clock.monotonic();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            OutpostAnswer::Unavailable(error) if error.side() == crate::upstream::FailedSide::Client => {}
            OutpostAnswer::Unavailable(error) => {
                let known = outage.filter(|known| now.saturating_sub(known.last) < FORGOTTEN);
                if known.is_none() {
                    tracing::warn!(outpost = self.name, %error, "the outpost is unavailable");
                }
                let failures = known.map_or(0, |known| known.failures).saturating_add(1);
                *outage = Some(OutpostOutage { first: known.map_or(now, |known| known.first), last: now, failures });
            }
            _ => {
                if let Some(over) = outage.take() {
                    let unavailable_seconds = now.saturating_sub(over.first).as_secs();
                    tracing::info!(outpost = self.name, unavailable_seconds, "the outpost is available again");
                }
            }
        }
    }

    /// Returns how long it has answered nothing; `None` while it answers, where nobody has asked for a while, and before several
    /// have asked in vain.
    pub(in crate::flow) fn outage(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let outage = *self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known =
            |outage: &OutpostOutage| now.saturating_sub(outage.last) < FORGOTTEN && outage.failures >= MIN_FAILURES;
        let outage = outage.filter(is_known)?;
        Some(now.saturating_sub(outage.first))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{clock::Timestamp, upstream};

    #[test]
    fn an_outage_lasts_from_its_first_failure_to_the_next_answer() {
        let (clock, time) = Clock::manual(Timestamp::from_unix(1_800_000_000));
        let health = OutpostHealth::new("http://outpost:9000".to_owned(), clock);
        let wait = |seconds| time.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
        let failed = || health.record(&OutpostAnswer::Unavailable(upstream::Error::Unavailable("gone".to_owned())));
        assert_eq!(health.outage(), None);
        failed();
        wait(9);
        failed();
        assert_eq!(health.outage(), None, "two are no outage, however far apart");
        failed();
        assert_eq!(health.outage(), Some(Duration::from_secs(9)));
        health.record(&OutpostAnswer::Admitted(HeaderMap::new()));
        assert_eq!(health.outage(), None);
        for _ in 0..MIN_FAILURES {
            failed();
        }
        assert_eq!(health.outage(), Some(Duration::ZERO));
        wait(61);
        assert_eq!(health.outage(), None, "nobody has asked since");
        health.record(&OutpostAnswer::Unavailable(upstream::Error::Request("broke off".to_owned())));
        assert_eq!(health.outage(), None, "that says nothing about it");
    }
}
