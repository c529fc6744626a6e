//! Rate limits: how often one network may have the gate begin a sign-in, complete one, or verify a credential that is not known.
//!
//! Promises: a network that has used up its own share takes nothing of another's; memory is bounded, however many networks there
//! are; sessions and credentials that are known to be good do not come here.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use moka::sync::Cache;

use super::log_interval::LogInterval;
use crate::{clock::Clock, edge::Network};

/// The most networks whose use is remembered for one action, of some hundred bytes each. Beyond them those that ask most often
/// are kept (`TinyLFU`), so that many networks that ask once free none that asks again and again.
const CAPACITY: u64 = 16_384;
/// Share of all clients whose address is unknown, in shares of one network: behind one edge they may be everybody.
const UNKNOWN_CLIENTS_SHARE: u32 = 10;
/// Interval between log lines about unknown clients.
const LOG_INTERVAL: Duration = Duration::from_hours(1);

const MEND_UNKNOWN_CLIENTS: &str = "have the edge pass X-Forwarded-For with the client's address on to the check, and name in \
                                    server.trusted_proxies the proxies before the gate and nobody else";

/// Settings of the limits of one network, `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitSettings {
    /// `limits.sign_in`.
    pub sign_in: RateLimit,
    /// `limits.callback`.
    pub callback: RateLimit,
    /// `limits.credentials`.
    pub credentials: RateLimit,
}

/// Limit on one action of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How often in the long run.
    pub per_minute: NonZeroU32,
    /// How often at once.
    pub burst: NonZeroU32,
}

/// Action that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitedAction {
    /// Beginning a sign-in.
    SignIn,
    /// Completing one.
    Callback,
    /// Verifying a credential that is not known to be good already.
    Credential,
}

/// Answer to an action beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimited {
    /// Key of the limit.
    pub(super) key: &'static str,
    /// Time until the action is possible once more; never zero.
    pub(super) retry_after: Duration,
}

/// Limits in force, and what networks have used of them. It lives as long as the process.
pub(super) struct RateLimits {
    clock: Clock,
    unknown_clients: LogInterval,
    actions: ArcSwap<LimitedActions>,
}

/// A limit for each [`LimitedAction`].
struct LimitedActions {
    sign_in: Arc<NetworkLimits>,
    callback: Arc<NetworkLimits>,
    credential: Arc<NetworkLimits>,
}

/// One limit, for each network and for all unknown clients together.
///
/// A cache of limiters and not `governor`'s keyed one, whose memory is not bounded while strangers keep knocking.
struct NetworkLimits {
    limit: RateLimit,
    clock: MonotonicClock,
    networks: Cache<Network, Arc<Bucket>>,
    unknown_clients: Bucket,
}

/// One limit that all clients share.
pub(super) struct SharedLimit(Bucket);

/// Use of a limit, by the generic cell rate algorithm (ITU-T I.371).
type Bucket = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Duration>>;

/// The gate's clock for `governor`.
#[derive(Clone)]
struct MonotonicClock(Clock);

impl RateLimits {
    pub(super) fn new(settings: &RateLimitSettings, clock: Clock) -> Self {
        let limits = |limit| Arc::new(NetworkLimits::new(limit, &clock));
        let actions = LimitedActions {
            sign_in: limits(settings.sign_in),
            callback: limits(settings.callback),
            credential: limits(settings.credentials),
        };
        Self { unknown_clients: LogInterval::new(LOG_INTERVAL), actions: ArcSwap::from_pointee(actions), clock }
    }

    /// Puts other limits in force. What was used of a limit that stays as it is remains used.
    pub(super) fn change(&self, settings: &RateLimitSettings) {
        let now = self.actions.load_full();
        let changed = |limits: &Arc<NetworkLimits>, limit| {
            if limits.limit == limit { Arc::clone(limits) } else { Arc::new(NetworkLimits::new(limit, &self.clock)) }
        };
        self.actions.store(Arc::new(LimitedActions {
            sign_in: changed(&now.sign_in, settings.sign_in),
            callback: changed(&now.callback, settings.callback),
            credential: changed(&now.credential, settings.credentials),
        }));
    }

    /// Counts an action of a client; clients whose address is unknown share one limit, which is ten times as large.
    ///
    /// # Errors
    ///
    /// Returns how long to wait where the limit is used up; then nothing is counted.
    pub(super) fn check(&self, action: LimitedAction, client: Option<IpAddr>) -> Result<(), RateLimited> {
        let actions = self.actions.load();
        let (limits, key) = match action {
            LimitedAction::SignIn => (&actions.sign_in, "limits.sign_in"),
            LimitedAction::Callback => (&actions.callback, "limits.callback"),
            LimitedAction::Credential => (&actions.credential, "limits.credentials"),
        };
        let spent = if let Some(address) = client {
            limits.check(Network::of(address))
        } else {
            self.log_unknown_client();
            limits.check_unknown()
        };
        spent.map_err(|retry_after| RateLimited { key, retry_after })
    }

    fn log_unknown_client(&self) {
        if let Some(count) = self.unknown_clients.count_if_due(self.clock.now()) {
            tracing::warn!(
                count,
                mend = MEND_UNKNOWN_CLIENTS,
                "the addresses of clients are unknown: all of them share one rate limit for sign-ins and credentials"
            );
        }
    }
}

impl SharedLimit {
    pub(super) fn new(limit: RateLimit, clock: &Clock) -> Self {
        Self(Bucket::direct_with_clock(limit.quota(), MonotonicClock(clock.clone())))
    }

    /// Uses it once, and returns `true` if it was not used up.
    pub(super) fn is_within(&self) -> bool {
        self.0.check().is_ok()
    }
}

impl NetworkLimits {
    fn new(limit: RateLimit, clock: &Clock) -> Self {
        let clock = MonotonicClock(clock.clone());
        // A bucket that was not used for so long is as good as new.
        let networks = Cache::builder().max_capacity(CAPACITY).time_to_idle(limit.quota().burst_size_replenished_in());
        let unknown_clients = Bucket::direct_with_clock(limit.times(UNKNOWN_CLIENTS_SHARE).quota(), clock.clone());
        Self { limit, clock, networks: networks.build(), unknown_clients }
    }

    fn check(&self, network: Network) -> Result<(), Duration> {
        let new = || Arc::new(Bucket::direct_with_clock(self.limit.quota(), self.clock.clone()));
        self.spend(&self.networks.get_with(network, new))
    }

    fn check_unknown(&self) -> Result<(), Duration> {
        self.spend(&self.unknown_clients)
    }

    /// Uses a limit once, or returns how long to wait where it is used up.
    fn spend(&self, bucket: &Bucket) -> Result<(), Duration> {
        bucket.check().map_err(|until| until.wait_time_from(self.clock.now()).max(Duration::from_nanos(1)))
    }
}

impl governor::clock::Clock for MonotonicClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

impl RateLimit {
    /// The highest number that may be configured; one that no network reaches.
    pub const MAX: usize = 1_000_000;

    /// The limit that lets an action happen so often in a minute, and so often at once.
    #[must_use]
    pub const fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { per_minute, burst }
    }

    fn times(self, factor: u32) -> Self {
        let times = |number: NonZeroU32| number.saturating_mul(NonZeroU32::MIN.saturating_add(factor - 1));
        Self { per_minute: times(self.per_minute), burst: times(self.burst) }
    }

    fn quota(self) -> Quota {
        Quota::per_minute(self.per_minute).allow_burst(self.burst)
    }
}

impl RateLimited {
    /// Returns the value of `Retry-After`: whole seconds, rounded up.
    pub(super) fn retry_after_seconds(self) -> u64 {
        self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::clock::Timestamp;

    const START: u64 = 1_000_000;

    fn limit(per_minute: u32, burst: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_minute).unwrap(), NonZeroU32::new(burst).unwrap())
    }

    fn settings() -> RateLimitSettings {
        RateLimitSettings { sign_in: limit(600, 300), callback: limit(600, 300), credentials: limit(30, 30) }
    }

    /// Limits, and the hand of their clock.
    fn limits() -> (RateLimits, Arc<AtomicU64>) {
        let (clock, hand) = Clock::manual(Timestamp::from_unix(START));
        (RateLimits::new(&settings(), clock), hand)
    }

    /// Returns how many of these tries pass.
    fn passing(limits: &RateLimits, action: LimitedAction, client: Option<&str>, tries: usize) -> usize {
        let client = client.map(|address| address.parse().unwrap());
        (0..tries).filter(|_| limits.check(action, client).is_ok()).count()
    }

    #[test]
    fn an_office_signs_in_at_once_and_then_ten_times_a_second() {
        let (limits, hand) = limits();
        for action in [LimitedAction::SignIn, LimitedAction::Callback] {
            assert_eq!(passing(&limits, action, Some("192.0.2.1"), 1_000), 300);
        }
        hand.fetch_add(1, Ordering::Relaxed);
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("192.0.2.1"), 1_000), 10);
        hand.fetch_add(3_600, Ordering::Relaxed);
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("192.0.2.1"), 1_000), 300, "and never more at once");
    }

    #[test]
    fn credentials_are_limited_to_thirty_a_minute_and_told_when_to_come_back() {
        let (limits, hand) = limits();
        let client = Some("192.0.2.1".parse().unwrap());
        assert_eq!(passing(&limits, LimitedAction::Credential, Some("192.0.2.1"), 100), 30);
        let limited = limits.check(LimitedAction::Credential, client).unwrap_err();
        assert_eq!(limited.retry_after_seconds(), 2);
        hand.fetch_add(1, Ordering::Relaxed);
        assert_eq!(limits.check(LimitedAction::Credential, client).unwrap_err().retry_after_seconds(), 1);
        hand.fetch_add(1, Ordering::Relaxed);
        assert_eq!(passing(&limits, LimitedAction::Credential, Some("192.0.2.1"), 100), 1);
        let minute: usize = (0..60)
            .map(|_| {
                hand.fetch_add(1, Ordering::Relaxed);
                passing(&limits, LimitedAction::Credential, Some("192.0.2.1"), 100)
            })
            .sum();
        assert_eq!(minute, 30);
    }

    #[test]
    fn one_network_takes_nothing_of_another_and_one_action_nothing_of_another() {
        let (limits, _hand) = limits();
        assert_eq!(passing(&limits, LimitedAction::Credential, Some("2001:db8::1"), 100), 30);
        for (client, expected) in [
            ("2001:db8::2", 0),
            ("2001:db8::ffff:ffff:ffff:ffff", 0),
            ("2001:db8:0:1::1", 30),
            ("192.0.2.1", 30),
            ("::ffff:192.0.2.1", 0),
        ] {
            assert_eq!(passing(&limits, LimitedAction::Credential, Some(client), 100), expected, "{client}");
        }
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("2001:db8::1"), 1), 1);
    }

    #[test]
    fn unknown_clients_share_ten_times_as_much_beside_the_networks() {
        let (limits, _hand) = limits();
        assert_eq!(passing(&limits, LimitedAction::SignIn, None, 10_000), 3_000);
        assert_eq!(passing(&limits, LimitedAction::Credential, None, 1_000), 300);
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("192.0.2.1"), 1), 1);
    }

    #[test]
    fn a_reload_keeps_what_was_used_of_a_limit_that_it_does_not_change() {
        let (limits, _hand) = limits();
        let used = |action| passing(&limits, action, Some("192.0.2.1"), 1_000);
        assert_eq!((used(LimitedAction::SignIn), used(LimitedAction::Credential)), (300, 30));
        limits.change(&RateLimitSettings { credentials: limit(60, 50), ..settings() });
        assert_eq!((used(LimitedAction::SignIn), used(LimitedAction::Credential)), (0, 50));
    }

    #[test]
    fn memory_is_bounded_under_two_hundred_thousand_networks_and_frees_none_that_keeps_asking() {
        let (limits, _hand) = limits();
        let persistent = Some("198.51.100.1".parse().unwrap());
        assert_eq!(passing(&limits, LimitedAction::Credential, Some("198.51.100.1"), 100), 30);
        let mut passed = 0;
        for number in 0..200_000_u32 {
            let client = Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            assert!(limits.check(LimitedAction::Credential, Some(client)).is_ok(), "a network's first");
            passed += usize::from(number % 1_000 == 0 && limits.check(LimitedAction::Credential, persistent).is_ok());
        }
        let networks = limits.actions.load().credential.networks.clone();
        networks.run_pending_tasks();
        assert!(networks.entry_count() <= CAPACITY, "{}", networks.entry_count());
        assert_eq!(passed, 0, "others' requests do not empty a bucket that is full");
    }

    #[test]
    fn the_most_that_can_be_configured_is_no_overflow() {
        let most = RateLimit::MAX.try_into().unwrap();
        let most = limit(most, most);
        let (clock, _hand) = Clock::manual(Timestamp::from_unix(START));
        let limits = RateLimits::new(&RateLimitSettings { sign_in: most, callback: most, credentials: most }, clock);
        assert_eq!(passing(&limits, LimitedAction::SignIn, None, 1_000), 1_000);
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("192.0.2.1"), 1_000), 1_000);
        let most = limit(1, RateLimit::MAX.try_into().unwrap());
        limits.change(&RateLimitSettings { sign_in: most, ..settings() });
        assert_eq!(passing(&limits, LimitedAction::SignIn, Some("192.0.2.1"), 1_000), 1_000);
    }
}
