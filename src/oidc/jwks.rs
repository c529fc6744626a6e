//! JWKS: the provider's signing keys (RFC 7517).
//!
//! Promises: a set that does not arrive or holds no usable key replaces nothing; only public keys for signatures are kept,
//! so that no symmetric one can ever verify a token; tokens with unknown keys cause at most one fetch in ten seconds.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use openidconnect::{
    JsonWebKey as _, JsonWebKeyUse,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType},
};
use tokio::sync::Semaphore;
use url::Url;

use super::{
    error::{Error, printable},
    jwt::JwtError,
    metered::MeteredTransport,
};
use crate::{
    clock::{Clock, Timestamp},
    metrics::Endpoint,
};

/// Age at which keys are fetched again unasked.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Interval between fetches that tokens with unknown keys may cause: anybody can send a logout token.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);
const MAX_KEYS: usize = 100;

/// The signing keys of one provider as they were last fetched.
pub(super) struct Jwks {
    http: Arc<MeteredTransport>,
    clock: Clock,
    current: ArcSwapOption<KeySet>,
    /// Time of the last fetch that a token caused.
    last_refetch: ArcSwapOption<Timestamp>,
    /// Single-flight: one caller fetches at a time, and those who waited take the keys that came meanwhile.
    single_flight: Semaphore,
}

/// One fetched key set.
#[derive(Debug)]
struct KeySet {
    keys: CoreJsonWebKeySet,
    uri: Url,
    fetched: Timestamp,
}

impl Jwks {
    /// Keys that were never fetched.
    pub(super) fn new(http: Arc<MeteredTransport>, clock: Clock) -> Self {
        Self {
            http,
            clock,
            current: ArcSwapOption::empty(),
            last_refetch: ArcSwapOption::empty(),
            single_flight: Semaphore::new(1),
        }
    }

    /// Takes over the keys of `previous`, which has the same issuer.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        self.current.store(previous.current.load_full());
        self.last_refetch.store(previous.last_refetch.load_full());
        self
    }

    /// Verifies a token with the keys at `uri`. Where none of them fits, fetches them again, because the provider may have
    /// rotated them; `rate_limited` makes the error where it is too soon for that.
    pub(super) async fn verify<T>(
        &self,
        uri: &Url,
        check: impl Fn(&CoreJsonWebKeySet) -> Result<T, JwtError>,
        rate_limited: impl FnOnce(JwtError) -> Error,
    ) -> Result<T, Error> {
        let current = match self.current.load_full() {
            Some(current) => current,
            None => self.newer_keys(uri, None).await?.ok_or_else(refetch_too_soon)?,
        };
        match check(&current.keys) {
            Err(error @ JwtError::NoMatchingKey(_)) => {
                let newer = self.newer_keys(uri, Some(&current)).await?.ok_or_else(|| rate_limited(error))?;
                Ok(check(&newer.keys)?)
            }
            result => Ok(result?),
        }
    }

    /// Fetches the keys where there are none, their address has changed, or they are old.
    pub(super) async fn fetch_if_due(&self, uri: &Url) -> Result<(), Error> {
        let _turn = self.single_flight.acquire().await.expect("the semaphore is never closed");
        match self.current.load_full() {
            Some(current) if !current.is_due(uri, self.clock.now()) => Ok(()),
            _ => self.fetch(uri).await.map(drop),
        }
    }

    /// Returns newer keys than `seen`: those that another caller has fetched since, or newly fetched ones; `None` where it is
    /// too soon to fetch again.
    async fn newer_keys(&self, uri: &Url, seen: Option<&Arc<KeySet>>) -> Result<Option<Arc<KeySet>>, Error> {
        let _turn = self.single_flight.acquire().await.expect("the semaphore is never closed");
        match self.current.load_full() {
            Some(current) if seen.is_none_or(|seen| !Arc::ptr_eq(seen, &current)) => Ok(Some(current)),
            _ if !self.may_refetch() => Ok(None),
            _ => {
                self.last_refetch.store(Some(Arc::new(self.clock.now())));
                self.fetch(uri).await.map(Some)
            }
        }
    }

    fn may_refetch(&self) -> bool {
        let now = self.clock.now();
        // A clock that was set back must not keep the gate from asking.
        self.last_refetch.load().as_deref().is_none_or(|last| now < *last || now.since(*last) >= REFETCH_INTERVAL)
    }

    async fn fetch(&self, uri: &Url) -> Result<Arc<KeySet>, Error> {
        let now = self.clock.now();
        let keys = self.http.counted(Endpoint::Jwks, self.request(uri)).await?;
        let fetched = Arc::new(KeySet { keys, uri: uri.clone(), fetched: now });
        self.current.store(Some(Arc::clone(&fetched)));
        Ok(fetched)
    }

    async fn request(&self, uri: &Url) -> Result<CoreJsonWebKeySet, Error> {
        let response = self.http.fetch_document(uri).await?;
        if !response.status().is_success() {
            return Err(Error::Unavailable(format!("status {} for its keys", response.status())));
        }
        parse(response.body())
    }
}

impl KeySet {
    fn is_due(&self, uri: &Url, now: Timestamp) -> bool {
        self.uri != *uri || now.since(self.fetched) >= MAX_AGE
    }
}

/// Returns the error for a token that no key fits while the keys may not be fetched again. It is no verdict on the token:
/// strangers may have used up the fetch that it would have caused.
pub(super) fn refetch_too_soon() -> Error {
    Error::Unavailable("its keys were asked for a moment ago and will be again within 10 s".into())
}

/// Parses a JWKS document and returns its usable keys.
pub(super) fn parse(body: &[u8]) -> Result<CoreJsonWebKeySet, Error> {
    let all: CoreJsonWebKeySet = serde_json::from_slice(body).map_err(|error| {
        Error::InvalidMessage(format!("its keys are not a JSON Web Key Set: {}", printable(&error.to_string())))
    })?;
    let usable: Vec<_> = all.keys().iter().filter(|key| is_usable(key)).cloned().collect();
    match usable.len() {
        0 => Err(Error::InvalidMessage("its key set holds no public key for signatures".into())),
        1..=MAX_KEYS => Ok(CoreJsonWebKeySet::new(usable)),
        many => Err(Error::InvalidMessage(format!("its key set holds {many} keys, more than {MAX_KEYS}"))),
    }
}

fn is_usable(key: &CoreJsonWebKey) -> bool {
    let asymmetric = matches!(
        key.key_type(),
        CoreJsonWebKeyType::RSA | CoreJsonWebKeyType::EllipticCurve | CoreJsonWebKeyType::OctetKeyPair
    );
    asymmetric && key.key_use().is_none_or(JsonWebKeyUse::allows_signature)
}
