//! Asking the store whether sessions in memory are still as they were, and what others say of them.
//!
//! Promises: of any number who doubt the same session one asks; while the store is away known sessions go on for the
//! grace that is configured, and each answer from them is counted. It must not know how a session is judged otherwise.

use std::{collections::HashMap, sync::Arc};

use crate::{
    clock::Timestamp,
    metrics::Lookup,
    session::{
        Found, Sessions,
        cache::session::CachedSession,
        cookie::{SessionId, Token},
        freshness::{Freshness, hints::Watch},
        in_time,
        store::{Invalidations, Store as _, Unavailable},
    },
};

impl Sessions {
    /// Answers from a session that may not be believed any more, or that lacks what an app is passed by now: once the store has
    /// been asked, or for the grace while the store is away.
    pub(in crate::session) async fn confirm(
        &self,
        token: &Token,
        live: Arc<CachedSession>,
        now: Timestamp,
    ) -> Result<Found, Unavailable> {
        // It may be on its way out, behind a store that does not answer.
        if self.cache.is_over(&live.key()) {
            return Ok(self.counted(Lookup::Unknown, Found::Ended));
        }
        // An outage that is known of makes nobody wait. Where a hint has come there is somebody to ask, or nothing to answer with.
        if !self.is_up() && !live.voucher().is_void() {
            return self.stale(live, now, Unavailable::Deadline);
        }
        let good = |live: &CachedSession| self.will_do(live, self.clock.now());
        match in_time(self.cache.get_or_load(token, good, || self.reload(token, &live))).await {
            Ok(Some(live)) => Ok(self.hit(live, now)),
            Ok(None) => Ok(self.counted(Lookup::Unknown, Found::Ended)),
            Err(_) if self.cache.is_over(&live.key()) => Ok(self.counted(Lookup::Unknown, Found::Ended)),
            Err(error) => self.stale(live, now, error),
        }
    }

    /// Leaves it to the upkeep to ask about a session.
    pub(in crate::session) fn doubt(&self, live: &Arc<CachedSession>) {
        let voucher = live.voucher();
        if voucher.doubt() && !self.backlog.doubt(live) {
            voucher.end_doubt();
        }
    }

    /// Asks about several sessions at once and says whether the store answered.
    pub(in crate::session) async fn confirm_all(&self, doubted: &[Arc<CachedSession>]) -> bool {
        let keys: Vec<_> = doubted.iter().map(|live| live.key()).collect();
        let watches: Vec<_> = keys.iter().map(|key| self.cache.watch(*key)).collect();
        let asked = self.hearing.asking(self.clock.now());
        let there = if self.is_up() { self.store.versions(&keys).await.ok() } else { None };
        let generations: Option<HashMap<_, _>> =
            there.map(|versions| versions.into_iter().map(|version| (version.key, version.generation)).collect());
        for ((live, key), mut watch) in doubted.iter().zip(keys).zip(watches) {
            live.voucher().end_doubt();
            let Some(generations) = &generations else { continue };
            match generations.get(&key) {
                Some(generation) if *generation == live.generation() => {
                    live.voucher().renew(asked);
                    self.heed(&mut watch, live);
                }
                Some(_) => drop(self.cache.forget(&key)),
                None => self.bury(key),
            }
        }
        generations.is_some()
    }

    /// The session as the store has it now: the same one where nothing has changed.
    async fn reload(
        &self,
        token: &Token,
        live: &Arc<CachedSession>,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let asked = self.hearing.asking(self.clock.now());
        match self.store.versions(&[live.key()]).await?.first() {
            None => Ok(None),
            Some(version) if version.generation == live.generation() && self.has_what_is_passed(live) => {
                live.voucher().renew(asked);
                Ok(Some(Arc::clone(live)))
            }
            Some(_) => self.load(token).await,
        }
    }

    /// Says whether somebody has hinted that a session is not as it was, since the store was asked whose answer is in memory by
    /// now. Then nobody is answered from it before the store has been asked again.
    pub(in crate::session) fn heed(&self, watch: &mut Watch, live: &Arc<CachedSession>) -> bool {
        let was_hinted = watch.was_hinted();
        if was_hinted {
            live.voucher().void();
            self.doubt(live);
        }
        was_hinted
    }

    fn stale(&self, live: Arc<CachedSession>, now: Timestamp, error: Unavailable) -> Result<Found, Unavailable> {
        let is_vouched_for = self.hearing.trust(&live, now) != Freshness::Stale;
        // Somebody says that it is not as it was, and nobody can tell: that is no outage to be borne.
        if live.voucher().is_void() {
            return Err(error);
        }
        if !is_vouched_for && now.since(live.voucher().at()) > self.terms.outage_grace() {
            return Err(error);
        }
        self.metrics.stale_served.inc();
        Ok(self.hit(live, now))
    }
}

impl Invalidations for Sessions {
    fn connected(&self) {
        self.hearing.begin();
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn caught_up_to(&self, moment: Timestamp) {
        self.hearing.continued(moment);
    }

    fn disconnected(&self) {
        self.hearing.end(self.cache.all());
    }

    fn notified(&self, key: SessionId) {
        if let Some(live) = self.cache.hint(&key) {
            live.voucher().void();
            // Asked about soon even if no request does, so that an outage after that finds it vouched for, or over.
            self.doubt(&live);
        }
    }
}
