//! The time, as a parameter: wall-clock seconds since the Unix epoch, and a clock that tests can move.
//!
//! Promises: no other file asks the system for the wall clock.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

/// A moment in whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Creates the moment `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// Adds a duration, saturating at the end of time.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// Subtracts a duration, saturating at the epoch.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Converts to the system's time, for libraries that need it.
    #[must_use]
    pub fn to_system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

/// Prints RFC 3339 in UTC, such as `2026-08-01T12:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.to_system()).fmt(f)
    }
}

/// An atomic [`Timestamp`] in four bytes, for values that there are millions of. It reaches to the year 2106; later
/// moments read as [`AtomicTimestamp::NEVER`].
#[derive(Debug, Default)]
pub struct AtomicTimestamp(AtomicU32);

impl AtomicTimestamp {
    /// The last moment that can be represented.
    pub const NEVER: Timestamp = Timestamp(u32::MAX as u64);

    /// Creates an atomic timestamp of `moment`.
    #[must_use]
    pub fn new(moment: Timestamp) -> Self {
        Self(AtomicU32::new(Self::short(moment)))
    }

    /// Returns the moment.
    #[must_use]
    pub fn get(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed).into())
    }

    /// Sets the moment.
    pub fn set(&self, moment: Timestamp) {
        self.0.store(Self::short(moment), Ordering::Relaxed);
    }

    /// Sets the moment if it is later than the current one.
    pub fn advance(&self, moment: Timestamp) {
        self.0.fetch_max(Self::short(moment), Ordering::Relaxed);
    }

    /// Sets the moment if the current one is `before`, and returns `true` if it was.
    pub fn compare_exchange(&self, before: Timestamp, moment: Timestamp) -> bool {
        let (before, moment) = (Self::short(before), Self::short(moment));
        self.0.compare_exchange(before, moment, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn short(moment: Timestamp) -> u32 {
        u32::try_from(moment.0).unwrap_or(u32::MAX)
    }
}

/// A source of the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's wall clock.
    System,
    /// A clock that stands still until a test moves it.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Creates a clock that stands at `start`, and its hand: store another number there to move it.
    #[must_use]
    pub fn manual(start: Timestamp) -> (Self, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(start.unix()));
        (Self::Manual(Arc::clone(&hand)), hand)
    }

    /// Returns the current time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            // A clock before 1970 reads as 1970: every session is then from the future, and none is accepted early.
            Self::System => {
                Timestamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()))
            }
            Self::Manual(hand) => Timestamp(hand.load(Ordering::Relaxed)),
        }
    }

    /// Returns the time since some moment in the past. It never goes back, whatever the wall clock is set to.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::System => ORIGIN.elapsed(),
            Self::Manual(hand) => Duration::from_secs(hand.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_it_is_told_to() {
        let (clock, hand) = Clock::manual(Timestamp::from_unix(1_000));
        hand.store(1_060, Ordering::Relaxed);
        assert_eq!(clock.now().since(Timestamp::from_unix(1_000)), Duration::from_mins(1));
    }

    #[test]
    fn an_atomic_timestamp_advances_is_exchanged_once_and_saturates() {
        let (atomic, at) = (AtomicTimestamp::new(Timestamp(1_000)), Timestamp);
        atomic.advance(at(900));
        assert_eq!(atomic.get(), at(1_000));
        atomic.advance(at(1_100));
        assert!(atomic.compare_exchange(at(1_100), at(1_200)) && !atomic.compare_exchange(at(1_100), at(1_300)));
        assert_eq!(atomic.get(), at(1_200));
        atomic.set(at(u64::MAX));
        assert_eq!(atomic.get(), AtomicTimestamp::NEVER);
    }

    #[test]
    fn arithmetic_stops_at_both_ends_of_time() {
        assert_eq!(Timestamp::from_unix(1).minus(Duration::from_secs(5)), Timestamp::from_unix(0));
        assert_eq!(Timestamp::from_unix(u64::MAX).plus(Duration::from_secs(5)), Timestamp::from_unix(u64::MAX));
        assert_eq!(Timestamp::from_unix(1).since(Timestamp::from_unix(5)), Duration::ZERO);
    }

    #[test]
    fn it_prints_rfc_3339() {
        assert_eq!(Timestamp::from_unix(1_785_585_600).to_string(), "2026-08-01T12:00:00Z");
    }
}
