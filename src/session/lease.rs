//! Renewing under a lease: of any number of processes one renews a session, and what it brings replaces what there was
//! only if nobody else was faster (contract C18). And words that count once, for all processes.
//!
//! Promises: a lease ends by itself by the store's own clock, so a process that dies holds up nobody for long; a generation
//! is written once. It must not know how a session is renewed.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    store::{Row, Unavailable, Watched},
    token::Key,
};
use crate::{clock::Timestamp, metrics::Operation};

/// What a store has to do for renewals, whatever it is made of.
#[async_trait]
pub(super) trait Leases: Send + Sync {
    /// Takes the lease of a session for `span` if it is still at `generation` and nobody holds it. Says whether it did.
    async fn claim(&self, key: &Key, generation: u64, span: Duration) -> Result<bool, Unavailable>;
    /// Gives the lease back.
    async fn release(&self, key: &Key, generation: u64) -> Result<(), Unavailable>;
    /// Replaces the row of the generation before this one and ends its lease. Says whether it was there.
    async fn replace(&self, row: &Row) -> Result<bool, Unavailable>;
    /// Spends a word that counts once and is forgotten after `until`. Says whether it had not been spent.
    async fn spend(&self, word: &[u8; 32], until: Timestamp) -> Result<bool, Unavailable>;
    /// Takes that back: nothing came of it.
    async fn unspend(&self, word: &[u8; 32]) -> Result<(), Unavailable>;
}

#[async_trait]
impl Leases for Watched {
    async fn claim(&self, key: &Key, generation: u64, span: Duration) -> Result<bool, Unavailable> {
        self.ask(Operation::Claim, self.store().claim(key, generation, span)).await
    }

    async fn release(&self, key: &Key, generation: u64) -> Result<(), Unavailable> {
        self.ask(Operation::Claim, self.store().release(key, generation)).await
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
