//! Reauthorization of a session, as far as sessions go: when it is due, the trips to the provider that were begun, and how
//! its result is written.
//!
//! Promises: a session that was authorized again keeps its id and its lifetime; one that was ended meanwhile stays ended; the
//! trips of a session are counted once for all processes.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Clock, Timestamp},
    crypto,
    session::{
        active_settings::ActiveSettings,
        cache::{Cache, MAX_LOADS, session::CachedSession},
        load::{SessionLoader, StoredSession},
        record::{NewGrant, Record},
        revalidation::Revalidation,
        store::{ObservedStore, Row, Unavailable, lease::Leases as _},
    },
};

/// Time in which other pages of the same session count as tabs that were opened together, and not as further trips.
const TOGETHER: Duration = Duration::from_secs(10);
/// Time for which a trip is remembered. A session whose person comes back later begins anew.
const TRIP_MEMORY: Duration = Duration::from_hours(24);

/// Age of a session's last authorization, in comparison with the time after which it has to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationAge {
    /// Within that time.
    Recent,
    /// Later: pages go to the provider.
    Due,
    /// Later than twice that time.
    Overdue,
}

/// A page's trip to the provider, by those that its session has begun since its last authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// The first one.
    First,
    /// One of several tabs that were opened together.
    Parallel,
    /// An earlier one has not come back.
    Repeated,
}

/// Has sessions authorized again, except for asking the provider.
pub struct SessionReauthorization<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) loader: SessionLoader<'a>,
    pub(super) revalidation: Revalidation<'a>,
}

impl AuthorizationAge {
    fn of(session: &CachedSession, limit: Duration, now: Timestamp) -> Self {
        match now.since(session.authorized()) {
            age if age <= limit => Self::Recent,
            age if age <= limit.saturating_mul(2) => Self::Due,
            _ => Self::Overdue,
        }
    }
}

impl SessionReauthorization<'_> {
    /// Age of a session's last authorization, where it has to be repeated after `limit`.
    #[must_use]
    pub fn age(&self, session: &CachedSession, limit: Duration) -> AuthorizationAge {
        AuthorizationAge::of(session, limit, self.clock.now())
    }

    /// Returns `true` until `session.outage_grace` after the moment in which its authorization had to be repeated.
    #[must_use]
    pub fn is_within_grace(&self, session: &CachedSession, limit: Duration) -> bool {
        self.clock.now().since(session.authorized().plus(limit)) <= self.settings.outage_grace()
    }

    /// Reads a session again, with its record; `None` where it has ended. Another process may have had it authorized.
    pub async fn read_again(
        &self,
        session: &CachedSession,
    ) -> Result<Option<(Arc<CachedSession>, Record)>, Unavailable> {
        let (token, id) = (session.token(), session.id());
        let mut watch = self.cache.watch(id);
        let request = self.loader.request_time();
        let Some(StoredSession { row, record }) = self.loader.read(&id).await? else {
            self.cache.tombstone_and_remove(id);
            return Ok(None);
        };
        let newest = self.loader.cached(&record, &token, &row, request);
        if newest.generation() > session.generation() {
            self.cache.insert(Arc::clone(&newest));
            self.revalidation.invalidate_if_hinted(&mut watch, &newest);
        }
        Ok(Some((newest, record)))
    }

    /// Records that a page of a session takes the browser past the provider.
    pub async fn begin_trip(&self, session: &CachedSession, page: &str) -> Result<Trip, Unavailable> {
        let moment = self.clock.now().unix() / TOGETHER.as_secs();
        let is_first = self.record(session, "first", TRIP_MEMORY).await?;
        let is_alone = self.record(session, &format!("at {moment}"), 2 * TOGETHER).await?;
        let is_other_page = self.record(session, &format!("at {moment} for {page}"), 2 * TOGETHER).await?;
        Ok(match (is_first, !is_alone && is_other_page) {
            (true, _) => Trip::First,
            (false, true) => Trip::Parallel,
            (false, false) => Trip::Repeated,
        })
    }

    /// Records the second trip; `false` if there was a second one already.
    pub async fn begin_second_trip(&self, session: &CachedSession) -> Result<bool, Unavailable> {
        self.record(session, "second", TRIP_MEMORY).await
    }

    /// Records something about the trips since the last authorization; `false` if it was recorded already. Beside the used
    /// logout tokens: the same promise, kept for all processes, and forgotten in time.
    async fn record(&self, session: &CachedSession, what: &str, memory: Duration) -> Result<bool, Unavailable> {
        let authorized = session.authorized();
        let text =
            [b"reauthorization ".as_slice(), &session.id().0, format!(" {authorized} {what}").as_bytes()].concat();
        self.store.record_jti(&crypto::digest(&text), self.clock.now().plus(memory)).await
    }

    /// Goes on with a session that its provider has authorized again: under the same id, with what the provider says now. `None`
    /// where it has ended meanwhile. A renewal that is under way loses against it, and its tokens are replaced.
    pub async fn write(
        &self,
        session: &CachedSession,
        grant: NewGrant,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let (token, id) = (session.token(), session.id());
        for _ in 0..MAX_LOADS {
            let mut watch = self.cache.watch(id);
            let request = self.loader.request_time();
            let Some(StoredSession { row, record }) = self.loader.read(&id).await? else {
                self.cache.tombstone_and_remove(id);
                return Ok(None);
            };
            let record = record.reauthorized(grant.clone(), self.clock.now());
            let sealed = record.seal(&self.settings.keyring(), id);
            let row = Row { generation: row.generation + 1, last_seen: row.last_seen, ..sealed };
            if self.store.replace(&row).await? {
                let session = self.loader.cached(&record, &token, &row, request);
                self.cache.insert(Arc::clone(&session));
                self.revalidation.invalidate_if_hinted(&mut watch, &session);
                return Ok(Some(session));
            }
        }
        Err(Unavailable::Failed("the session changes faster than it can be written".to_owned()))
    }
}
