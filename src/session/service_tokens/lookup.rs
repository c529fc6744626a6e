//! Look-up: finding the service token of a request, in memory or else in the store.
//!
//! Promises: a token that we did not make costs no call to the store; a store that does not answer is never taken for a revoked
//! token; while it is unavailable known tokens are served for `session.outage_grace` (stale-if-error).

use std::sync::Arc;

use super::{
    cache::ServiceTokenCache,
    cached::CachedServiceToken,
    record::ServiceTokenRecord,
    value::{self, AUDIENCE},
};
use crate::{
    clock::{Clock, Timestamp},
    metrics,
    session::{
        Sessions,
        active_settings::ActiveSettings,
        cookie::Token,
        freshness::{ChangeFeed, Freshness},
        load::in_time,
        record::Unreadable,
        store::{ObservedStore, Unavailable, service_tokens::ServiceTokenRows as _},
    },
};

/// The outcome of a look-up.
#[derive(Clone, Debug)]
pub enum ServiceTokenOutcome {
    /// A token that is in force.
    Live(Arc<CachedServiceToken>),
    /// A token whose time is over.
    Expired(Arc<CachedServiceToken>),
    /// A token of ours that was revoked.
    Revoked,
    /// A value that we did not make.
    NotOurs,
}

/// Looks service tokens up.
#[derive(Clone, Copy)]
pub struct ServiceTokens<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a ServiceTokenCache,
    pub(super) feed: &'a ChangeFeed,
    metrics: &'a metrics::SessionMetrics,
}

impl<'a> ServiceTokens<'a> {
    /// Service tokens in the store of these sessions.
    #[inline]
    #[must_use]
    pub fn of(sessions: &'a Sessions) -> Self {
        let Sessions { settings, clock, store, service_tokens: cache, feed, metrics, .. } = sessions;
        Self { settings, clock, store, cache, feed, metrics }
    }

    /// Returns what `read` makes of the token in a header's value, if memory alone can answer. The hot path.
    #[inline]
    pub fn get_cached<T>(
        &self,
        header: &[u8],
        read: impl FnOnce(&Arc<CachedServiceToken>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let now = self.clock.now();
        self.cache.with(&value::parse(header)?, |token| {
            if !self.settings.has_keyring_version(token.keyring_version()) || token.is_expired(now) {
                return None;
            }
            match self.feed.freshness(token.validation(), now) {
                Freshness::Fresh => {}
                Freshness::Revalidate => drop(token.validation().begin_revalidation()),
                Freshness::Stale => return None,
            }
            read(token, now).inspect(|_| token.record_use(now))
        })
    }

    /// Looks up the token in a header's value. Waits for the store little longer than [`DEADLINE`](crate::session::DEADLINE).
    pub async fn find(&self, header: &[u8]) -> Result<ServiceTokenOutcome, Unavailable> {
        let now = self.clock.now();
        let Some(value) = value::parse(header) else { return Ok(ServiceTokenOutcome::NotOurs) };
        let Some(cached) = self.cache.get(&value) else {
            return match Token::decode(&value) {
                Some(token) => self.find_uncached(&token, now).await,
                None => Ok(ServiceTokenOutcome::NotOurs),
            };
        };
        let version = self.settings.keyring_version();
        if version != cached.keyring_version() {
            if !self.settings.verify(&cached.token(), AUDIENCE)? {
                self.cache.remove(&cached);
                return Ok(ServiceTokenOutcome::NotOurs);
            }
            cached.set_keyring_version(version);
        }
        if cached.is_expired(now) {
            return Ok(ServiceTokenOutcome::Expired(cached));
        }
        match self.feed.freshness(cached.validation(), now) {
            Freshness::Fresh => {}
            Freshness::Revalidate => drop(cached.validation().begin_revalidation()),
            Freshness::Stale => return self.find_stale(cached, now).await,
        }
        Ok(live(cached, now))
    }

    async fn find_uncached(&self, token: &Token, now: Timestamp) -> Result<ServiceTokenOutcome, Unavailable> {
        let version = self.settings.keyring_version();
        if !self.settings.verify(token, AUDIENCE)? {
            return Ok(ServiceTokenOutcome::NotOurs);
        }
        match in_time(self.cache.ask(token.id(), || self.load(token, version))).await? {
            // Another secret with the same hash would be a wonder, and another tag is not ours.
            Some(cached) if !cached.is(&token.value()) => Ok(ServiceTokenOutcome::NotOurs),
            Some(cached) if cached.is_expired(now) => Ok(ServiceTokenOutcome::Expired(cached)),
            Some(cached) => Ok(live(cached, now)),
            None => Ok(ServiceTokenOutcome::Revoked),
        }
    }

    /// Looks up a token that is stale in memory: the store is asked, and while it is unavailable the token is served for the grace.
    async fn find_stale(
        &self,
        cached: Arc<CachedServiceToken>,
        now: Timestamp,
    ) -> Result<ServiceTokenOutcome, Unavailable> {
        // A known outage makes no request wait, unless a hint has come: then the token is served only on the store's word.
        if !self.store.is_available() && !cached.validation().is_invalidated() {
            return self.serve_stale_if_error(cached, now, Unavailable::Deadline);
        }
        match in_time(self.cache.ask(cached.id(), || self.revalidate(&cached))).await {
            Ok(Some(cached)) => Ok(live(cached, now)),
            Ok(None) => Ok(ServiceTokenOutcome::Revoked),
            Err(error) => self.serve_stale_if_error(cached, now, error),
        }
    }

    async fn load(&self, token: &Token, version: u32) -> Result<Option<Arc<CachedServiceToken>>, Unavailable> {
        let request = self.feed.request_time(self.clock.now());
        let Some(row) = self.store.load_token(&token.id()).await? else { return Ok(None) };
        match ServiceTokenRecord::open(&self.settings.keyring(), &row) {
            Ok(record) => Ok(Some(Arc::new(CachedServiceToken::new(token, record, row.last_used, request, version)))),
            // Not revoked: replicas that have been updated already can read it.
            Err(Unreadable::Newer) => {
                Err(Unavailable::Failed("the service token was written by a newer version of doorward".to_owned()))
            }
            Err(unreadable) => {
                tracing::warn!(
                    name = row.name,
                    ?unreadable,
                    "a service token's row can never be opened again and counts as revoked"
                );
                Ok(None)
            }
        }
    }

    async fn revalidate(
        &self,
        cached: &Arc<CachedServiceToken>,
    ) -> Result<Option<Arc<CachedServiceToken>>, Unavailable> {
        let request = self.feed.request_time(self.clock.now());
        let exists = !self.store.existing_tokens(&[cached.id()]).await?.is_empty();
        Ok(exists.then(|| {
            cached.validation().confirm(request);
            Arc::clone(cached)
        }))
    }

    /// Serves a token that could not be revalidated (RFC 5861 §4), or fails with the store's error: past the grace, or where a hint
    /// says that it has been revoked, which is no outage.
    fn serve_stale_if_error(
        &self,
        cached: Arc<CachedServiceToken>,
        now: Timestamp,
        error: Unavailable,
    ) -> Result<ServiceTokenOutcome, Unavailable> {
        let validation = cached.validation();
        if validation.is_invalidated() || now.since(validation.at()) > self.settings.outage_grace() {
            return Err(error);
        }
        self.metrics.stale_served.inc();
        Ok(live(cached, now))
    }
}

fn live(cached: Arc<CachedServiceToken>, now: Timestamp) -> ServiceTokenOutcome {
    cached.record_use(now);
    ServiceTokenOutcome::Live(cached)
}
