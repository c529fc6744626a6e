//! The relying party's side of OpenID Connect: one provider, its metadata and keys, and the code that becomes an identity.
//!
//! Promises: the process starts and goes on without the provider; an ID token is believed only after every check; no
//! token, code or secret is ever formatted. It must not know sessions, cookies or edges.

mod discovery;
mod keys;
mod token;
mod transport;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::SecretString;
use url::Url;

pub use self::transport::Transport;
use crate::{
    clock::Clock,
    identity::{Identity, Tokens},
    metrics, shutdown,
};

/// One provider as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in logs, metrics and sessions.
    pub name: String,
    /// Its issuer identifier, exactly as its tokens state it.
    pub issuer: Url,
    /// Our name there.
    pub client_id: String,
    /// Our password there; absent: a public client, PKCE alone.
    pub client_secret: Option<SecretString>,
    /// What is asked for; holds `openid`.
    pub scopes: Vec<String>,
    /// Dotted path of the groups in the ID token or the userinfo answer.
    pub groups_claim: String,
    /// Certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one request to the provider may take.
    pub timeout: Duration,
    /// Further parameters of the authorization request.
    pub extra_authorize_params: BTreeMap<String, String>,
    /// Whether signing out here signs out there as well.
    pub end_session: bool,
}

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
    /// It refused the code: used, expired, or not ours (RFC 6749, section 5.2: `invalid_grant`).
    #[error("the provider refused the authorization code")]
    CodeRefused,
    /// It refused us: a wrong client id or secret, a redirect URI that is not registered.
    #[error("the provider refused the gate itself: {0}")]
    ClientRefused(String),
    /// Its answer cannot be believed: signature, issuer, audience, nonce, time.
    #[error("the provider's answer cannot be believed: {0}")]
    Unbelievable(String),
}

/// One provider.
pub struct Provider {
    settings: Settings,
}

impl Provider {
    /// A provider that nothing is known of yet. Asks nothing.
    #[must_use]
    pub fn new(settings: Settings, transport: Transport, clock: Clock, metrics: metrics::Provider) -> Self {
        let _ = (transport, clock, metrics);
        Self { settings }
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        false
    }

    /// The address that begins a sign-in. Fetches the metadata where they are not known yet.
    pub async fn authorize(&self, attempt: &Attempt<'_>) -> Result<Url, Error> {
        let _ = attempt;
        Err(Error::CodeRefused)
    }

    /// Redeems a code and verifies what comes back.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<SignedIn, Error> {
        let _ = redemption;
        Err(Error::CodeRefused)
    }

    /// The address that signs out at the provider (RP-Initiated Logout 1.0); `None` where it has none, it is not known
    /// or `end_session` is off.
    #[must_use]
    pub fn end_session(&self, id_token: Option<&SecretString>, back_to: &str, state: &str) -> Option<Url> {
        let _ = (id_token, back_to, state);
        None
    }

    /// Until asked to stop: fetches metadata and keys, and again when they grow old or the provider was away.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        stop.raised().await;
    }
}
