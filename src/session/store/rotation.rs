//! Rotating a secret: what a store has to do so that rows can be sealed anew, and so that cookies of a secret that is
//! dropped are known.
//!
//! Promises: whatever a renewal or a sign-out does meanwhile is never undone; no statement looks at more rows than it is
//! told to, however many there are. It must not know what opens a seal.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    metrics::Operation,
    session::{
        cookie::SessionId,
        store::{ObservedStore, Row, Unavailable},
    },
};

/// Beyond this many rows of a secret are not counted, because others wait: it is enough to know that they are many.
pub(in crate::session) const MOST_COUNTED: u32 = 100_000;

/// More secrets than anybody ever had are not told apart: rows that begin in so many ways are no rows of ours.
pub(in crate::session) const MOST_SECRETS: u32 = 1_000;

/// A row's new seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Reseal {
    pub(in crate::session) key: SessionId,
    /// The generation that the row was read in.
    pub(in crate::session) generation: u64,
    /// The secret that had sealed it.
    pub(in crate::session) from: KeyId,
    /// The same record, sealed by another secret.
    pub(in crate::session) sealed: Vec<u8>,
}

/// What is left of a secret that may be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Bequest {
    pub(in crate::session) secret: KeyId,
    /// When it was last seen among the older secrets: sessions that are younger have other cookies.
    pub(in crate::session) retired: Timestamp,
    pub(in crate::session) sealed: Vec<u8>,
}

/// What a store has to do when a secret is rotated, whatever it is made of.
#[async_trait]
pub(in crate::session) trait Rotation: Send + Sync {
    /// The secrets that have sealed rows, and how many each, up to [`MOST_COUNTED`]; `newest` is left out.
    async fn count_others(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable>;
    /// The first rows that a secret has sealed, from this key on, in the order of their keys.
    async fn sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable>;
    /// Writes new seals on rows that are in the generation they were read in and still sealed by the same secret. Nothing
    /// else of them changes. Says how many there were.
    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, Unavailable>;
    /// What dropped and older secrets have left.
    async fn bequests(&self) -> Result<Vec<Bequest>, Unavailable>;
    /// Keeps what a secret leaves, in place of what it left before.
    async fn bequeath(&self, bequest: &Bequest) -> Result<(), Unavailable>;
    /// Forgets what was left by secrets that were retired before this moment and before any session that is there was made.
    async fn forget_bequests(&self, before: Timestamp) -> Result<(), Unavailable>;
}

#[async_trait]
impl Rotation for ObservedStore {
    async fn count_others(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable> {
        self.ask(Operation::Reseal, self.store().count_others(newest)).await
    }

    async fn sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable> {
        self.ask(Operation::Reseal, self.store().sealed_by(secret, from, limit)).await
    }

    async fn reseal(&self, reseals: &[Reseal]) -> Result<u64, Unavailable> {
        self.ask(Operation::Reseal, self.store().reseal(reseals)).await
    }

    async fn bequests(&self) -> Result<Vec<Bequest>, Unavailable> {
        self.ask(Operation::Reseal, self.store().bequests()).await
    }

    async fn bequeath(&self, bequest: &Bequest) -> Result<(), Unavailable> {
        self.ask(Operation::Reseal, self.store().bequeath(bequest)).await
    }

    async fn forget_bequests(&self, before: Timestamp) -> Result<(), Unavailable> {
        self.ask(Operation::Reseal, self.store().forget_bequests(before)).await
    }
}
