//! Settings of one provider.
//!
//! Promises: equal settings are equal in their secrets and in the contents of their files too.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use super::{client_auth::ClientAuth, proxy::ProxySetting};
use crate::{
    client_tls::Pem,
    crypto,
    identity::{ClaimPath, KeptAttributes, Registration},
};

/// One provider as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the provider in logs, metrics and sessions.
    pub name: String,
    /// What the gate needs the issuer for.
    pub issuer_use: IssuerUse,
    /// Issuer identifier, exactly as the provider's tokens state it.
    pub issuer: Url,
    /// Client identifier of the gate.
    pub client_id: String,
    /// Client secret; absent for a public client, which has PKCE alone.
    pub client_secret: Option<SecretString>,
    /// Whether ID tokens may be signed with the client's secret (HS256), where the provider offers nothing else. authentik signs so
    /// for its proxy providers.
    pub id_tokens_by_secret: bool,
    /// Client authentication at the token endpoint.
    pub client_auth: ClientAuth,
    /// Origin at which the gate itself asks, in place of the issuer's; no path.
    pub internal_url: Option<Url>,
    /// Proxy by way of which the provider is asked.
    pub proxy: ProxySetting,
    /// Requested scopes, `openid` among them.
    pub scopes: Vec<String>,
    /// Path of the groups in the ID token or the userinfo response.
    pub groups_claim: ClaimPath,
    /// Separator of the groups where they come as one text; absent: such a text is one group.
    pub groups_separator: Option<String>,
    /// Use of groups by the apps' rules.
    pub groups_use: GroupsUse,
    /// Attributes of authentik's people that the apps need.
    pub kept_attributes: KeptAttributes,
    /// Authentication context classes that the apps' rules ask for.
    pub acr_in_rules: BTreeSet<String>,
    /// Time for which groups and claims of a session stay in force while the provider does not tell them again.
    pub groups_grace: Duration,
    /// Treatment of e-mail addresses that the provider calls unverified.
    pub unverified_email: UnverifiedEmail,
    /// Certificates to trust in addition to the system's.
    pub ca: Option<Pem>,
    /// Deadline of one request to the provider.
    pub timeout: Duration,
    /// Further parameters of the authorization request.
    pub extra_authorize_params: BTreeMap<String, String>,
    /// RP-initiated logout: signing out here signs out at the provider as well.
    pub end_session: bool,
    /// `true` where renewed ID tokens repeat the `sid` of the sign-in, `false` where they do not; `None`: learned.
    pub renewals_keep_sid: Option<bool>,
}

/// What the gate needs an issuer for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IssuerUse {
    /// People sign in there.
    #[default]
    SignIn,
    /// Its keys verify API clients' tokens, and nothing else. Nobody is sent there, and the gate is no client of it.
    Tokens,
}

/// Treatment of an e-mail address that a provider does not vouch for (`email_verified`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnverifiedEmail {
    /// Passed to apps; no rule lets anybody in by it.
    #[default]
    Pass,
    /// Left out, as if the provider had not sent it.
    Drop,
    /// Taken for verified.
    Trust,
}

/// Use of the groups of a provider's people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupsUse {
    /// No rule names a group.
    #[default]
    Unused,
    /// An app's `allow`, or that of one of its rules, names groups.
    InRules,
}

impl Settings {
    /// Returns the gate's registration at the provider. Tokens stay valid across reloads while it is the same.
    #[must_use]
    pub fn registration(&self) -> Registration {
        let parts = [self.name.as_str(), self.issuer.as_str(), self.client_id.as_str()];
        // Each behind its length, so that no two registrations give the same text.
        let text: Vec<u8> =
            parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes())).collect();
        let digest = crypto::digest(&text);
        let (short, _) = digest.split_first_chunk().expect("SHA-256 gives 32 bytes");
        Registration(*short)
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        // Destructured, so that no new field is forgotten here.
        let Self {
            name,
            issuer_use,
            issuer,
            client_id,
            client_secret,
            id_tokens_by_secret,
            client_auth,
            internal_url,
            proxy,
            scopes,
            groups_claim,
            groups_separator,
            groups_use,
            kept_attributes,
            acr_in_rules,
            groups_grace,
            unverified_email,
            ca,
            timeout,
            extra_authorize_params,
            end_session,
            renewals_keep_sid,
        } = self;
        let same_secret = match (client_secret, &other.client_secret) {
            (Some(one), Some(other)) => crypto::is_same_secret(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_secret
            && *name == other.name
            && *issuer_use == other.issuer_use
            && *issuer == other.issuer
            && *client_id == other.client_id
            && *id_tokens_by_secret == other.id_tokens_by_secret
            && *client_auth == other.client_auth
            && *internal_url == other.internal_url
            && *proxy == other.proxy
            && *scopes == other.scopes
            && *groups_claim == other.groups_claim
            && *groups_separator == other.groups_separator
            && *groups_use == other.groups_use
            && *kept_attributes == other.kept_attributes
            && *acr_in_rules == other.acr_in_rules
            && *groups_grace == other.groups_grace
            && *unverified_email == other.unverified_email
            && *ca == other.ca
            && *timeout == other.timeout
            && *extra_authorize_params == other.extra_authorize_params
            && *end_session == other.end_session
            && *renewals_keep_sid == other.renewals_keep_sid
    }
}

impl Eq for Settings {}
