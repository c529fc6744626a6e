//! Renewing under a lease: of any number of processes one renews a session, and what it brings replaces what there was
//! only if nobody else was faster. And words that count once, for all processes.
//!
//! Promises: a lease ends by itself by the store's own clock, so a process that dies holds up nobody for long; a generation
//! is written once; one whose answer was lost is its holder's still. It must not know how a session is renewed.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    crypto,
    metrics::Operation,
    session::{
        cookie::SessionId,
        store::{ObservedStore, Row, Unavailable},
    },
};

/// Whoever asks for leases: one process, as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Holder(pub(in crate::session) [u8; 16]);

/// The lease of a session in a generation, for one holder.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Lease {
    pub(in crate::session) key: SessionId,
    pub(in crate::session) generation: u64,
    pub(in crate::session) holder: Holder,
}

impl Holder {
    /// One that is like no other.
    pub(in crate::session) fn fresh() -> Self {
        Self(crypto::random())
    }
}

/// What a store has to do for renewals, whatever it is made of.
#[async_trait]
pub(in crate::session) trait Leases: Send + Sync {
    /// Takes a lease for `span` if the session is still at its generation and nobody else holds it. Says whether it did. Its
    /// holder may take it again: the answer to the first time may have been lost.
    async fn claim(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable>;
    /// Gives a lease back that its holder has.
    async fn release(&self, lease: &Lease) -> Result<(), Unavailable>;
    /// Replaces the row of the generation before this one and ends its lease. Says whether it was there.
    async fn replace(&self, row: &Row) -> Result<bool, Unavailable>;
    /// Spends a word that counts once and is forgotten after `until`. Says whether it had not been spent.
    async fn spend(&self, word: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable>;
    /// Takes that back: nothing came of it.
    async fn unspend(&self, word: &[u8; 32]) -> Result<(), Unavailable>;
}

#[async_trait]
impl Leases for ObservedStore {
    async fn claim(&self, lease: &Lease, span: Duration) -> Result<bool, Unavailable> {
        self.ask(Operation::Claim, self.store().claim(lease, span)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Unavailable> {
        self.ask(Operation::Claim, self.store().release(lease)).await
    }

    async fn replace(&self, row: &Row) -> Result<bool, Unavailable> {
        self.ask(Operation::Replace, self.store().replace(row)).await
    }

    async fn spend(&self, word: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable> {
        self.ask(Operation::Spend, self.store().spend(word, until)).await
    }

    async fn unspend(&self, word: &[u8; 32]) -> Result<(), Unavailable> {
        self.ask(Operation::Spend, self.store().unspend(word)).await
    }
}
