//! Sessions: created at sign-in, found by their cookie on every request, ended once and for all.
//!
//! | room | |
//! |---|---|
//! | [`lookup`] | the session of a cookie: from memory, or else from the store; stale-if-error |
//! | [`cookie`] | a cookie's value and the session's id |
//! | [`cache`] | sessions in memory, tombstones, single-flight loads |
//! | [`freshness`] | for how long memory is served unasked: stale-while-revalidate, change feed, hints |
//! | [`revalidation`] | asking the store whether memory is still true; invalidations of other processes |
//! | [`load`] | rows of the store read as sessions |
//! | [`create`], [`end`] | sign-in; sign-out, a provider's logout and the replay of its token |
//! | [`renewal`] | refreshing tokens under a lease |
//! | [`reauthorization`] | when the provider has to be asked again without a prompt, trips to it, writing the result |
//! | [`record`] | the sealed part of a row |
//! | [`store`] | rows in memory, SQLite or PostgreSQL; leases; key rotation |
//! | [`upkeep`], [`backlog`] | jobs off the requests' path, re-encryption after a key rotation among them; the work left to them |
//! | [`settings`], [`active_settings`] | as configured; in force, changed by a reload |
//! | [`admin`] | listing and ending sessions for operators |
//!
//! [`Sessions`] owns the parts and hands them to the rooms, each of which names the ones that it uses. Promises: a cookie
//! that we did not make costs no call to the store; a store that does not answer is never taken for a session that has ended;
//! nothing is written on a request's path.

mod active_settings;
pub mod admin;
mod backlog;
mod cache;
mod cookie;
mod create;
mod end;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod load;
mod lookup;
mod reauthorization;
mod record;
mod renewal;
mod revalidation;
mod settings;
mod store;
mod upkeep;

#[cfg(test)]
mod tests;

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
    load::SessionLoader,
    lookup::SessionLookup,
    renewal::SessionRenewal,
    revalidation::Revalidation,
    store::{ObservedStore, Store as _, lease::LeaseHolder},
    upkeep::{
        Upkeep,
        idle_sweep::IdleSweep,
        last_use::LastUseWriter,
        ping::StorePing,
        purge::Purge,
        reencryption::Reencryption,
        retired_keys::RetiredKeySync,
        revalidation::{QueuedRevalidation, UnusedRevalidation},
    },
};
pub use self::{
    cache::session::CachedSession,
    cookie::{Cookie, SessionId},
    end::{LogoutTarget, LogoutTokenId},
    lookup::LookupOutcome,
    reauthorization::{AuthorizationAge, SessionReauthorization, Trip},
    record::{NewGrant, NewSession, Record, RenewedGrant},
    renewal::{LeaseOutcome, RenewalDue, RenewalPermit, RenewedSession},
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
    feed: ChangeFeed,
    backlog: Backlog,
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
        Self { settings, clock, metrics, store, cache, feed, backlog: Backlog::new(), holder: LeaseHolder::random() }
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

    /// Asks for the lease of a session's renewal. `answers_within` is the longest that the provider may take.
    pub async fn acquire_lease(
        &self,
        session: &Arc<CachedSession>,
        answers_within: Duration,
    ) -> Result<LeaseOutcome, Unavailable> {
        self.renewal().acquire_lease(session, answers_within).await
    }

    /// Takes a provider's answer. The renewed session is served at once; [`Sessions::write_renewed`] writes it.
    #[must_use]
    pub fn renew(&self, permit: RenewalPermit, grant: RenewedGrant) -> RenewedSession {
        self.renewal().renew(permit, grant)
    }

    /// Writes a renewed session. Returns the session as the store has it now; `None` where it was ended meanwhile.
    pub async fn write_renewed(&self, renewed: &RenewedSession) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        self.renewal().write(renewed).await
    }

    /// Leaves a session as it is for a while after a renewal that failed, and releases its lease to others.
    pub async fn back_off(&self, permit: RenewalPermit) {
        self.renewal().back_off(permit).await;
    }

    /// Ends a session that its provider will not renew, unless another process has renewed it: then that one is returned.
    pub async fn end_unless_renewed(
        &self,
        permit: RenewalPermit,
        why: LogoutKind,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        self.renewal().end_unless_renewed(permit, why).await
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
        session.created().plus(self.settings.lifetime())
    }

    /// Runs the upkeep and the change feed until asked to stop. Writes what is pending once more before it returns.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        let (queued, idle_sweep, invalidations) = (self.queued_revalidation(), self.idle_sweep(), self.revalidation());
        tokio::select! {
            () = self.upkeep().run(stop) => {}
            never = queued.run() => match never {},
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

    fn renewal(&self) -> SessionRenewal<'_> {
        let Self { settings, clock, store, cache, holder, .. } = self;
        let (loader, revalidation, ending) = (self.loader(), self.revalidation(), self.ending());
        SessionRenewal { settings, clock, store, cache, holder: *holder, loader, revalidation, ending }
    }

    fn upkeep(&self) -> Upkeep<'_> {
        let Self { settings, clock, store, cache, feed, backlog, metrics, .. } = self;
        let (retired_keys, ending, revalidation) = (self.retired_keys(), self.ending(), self.revalidation());
        Upkeep {
            ping: StorePing { store, cache, metrics, retired_keys, ending },
            ending,
            last_uses: LastUseWriter::new(store, backlog),
            purge: Purge { settings, clock, store, backlog, metrics, next_batch: None },
            unused: UnusedRevalidation { settings, clock, cache, feed, revalidation, last_run: Instant::now() },
            reencryption: Reencryption::new(settings, store, backlog, metrics, retired_keys),
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
