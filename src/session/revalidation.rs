//! Revalidation: asking the store whether sessions in memory are still as they were.
//!
//! Promises: a session that a hint arrived for while the store
//! was being asked is asked about again.

use std::{collections::HashMap, sync::Arc};

use crate::{
    clock::Clock,
    session::{
        active_settings::ActiveSettings,
        backlog::Backlog,
        cache::{Cache, session::CachedSession},
        cookie::Token,
        freshness::{ChangeFeed, HintWatch},
        load::SessionLoader,
        store::{ObservedStore, Store as _, Unavailable},
    },
};

/// Revalidates sessions in memory.
#[derive(Clone, Copy)]
pub(super) struct Revalidation<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) feed: &'a ChangeFeed,
    pub(super) backlog: &'a Backlog,
    pub(super) loader: SessionLoader<'a>,
}

impl Revalidation<'_> {
    /// Revalidates several sessions with one question. Returns `true` if the store answered.
    pub(super) async fn revalidate_all(&self, sessions: &[Arc<CachedSession>]) -> bool {
        let ids: Vec<_> = sessions.iter().map(|session| session.id()).collect();
        let watches: Vec<_> = ids.iter().map(|id| self.cache.watch(*id)).collect();
        let request = self.loader.request_time();
        let versions = if self.store.is_available() { self.store.versions(&ids).await.ok() } else { None };
        let generations: Option<HashMap<_, _>> =
            versions.map(|versions| versions.into_iter().map(|version| (version.key, version.generation)).collect());
        for ((session, id), mut watch) in sessions.iter().zip(ids).zip(watches) {
            session.validation().end_revalidation();
            let Some(generations) = &generations else { continue };
            match generations.get(&id) {
                Some(generation) if *generation == session.generation() => {
                    session.validation().confirm(request);
                    self.invalidate_if_hinted(&mut watch, session);
                }
                Some(_) => drop(self.cache.remove(&id)),
                None => self.cache.tombstone_and_remove(id),
            }
        }
        generations.is_some()
    }

    /// Revalidates one session: the same one where its row has not changed, the session as it is now where it has, `None`
    /// where it has ended.
    pub(super) async fn revalidate(
        &self,
        token: &Token,
        session: &Arc<CachedSession>,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let request = self.loader.request_time();
        match self.store.versions(&[session.id()]).await?.first() {
            None => Ok(None),
            Some(version) if version.generation == session.generation() && self.settings.has_right_tokens(session) => {
                session.validation().confirm(request);
                Ok(Some(Arc::clone(session)))
            }
            Some(_) => self.loader.load(token).await,
        }
    }

    /// Returns `true` if a hint about a session has arrived since the store was asked for what is in memory by now. Then the
    /// session is not served before the store has been asked again.
    pub(super) fn invalidate_if_hinted(&self, watch: &mut HintWatch, session: &Arc<CachedSession>) -> bool {
        let is_hinted = watch.take_hint();
        if is_hinted {
            session.validation().invalidate();
            self.backlog.queue_revalidation(session);
        }
        is_hinted
    }
}
