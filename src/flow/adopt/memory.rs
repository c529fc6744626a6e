//! What is remembered of old cookies that are no session, and how often the old outpost may be asked.
//!
//! Promises: memory is bounded, however many cookies strangers make up; a network whose cookies were no sessions takes no more than a
//! share of the questions, and networks whose cookies are sessions are not held up by that.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::{future, sync::Cache};

use super::Outcome;
use crate::{
    clock::{Clock, Timestamp},
    edge::Network,
    flow::{
        log_interval::LogInterval,
        rate_limits::{RateLimit, SharedLimit},
    },
};

/// The most cookies that are remembered, of some hundred bytes each.
const COOKIES: u64 = 16_384;
/// Time for which cookies that are no session are not asked about again. A sign-in at the old outpost may make one of them.
const REFUSED_FOR: Duration = Duration::from_mins(1);
/// The same, where the old outpost lets anybody pass: the next request may be for another path.
const ANYBODY_FOR: Duration = Duration::from_secs(5);

/// The most networks that are remembered.
const NETWORKS: u64 = 16_384;
/// Cookies of one network within [`STRIKES_FOR`] that may turn out to be no session.
const MAX_STRIKES: u32 = 30;
/// Time after which they are forgotten.
const STRIKES_FOR: Duration = Duration::from_mins(1);
/// Share of clients whose address is unknown, in shares of one network.
const UNKNOWN_CLIENTS_SHARE: u32 = 10;

/// Interval between log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// What is remembered, for as long as the process lives.
pub(in crate::flow) struct AdoptionMemory {
    clock: Clock,
    settled: Cache<[u8; 32], Settled>,
    /// Cookies that turned out to be no session, by network; `None`: unknown clients.
    strikes: Cache<Option<Network>, Arc<AtomicU32>>,
    questions: Mutex<Option<(NonZeroU32, Arc<SharedLimit>)>>,
    /// Adoptions under way. Nothing is kept in it: only moka's single flight is wanted.
    pub(super) flights: future::Cache<[u8; 32], ()>,
    /// Log lines about an outpost that does not answer, and about answers that are not believed.
    pub(super) unavailable: LogInterval,
    pub(super) invalid: LogInterval,
}

/// Outcome that stands for a while.
#[derive(Clone, Copy)]
struct Settled {
    outcome: Outcome,
    until: Timestamp,
}

impl AdoptionMemory {
    pub(in crate::flow) fn new(clock: Clock) -> Self {
        Self {
            clock,
            settled: Cache::builder().max_capacity(COOKIES).time_to_live(REFUSED_FOR).build(),
            strikes: Cache::builder().max_capacity(NETWORKS).time_to_live(STRIKES_FOR).build(),
            questions: Mutex::default(),
            flights: future::Cache::new(0),
            unavailable: LogInterval::new(LOG_INTERVAL),
            invalid: LogInterval::new(LOG_INTERVAL),
        }
    }

    /// Returns what is known of cookies without asking anybody.
    pub(super) fn settled(&self, cookies: &[u8; 32]) -> Option<Outcome> {
        let settled = self.settled.get(cookies)?;
        (self.clock.now() < settled.until).then_some(settled.outcome)
    }

    /// Remembers an outcome, where it stands for a while.
    pub(super) fn settle(&self, cookies: [u8; 32], outcome: Outcome) {
        let lasts = match outcome {
            Outcome::Refused | Outcome::Over => REFUSED_FOR,
            Outcome::Anybody => ANYBODY_FOR,
            Outcome::Adopted | Outcome::Unanswered | Outcome::Limited => return,
        };
        self.settled.insert(cookies, Settled { outcome, until: self.clock.now().plus(lasts) });
    }

    /// Returns `true` if too many cookies of the client's network were no session a moment ago.
    pub(super) fn is_barred(&self, client: Option<IpAddr>) -> bool {
        let most = if client.is_some() { MAX_STRIKES } else { MAX_STRIKES * UNKNOWN_CLIENTS_SHARE };
        self.strikes.get(&client.map(Network::of)).is_some_and(|strikes| strikes.load(Ordering::Relaxed) >= most)
    }

    /// Counts cookies of the client's network that are no session.
    pub(super) fn strike(&self, client: Option<IpAddr>) {
        self.strikes.get_with(client.map(Network::of), Arc::default).fetch_add(1, Ordering::Relaxed);
    }

    /// Returns `true` if the old outpost may be asked once more, and counts it.
    pub(super) fn may_ask(&self, per_minute: NonZeroU32) -> bool {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = match &*questions {
            Some((number, limit)) if *number == per_minute => Arc::clone(limit),
            _ => {
                let limit = Arc::new(SharedLimit::new(RateLimit::new(per_minute, per_minute), &self.clock));
                *questions = Some((per_minute, Arc::clone(&limit)));
                limit
            }
        };
        drop(questions);
        limit.is_within()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> AdoptionMemory {
        AdoptionMemory::new(Clock::System)
    }

    #[test]
    fn the_old_outpost_is_asked_as_often_as_configured_and_a_change_counts_from_then_on() {
        let (memory, three) = (memory(), NonZeroU32::new(3).unwrap());
        let asked = |limit| (0..10).filter(|_| memory.may_ask(limit)).count();
        assert_eq!((asked(three), asked(three)), (3, 0));
        assert_eq!(asked(NonZeroU32::new(5).unwrap()), 5);
    }

    #[test]
    fn a_network_is_barred_by_its_own_cookies_alone() {
        let (memory, [one, other]) = (memory(), ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().ok()));
        for _ in 0..MAX_STRIKES {
            assert!(!memory.is_barred(one));
            memory.strike(one);
            memory.strike(None);
        }
        assert_eq!([one, other, None].map(|client| memory.is_barred(client)), [true, false, false]);
    }

    #[test]
    fn what_may_change_is_not_remembered() {
        let memory = memory();
        for (place, outcome) in [Outcome::Adopted, Outcome::Unanswered, Outcome::Limited].into_iter().enumerate() {
            let cookies = [u8::try_from(place).unwrap(); 32];
            memory.settle(cookies, outcome);
            assert!(memory.settled(&cookies).is_none());
        }
        memory.settle([9; 32], Outcome::Refused);
        assert_eq!(memory.settled(&[9; 32]), Some(Outcome::Refused));
    }
}
