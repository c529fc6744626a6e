//! A provider as it is configured.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use crate::{crypto, identity::Registration};

/// One provider as configured and checked. Equal ones need not be told apart: their secrets and the contents of their files
/// are the same too.
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
    /// What an address counts that the provider calls unverified.
    pub unverified_email: UnverifiedEmail,
    /// Certificates to trust in addition to the system's.
    pub ca: Option<Pem>,
    /// How long one request to the provider may take.
    pub timeout: Duration,
    /// Further parameters of the authorization request.
    pub extra_authorize_params: BTreeMap<String, String>,
    /// Whether signing out here signs out there as well.
    pub end_session: bool,
}

/// What becomes of an e-mail address that a provider does not vouch for (`email_verified`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnverifiedEmail {
    /// Apps are told it; no rule lets anybody in by it.
    #[default]
    Pass,
    /// As if the provider had not given it.
    Drop,
    /// As if it were verified.
    Trust,
}

impl Settings {
    /// The gate's registration there. Whatever else changes, tokens that were issued stay good while this is the same.
    #[must_use]
    pub fn registration(&self) -> Registration {
        let parts = [self.name.as_str(), self.issuer.as_str(), self.client_id.as_str()];
        // Each behind its length, so that no two look alike.
        let text: Vec<u8> =
            parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes())).collect();
        let digest = crypto::digest(&text);
        let (short, _) = digest.split_first_chunk().expect("SHA-256 gives 32 bytes");
        Registration(*short)
    }
}

/// A file of certificates as it was when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where it was.
    pub path: PathBuf,
    /// What was in it.
    pub content: Arc<[u8]>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart, so that nothing is added to them and forgotten here.
        let Self {
            name,
            issuer,
            client_id,
            client_secret,
            scopes,
            groups_claim,
            unverified_email,
            ca,
            timeout,
            extra_authorize_params,
            end_session,
        } = self;
        let same_secret = match (client_secret, &other.client_secret) {
            (Some(one), Some(other)) => crypto::is_same_secret(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_secret
            && *name == other.name
            && *issuer == other.issuer
            && *client_id == other.client_id
            && *scopes == other.scopes
            && *groups_claim == other.groups_claim
            && *unverified_email == other.unverified_email
            && *ca == other.ca
            && *timeout == other.timeout
            && *extra_authorize_params == other.extra_authorize_params
            && *end_session == other.end_session
    }
}

impl Eq for Settings {}
