//! The interface of a session store, and the receiver of its invalidations.

use std::convert::Infallible;

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{
            adoptions::Adoptions,
            error::Unavailable,
            lease::Leases,
            page_uses::PageUseStore,
            rotation::KeyRotation,
            row::{Cutoffs, Row, RowVersion, Selection, Touch},
            service_tokens::ServiceTokenRows,
        },
    },
};

/// A session store: rows by key.
#[async_trait]
pub(in crate::session) trait Store:
    Adoptions + Leases + KeyRotation + PageUseStore + ServiceTokenRows
{
    /// Returns the row under `key`, or `None` where there is none.
    async fn load(&self, key: &SessionId) -> Result<Option<Row>, Unavailable>;
    /// Inserts a new row durably. An error where its key is taken: rows are never overwritten.
    async fn insert(&self, row: Row) -> Result<(), Unavailable>;
    /// Deletes at most `limit` rows durably and returns their keys. Of several callers who end a session, one gets its
    /// key.
    async fn delete(&self, selection: &Selection, limit: u32) -> Result<Vec<SessionId>, Unavailable>;
    /// Records uses. An earlier one than is recorded, or one of a row that is gone, changes nothing.
    async fn touch(&self, touches: &[Touch]) -> Result<(), Unavailable>;
    /// Deletes at most `limit` expired rows and returns how many.
    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<u32, Unavailable>;
    /// Returns the generations of those of these rows that exist.
    async fn versions(&self, keys: &[SessionId]) -> Result<Vec<RowVersion>, Unavailable>;
    /// Returns `true` if there is a row with this `sid` of the provider. Reads an index and writes nothing.
    async fn has_sid(&self, provider: &str, sid: &str) -> Result<bool, Unavailable>;
    /// Returns the first rows from one key to another, both included, in the order of their keys.
    async fn page(&self, from: &SessionId, to: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable>;
    /// Records a number of sessions ended by a process that exposes no metrics.
    async fn add_uncounted(&self, many: u64) -> Result<(), Unavailable>;
    /// Takes the number of sessions recorded by [`Store::add_uncounted`]. Each is taken once, by one process.
    async fn take_uncounted(&self) -> Result<u64, Unavailable>;
    /// Checks that a write would be taken now.
    async fn ping(&self) -> Result<(), Unavailable>;

    /// Passes on invalidations for ever, as far as the store reports what other processes do.
    async fn listen(&self, _invalidations: &dyn Invalidations) -> Infallible {
        std::future::pending().await
    }

    /// Returns `true` if other processes may change rows.
    fn is_shared(&self) -> bool;
}

/// The receiver of invalidations: notifications that sessions were ended or changed by other processes.
pub(in crate::session) trait Invalidations: Send + Sync {
    /// Notifications arrive from now on. Some from before may have been missed.
    fn connected(&self);
    /// The time, for [`Invalidations::caught_up_to`].
    fn now(&self) -> Timestamp;
    /// No notification from before this moment has been missed.
    fn caught_up_to(&self, moment: Timestamp);
    /// Notifications may be missed from now on.
    fn disconnected(&self);
    /// A notification that a session was ended or changed. Anyone who may connect to the database can send one, so it
    /// is a hint to ask the store.
    fn notified(&self, key: SessionId);
}
