//! The authorization request (`OpenID` Connect Core 1.0, section 3.1.2): what a client may ask for, and how it is told.

use std::collections::HashMap;

use url::Url;

use super::{Client, ledger::Access};

/// Parameters of a query or a form. A repeated one makes the whole unreadable (RFC 6749, section 3.1).
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut read = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if read.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(read))
    }

    /// A parameter; an empty one counts as absent, as the RFC has it.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// An authorization request that may be granted.
#[derive(Debug)]
pub(super) struct Authorization {
    /// Where the answer goes: the client and the state it wants back.
    pub(super) back: Back,
    /// To be repeated in the ID token.
    pub(super) nonce: Option<String>,
    /// The PKCE challenge.
    pub(super) challenge: String,
    /// For how long.
    pub(super) access: Access,
    /// Whether to ask the person.
    pub(super) prompt: Prompt,
}

/// Whether the person is asked who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// When nobody is signed in.
    IfNeeded,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// The way back to the client.
#[derive(Debug)]
pub(super) struct Back {
    /// One of the client's own addresses.
    pub(super) redirect_uri: String,
    state: Option<String>,
}

/// Why a request is not granted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no address that could be trusted with an answer, so the person is told.
    Told(&'static str),
    /// The client is told, with a code of RFC 6749, section 4.1.2.1, or `OpenID` Connect Core 1.0, section 3.1.2.6.
    SentBack(Back, &'static str),
}

impl Authorization {
    /// Reads and checks a request.
    pub(super) fn read(query: &str, client: &Client) -> Result<Self, Refusal> {
        let asked = Parameters::read(query.as_bytes()).ok_or(Refusal::Told("A parameter is there twice."))?;
        if asked.get("client_id") != Some(&client.id) {
            return Err(Refusal::Told("No client of this id is registered."));
        }
        let redirect_uri = asked.get("redirect_uri").unwrap_or_default().to_owned();
        if !client.redirect_uris.contains(&redirect_uri) {
            return Err(Refusal::Told("This redirect_uri is not registered."));
        }
        let back = Back { redirect_uri, state: asked.get("state").map(ToOwned::to_owned) };
        match wishes(&asked) {
            Ok((prompt, access, challenge)) => {
                Ok(Self { back, nonce: asked.get("nonce").map(ToOwned::to_owned), challenge, access, prompt })
            }
            Err(code) => Err(Refusal::SentBack(back, code)),
        }
    }
}

fn wishes(asked: &Parameters) -> Result<(Prompt, Access, String), &'static str> {
    if asked.get("response_type") != Some("code") {
        return Err("unsupported_response_type");
    }
    let scopes = || asked.get("scope").unwrap_or_default().split(' ');
    if !scopes().any(|scope| scope == "openid") {
        return Err("invalid_scope");
    }
    // Every client has to use PKCE, with a challenge that could be a SHA-256.
    let challenge = asked.get("code_challenge").filter(|challenge| challenge.len() == 43).ok_or("invalid_request")?;
    if asked.get("code_challenge_method") != Some("S256") {
        return Err("invalid_request");
    }
    let prompt = prompt(asked.get("prompt").unwrap_or_default());
    let access = if scopes().any(|scope| scope == "offline_access") { Access::Offline } else { Access::Online };
    Ok((prompt, access, challenge.to_owned()))
}

/// Reads a list of words; `consent` changes nothing, because nobody is asked for any.
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

impl Back {
    /// The client's address with a code.
    pub(super) fn with_code(&self, code: &str, issuer: &Url) -> Option<Url> {
        self.with("code", code, issuer)
    }

    /// The client's address with an error.
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
