//! What the configuration says of sessions: how long they last, and which secrets made their cookies. A reload changes it
//! while requests read it.
//!
//! Promises: whatever is judged is judged by what is in force at that moment, so that a change reaches sessions that live
//! already; reading takes no lock. It must not know where sessions are kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    crypto::Keyring,
    session::{Settings, cache::session::CachedSession},
};

/// The terms in force.
pub(super) struct Terms {
    lifetime: AtomicDuration,
    idle_timeout: AtomicDuration,
    renew_before: AtomicDuration,
    outage_grace: AtomicDuration,
    passes_tokens: AtomicBool,
    ring: ArcSwap<Ring>,
    /// That of `ring`, for whoever has to know no more than whether it is still the same.
    edition: AtomicU32,
}

/// The keys in force, and which change made them so: the first is 1.
struct Ring {
    keyring: Arc<Keyring>,
    edition: u32,
}

/// A span of time that can be changed. The longest that is configured fits by far.
struct AtomicDuration(AtomicU64);

impl AtomicDuration {
    fn new(span: Duration) -> Self {
        let new = Self(AtomicU64::new(0));
        new.set(span);
        new
    }

    fn set(&self, span: Duration) {
        self.0.store(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Terms {
    pub(super) fn new(settings: &Settings, keyring: Arc<Keyring>) -> Self {
        Self {
            lifetime: AtomicDuration::new(settings.lifetime),
            idle_timeout: AtomicDuration::new(settings.idle_timeout),
            renew_before: AtomicDuration::new(settings.renew_before),
            outage_grace: AtomicDuration::new(settings.outage_grace),
            passes_tokens: AtomicBool::new(settings.passes_tokens),
            ring: ArcSwap::from_pointee(Ring { keyring, edition: 1 }),
            edition: AtomicU32::new(1),
        }
    }

    /// Puts others in force. Says whether the secrets are others.
    pub(super) fn change(&self, settings: &Settings, keyring: Arc<Keyring>) -> bool {
        self.lifetime.set(settings.lifetime);
        self.idle_timeout.set(settings.idle_timeout);
        self.renew_before.set(settings.renew_before);
        self.outage_grace.set(settings.outage_grace);
        self.passes_tokens.store(settings.passes_tokens, Ordering::Relaxed);
        let is_other = *self.keyring() != *keyring;
        if is_other {
            keyring.carry_over_retired(&self.keyring());
            let edition = self.ring.load().edition + 1;
            self.ring.store(Arc::new(Ring { keyring, edition }));
            self.edition.store(edition, Ordering::Release);
        }
        is_other
    }

    /// Absolute: from sign-in.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime.get()
    }

    /// Since the last request.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.idle_timeout.get()
    }

    /// How long before its access token ends a session in use is renewed.
    pub(super) fn renew_before(&self) -> Duration {
        self.renew_before.get()
    }

    /// How long a known session is honoured while provider or store is away.
    pub(super) fn outage_grace(&self) -> Duration {
        self.outage_grace.get()
    }

    /// Whether an app is passed what the provider issued.
    pub(super) fn passes_tokens(&self) -> bool {
        self.passes_tokens.load(Ordering::Relaxed)
    }

    /// The keys in force.
    pub(super) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring.load().keyring)
    }

    /// Whether one of the secrets in force made the cookie of a session in memory. They are asked once after each change.
    pub(super) fn acknowledge(&self, live: &CachedSession) -> bool {
        live.edition() == self.edition.load(Ordering::Acquire) || self.look_again(live)
    }

    #[cold]
    fn look_again(&self, live: &CachedSession) -> bool {
        let ring = self.ring.load();
        let ours = live.token().is_made_by(&ring.keyring, live.who().audience());
        if ours {
            live.set_edition(ring.edition);
        }
        ours
    }
}
