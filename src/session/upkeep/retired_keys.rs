//! Cookie keys of retired secrets: kept in the store, so that a secret can be dropped and its cookies still verify.
//!
//! Promises: they are loaded before any cookie is refused for want of a key; those of secrets that are to be dropped next
//! are stored in time, under the newest secret's seal.

use std::time::Duration;

use crate::{
    clock::Clock,
    crypto::{Keyring, Purpose},
    session::{
        active_settings::ActiveSettings,
        store::{
            ObservedStore, Unavailable,
            rotation::{KeyRotation as _, RetiredCookieKey},
        },
    },
};

/// Largest difference between the clocks of processes that share a store.
const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// Loads and stores the cookie keys of retired secrets.
#[derive(Clone, Copy)]
pub(in crate::session) struct RetiredKeySync<'a> {
    pub(in crate::session) settings: &'a ActiveSettings,
    pub(in crate::session) clock: &'a Clock,
    pub(in crate::session) store: &'a ObservedStore,
}

impl RetiredKeySync<'_> {
    /// Loads them once for the keyring in force.
    pub(in crate::session) async fn load(&self) {
        let keyring = self.settings.keyring();
        if !keyring.has_loaded_retired() {
            let _tried_again_with_the_next_ping = self.exchange(&keyring).await;
        }
    }

    /// Loads the keys of dropped secrets, and stores those of older secrets that may be dropped next.
    pub(super) async fn exchange(&self, keyring: &Keyring) -> Result<(), Unavailable> {
        let stored = self.store.load_retired_keys().await?;
        let now = self.clock.now();
        if !stored.is_empty() {
            self.store.delete_retired_keys(now.minus(CLOCK_SKEW)).await?;
        }
        let dropped = stored.iter().filter(|key| !keyring.contains(key.secret));
        let mut known: Vec<_> = dropped.map(|key| (key.secret, key.sealed.clone())).collect();
        let resealed = stored.into_iter().filter(|key| !keyring.contains(key.secret)).filter_map(|key| {
            let sealed = keyring.reencrypt(Purpose::RetiredCookieKey, &key.secret, &key.sealed)?;
            Some(RetiredCookieKey { sealed, ..key })
        });
        let own = keyring.older_cookie_keys().into_iter().map(|(secret, sealed)| RetiredCookieKey {
            secret,
            retired: now,
            sealed,
        });
        for key in resealed.chain(own) {
            self.store.save_retired_key(&key).await?;
            known.retain(|(secret, _)| *secret != key.secret);
            known.push((key.secret, key.sealed));
        }
        keyring.load_retired(known);
        Ok(())
    }
}
