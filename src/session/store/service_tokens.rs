//! Service tokens in the store: rows that operators make and revoke, in a table of their own.
//!
//! Promises: of two tokens of one name the second is refused; a deleted token is reported to every process that listens.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{error::Unavailable, row::Touch},
    },
};

/// A service token as the store keeps it. The columns only find it; whatever is trusted is in the sealed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct ServiceTokenRow {
    /// The SHA-256 of its secret.
    pub(in crate::session) key: SessionId,
    /// Its name, which no other has.
    pub(in crate::session) name: String,
    pub(in crate::session) created: Timestamp,
    pub(in crate::session) last_used: Option<Timestamp>,
    /// The record, sealed with this key as its context.
    pub(in crate::session) sealed: Vec<u8>,
}

/// A row's record, sealed by another secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct ReencryptedToken {
    pub(in crate::session) key: SessionId,
    /// The record as it was read.
    pub(in crate::session) from: Vec<u8>,
    /// The same record, sealed by the newest secret.
    pub(in crate::session) sealed: Vec<u8>,
}

/// Service tokens to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) enum ServiceTokenSelection {
    /// The one of this name.
    Name(String),
    Everything,
}

/// Store operations for service tokens. There are few of them: operators make each one.
#[async_trait]
pub(in crate::session) trait ServiceTokenRows: Send + Sync {
    /// Returns the token under `key`, or `None` where there is none.
    async fn load_token(&self, key: &SessionId) -> Result<Option<ServiceTokenRow>, Unavailable>;
    /// Inserts a token durably. Returns `false` where its name is taken.
    async fn insert_token(&self, row: &ServiceTokenRow) -> Result<bool, Unavailable>;
    /// Deletes tokens durably and returns how many there were.
    async fn delete_tokens(&self, selection: &ServiceTokenSelection) -> Result<u64, Unavailable>;
    /// Returns those of these tokens that exist.
    async fn existing_tokens(&self, keys: &[SessionId]) -> Result<Vec<SessionId>, Unavailable>;
    /// Records uses. An earlier one than is recorded, or one of a token that is gone, changes nothing.
    async fn touch_tokens(&self, touches: &[Touch]) -> Result<(), Unavailable>;
    /// Returns the first tokens from one key on, in the order of their keys.
    async fn page_tokens(&self, from: &SessionId, limit: u32) -> Result<Vec<ServiceTokenRow>, Unavailable>;
    /// Returns the secrets other than `newest` that have sealed tokens, with their number.
    async fn count_tokens_by_other_secrets(&self, newest: KeyId) -> Result<Vec<(KeyId, u64)>, Unavailable>;
    /// Writes reencrypted records to tokens whose record still is as it was read.
    async fn reencrypt_tokens(&self, tokens: &[ReencryptedToken]) -> Result<(), Unavailable>;
}
