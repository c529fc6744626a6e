//! The session settings in force: lifetimes, and the secrets that make and verify cookies. A reload changes them while
//! requests read them.
//!
//! Promises: every decision is made by the settings in force at that moment, so that a reload reaches sessions that exist
//! already; reading takes no lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    clock::Timestamp,
    crypto::Keyring,
    session::{cache::session::CachedSession, cookie::Token, settings::Settings, store::Unavailable},
};

/// The session settings in force.
pub(super) struct ActiveSettings {
    lifetime: AtomicDuration,
    adopted_lifetime: AtomicDuration,
    idle_timeout: AtomicDuration,
    renew_before: AtomicDuration,
    outage_grace: AtomicDuration,
    /// [`Duration::MAX`] for never.
    reauthorize: AtomicDuration,
    passes_tokens: AtomicBool,
    keyring: ArcSwap<VersionedKeyring>,
    /// The version of `keyring`, where only a comparison is needed. Changed too where sessions in memory have to be looked at
    /// again for another reason.
    keyring_version: AtomicU32,
}

/// A keyring and its version: 1 for the first, one more with each change.
struct VersionedKeyring {
    keyring: Arc<Keyring>,
    version: u32,
}

/// A duration that can be changed, in nanoseconds. The longest that can be configured fits by far.
struct AtomicDuration(AtomicU64);

/// The state of a session by its lifetime and idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Active,
    /// Unused for its idle timeout, as far as this process knows.
    Idle,
    /// Past its lifetime, however much it is used.
    Expired,
}

impl AtomicDuration {
    fn new(duration: Duration) -> Self {
        let new = Self(AtomicU64::new(0));
        new.set(duration);
        new
    }

    fn set(&self, duration: Duration) {
        self.0.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl ActiveSettings {
    pub(super) fn new(settings: &Settings, keyring: Arc<Keyring>) -> Self {
        Self {
            lifetime: AtomicDuration::new(settings.lifetime),
            adopted_lifetime: AtomicDuration::new(settings.adopted_lifetime()),
            idle_timeout: AtomicDuration::new(settings.idle_timeout),
            renew_before: AtomicDuration::new(settings.renew_before),
            outage_grace: AtomicDuration::new(settings.outage_grace),
            reauthorize: AtomicDuration::new(settings.reauthorize.unwrap_or(Duration::MAX)),
            passes_tokens: AtomicBool::new(settings.passes_tokens),
            keyring: ArcSwap::from_pointee(VersionedKeyring { keyring, version: 1 }),
            keyring_version: AtomicU32::new(1),
        }
    }

    /// Puts other settings in force. Returns `true` if the secrets have changed.
    pub(super) fn change(&self, settings: &Settings, keyring: Arc<Keyring>) -> bool {
        self.lifetime.set(settings.lifetime);
        self.adopted_lifetime.set(settings.adopted_lifetime());
        self.idle_timeout.set(settings.idle_timeout);
        let due_times = (self.renew_before(), self.reauthorize.get());
        self.renew_before.set(settings.renew_before);
        self.reauthorize.set(settings.reauthorize.unwrap_or(Duration::MAX));
        let are_due_otherwise = due_times != (self.renew_before(), self.reauthorize.get());
        self.outage_grace.set(settings.outage_grace);
        self.passes_tokens.store(settings.passes_tokens, Ordering::Relaxed);
        let has_changed = *self.keyring() != *keyring;
        if has_changed {
            keyring.carry_over_retired(&self.keyring());
            self.put_in_force(keyring);
        } else if are_due_otherwise {
            self.put_in_force(self.keyring());
        }
        has_changed
    }

    fn put_in_force(&self, keyring: Arc<Keyring>) {
        let version = self.keyring.load().version + 1;
        self.keyring.store(Arc::new(VersionedKeyring { keyring, version }));
        self.keyring_version.store(version, Ordering::Release);
    }

    /// Absolute lifetime, from sign-in.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime.get()
    }

    /// Absolute lifetime of an adopted session, from its adoption.
    pub(super) fn adopted_lifetime(&self) -> Duration {
        self.adopted_lifetime.get()
    }

    /// Idle timeout, from the last request.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout.get()
    }

    /// Time before the end of its access token at which a session in use is renewed.
    pub(super) fn renew_before(&self) -> Duration {
        self.renew_before.get()
    }

    /// Time before the end of its access token at which this session is renewed. At most half of a token's life is given away,
    /// however short it is.
    pub(super) fn renewal_lead(&self, session: &CachedSession, ends: Timestamp) -> Duration {
        self.renew_before().min(ends.since(session.renewed()) / 2)
    }

    /// First moment in which there may be something to do about a session before it is served: to renew it, or to have it
    /// authorized again for one of the apps.
    fn due_at(&self, session: &CachedSession) -> Timestamp {
        let renewal = session.access_token_ends().map(|ends| ends.minus(self.renewal_lead(session, ends)));
        // Later than that time, by the second.
        let reauthorization = session.authorized().plus(self.reauthorize.get()).plus(Duration::from_secs(1));
        renewal.map_or(reauthorization, |renewal| renewal.min(reauthorization))
    }

    /// Time for which a known session is served while provider or store is unavailable.
    pub(super) fn outage_grace(&self) -> Duration {
        self.outage_grace.get()
    }

    /// Returns `true` if an app is passed tokens of the provider.
    pub(super) fn passes_tokens(&self) -> bool {
        self.passes_tokens.load(Ordering::Relaxed)
    }

    /// Returns `true` if a session in memory holds tokens exactly where an app is passed them.
    pub(super) fn has_right_tokens(&self, session: &CachedSession) -> bool {
        session.has_forwarded_tokens() == self.passes_tokens()
    }

    /// The keys in force.
    pub(super) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.load().keyring)
    }

    /// Version of the keys in force. To be read before something is verified under it.
    pub(super) fn keyring_version(&self) -> u32 {
        self.keyring_version.load(Ordering::Acquire)
    }

    /// Returns `true` if this is the version of the keys in force.
    #[inline]
    pub(super) fn has_keyring_version(&self, version: u32) -> bool {
        version == self.keyring_version()
    }

    /// Returns `true` if a secret of ours made this token for a host or domain. Fails until the keys of retired secrets have
    /// been loaded: a token that the other secrets did not make may be theirs.
    pub(super) fn verify(&self, token: &Token, audience: &str) -> Result<bool, Unavailable> {
        let keyring = self.keyring();
        let has_all_keys = keyring.has_loaded_retired();
        match token.is_made_by(&keyring, audience) {
            false if !has_all_keys => {
                Err(Unavailable::Failed("the cookie keys of retired secrets have not been loaded yet".to_owned()))
            }
            is_made => Ok(is_made),
        }
    }

    /// Returns `true` if one of the secrets in force made the cookie of a session in memory. Verified once after each change,
    /// when the moment in which it is due is computed too.
    pub(super) fn verify_cached(&self, session: &CachedSession) -> bool {
        session.keyring_version() == self.keyring_version.load(Ordering::Acquire) || self.verify_again(session)
    }

    #[cold]
    fn verify_again(&self, session: &CachedSession) -> bool {
        let (seen, current) = (session.keyring_version(), self.keyring.load());
        let is_made = session.token().is_made_by(&current.keyring, session.identity().audience());
        if is_made {
            // Before the version: whoever sees that one sees this moment too.
            session.set_due_at(self.due_at(session));
            session.set_keyring_version(seen, current.version);
        }
        is_made
    }

    /// Expiry of a session in memory.
    pub(super) fn expiry_of(&self, session: &CachedSession, now: Timestamp) -> Expiry {
        self.expiry(session.created(), session.last_seen(), now)
    }

    /// Expiry of a session that was created and last used at these moments.
    pub(super) fn expiry(&self, created: Timestamp, last_seen: Timestamp, now: Timestamp) -> Expiry {
        if now.since(created) >= self.lifetime() {
            Expiry::Expired
        } else if now.since(last_seen) >= self.idle_timeout() {
            Expiry::Idle
        } else {
            Expiry::Active
        }
    }
}
