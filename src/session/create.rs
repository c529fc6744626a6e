//! Creating a session, at sign-in or by adoption.
//!
//! Promises: at sign-in its id is new, so that no session can be fixated; it is written before its cookie is returned.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    session::{
        active_settings::ActiveSettings,
        cache::{Cache, session::CachedSession},
        cookie::Token,
        load::SessionLoader,
        record::{NewSession, Record},
        revalidation::Revalidation,
        store::{
            ObservedStore, Store as _, Unavailable,
            adoptions::{AdoptionMark, Adoptions as _},
        },
    },
};

/// Creates sessions.
pub(super) struct SessionCreation<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) store: &'a ObservedStore,
    pub(super) cache: &'a Cache,
    pub(super) loader: SessionLoader<'a>,
    pub(super) revalidation: Revalidation<'a>,
}

impl SessionCreation<'_> {
    /// Creates a session and returns the value of its cookie.
    pub(super) async fn create(&self, new: NewSession) -> Result<String, Unavailable> {
        let keyring = self.settings.keyring();
        let token = Token::fresh(&keyring, &new.scope.audience);
        let record = Record::new(new, self.loader.clock.now());
        let row = record.seal(&keyring, token.id());
        let mut watch = self.cache.watch(token.id());
        let session = self.loader.cached(&record, &token, &row, self.loader.request_time());
        self.store.insert(row).await?;
        self.cache.insert(Arc::clone(&session));
        self.revalidation.invalidate_if_hinted(&mut watch, &session);
        Ok(token.encode())
    }

    /// Creates a session under a token that is found again without a cookie of ours, and marks what it was made of until `until`;
    /// `None` where that was marked already.
    pub(super) async fn adopt(
        &self,
        new: NewSession,
        token: &Token,
        mark: &AdoptionMark,
        until: Timestamp,
    ) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let record = Record::new(new, self.loader.clock.now());
        let row = record.seal(&self.settings.keyring(), token.id());
        let mut watch = self.cache.watch(token.id());
        let session = self.loader.cached(&record, token, &row, self.loader.request_time());
        if !self.store.adopt(row, mark, until).await? {
            return Ok(None);
        }
        self.cache.insert(Arc::clone(&session));
        self.revalidation.invalidate_if_hinted(&mut watch, &session);
        Ok(Some(session))
    }
}
