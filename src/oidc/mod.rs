//! The relying party's side of OpenID Connect: one provider, its metadata and keys, the code that becomes an identity, the
//! refresh token that renews it, and the provider's word that it is over.
//!
//! Promises: the process starts and goes on without the provider; an ID token is believed only after every check; no
//! token, code or secret is ever formatted. It must not know sessions, cookies or edges.

mod address;
mod answer;
mod breaker;
mod clocks;
mod discovery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod id_token;
mod jwt;
mod keys;
mod logout;
mod profile;
mod renewal;
mod settings;
mod signature;
mod silence;
mod token;
mod transport;

#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, future::Future, time::Instant};

use secrecy::SecretString;
use url::Url;

pub use self::{
    address::OWN_PARAMETERS,
    logout::{LogoutNotice, Whom},
    renewal::{Refreshed, Renewal},
    settings::{Pem, Settings, UnverifiedEmail},
    transport::{Failure, Transport, TrustError},
};
use self::{breaker::Breaker, discovery::Discovery, keys::Keys, token::Told};
use crate::{
    clock::Clock,
    identity::{Identity, Tokens},
    metrics::{self, Endpoint, ProviderResult},
    shutdown,
};

/// A sign-in about to begin.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Where the provider sends the browser back to.
    pub redirect_uri: &'a str,
    /// The opaque value that comes back with it.
    pub state: &'a str,
    /// The value that the ID token has to repeat.
    pub nonce: &'a str,
    /// The PKCE verifier (RFC 7636); its S256 challenge is sent.
    pub verifier: &'a str,
}

/// A callback to be redeemed.
#[derive(Clone, Debug)]
pub struct Redemption<'a> {
    /// The authorization code.
    pub code: &'a str,
    /// `iss` of the callback, where it was sent (RFC 9207).
    pub iss: Option<&'a str>,
    /// As in the attempt.
    pub redirect_uri: &'a str,
    /// As in the attempt.
    pub nonce: &'a str,
    /// As in the attempt.
    pub verifier: &'a str,
}

/// Somebody who has just signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session.
    pub sid: Option<String>,
}

/// Why a provider did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It was not reached, did not answer in time, or answered with a server error.
    #[error("the provider does not answer: {0}")]
    Unavailable(String),
    /// It refused the code or the refresh token: used, expired, revoked, or not ours (RFC 6749, section 5.2:
    /// `invalid_grant`).
    #[error("the provider refused the authorization code or the refresh token")]
    GrantRefused,
    /// It refused us: a wrong client id or secret, a redirect URI that is not registered.
    #[error("the provider refused the gate itself: {0}")]
    ClientRefused(String),
    /// Its answer cannot be believed: signature, issuer, audience, nonce, time.
    #[error("the provider's answer cannot be believed: {0}")]
    Unbelievable(String),
    /// By this machine's clock its answer is not of now.
    #[error("the provider's clock and this machine's disagree: {0}")]
    Clocks(String),
}

/// One provider. It is shared by everybody who signs in or out there.
pub struct Provider {
    settings: Settings,
    transport: Transport,
    clock: Clock,
    metrics: metrics::ProviderMetrics,
    discovery: Discovery,
    keys: Keys,
    told: Told,
    breaker: Breaker,
}

impl Provider {
    /// A provider that nothing is known of yet. Asks nothing.
    #[must_use]
    pub fn new(settings: Settings, transport: Transport, clock: Clock, metrics: metrics::ProviderMetrics) -> Self {
        Self {
            settings,
            transport,
            clock,
            metrics,
            discovery: Discovery::default(),
            keys: Keys::default(),
            told: Told::default(),
            breaker: Breaker::default(),
        }
    }

    /// The same provider under other settings: what is known of it is taken over, so that nobody has to wait for it to be
    /// asked again. One with another issuer is another provider, of which nothing is known yet.
    #[must_use]
    pub fn under(&self, settings: Settings, transport: Transport) -> Self {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        if settings.issuer != self.settings.issuer {
            return Self::new(settings, transport, clock, metrics);
        }
        Self {
            discovery: self.discovery.copy(),
            keys: self.keys.copy(),
            ..Self::new(settings, transport, clock, metrics)
        }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.discovery.is_up()
    }

    /// The address that begins a sign-in. Fetches the metadata where they are not known yet or the provider did not answer
    /// when it was last asked.
    pub async fn authorize(&self, attempt: &Attempt<'_>) -> Result<Url, Error> {
        let metadata = self.metadata_of_one_who_answers().await?;
        Ok(address::authorization(&self.settings, &metadata, attempt))
    }

    /// Redeems a code and verifies what comes back.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<SignedIn, Error> {
        self.exchange(redemption).await
    }

    /// The address that signs out at the provider (RP-Initiated Logout 1.0); `None` where it has none, it is not known
    /// or `end_session` is off.
    #[must_use]
    pub fn end_session(&self, id_token: Option<&SecretString>, back_to: &str, state: &str) -> Option<Url> {
        if !self.settings.end_session {
            return None;
        }
        let metadata = self.discovery.known()?;
        address::end_session(&self.settings, &metadata, id_token, back_to, state)
    }

    /// Until asked to stop: fetches metadata and keys, and again when they grow old or the provider was away.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        tokio::select! {
            () = stop.raised() => {}
            never = self.watch() => match never {},
        }
    }

    /// Counts a request by how it ended.
    async fn counted<T>(
        &self,
        endpoint: Endpoint,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = request.await;
        let outcome = match &result {
            Ok(_) => ProviderResult::Ok,
            Err(Error::Unavailable(_)) => ProviderResult::Unavailable,
            Err(Error::GrantRefused | Error::ClientRefused(_) | Error::Unbelievable(_) | Error::Clocks(_)) => {
                ProviderResult::Refused
            }
        };
        self.metrics.count_request(endpoint, outcome, begun.elapsed());
        result
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
