//! The provider's signing keys (JWKS, RFC 7517).
//!
//! Promises: a set that does not arrive or holds no usable key replaces nothing; only public keys for signatures are
//! kept, so no symmetric one can ever verify a token; tokens with unknown keys cause at most one fetch in ten seconds.
//! It must not know what is signed.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use openidconnect::{
    JsonWebKey as _, JsonWebKeyUse,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType},
};
use tokio::sync::Semaphore;
use url::Url;

use super::{Error, Provider, discovery::printable};
use crate::{clock::Timestamp, metrics::Endpoint};

/// How old keys may grow before they are fetched again unasked.
const FETCH_EVERY: Duration = Duration::from_hours(1);
/// How long after a fetch for an unknown key the next unknown key may cause another.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
const MOST_KEYS: usize = 100;

/// The keys that were last fetched.
pub(super) struct Keys {
    held: ArcSwapOption<KeySet>,
    /// When a token last caused a fetch.
    last_caused: ArcSwapOption<Timestamp>,
    /// One may ask at a time; whoever waited takes the answer that came meanwhile.
    turn: Semaphore,
}

/// One fetched set.
#[derive(Debug)]
pub(super) struct KeySet {
    pub(super) keys: CoreJsonWebKeySet,
    from: Url,
    fetched: Timestamp,
}

impl Default for Keys {
    fn default() -> Self {
        Self { held: ArcSwapOption::empty(), last_caused: ArcSwapOption::empty(), turn: Semaphore::new(1) }
    }
}

impl Keys {
    /// The same keys, apart from these from now on.
    pub(super) fn copy(&self) -> Self {
        Self {
            held: ArcSwapOption::new(self.held.load_full()),
            last_caused: ArcSwapOption::new(self.last_caused.load_full()),
            turn: Semaphore::new(1),
        }
    }
}

impl KeySet {
    fn is_due(&self, from: &Url, now: Timestamp) -> bool {
        self.from != *from || now.since(self.fetched) >= FETCH_EVERY
    }
}

/// The usable keys of a document.
pub(super) fn parse(body: &[u8]) -> Result<CoreJsonWebKeySet, Error> {
    let all: CoreJsonWebKeySet = serde_json::from_slice(body).map_err(|error| {
        Error::Unbelievable(format!("its keys are not a JSON Web Key Set: {}", printable(&error.to_string())))
    })?;
    let usable: Vec<_> = all.keys().iter().filter(|key| is_usable(key)).cloned().collect();
    match usable.len() {
        0 => Err(Error::Unbelievable("its key set holds no public key for signatures".into())),
        1..=MOST_KEYS => Ok(CoreJsonWebKeySet::new(usable)),
        many => Err(Error::Unbelievable(format!("its key set holds {many} keys, more than {MOST_KEYS}"))),
    }
}

fn is_usable(key: &CoreJsonWebKey) -> bool {
    let asymmetric = matches!(
        key.key_type(),
        CoreJsonWebKeyType::RSA | CoreJsonWebKeyType::EllipticCurve | CoreJsonWebKeyType::OctetKeyPair
    );
    asymmetric && key.key_use().is_none_or(JsonWebKeyUse::allows_signature)
}

/// A token of the provider's own that no key fits, while its keys may not be fetched again: it may have changed them.
pub(super) fn too_soon() -> Error {
    Error::Unavailable("its keys were asked for a moment ago and will be again within 10 s".into())
}

impl Provider {
    /// The keys at `from`, fetched where there are none yet.
    pub(super) async fn keys(&self, from: &Url) -> Result<Arc<KeySet>, Error> {
        match self.keys.held.load_full() {
            Some(held) => Ok(held),
            None => self.newer_keys(from, None).await?.ok_or_else(too_soon),
        }
    }

    /// The keys at `from` after `seen` turned out not to hold the one that is needed: those that somebody has fetched
    /// since, else newly fetched ones; `None` where it is too soon to ask again.
    pub(super) async fn newer_keys(
        &self,
        from: &Url,
        seen: Option<&Arc<KeySet>>,
    ) -> Result<Option<Arc<KeySet>>, Error> {
        let _turn = self.keys.turn.acquire().await.expect("the semaphore is never closed");
        match self.keys.held.load_full() {
            Some(held) if seen.is_none_or(|seen| !Arc::ptr_eq(seen, &held)) => Ok(Some(held)),
            _ if !self.may_refetch() => Ok(None),
            _ => {
                self.keys.last_caused.store(Some(Arc::new(self.clock.now())));
                self.fetch_keys(from).await.map(Some)
            }
        }
    }

    /// Fetches the keys where there are none, they have moved, or they are old.
    pub(super) async fn fetch_due_keys(&self, from: &Url) -> Result<(), Error> {
        let _turn = self.keys.turn.acquire().await.expect("the semaphore is never closed");
        match self.keys.held.load_full() {
            Some(held) if !held.is_due(from, self.clock.now()) => Ok(()),
            _ => self.fetch_keys(from).await.map(drop),
        }
    }

    fn may_refetch(&self) -> bool {
        let now = self.clock.now();
        // A clock that was set back must not keep the gate from asking.
        self.keys.last_caused.load().as_deref().is_none_or(|last| now < *last || now.since(*last) >= REFETCH_AFTER)
    }

    async fn fetch_keys(&self, from: &Url) -> Result<Arc<KeySet>, Error> {
        let now = self.clock.now();
        let keys = self.counted(Endpoint::Jwks, self.download_keys(from)).await?;
        let fetched = Arc::new(KeySet { keys, from: from.clone(), fetched: now });
        self.keys.held.store(Some(Arc::clone(&fetched)));
        Ok(fetched)
    }

    async fn download_keys(&self, from: &Url) -> Result<CoreJsonWebKeySet, Error> {
        let response = self.fetch(from).await?;
        if !response.status().is_success() {
            return Err(Error::Unavailable(format!("status {} for its keys", response.status())));
        }
        parse(response.body())
    }
}
