//! Key rotation: store operations that reencrypt rows and keep the cookie keys of retired secrets.
//!
//! Promises: a renewal or a sign-out that happens meanwhile is never undone; the cost of a statement is bounded,
//! however many rows there are.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{error::Unavailable, row::Row},
    },
};

/// Most rows of a secret that are counted: beyond that it is enough to know that they are many, and others wait.
pub(in crate::session) const MAX_COUNTED_ROWS: u32 = 100_000;

/// Most secrets that are told apart: nobody has had more, and rows that begin in so many ways are not ours.
pub(in crate::session) const MAX_SECRETS: u32 = 1_000;

/// A row's record, sealed by another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct ReencryptedRow {
    pub(in crate::session) key: SessionId,
    /// Generation in which the row was read.
    pub(in crate::session) generation: u64,
    /// The secret that sealed it when it was read.
    pub(in crate::session) from: KeyId,
    /// The same record, sealed by the newest secret.
    pub(in crate::session) sealed: Vec<u8>,
}

/// The session-cookie key of a secret that is retired, or about to be. It verifies cookies and opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct RetiredCookieKey {
    pub(in crate::session) secret: KeyId,
    /// Time at which the secret was last configured as an older one: younger sessions and service
    /// tokens have tags of newer secrets.
    pub(in crate::session) retired: Timestamp,
    pub(in crate::session) sealed: Vec<u8>,
}

/// Store operations for key rotation.
#[async_trait]
pub(in crate::session) trait KeyRotation: Send + Sync {
    /// Returns the secrets other than `newest` that have sealed rows, with the number of rows up to
    /// [`MAX_COUNTED_ROWS`].
    async fn count_rows_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable>;
    /// Returns the first rows sealed by a secret from one key on, in the order of their keys.
    async fn rows_sealed_by(&self, secret: KeyId, from: &SessionId, limit: u32) -> Result<Vec<Row>, Unavailable>;
    /// Writes reencrypted records to rows that still are in the generation in which they were read and sealed by the
    /// same secret. Nothing else of them changes. Returns how many there were.
    async fn reencrypt(&self, rows: &[ReencryptedRow]) -> Result<u64, Unavailable>;
    /// Returns the cookie keys of older and retired secrets.
    async fn load_retired_keys(&self) -> Result<Vec<RetiredCookieKey>, Unavailable>;
    /// Saves the cookie key of a secret in place of the one saved before.
    async fn save_retired_key(&self, retired_key: &RetiredCookieKey) -> Result<(), Unavailable>;
    /// Deletes the cookie keys of secrets that were retired before `before` and before any existing session or service
    /// token was created.
    async fn delete_retired_keys(&self, before: Timestamp) -> Result<(), Unavailable>;
}
