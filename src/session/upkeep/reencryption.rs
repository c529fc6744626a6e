//! What becomes of an older secret: the rows that it has sealed are sealed anew, those in use first, and what proves its
//! cookies is left to the secrets after it, so that it can be dropped and nobody has to sign in again.
//!
//! Promises: no request waits for it; it goes in small batches, and takes no turn while the store is away. It must not know
//! what a record holds: what a newer version wrote goes on as it is, under another seal.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    crypto::{self, KeyId, Keyring, Purpose},
    metrics::SealingSecret,
    session::{
        Sessions,
        cookie::SessionId,
        store::{
            ObservedStore, Row, Unavailable,
            rotation::{KeyRotation as _, ReencryptedRow, RetiredCookieKey},
        },
    },
};

/// How many rows are read, sealed and written in one turn.
const BATCH: u32 = 200;
/// How far apart the clocks of those may be who share a store.
const SKEW: Duration = Duration::from_hours(1);

/// What is left to be done before older secrets can be dropped. No number of rows is counted far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationStatus {
    /// Rows of secrets that are configured, and the secrets whose cookies would not be known without them.
    pub older: u64,
    /// Rows of secrets that are not: nobody can open them here.
    pub unknown: u64,
    /// The secrets of `older` that have rows.
    secrets: Vec<KeyId>,
}

impl RotationStatus {
    /// Asks the store.
    pub(in crate::session) async fn of(store: &ObservedStore, keyring: &Keyring) -> Result<Self, Unavailable> {
        let (counts, left) =
            (store.count_rows_by_other_secrets(keyring.newest()).await?, store.load_retired_keys().await?);
        let is_left = |secret| {
            let is_newest =
                |retired_key: &RetiredCookieKey| crypto::sealed_by(&retired_key.sealed) == Some(keyring.newest());
            left.iter().any(|retired_key| retired_key.secret == secret && is_newest(retired_key))
        };
        let older = keyring.older().filter(|secret| !is_left(*secret)).count() as u64;
        Ok(counts.into_iter().fold(Self { older, ..Self::default() }, |mut left, (secret, many)| {
            if keyring.contains(secret) {
                left.older += many;
                left.secrets.push(secret);
            } else {
                left.unknown += many;
            }
            left
        }))
    }
}

impl ReencryptedRow {
    /// The new seal of a row; `None` where it needs none, or where no configured secret opens it.
    pub(in crate::session) fn of(row: &Row, keyring: &Keyring) -> Option<Self> {
        let sealed = keyring.reencrypt(Purpose::SessionRow, &row.key.0, &row.sealed)?;
        Some(Self { key: row.key, generation: row.generation, from: crypto::sealed_by(&row.sealed)?, sealed })
    }
}

impl Sessions {
    /// Takes over what dropped secrets have left, once, before anybody is told that no secret of ours made a cookie.
    pub(in crate::session) async fn settle(&self) {
        let keyring = self.terms.keyring();
        if !keyring.has_loaded_retired() {
            let _tried_again_with_the_next_ping = settle(&self.store, &keyring, &self.clock).await;
        }
    }

    /// Notes a row that was read for a request, where an older secret has sealed it.
    pub(in crate::session) fn note_seal(&self, row: Row) {
        if crypto::sealed_by(&row.sealed) != Some(self.terms.keyring().newest()) {
            self.backlog.leave_older(row);
        }
    }
}

/// Takes over what dropped secrets have left, and leaves what those may that are to be dropped next.
async fn settle(store: &ObservedStore, keyring: &Keyring, clock: &Clock) -> Result<(), Unavailable> {
    let left = store.load_retired_keys().await?;
    let now = clock.now();
    if !left.is_empty() {
        store.delete_retired_keys(now.minus(SKEW)).await?;
    }
    let of_the_dropped = left.iter().filter(|retired_key| !keyring.contains(retired_key.secret));
    let mut known: Vec<_> =
        of_the_dropped.map(|retired_key| (retired_key.secret, retired_key.sealed.clone())).collect();
    let again =
        left.into_iter().filter(|retired_key| !keyring.contains(retired_key.secret)).filter_map(|retired_key| {
            let sealed = keyring.reencrypt(Purpose::RetiredCookieKey, &retired_key.secret, &retired_key.sealed)?;
            Some(RetiredCookieKey { sealed, ..retired_key })
        });
    let own = keyring.older_cookie_keys().into_iter().map(|(secret, sealed)| RetiredCookieKey {
        secret,
        retired: now,
        sealed,
    });
    for retired_key in again.chain(own) {
        store.save_retired_key(&retired_key).await?;
        known.retain(|(secret, _)| *secret != retired_key.secret);
        known.push((retired_key.secret, retired_key.sealed));
    }
    keyring.load_retired(known);
    Ok(())
}

/// The walk through all that older secrets have sealed.
pub(in crate::session) struct Reencryption<'a> {
    sessions: &'a Sessions,
    ahead: Vec<KeyId>,
    from: SessionId,
}

impl<'a> Reencryption<'a> {
    pub(in crate::session) fn of(sessions: &'a Sessions) -> Self {
        Self { sessions, ahead: Vec::new(), from: SessionId::ENDS.0 }
    }

    /// Sees what is left, and begins with it where no walk is under way.
    pub(in crate::session) async fn begin(&mut self) {
        let Sessions { store, terms, clock, .. } = self.sessions;
        if !store.is_available() || settle(store, &terms.keyring(), clock).await.is_err() {
            return;
        }
        let left = self.count().await;
        if self.ahead.is_empty() {
            self.ahead = left.map(|left| left.secrets).unwrap_or_default();
        }
    }

    /// One turn: what is in use, and the next rows of the walk.
    pub(in crate::session) async fn advance(&mut self) {
        let Sessions { store, backlog, .. } = self.sessions;
        let used = backlog.take_older(BATCH as usize);
        if !store.is_available() || (used.is_empty() && self.ahead.is_empty()) {
            return;
        }
        let _tried_again_by_the_walk = self.seal(&used).await;
        let Some(secret) = self.ahead.last().copied() else { return };
        let Ok(rows) = store.rows_sealed_by(secret, &self.from, BATCH).await else { return };
        if self.seal(&rows).await.is_err() {
            return;
        }
        let is_full = rows.len() >= BATCH as usize;
        let next = rows.last().and_then(|row| row.key.next()).filter(|_| is_full);
        self.from = next.unwrap_or(SessionId::ENDS.0);
        if next.is_none() {
            self.ahead.pop();
            if self.ahead.is_empty() {
                self.count().await;
            }
        }
    }

    async fn count(&self) -> Option<RotationStatus> {
        let Sessions { store, terms, metrics, .. } = self.sessions;
        let keyring = terms.keyring();
        let left = RotationStatus::of(store, &keyring).await.ok()?;
        // Others may have come into force meanwhile: what is left of these would say nothing of those.
        if !Arc::ptr_eq(&keyring, &terms.keyring()) {
            return None;
        }
        metrics.set_rows_to_reencrypt(SealingSecret::Older, left.older);
        metrics.set_rows_to_reencrypt(SealingSecret::Unknown, left.unknown);
        Some(left)
    }

    async fn seal(&self, rows: &[Row]) -> Result<(), Unavailable> {
        let keyring = self.sessions.terms.keyring();
        let reseals: Vec<_> = rows.iter().filter_map(|row| ReencryptedRow::of(row, &keyring)).collect();
        if reseals.is_empty() {
            return Ok(());
        }
        self.sessions.store.reencrypt(&reseals).await.map(drop)
    }
}
