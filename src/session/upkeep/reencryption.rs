//! Re-encryption after a key rotation: rows that an older secret sealed are sealed with the newest, rows in use first, so that
//! the older secret can be dropped without a new sign-in.
//!
//! Promises: no request waits for it; it goes in small batches, and pauses while the store is unavailable; records are not
//! parsed, so that those of a newer version are kept as they are.

use std::sync::Arc;

use crate::{
    crypto::{self, KeyId, Keyring, Purpose},
    metrics::{self, SealingSecret},
    session::{
        active_settings::ActiveSettings,
        backlog::Backlog,
        cookie::SessionId,
        store::{
            ObservedStore, Row, Unavailable,
            rotation::{KeyRotation as _, ReencryptedRow, RetiredCookieKey},
            service_tokens::ServiceTokenRows as _,
        },
        upkeep::retired_keys::RetiredKeySync,
    },
};

/// Rows that are read, sealed and written in one turn.
const BATCH: u32 = 200;

/// State of a key rotation: the work that is left before older secrets can be dropped. Rows are not counted beyond a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationStatus {
    /// Rows, of service tokens too, that older configured secrets sealed, and older secrets whose cookie key has yet to be stored.
    pub older: u64,
    /// Rows that secrets sealed which are not configured: they cannot be opened here.
    pub unknown: u64,
    /// The secrets of `older` that have rows.
    secrets: Vec<KeyId>,
}

/// The walk through all rows that older secrets sealed.
pub(in crate::session) struct Reencryption<'a> {
    settings: &'a ActiveSettings,
    store: &'a ObservedStore,
    backlog: &'a Backlog,
    metrics: &'a metrics::SessionMetrics,
    retired_keys: RetiredKeySync<'a>,
    /// Secrets whose rows are left; the last one is under way.
    secrets: Vec<KeyId>,
    /// The row from which the walk goes on.
    next: SessionId,
}

impl RotationStatus {
    /// Asks the store.
    pub(in crate::session) async fn of(store: &ObservedStore, keyring: &Keyring) -> Result<Self, Unavailable> {
        let (counts, stored) =
            (store.count_rows_by_other_secrets(keyring.newest()).await?, store.load_retired_keys().await?);
        let has_stored_key = |secret| {
            let is_newest = |key: &RetiredCookieKey| crypto::sealed_by(&key.sealed) == Some(keyring.newest());
            stored.iter().any(|key| key.secret == secret && is_newest(key))
        };
        let older = keyring.older().filter(|secret| !has_stored_key(*secret)).count() as u64;
        let tokens = store.count_tokens_by_other_secrets(keyring.newest()).await?;
        let (older_tokens, unknown): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|(secret, _)| keyring.contains(*secret));
        let [older_tokens, unknown] =
            [older_tokens, unknown].map(|counts| counts.into_iter().map(|(_, count)| count).sum::<u64>());
        let older = older + older_tokens;
        Ok(counts.into_iter().fold(Self { older, unknown, ..Self::default() }, |mut status, (secret, count)| {
            if keyring.contains(secret) {
                status.older += count;
                status.secrets.push(secret);
            } else {
                status.unknown += count;
            }
            status
        }))
    }
}

impl<'a> Reencryption<'a> {
    pub(in crate::session) fn new(
        settings: &'a ActiveSettings,
        store: &'a ObservedStore,
        backlog: &'a Backlog,
        metrics: &'a metrics::SessionMetrics,
        retired_keys: RetiredKeySync<'a>,
    ) -> Self {
        Self { settings, store, backlog, metrics, retired_keys, secrets: Vec::new(), next: SessionId::FIRST }
    }

    /// Counts the rows that are left, and begins a walk where none is under way.
    pub(in crate::session) async fn begin(&mut self) {
        if !self.store.is_available() || self.retired_keys.exchange(&self.settings.keyring()).await.is_err() {
            return;
        }
        let status = self.count().await;
        if self.secrets.is_empty() {
            self.secrets = status.map(|status| status.secrets).unwrap_or_default();
        }
    }

    /// One turn: rows in use, and the next rows of the walk.
    pub(in crate::session) async fn advance(&mut self) {
        let used = self.backlog.take_rows_to_reencrypt(BATCH as usize);
        if !self.store.is_available() || (used.is_empty() && self.secrets.is_empty()) {
            return;
        }
        let _tried_again_by_the_walk = self.reencrypt(&used).await;
        let Some(secret) = self.secrets.last().copied() else { return };
        let Ok(rows) = self.store.rows_sealed_by(secret, &self.next, BATCH).await else { return };
        if self.reencrypt(&rows).await.is_err() {
            return;
        }
        let is_full = rows.len() >= BATCH as usize;
        let next = rows.last().and_then(|row| row.key.next()).filter(|_| is_full);
        self.next = next.unwrap_or(SessionId::FIRST);
        if next.is_none() {
            self.secrets.pop();
            if self.secrets.is_empty() {
                self.count().await;
            }
        }
    }

    async fn count(&self) -> Option<RotationStatus> {
        let keyring = self.settings.keyring();
        let status = RotationStatus::of(self.store, &keyring).await.ok()?;
        // Other secrets may have come into force meanwhile: these numbers would say nothing of those.
        if !Arc::ptr_eq(&keyring, &self.settings.keyring()) {
            return None;
        }
        self.metrics.set_rows_to_reencrypt(SealingSecret::Older, status.older);
        self.metrics.set_rows_to_reencrypt(SealingSecret::Unknown, status.unknown);
        Some(status)
    }

    async fn reencrypt(&self, rows: &[Row]) -> Result<(), Unavailable> {
        let keyring = self.settings.keyring();
        let reseals: Vec<_> = rows.iter().filter_map(|row| reencrypted(row, &keyring)).collect();
        if reseals.is_empty() {
            return Ok(());
        }
        self.store.reencrypt(&reseals).await.map(drop)
    }
}

/// A row under the newest secret's seal; `None` where it is already, or where no configured secret opens it.
fn reencrypted(row: &Row, keyring: &Keyring) -> Option<ReencryptedRow> {
    let sealed = keyring.reencrypt(Purpose::SessionRow, &row.key.0, &row.sealed)?;
    Some(ReencryptedRow { key: row.key, generation: row.generation, from: crypto::sealed_by(&row.sealed)?, sealed })
}
