//! Sessions: created at sign-in, found by their cookie on every request, ended once and for all.
//!
//! | room | |
//! |---|---|
//! | [`lookup`] | the session of a cookie: from memory, or else from the store; stale-if-error |
//! | [`cookie`] | a cookie's value and the session's id |
//! | [`cache`] | sessions in memory, tombstones, single-flight loads |
//! | [`freshness`] | for how long memory is served unasked: stale-while-revalidate, change feed, hints |
//! | [`revalidation`], [`invalidations`] | asking the store whether memory is still true; what other processes tell |
//! | [`load`] | rows of the store read as sessions |
//! | [`create`], [`adoption`], [`end`] | sign-in; cookies of an old gate; sign-out, a provider's logout and the replay of its token |
//! | [`renewal`] | refreshing tokens under a lease |
//! | [`reauthorization`] | when the provider has to be asked again without a prompt, trips to it, writing the result |
//! | [`page_uses`], [`record`] | pages at apps with an idle timeout of their own; the sealed part of a row |
//! | [`store`] | rows in memory, SQLite or PostgreSQL; leases; key rotation |
//! | [`upkeep`], [`backlog`] | jobs off the requests' path, re-encryption after a key rotation among them; the work left to them |
//! | [`settings`], [`active_settings`] | as configured; in force, changed by a reload |
//! | [`admin`] | listing and ending sessions for operators |
//! | [`service_tokens`] | credentials of programs, in the same store and answered from memory alike |
//!
//! [`Sessions`] owns the parts and hands them to the rooms, each of which names the ones that it uses. Promises: a cookie
//! that we did not make costs no call to the store; a store that does not answer is never taken for a session that has ended;
//! nothing is written on a request's path.

mod active_settings;
pub mod admin;
mod adoption;
mod backlog;
mod cache;
mod cookie;
mod create;
mod end;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod invalidations;
mod load;
mod lookup;
mod page_uses;
mod reauthorization;
mod record;
mod renewal;
mod revalidation;
pub mod service_tokens;
mod settings;
mod store;
mod upkeep;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    active_settings::ActiveSettings,
    backlog::Backlog,
    cache::Cache,
    cookie::Token,
    create::SessionCreation,
    end::SessionEnding,
    freshness::ChangeFeed,
    invalidations::InvalidationReceiver,
    load::SessionLoader,
    lookup::SessionLookup,
    page_uses::KnownPageUses,
    revalidation::Revalidation,
    service_tokens::{ServiceTokens, cache::ServiceTokenCache, upkeep::ServiceTokenUpkeep},
    store::{ObservedStore, Store as _, lease::LeaseHolder},
    upkeep::{
        Upkeep,
        idle_sweep::IdleSweep,
        last_use::LastUseWriter,
        page_use::PageUseWriter,
        ping::StorePing,
        purge::Purge,
        reencryption::Reencryption,
        retired_keys::RetiredKeySync,
        revalidation::{QueuedRevalidation, UnusedRevalidation},
    },
};
pub use self::{
    adoption::{AdoptedSession, SessionAdoption},
    cache::session::CachedSession,
    cookie::{Cookie, OldCookies, SessionId},
    end::{LogoutTarget, LogoutTokenId},
    lookup::LookupOutcome,
    page_uses::{AppIdleness, IdleApp},
    reauthorization::{AuthorizationAge, SessionReauthorization, Trip},
    record::{NewGrant, NewSession, Record, RenewedGrant},
    renewal::{LeaseOutcome, RenewalDue, RenewalPermit, RenewedSession, SessionRenewal},
    settings::{Backend, Settings},
    store::{DEADLINE, Unavailable, postgres},
    upkeep::reencryption::RotationStatus,
};
use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    metrics::{self, LogoutKind},
    shutdown,
};

/// Time for which the start waits for the store's first answer. The answer changes nothing but the log.
const FIRST_PING: Duration = Duration::from_secs(1);

/// All sessions of this gate.
pub struct Sessions {
    settings: ActiveSettings,
    clock: Clock,
    metrics: metrics::SessionMetrics,
    store: ObservedStore,
    cache: Cache,
    service_tokens: ServiceTokenCache,
    feed: ChangeFeed,
    backlog: Backlog,
    page_uses: KnownPageUses,
    /// The name of this process in leases.
    holder: LeaseHolder,
}

impl Sessions {
    /// Opens the store. Fails only where waiting cannot help (a file that is no database, a directory that does not exist);
    /// [`Sessions::maintain`] waits for a server that is unavailable.
    pub async fn open(
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        sessions: metrics::SessionMetrics,
        store: metrics::StoreMetrics,
    ) -> Result<Self, Unavailable> {
        let store = store::open::open(&settings.backend, store).await?;
        let sessions = Self::over(store, settings, keyring, clock, sessions);
        let first_ping = async {
            if sessions.store.ping().await.is_ok() {
                sessions.retired_keys().load().await;
            }
        };
        // The answer shows in the metric and in `is_available`; an outage now is no worse than one later.
        let _ = tokio::time::timeout(FIRST_PING, first_ping).await;
        Ok(sessions)
    }

    fn over(
        store: ObservedStore,
        settings: &Settings,
        keyring: Arc<Keyring>,
        clock: Clock,
        metrics: metrics::SessionMetrics,
    ) -> Self {
        let feed = if store.is_shared() { ChangeFeed::for_shared_store() } else { ChangeFeed::for_exclusive_store() };
        let (settings, cache) = (ActiveSettings::new(settings, keyring), Cache::new());
        let (service_tokens, backlog, page_uses) = (ServiceTokenCache::new(), Backlog::new(), KnownPageUses::new());
        let holder = LeaseHolder::random();
        Self { settings, clock, metrics, store, cache, service_tokens, feed, backlog, page_uses, holder }
    }

    /// Puts other lifetimes and keys in force, for sessions that exist already too. The store stays as it is.
    pub fn change(&self, settings: &Settings, keyring: Arc<Keyring>) {
        if self.settings.change(settings, keyring) {
            self.metrics.reset_rows_to_reencrypt();
        }
    }

    /// Creates a session and returns the value of its cookie: always a new one, written before it is returned.
    pub async fn create(&self, new: NewSession) -> Result<String, Unavailable> {
        self.creation().create(new).await
    }

    /// Returns what `read` makes of a cookie's session, if memory alone can answer. [`Sessions::find`] tells what any other
    /// cookie is, and counts it; also where `read` returns `None`.
    #[inline]
    pub fn get_cached<T>(
        &self,
        cookie: Cookie<'_>,
        read: impl FnOnce(&Arc<CachedSession>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        self.lookup().get_cached(cookie, read)
    }

    /// Looks up a cookie's session. Waits for the store little longer than [`DEADLINE`].
    pub async fn find(&self, cookie: Cookie<'_>) -> Result<LookupOutcome, Unavailable> {
        self.lookup().find(cookie).await
    }

    /// Returns `true` if we made a cookie for the host that it was sent to, whether or not its session has ended, or if that
    /// cannot be told yet. Asks no store.
    #[must_use]
    pub fn may_be_ours(&self, cookie: Cookie<'_>) -> bool {
        Token::parse(cookie.value).is_some_and(|token| self.settings.verify(&token, cookie.audience).unwrap_or(true))
    }

    /// Returns `true` if it is certain that we made a cookie for this audience. Asks no store.
    #[must_use]
    pub fn is_made_for(&self, cookie: Cookie<'_>) -> bool {
        Token::parse(cookie.value).is_some_and(|token| self.settings.verify(&token, cookie.audience).unwrap_or(false))
    }

    /// Ends a cookie's session and returns its record; `None` where it is not ours, was sent to a host that it was not made
    /// for, or had ended already.
    ///
    /// Whatever the store does, and even if the caller does not wait for the answer, this process refuses the session
    /// from here on, and its row is deleted when the store takes it.
    pub async fn revoke(&self, cookie: Cookie<'_>, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        self.ending().revoke(cookie, why).await
    }

    /// Returns `true` if a provider's `sid` names a session. For logout requests that need no proof, which must not cost a
    /// write.
    pub async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable> {
        self.store.has_sid(provider, sid).await
    }

    /// Ends sessions by their provider's names, in every process. Returns their number.
    pub async fn end_by(&self, provider: &str, target: &LogoutTarget, why: LogoutKind) -> Result<u64, Unavailable> {
        self.ending().end_by(provider, target, why).await
    }

    /// Ends sessions on a logout token, whose `jti` is recorded for all processes. Returns their number, or `None` for a
    /// replay. If the sessions cannot be ended, the token may come again.
    pub async fn end_once(
        &self,
        token: LogoutTokenId<'_>,
        target: &LogoutTarget,
        why: LogoutKind,
    ) -> Result<Option<u64>, Unavailable> {
        self.ending().end_once(token, target, why).await
    }

    /// State of a session's renewal.
    #[must_use]
    pub fn renewal_due(&self, session: &CachedSession) -> RenewalDue {
        self.renewal_due_at(session, self.clock.now())
    }

    /// State of a session's renewal, for callers that know the time already.
    #[must_use]
    pub fn renewal_due_at(&self, session: &CachedSession, now: Timestamp) -> RenewalDue {
        RenewalDue::of(session, &self.settings, now)
    }

    /// Returns `true` unless a renewal of this session failed here a moment ago.
    #[must_use]
    pub fn may_renew(&self, session: &CachedSession) -> bool {
        self.cache.may_renew(&session.id(), self.clock.now())
    }

    /// Ends a session of which its provider says that it is over, whatever other processes do, and returns its record; `None`
    /// where it had ended already. This process refuses it from here on, and its row is deleted when the store takes it.
    pub async fn end(&self, session: &CachedSession, why: LogoutKind) -> Result<Option<Record>, Unavailable> {
        self.ending().end(&session.token(), why).await
    }

    /// Counts an answer from a session that could not be renewed in time.
    pub fn count_stale_served(&self) {
        self.metrics.stale_served.inc();
    }

    /// Returns `true` if the store answered its last call.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.store.is_available()
    }

    /// Returns for how long the store has answered no call at all; `None` while it is available.
    #[must_use]
    pub fn outage(&self) -> Option<Duration> {
        self.store.outage()
    }

    /// Returns `true` once the store has answered and the cookie keys of retired secrets are loaded. Before that a session
    /// cannot be told from a made-up cookie.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.store.was_opened() && self.settings.keyring().has_loaded_retired()
    }

    /// Lifetime of a new session and of its cookie.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.settings.lifetime()
    }

    /// End of a session's lifetime, however much it is used.
    #[must_use]
    pub fn expires(&self, session: &CachedSession) -> Timestamp {
        let settings = &self.settings;
        session.created().plus(if session.is_adopted() { settings.adopted_lifetime() } else { settings.lifetime() })
    }

    /// Runs the upkeep and the change feed until asked to stop. Writes what is pending once more before it returns.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        let (queued, idle_sweep, service_tokens) =
            (self.queued_revalidation(), self.idle_sweep(), ServiceTokenUpkeep(ServiceTokens::of(self)));
        let invalidations = InvalidationReceiver::of(self);
        tokio::select! {
            () = self.upkeep().run(stop) => {}
            never = queued.run() => match never {},
            never = service_tokens.keep_fresh() => match never {},
            never = idle_sweep.run() => match never {},
            never = self.store.listen(&invalidations) => match never {},
        }
    }
}

/// The rooms, with the parts that each of them uses.
impl Sessions {
    /// Reauthorization of sessions.
    #[must_use]
    pub fn reauthorization(&self) -> SessionReauthorization<'_> {
        let Self { settings, clock, store, cache, .. } = self;
        SessionReauthorization {
            settings,
            clock,
            store,
            cache,
            loader: self.loader(),
            revalidation: self.revalidation(),
        }
    }

    /// Use of sessions at apps with an idle timeout of their own.
    #[must_use]
    pub fn app_idleness(&self) -> AppIdleness<'_> {
        let Self { clock, store, page_uses: uses, .. } = self;
        AppIdleness { clock, store, uses }
    }

    /// Adoption of an old gate's sessions.
    #[must_use]
    pub fn adoption(&self) -> SessionAdoption<'_> {
        let (settings, lookup, creation, ending) = (&self.settings, self.lookup(), self.creation(), self.ending());
        SessionAdoption { settings, lookup, creation, ending }
    }

    fn loader(&self) -> SessionLoader<'_> {
        let Self { settings, clock, store, feed, backlog, .. } = self;
        SessionLoader { settings, clock, store, feed, backlog }
    }

    fn revalidation(&self) -> Revalidation<'_> {
        let Self { settings, clock, store, cache, feed, backlog, .. } = self;
        Revalidation { settings, clock, store, cache, feed, backlog, loader: self.loader() }
    }

    #[inline]
    fn lookup(&self) -> SessionLookup<'_> {
        let Self { settings, clock, store, cache, feed, backlog, metrics, .. } = self;
        SessionLookup { settings, clock, store, cache, feed, backlog, metrics }
    }

    fn creation(&self) -> SessionCreation<'_> {
        let Self { settings, store, cache, .. } = self;
        SessionCreation { settings, store, cache, loader: self.loader(), revalidation: self.revalidation() }
    }

    fn ending(&self) -> SessionEnding<'_> {
        let Self { settings, clock, store, cache, backlog, metrics, .. } = self;
        SessionEnding { settings, clock, store, cache, backlog, metrics, loader: self.loader() }
    }

    /// Renewal of sessions.
    #[must_use]
    pub fn renewal(&self) -> SessionRenewal<'_> {
        let Self { settings, clock, store, cache, holder, .. } = self;
        let (loader, revalidation, ending) = (self.loader(), self.revalidation(), self.ending());
        SessionRenewal { settings, clock, store, cache, holder: *holder, loader, revalidation, ending }
    }

    fn upkeep(&self) -> Upkeep<'_> {
        let Self { settings, clock, store, cache, feed, backlog, metrics, page_uses: uses, .. } = self;
        let (retired_keys, ending, revalidation) = (self.retired_keys(), self.ending(), self.revalidation());
        Upkeep {
            ping: StorePing { store, cache, metrics, retired_keys, ending },
            ending,
            last_uses: LastUseWriter::new(store, backlog),
            page_uses: PageUseWriter::new(settings, clock, store, uses),
            purge: Purge { settings, clock, store, backlog, metrics, next_batch: None },
            unused: UnusedRevalidation { settings, clock, cache, feed, revalidation, last_run: Instant::now() },
            reencryption: Reencryption::new(settings, store, backlog, metrics, retired_keys),
            service_tokens: ServiceTokenUpkeep(ServiceTokens::of(self)),
        }
    }

    fn queued_revalidation(&self) -> QueuedRevalidation<'_> {
        QueuedRevalidation { backlog: &self.backlog, revalidation: self.revalidation() }
    }

    fn idle_sweep(&self) -> IdleSweep<'_> {
        IdleSweep { clock: &self.clock, cache: &self.cache }
    }

    fn retired_keys(&self) -> RetiredKeySync<'_> {
        let Self { settings, clock, store, .. } = self;
        RetiredKeySync { settings, clock, store }
    }
}
