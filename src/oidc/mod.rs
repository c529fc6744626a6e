//! The relying party of `OpenID` Connect: a provider's metadata and signing keys (JWKS), the authorization code flow with
//! PKCE, token refresh, and RP-initiated, back-channel and front-channel logout.
//!
//! Promises: the process starts and goes on without the provider; an ID token or logout token counts only after every
//! check; no token, code or secret is ever formatted.

mod access_token;
mod authorize;
mod capacity;
mod claims;
mod claims_reader;
mod client_auth;
mod credential;
mod credential_verifier;
mod discovery;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod groups;
mod health;
mod id_token;
mod id_token_keys;
mod internal_route;
mod introspection;
mod json;
mod jwks;
mod jwt;
mod logout_token;
mod metadata;
mod metered;
mod odd_fields;
pub mod outpost_token;
mod provider;
mod proxy;
mod renewal;
mod settings;
mod sid_retention;
mod sign_in;
mod signature;
mod standard_claims;
mod token_answer;
mod token_endpoint;
mod token_set;
mod transport;
mod userinfo;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    access_token::{MAX_ACCESS_TOKEN_LENGTH, TokenForm, UnverifiedAccessToken},
    authorize::{AuthorizationRequest, LogoutRequest, RESERVED_PARAMETERS, SilentRequest},
    claims::PROTOCOL_CLAIMS,
    client_auth::ClientAuth,
    credential::{CredentialError, VerifiedCredential},
    credential_verifier::CredentialVerifier,
    error::Error,
    logout_token::{LogoutSubject, VerifiedLogoutToken},
    provider::Provider,
    proxy::{EnvironmentProxies, ProxyAddress, ProxyAddressError, ProxySetting},
    renewal::{RefreshRequest, Refreshed},
    settings::{GroupsUse, IssuerUse, Settings, UnverifiedEmail},
    sid_retention::{PreviousSid, RenewedSid},
    sign_in::{Redemption, SignedIn},
    token_endpoint::AppPassword,
    transport::{HttpTransport, TransportError},
};
