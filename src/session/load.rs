//! Reading sessions from the store.
//!
//! Promises: a row that can never be opened counts as an ended session, and one of a newer version does not; the request
//! time is taken before the store is asked.

use std::sync::Arc;

use crate::{
    clock::Clock,
    crypto,
    session::{
        active_settings::ActiveSettings,
        backlog::Backlog,
        cache::session::{CachedSession, ForwardedTokens},
        cookie::{SessionId, Token},
        freshness::{ChangeFeed, RequestTime},
        record::{Record, Unreadable},
        store::{DEADLINE, ObservedStore, Row, Store as _, Unavailable},
    },
};

/// A session as the store has it.
pub(super) struct StoredSession {
    pub(super) row: Row,
    pub(super) record: Record,
}

/// Reads sessions from the store.
#[derive(Clone, Copy)]
pub(super) struct SessionLoader<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) feed: &'a ChangeFeed,
    pub(super) backlog: &'a Backlog,
}

impl SessionLoader<'_> {
    /// Loads a session for the cache; `None` where it has ended. Its row is queued to be re-encrypted where an older secret
    /// sealed it.
    pub(super) async fn load(&self, token: &Token) -> Result<Option<Arc<CachedSession>>, Unavailable> {
        let request = self.request_time();
        let stored = self.read(&token.id()).await?;
        Ok(stored.map(|StoredSession { row, record }| {
            let session = self.cached(&record, token, &row, request);
            if crypto::sealed_by(&row.sealed) != Some(self.settings.keyring().newest()) {
                self.backlog.queue_reencryption(row);
            }
            session
        }))
    }

    /// Reads a session with its record; `None` where there is no row, or none that can ever be opened again.
    pub(super) async fn read(&self, id: &SessionId) -> Result<Option<StoredSession>, Unavailable> {
        let Some(row) = self.store.load(id).await? else {
            return Ok(None);
        };
        match Record::open(&self.settings.keyring(), *id, &row.sealed) {
            Ok(record) => Ok(Some(StoredSession { row, record })),
            // Not ended: replicas that have been updated already can read it.
            Err(Unreadable::Newer) => {
                Err(Unavailable::Failed("the session was written by a newer version of doorward".to_owned()))
            }
            Err(unreadable) => {
                tracing::warn!(session = ?id, ?unreadable, "a session row can never be opened again and counts as ended");
                Ok(None)
            }
        }
    }

    /// A session as memory keeps it.
    pub(super) fn cached(&self, record: &Record, token: &Token, row: &Row, request: RequestTime) -> Arc<CachedSession> {
        let forwarded = self.settings.passes_tokens().then(|| ForwardedTokens::of(record, row));
        Arc::new(CachedSession::new(record, token, row, request, forwarded))
    }

    /// The request time of a question that the store is about to be asked.
    pub(super) fn request_time(&self) -> RequestTime {
        self.feed.request_time(self.clock.now())
    }
}

/// Bounds the wait for the calls of others as well: each call to the store has a deadline of its own.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
    tokio::time::timeout(DEADLINE + DEADLINE / 10, work).await.unwrap_or(Err(Unavailable::Deadline))
}
