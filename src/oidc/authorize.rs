//! Requests that go through the browser: the authorization request with PKCE, its response, and RP-initiated logout.
//!
//! Promises: the gate's own parameters cannot be changed by the configuration's extra parameters nor by a query in the
//! provider's metadata. Pure.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{error::Error, metadata::ProviderMetadata, settings::Settings};

/// Parameters of an authorization request that the gate sets itself: setting one of them among the extra parameters has
/// no effect. `request` and `request_uri` would replace all the others, `response_mode` the way back.
pub const RESERVED_PARAMETERS: &[&str] = &[
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

/// The longest URL of a logout request that carries an ID token, which grows with the person's groups. Proxies and servers answer
/// 414 or 502 to addresses of 4 to 8 KiB; 2,000 bytes pass everywhere.
const MAX_URL_WITH_ID_TOKEN: usize = 2_000;
/// Parameters that a silent authorization request sets itself, whatever the configuration says.
const SILENT_PARAMETERS: &[&str] = &["prompt", "id_token_hint", "login_hint"];
/// Longest ID token that is sent as a hint: the whole redirect has to fit the 4 KiB in which nginx takes an answer.
const MAX_HINT: usize = 2_000;

/// An authorization request of the code flow (`OpenID` Connect Core, section 3.1.2.1).
#[derive(Clone, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The address to which the provider sends the browser back.
    pub redirect_uri: &'a str,
    /// The opaque value that comes back with the response.
    pub state: &'a str,
    /// The value that the ID token has to repeat.
    pub nonce: &'a str,
    /// The PKCE code verifier (RFC 7636); its S256 challenge is sent.
    pub code_verifier: &'a str,
    /// Authentication context classes that are asked for, the preferred one first.
    pub acr_values: &'a [String],
    /// The most time since the person proved who they are: after it the provider has them do so again.
    pub max_age: Option<Duration>,
    /// For a request during which the person may not be asked anything.
    pub silent: Option<SilentRequest<'a>>,
}

/// The part of an authorization request that is answered without the person: `prompt=none`.
#[derive(Clone, Copy, Debug)]
pub struct SilentRequest<'a> {
    /// The session's ID token, which says whom the request is about. Left out where it is too long.
    pub id_token_hint: Option<&'a SecretString>,
    /// The person's name, in its place.
    pub login_hint: &'a str,
}

/// A logout request (RP-Initiated Logout 1.0, section 2).
#[derive(Clone, Debug)]
pub struct LogoutRequest<'a> {
    /// The ID token of the session, where the provider has issued one.
    pub id_token: Option<&'a SecretString>,
    /// The person, in words of the provider.
    pub logout_hint: &'a str,
    /// The address to which the provider sends the browser back.
    pub redirect_uri: &'a str,
    /// The opaque value that comes back with the browser.
    pub state: &'a str,
}

/// Returns the URL of an authorization request: the code flow with PKCE (`OpenID` Connect Core, section 3.1.2.1; RFC 7636).
pub(super) fn authorization_url(
    settings: &Settings,
    metadata: &ProviderMetadata,
    request: &AuthorizationRequest<'_>,
) -> Url {
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(request.code_verifier));
    let parameters = [
        ("response_type", "code"),
        ("client_id", settings.client_id.as_str()),
        ("redirect_uri", request.redirect_uri),
        ("scope", &settings.scopes.join(" ")),
        ("state", request.state),
        ("nonce", request.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let extra = settings.extra_authorize_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let silent = request.silent.as_ref().map(SilentRequest::parameters);
    let step_up = request.step_up();
    let step_up = step_up.iter().map(|(name, value)| (*name, value.as_str()));
    let mut replaced: Vec<&str> = RESERVED_PARAMETERS.to_owned();
    replaced.extend(step_up.clone().map(|(name, _)| name));
    if silent.is_some() {
        replaced.extend(SILENT_PARAMETERS);
    }
    let extra = extra.filter(|(name, _)| !replaced.contains(name));
    let parameters = parameters.into_iter().chain(silent.into_iter().flatten()).chain(step_up).chain(extra);
    with_query(&metadata.authorization_endpoint, &replaced, parameters)
}

impl AuthorizationRequest<'_> {
    fn step_up(&self) -> Vec<(&'static str, String)> {
        let classes = (!self.acr_values.is_empty()).then(|| ("acr_values", self.acr_values.join(" ")));
        let age = self.max_age.map(|age| ("max_age", age.as_secs().to_string()));
        classes.into_iter().chain(age).collect()
    }
}

impl SilentRequest<'_> {
    fn parameters(&self) -> [(&str, &str); 2] {
        let id_token = self.id_token_hint.map(ExposeSecret::expose_secret).filter(|token| token.len() <= MAX_HINT);
        let hint = id_token.map_or(("login_hint", self.login_hint), |token| ("id_token_hint", token));
        [("prompt", "none"), hint]
    }
}

/// Checks `iss` of an authorization response: one of another issuer carries a code for somebody else (RFC 9207).
pub(super) fn check_response_issuer(iss: Option<&str>, metadata: &ProviderMetadata) -> Result<(), Error> {
    match iss {
        Some(iss) if iss == metadata.issuer => Ok(()),
        Some(_) => Err(Error::InvalidMessage("the callback came from another issuer".into())),
        None if metadata.sends_iss() => {
            Err(Error::InvalidMessage("the callback does not say which issuer it came from".into()))
        }
        None => Ok(()),
    }
}

/// Returns the URL of a logout request (RP-Initiated Logout 1.0, section 2), or `None` where the provider has no endpoint
/// for it. The session is named by the ID token, or by `logout_hint` where the URL would be longer than servers take.
pub(super) fn end_session_url(
    settings: &Settings,
    metadata: &ProviderMetadata,
    request: &LogoutRequest<'_>,
) -> Option<Url> {
    let endpoint = metadata.end_session_endpoint.as_ref()?;
    let parameters = [
        ("client_id", settings.client_id.as_str()),
        ("post_logout_redirect_uri", request.redirect_uri),
        ("state", request.state),
    ];
    let replaced = ["client_id", "post_logout_redirect_uri", "state", "id_token_hint", "logout_hint"];
    let url = |hint| with_query(endpoint, &replaced, parameters.into_iter().chain([hint]));
    let by_token = request.id_token.map(|token| url(("id_token_hint", token.expose_secret())));
    let short = by_token.filter(|url| url.as_str().len() <= MAX_URL_WITH_ID_TOKEN);
    Some(short.unwrap_or_else(|| url(("logout_hint", request.logout_hint))))
}

/// Returns `endpoint` with `parameters` added to its query, of which nothing named in `replaced` stays.
fn with_query<'a>(endpoint: &Url, replaced: &[&str], parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Url {
    let mut url = endpoint.clone();
    url.set_fragment(None);
    let kept = endpoint.query_pairs().filter(|(name, _)| !replaced.contains(&&**name));
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(parameters);
    url
}
