//! The upkeep of service tokens, off the requests' path.
//!
//! Promises: a token in use is revalidated before requests would have to wait for it; its last use is written at most once a minute.

use std::{convert::Infallible, sync::Arc, time::Duration};

use super::{cached::CachedServiceToken, lookup::ServiceTokens};
use crate::{
    crypto::Purpose,
    session::{
        cookie::SessionId,
        freshness::Freshness,
        store::{
            Touch,
            service_tokens::{ReencryptedToken, ServiceTokenRows as _},
        },
        upkeep::{every, revalidation::QUEUE_INTERVAL},
    },
};

/// Tokens that one statement asks about, or writes.
const BATCH: u32 = 500;

/// Interval at which a token's last use is written at most.
const LAST_USE_INTERVAL: Duration = Duration::from_mins(1);

/// Last uses to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum LastUses {
    /// Those of tokens whose last one was written a while ago.
    Due,
    /// All, because the process stops.
    All,
}

/// Revalidates service tokens, writes when they were used, and re-encrypts their rows.
#[derive(Clone, Copy)]
pub(in crate::session) struct ServiceTokenUpkeep<'a>(pub(in crate::session) ServiceTokens<'a>);

impl ServiceTokenUpkeep<'_> {
    /// Revalidates at intervals.
    pub(in crate::session) async fn keep_fresh(&self) -> Infallible {
        let mut ticks = every(QUEUE_INTERVAL);
        loop {
            ticks.tick().await;
            self.revalidate_due().await;
        }
    }

    /// Revalidates tokens in use that requests or hints have asked for, and unused ones in time for the grace.
    pub(in crate::session) async fn revalidate_due(&self) {
        if !self.0.store.is_available() {
            return;
        }
        let (now, old) = (self.0.clock.now(), self.0.settings.outage_grace() / 4);
        let is_due = |token: &CachedServiceToken| {
            let validation = token.validation();
            let is_old =
                || self.0.feed.freshness(validation, now) != Freshness::Fresh && now.since(validation.at()) >= old;
            validation.is_revalidating() || is_old()
        };
        for batch in self.collect(is_due).chunks(BATCH as usize) {
            self.revalidate_all(batch).await;
        }
    }

    async fn revalidate_all(&self, tokens: &[Arc<CachedServiceToken>]) {
        let ids: Vec<_> = tokens.iter().map(|token| token.id()).collect();
        let watches: Vec<_> = ids.iter().map(|id| self.0.cache.watch(*id)).collect();
        let request = self.0.feed.request_time(self.0.clock.now());
        let Ok(existing) = self.0.store.existing_tokens(&ids).await else { return };
        for (token, mut watch) in tokens.iter().zip(watches) {
            let validation = token.validation();
            validation.end_revalidation();
            if !existing.contains(&token.id()) {
                self.0.cache.bury(token);
                continue;
            }
            validation.confirm(request);
            if watch.take_hint() {
                validation.invalidate();
                validation.begin_revalidation();
            }
        }
    }

    /// Writes when tokens were last used.
    pub(in crate::session) async fn write_last_uses(&self, which: LastUses) {
        let now = self.0.clock.now();
        let is_due = |token: &CachedServiceToken| {
            let (used, written) = token.last_uses();
            used > written && (which == LastUses::All || now.since(written) >= LAST_USE_INTERVAL)
        };
        for batch in self.collect(is_due).chunks(BATCH as usize) {
            let uses: Vec<_> =
                batch.iter().map(|token| Touch { key: token.id(), last_seen: token.last_uses().0 }).collect();
            if self.0.store.touch_tokens(&uses).await.is_err() {
                return;
            }
            for (token, touch) in batch.iter().zip(uses) {
                token.wrote_last_use(touch.last_seen);
            }
        }
    }

    /// Seals the rows anew that an older secret sealed, so that it can be dropped.
    pub(in crate::session) async fn reencrypt(&self) {
        let keyring = self.0.settings.keyring();
        if !self.0.store.is_available() || keyring.older().next().is_none() {
            return;
        }
        let mut next = Some(SessionId::FIRST);
        while let Some(from) = next {
            let Ok(rows) = self.0.store.page_tokens(&from, BATCH).await else { return };
            let reencrypted: Vec<_> = rows
                .iter()
                .filter_map(|row| {
                    let sealed = keyring.reencrypt(Purpose::ServiceTokenRow, &row.key.0, &row.sealed)?;
                    Some(ReencryptedToken { key: row.key, from: row.sealed.clone(), sealed })
                })
                .collect();
            if !reencrypted.is_empty() && self.0.store.reencrypt_tokens(&reencrypted).await.is_err() {
                return;
            }
            let is_full = rows.len() >= BATCH as usize;
            next = rows.last().and_then(|row| row.key.next()).filter(|_| is_full);
        }
    }

    fn collect(&self, is_wanted: impl Fn(&CachedServiceToken) -> bool) -> Vec<Arc<CachedServiceToken>> {
        let mut wanted = Vec::new();
        self.0.cache.for_each(|token| wanted.extend(is_wanted(token).then(|| Arc::clone(token))));
        wanted
    }
}
