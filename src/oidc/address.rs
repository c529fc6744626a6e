//! The provider's addresses that a browser is sent to: where a sign-in begins and where a session ends.
//!
//! Promises: what the gate asks for cannot be changed by the configuration's extra parameters nor by a query in the
//! provider's metadata. Pure; it must not know how the metadata came.

use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Attempt, Settings, discovery::Metadata};

/// The parameters of an authorization request that are the gate's own: setting one of them among the extra parameters
/// has no effect. `request` and `request_uri` would replace all the others, `response_mode` the way back.
pub const OWN_PARAMETERS: &[&str] = &[
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// The authorization request: the code flow with PKCE (`OpenID` Connect Core, section 3.1.2.1; RFC 7636).
pub(super) fn authorization(settings: &Settings, metadata: &Metadata, attempt: &Attempt<'_>) -> Url {
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(attempt.verifier));
    let own = [
        ("response_type", "code"),
        ("client_id", settings.client_id.as_str()),
        ("redirect_uri", attempt.redirect_uri),
        ("scope", &settings.scopes.join(" ")),
        ("state", attempt.state),
        ("nonce", attempt.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let extra = settings.extra_authorize_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let extra = extra.filter(|(name, _)| !OWN_PARAMETERS.contains(name));
    with_query(&metadata.authorization_endpoint, OWN_PARAMETERS, own.into_iter().chain(extra))
}

/// The logout request (RP-Initiated Logout 1.0, section 2).
pub(super) fn end_session(
    settings: &Settings,
    metadata: &Metadata,
    id_token: Option<&SecretString>,
    back_to: &str,
    state: &str,
) -> Option<Url> {
    let endpoint = metadata.end_session_endpoint.as_ref()?;
    let own = [("client_id", settings.client_id.as_str()), ("post_logout_redirect_uri", back_to), ("state", state)];
    let hint = id_token.map(|token| ("id_token_hint", token.expose_secret()));
    let replaced = ["client_id", "post_logout_redirect_uri", "state", "id_token_hint"];
    Some(with_query(endpoint, &replaced, own.into_iter().chain(hint)))
}

/// `endpoint` with `own` added to its query, of which nothing named in `replaced` stays.
fn with_query<'a>(endpoint: &Url, replaced: &[&str], own: impl Iterator<Item = (&'a str, &'a str)>) -> Url {
    let mut url = endpoint.clone();
    url.set_fragment(None);
    let kept = endpoint.query_pairs().filter(|(name, _)| !replaced.contains(&&**name));
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(own);
    url
}
