//! Renewal under a lease, and replay protection of logout tokens: what one of many processes does, once.
//!
//! A lease keeps other processes from renewing a session at the same time. The generation of the row is the fencing
//! token: a process whose lease has run out cannot overwrite what another one wrote meanwhile. Promises: a lease
//! expires by the store's own clock, so that a process that dies blocks nobody for long; a generation is written once;
//! a lease whose answer was lost still belongs to its holder.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto,
    session::{
        cookie::SessionId,
        store::{error::Unavailable, row::Row},
    },
};

/// Random identifier of a process, for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct LeaseHolder(pub(in crate::session) [u8; 16]);

/// The lease of a session in one generation, for one holder.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Lease {
    pub(in crate::session) key: SessionId,
    pub(in crate::session) generation: u64,
    pub(in crate::session) holder: LeaseHolder,
}

impl LeaseHolder {
    /// Creates a random identifier.
    pub(in crate::session) fn random() -> Self {
        Self(crypto::random())
    }
}

/// Store operations for renewals and for logout tokens.
#[async_trait]
pub(in crate::session) trait Leases: Send + Sync {
    /// Acquires a lease for `span` and returns `true` if the session is still at its generation and nobody else holds
    /// the lease. Its holder may acquire it again: the first answer may have been lost.
    async fn acquire_lease(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable>;
    /// Releases a lease where its holder has it.
    async fn release_lease(&self, lease: &Lease) -> Result<(), Unavailable>;
    /// Replaces the row of the previous generation, ends its lease, and returns `true` if there was such a row.
    async fn replace(&self, row: &Row) -> Result<bool, Unavailable>;
    /// Records the digest of a logout token's `jti` until `until`; `false` if it is recorded already (replay).
    async fn record_jti(&self, digest: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable>;
    /// Removes a recorded `jti`, so that the token may be sent again.
    async fn forget_jti(&self, digest: &[u8; 32]) -> Result<(), Unavailable>;
}
