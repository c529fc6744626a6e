//! Renewal of a session's tokens, as far as sessions go: when it is due, which process holds the lease, and how the result
//! is written.
//!
//! Promises: one process at a time holds a [`RenewalPermit`], proof of a lease; a renewed session is served here before it
//! is written, and written before its lease ends; one that was ended meanwhile stays ended.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, Timestamp},
    crypto,
    metrics::LogoutKind,
    session::{
        active_settings::ActiveSettings,
        cache::{Cache, MAX_LOADS, session::CachedSession},
        cookie::SessionId,
        end::SessionEnding,
        freshness::HintWatch,
        load::{SessionLoader, StoredSession},
        record::{Record, RenewedGrant},
        revalidation::Revalidation,
        store::{
            ObservedStore, Row, Store as _, Unavailable,
            lease::{Lease, LeaseHolder, Leases as _},
        },
    },
};

/// Time that a lease lasts beyond the longest answer of a provider: for a store that takes no writes for a while.
const LEASE_MARGIN: Duration = Duration::from_secs(40);
/// Shortest pause after a renewal that failed; the longest is twice that.
const BACKOFF: Duration = Duration::from_secs(5);

/// State of a session's renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalDue {
    /// Not yet, or never: there is no refresh token.
    No,
    /// Before its access token ends: to be renewed in the background.
    Soon,
    /// Its access token has ended.
    Overdue {
        /// Within `session.outage_grace`: it may be served as it is if the provider or the store is unavailable.
        within_grace: bool,
    },
}

/// The outcome of asking for the lease of a session's renewal.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// Acquired.
    Acquired(RenewalPermit),
    /// Held by another process.
    HeldElsewhere,
    /// Not needed: another process has renewed the session.
    AlreadyRenewed(Arc<CachedSession>),
    /// Not needed: the session has ended.
    Ended,
}

/// Proof that this process alone holds the lease of a session's renewal.
#[derive(Debug)]
pub struct RenewalPermit {
    session: Arc<CachedSession>,
    record: Box<Record>,
    /// Hints since the lease was asked for.
    watch: HintWatch,
}

/// A renewed session that has yet to be written.
pub struct RenewedSession {
    session: Arc<CachedSession>,
    row: Row,
}

/// Renews sessions, except for asking the provider.
pub struct SessionRenewal<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) holder: LeaseHolder,
    pub(super) loader: SessionLoader<'a>,
    pub(super) revalidation: Revalidation<'a>,
    pub(super) ending: SessionEnding<'a>,
}

impl RenewalDue {
    /// State of a session's renewal at this moment.
    pub(super) fn of(session: &CachedSession, settings: &ActiveSettings, now: Timestamp) -> Self {
        let Some(ends) = session.access_token_ends() else { return Self::No };
        let lead = settings.renewal_lead(session, ends);
        if now < ends.minus(lead) {
            return Self::No;
        }
        // Spread by the id, so that people who came in together do not all go to the provider at once.
        let spread = lead / 4 * u32::from(session.id().0[0]) / u32::from(u8::MAX);
        if now < ends.minus(lead.saturating_sub(spread)) {
            Self::No
        } else if now < ends {
            Self::Soon
        } else {
            Self::Overdue { within_grace: now.since(ends) <= settings.outage_grace() }
        }
    }
}

impl RenewalPermit {
    /// The session as it was when the lease was acquired.
    #[must_use]
    pub fn session(&self) -> &Arc<CachedSession> {
        &self.session
    }

    /// Its record, with all tokens.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

impl RenewedSession {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.row.key
    }
}

impl SessionRenewal<'_> {
    /// Asks for the lease of a session's renewal. `answers_within` is the longest that the provider may take.
    pub async fn acquire_lease(
        &self,
        session: &Arc<CachedSession>,
        answers_within: Duration,
    ) -> Result<LeaseOutcome, Unavailable> {
        // Read first: a lease that is of no use for want of a refresh token would hold up every other process. If the session
        // is of a later generation by now, there is nothing to lease.
        let mut watch = self.cache.watch(session.id());
        let request = self.loader.request_time();
        let Some(StoredSession { row, record }) = self.loader.read(&session.id()).await? else {
            self.cache.tombstone_and_remove(session.id());
            return Ok(LeaseOutcome::Ended);
        };
        if row.generation > session.generation() {
            let newest = self.loader.cached(&record, &session.token(), &row, request);
            self.cache.insert(Arc::clone(&newest));
            // It may have been ended since it was read: then the next call says so.
            let is_hinted = self.revalidation.invalidate_if_hinted(&mut watch, &newest);
            return Ok(if is_hinted { LeaseOutcome::HeldElsewhere } else { LeaseOutcome::AlreadyRenewed(newest) });
        }
        let is_acquired = self.store.acquire_lease(&self.lease(session), answers_within + LEASE_MARGIN).await?;
        Ok(if is_acquired {
            LeaseOutcome::Acquired(RenewalPermit { session: Arc::clone(session), record: Box::new(record), watch })
        } else {
            LeaseOutcome::HeldElsewhere
        })
    }

    /// Puts the provider's answer in force in memory. [`SessionRenewal::write`] writes it.
    #[must_use]
    pub fn renew(&self, permit: RenewalPermit, grant: RenewedGrant) -> RenewedSession {
        let (old, before, mut watch) = (permit.session, *permit.record, permit.watch);
        let now = self.clock.now();
        let record = before.renewed(grant, now);
        let token = old.token();
        let row = Row {
            generation: old.generation() + 1,
            last_seen: old.last_seen(),
            ..record.seal(&self.settings.keyring(), token.id())
        };
        let session = self.loader.cached(&record, &token, &row, self.loader.feed.request_time(now));
        self.cache.insert(Arc::clone(&session));
        self.revalidation.invalidate_if_hinted(&mut watch, &session);
        RenewedSession { session, row }
    }

    /// Writes a renewed session. Returns the session as the store has it now; `None` where it was ended meanwhile.
    pub async fn write(&self, renewed: &RenewedSession) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        if self.store.replace(&renewed.row).await? {
            return Ok(Some(Arc::clone(&renewed.session)));
        }
        // Written by a try whose answer was lost, ended, or renewed by another process after our lease.
        match self.store.load(&renewed.row.key).await? {
            Some(row) if row.sealed == renewed.row.sealed => Ok(Some(Arc::clone(&renewed.session))),
            _ => self.newest(&renewed.session).await,
        }
    }

    /// Leaves a session as it is for a while, and releases its lease to others.
    pub async fn back_off(&self, permit: RenewalPermit) {
        let jitter = BACKOFF * u32::from(crypto::random::<1>()[0]) / u32::from(u8::MAX);
        self.cache.back_off(permit.session.id(), self.clock.now().plus(BACKOFF + jitter));
        // If this fails, the lease ends by itself.
        let _ends_anyway = self.store.release_lease(&self.lease(&permit.session)).await;
    }

    /// Ends a session that its provider will not renew, unless another process has renewed it: then that one is returned.
    pub async fn end_unless_renewed(
        &self,
        permit: RenewalPermit,
        why: LogoutKind,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let session = permit.session;
        match self.newest(&session).await? {
            Some(newest) if newest.generation() > session.generation() => Ok(Some(newest)),
            None => Ok(None),
            Some(_) => {
                self.cache.tombstone_and_remove(session.id());
                self.ending.delete(&session.id(), why).await.map(|_| None)
            }
        }
    }

    fn lease(&self, session: &CachedSession) -> Lease {
        Lease { key: session.id(), generation: session.generation(), holder: self.holder }
    }

    /// Returns the session as the store has it, put in memory where it is newer; `None` where it has ended.
    async fn newest(&self, session: &Arc<CachedSession>) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let (token, id) = (session.token(), session.id());
        let mut watch = self.cache.watch(id);
        for _ in 0..MAX_LOADS {
            let Some(newest) = self.loader.load(&token).await? else {
                self.cache.tombstone_and_remove(id);
                return Ok(None);
            };
            if newest.generation() > session.generation() {
                self.cache.insert(Arc::clone(&newest));
            }
            if !self.revalidation.invalidate_if_hinted(&mut watch, &newest) {
                return Ok(Some(newest));
            }
        }
        Err(Unavailable::Failed("the session is said to change faster than it can be read".to_owned()))
    }
}
