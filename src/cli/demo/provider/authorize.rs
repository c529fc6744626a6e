//! The authorization request (`OpenID` Connect Core 1.0, section 3.1.2): validation, and the redirect back to the client.

use std::collections::HashMap;

use url::Url;

use super::{client::RegisteredClient, state::AccessType};

/// Parameters of a query or a form. A repeated parameter makes all of them invalid (RFC 6749, section 3.1).
pub(super) struct FormParameters(HashMap<String, String>);

impl FormParameters {
    /// Parses `application/x-www-form-urlencoded` text.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut read = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if read.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(read))
    }

    /// Returns a parameter; an empty one counts as absent (RFC 6749, section 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A valid authorization request.
#[derive(Debug)]
pub(super) struct AuthorizationParameters {
    /// Redirect back to the client.
    pub(super) back: ClientRedirect,
    /// `nonce`, to be repeated in the ID token.
    pub(super) nonce: Option<String>,
    /// The PKCE challenge.
    pub(super) challenge: String,
    /// Online access, or offline access with a refresh token.
    pub(super) access: AccessType,
    /// Condition for showing the page to choose a user.
    pub(super) prompt: Prompt,
}

/// `prompt`: the condition for showing the page to choose a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// Show it if the browser is not signed in.
    IfNeeded,
    /// Always show it.
    Always,
    /// Never show it.
    Never,
}

/// Redirect back to the client.
#[derive(Debug)]
pub(super) struct ClientRedirect {
    /// Registered redirect URI of the client.
    pub(super) redirect_uri: String,
    state: Option<String>,
}

/// Error of an authorization request.
#[derive(Debug)]
pub(super) enum AuthorizationError {
    /// No valid redirect URI: the message is shown to the user.
    MessagePage(&'static str),
    /// Redirect to the client with an error code of RFC 6749, section 4.1.2.1, or `OpenID` Connect Core 1.0, section
    /// 3.1.2.6.
    RedirectToClient(ClientRedirect, &'static str),
}

impl AuthorizationParameters {
    /// Parses and validates a request.
    pub(super) fn read(query: &str, client: &RegisteredClient) -> Result<Self, AuthorizationError> {
        let asked = FormParameters::read(query.as_bytes())
            .ok_or(AuthorizationError::MessagePage("A parameter is there twice."))?;
        if asked.get("client_id") != Some(&client.id) {
            return Err(AuthorizationError::MessagePage("No client of this id is registered."));
        }
        let redirect_uri = asked.get("redirect_uri").unwrap_or_default().to_owned();
        if !client.redirect_uris.contains(&redirect_uri) {
            return Err(AuthorizationError::MessagePage("This redirect_uri is not registered."));
        }
        let back = ClientRedirect { redirect_uri, state: asked.get("state").map(ToOwned::to_owned) };
        match validate(&asked) {
            Ok((prompt, access, challenge)) => {
                Ok(Self { back, nonce: asked.get("nonce").map(ToOwned::to_owned), challenge, access, prompt })
            }
            Err(code) => Err(AuthorizationError::RedirectToClient(back, code)),
        }
    }
}

fn validate(asked: &FormParameters) -> Result<(Prompt, AccessType, String), &'static str> {
    if asked.get("response_type") != Some("code") {
        return Err("unsupported_response_type");
    }
    let scopes = || asked.get("scope").unwrap_or_default().split(' ');
    if !scopes().any(|scope| scope == "openid") {
        return Err("invalid_scope");
    }
    // PKCE is required, with a challenge of the length of a SHA-256.
    let challenge = asked.get("code_challenge").filter(|challenge| challenge.len() == 43).ok_or("invalid_request")?;
    if asked.get("code_challenge_method") != Some("S256") {
        return Err("invalid_request");
    }
    let prompt = prompt(asked.get("prompt").unwrap_or_default());
    let access = if scopes().any(|scope| scope == "offline_access") { AccessType::Offline } else { AccessType::Online };
    Ok((prompt, access, challenge.to_owned()))
}

/// Parses `prompt`. `consent` changes nothing, because the demo never asks for consent.
fn prompt(words: &str) -> Prompt {
    let asks_for = |wanted: &str| words.split(' ').any(|word| word == wanted);
    if asks_for("login") || asks_for("select_account") {
        Prompt::Always
    } else if asks_for("none") {
        Prompt::Never
    } else {
        Prompt::IfNeeded
    }
}

impl ClientRedirect {
    /// Returns the redirect URI with a code.
    pub(super) fn with_code(&self, code: &str, issuer: &Url) -> Option<Url> {
        self.with("code", code, issuer)
    }

    /// Returns the redirect URI with an error.
    pub(super) fn with_error(&self, error: &str, issuer: &Url) -> Option<Url> {
        self.with("error", error, issuer)
    }

    fn with(&self, name: &str, value: &str, issuer: &Url) -> Option<Url> {
        let mut url = Url::parse(&self.redirect_uri).ok()?;
        url.query_pairs_mut().append_pair(name, value).append_pair("iss", issuer.as_str());
        if let Some(state) = &self.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        Some(url)
    }
}
