//! The demo's identity provider: an OpenID provider with two people and no passwords.
//!
//! It does what a real one does on the wire, and refuses what a real one refuses: a code is good once, for a minute, for
//! the client and address it was made for and with the PKCE verifier; refresh tokens rotate. It must not know the gate.

mod authorize;
mod ledger;
mod users;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use askama::Template;
use bytes::Bytes;
use cookie::{Cookie, SameSite};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use url::Url;

use self::{
    authorize::{Authorization, Parameters, Prompt, Refusal},
    ledger::{ACCESS_LIFETIME, Access, Grant, Ledger, SignIn},
    users::User,
    wire::{Issue, Press},
};
use super::{
    page::{self, STYLE},
    site::{self, Response, Site, Whole},
};
use crate::{clock::Clock, crypto};

/// The cookie by which the provider knows a browser again.
const COOKIE: &str = "doorward_demo_provider";

/// More than any form that is sent here.
const FORM_LIMIT: usize = 16 * 1024;

/// The one client that is registered.
pub(super) struct Client {
    /// `client_id`.
    pub(super) id: String,
    /// A digest of the secret: comparing digests tells nobody how much of a guess was right.
    pub(super) secret: [u8; 32],
    /// Where codes may be sent, compared as text.
    pub(super) redirect_uris: Vec<String>,
    /// Where a browser may be sent after signing out, compared as text.
    pub(super) post_logout_redirect_uris: Vec<String>,
}

/// The provider.
pub(super) struct Provider {
    press: Press,
    client: Client,
    clock: Clock,
    ledger: Mutex<Ledger>,
}

/// Why the token endpoint refuses (RFC 6749, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnsupportedGrantType,
    /// A defect of the demo.
    Server,
}

impl Provider {
    /// A provider that nobody is signed in at, with a new key. `issuer` ends with a slash.
    pub(super) fn new(issuer: Url, client: Client, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self { press: Press::new(issuer)?, client, clock, ledger: Mutex::new(Ledger::new()) })
    }

    fn respond(&self, parts: &Parts, form: &[u8]) -> Whole {
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration") => site::json(StatusCode::OK, &self.press.metadata()),
            (&Method::GET, "/jwks") => site::json(StatusCode::OK, &self.press.keys()),
            (&Method::GET, "/authorize") => self.authorize(parts),
            (&Method::POST, "/authorize") => self.choose(parts, form),
            (&Method::POST, "/token") => self.token(&parts.headers, form),
            (&Method::GET | &Method::POST, "/userinfo") => self.user_info(&parts.headers),
            (&Method::GET, "/end_session") => self.end_session(parts, parts.uri.query().unwrap_or_default().as_bytes()),
            (&Method::POST, "/end_session") => self.end_session(parts, form),
            _ => site::line(StatusCode::NOT_FOUND, "the demo's identity provider has nothing here"),
        }
    }

    /// Sends somebody who is signed in back with a code, and asks everybody else who they are.
    fn authorize(&self, parts: &Parts) -> Whole {
        let authorization = match self.authorization(parts) {
            Ok(authorization) => authorization,
            Err(refusal) => return self.refuse(refusal),
        };
        match (authorization.prompt, self.signed_in(&parts.headers)) {
            (Prompt::IfNeeded | Prompt::Never, Some(sign_in)) => self.grant(authorization, sign_in),
            (Prompt::Never, None) => away(authorization.back.with_error("login_required", self.press.issuer())),
            (Prompt::IfNeeded, None) | (Prompt::Always, _) => self.ask(parts),
        }
    }

    /// Signs in whoever was chosen on the page.
    fn choose(&self, parts: &Parts, form: &[u8]) -> Whole {
        // Another site must not sign a browser in behind its owner's back. Programs send no such header.
        if parts.headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
            return told(StatusCode::FORBIDDEN, "Not signed in", "Only the page of this provider can sign you in.");
        }
        let authorization = match self.authorization(parts) {
            Ok(authorization) => authorization,
            Err(refusal) => return self.refuse(refusal),
        };
        let Some(user) = Parameters::read(form).as_ref().and_then(|form| form.get("user")).and_then(User::named) else {
            return told(StatusCode::BAD_REQUEST, "Not signed in", "Nobody of that name is here.");
        };
        let (cookie, sign_in) = self.ledger().sign_in(user, self.clock.now());
        let mut answer = self.grant(authorization, sign_in);
        set_cookie(&mut answer, Cookie::build((COOKIE, cookie)));
        answer
    }

    fn authorization(&self, parts: &Parts) -> Result<Authorization, Refusal> {
        Authorization::read(parts.uri.query().unwrap_or_default(), &self.client)
    }

    fn refuse(&self, refusal: Refusal) -> Whole {
        match refusal {
            Refusal::Told(why) => told(StatusCode::BAD_REQUEST, "This request is refused", why),
            Refusal::SentBack(back, code) => away(back.with_error(code, self.press.issuer())),
        }
    }

    fn grant(&self, authorization: Authorization, sign_in: SignIn) -> Whole {
        let Authorization { back, nonce, challenge, access, prompt: _ } = authorization;
        let grant = Grant { sign_in, redirect_uri: back.redirect_uri.clone(), challenge, nonce, access };
        let code = self.ledger().issue_code(grant, self.clock.now());
        away(back.with_code(&code, self.press.issuer()))
    }

    fn ask(&self, parts: &Parts) -> Whole {
        let action = parts.uri.path_and_query().map_or("/authorize", http::uri::PathAndQuery::as_str);
        let page = Choice { style: STYLE, action, users: User::ALL };
        // Browsers hold the redirect that follows a form to the same list as the form (CSP, `form-action`).
        let mut targets = vec!["'self'".to_owned()];
        let origins = self.client.redirect_uris.iter().filter_map(|uri| Url::parse(uri).ok());
        targets.extend(origins.map(|uri| uri.origin().ascii_serialization()));
        page::page_with_form(StatusCode::OK, &page, &targets.join(" "))
    }

    fn token(&self, headers: &HeaderMap, form: &[u8]) -> Whole {
        match self.issue(headers, form) {
            Ok(tokens) => site::json(StatusCode::OK, &tokens),
            Err(error) => error.answer(),
        }
    }

    fn issue(&self, headers: &HeaderMap, form: &[u8]) -> Result<wire::TokenResponse, TokenError> {
        let form = Parameters::read(form).ok_or(TokenError::InvalidRequest)?;
        self.authenticate(headers, &form)?;
        match form.get("grant_type") {
            Some("authorization_code") => self.redeem(&form),
            Some("refresh_token") => self.rotate(&form),
            Some(_) => Err(TokenError::UnsupportedGrantType),
            None => Err(TokenError::InvalidRequest),
        }
    }

    fn authenticate(&self, headers: &HeaderMap, form: &Parameters) -> Result<(), TokenError> {
        let (id, secret) = if let Some(line) = headers.get(header::AUTHORIZATION) {
            basic(line).ok_or(TokenError::InvalidClient)?
        } else {
            let named = |name| form.get(name).unwrap_or_default().to_owned();
            (named("client_id"), named("client_secret"))
        };
        let known = id == self.client.id && crypto::digest(secret.as_bytes()) == self.client.secret;
        if known { Ok(()) } else { Err(TokenError::InvalidClient) }
    }

    fn redeem(&self, form: &Parameters) -> Result<wire::TokenResponse, TokenError> {
        let (Some(code), Some(verifier)) = (form.get("code"), form.get("code_verifier")) else {
            return Err(TokenError::InvalidRequest);
        };
        let grant = self.ledger().spend_code(code, self.clock.now()).ok_or(TokenError::InvalidGrant)?;
        let meant = form.get("redirect_uri") == Some(&grant.redirect_uri);
        let proven = crypto::encode(&crypto::digest(verifier.as_bytes())) == grant.challenge;
        if meant && proven {
            self.press_tokens(&grant.sign_in, grant.nonce, grant.access)
        } else {
            Err(TokenError::InvalidGrant)
        }
    }

    fn rotate(&self, form: &Parameters) -> Result<wire::TokenResponse, TokenError> {
        let token = form.get("refresh_token").ok_or(TokenError::InvalidRequest)?;
        let sign_in = self.ledger().spend_refresh(token, self.clock.now()).ok_or(TokenError::InvalidGrant)?;
        self.press_tokens(&sign_in, None, Access::Offline)
    }

    fn press_tokens(
        &self,
        sign_in: &SignIn,
        nonce: Option<String>,
        access: Access,
    ) -> Result<wire::TokenResponse, TokenError> {
        let now = self.clock.now();
        let mut ledger = self.ledger();
        let refresh = (access == Access::Offline).then(|| ledger.issue_refresh(sign_in.clone(), now));
        let issue = Issue {
            client_id: &self.client.id,
            sign_in,
            nonce,
            access: ledger.issue_access(sign_in.clone(), now),
            expires_in: ACCESS_LIFETIME,
            refresh,
        };
        self.press.tokens(issue, now).map_err(|error| {
            tracing::error!(%error, "the demo's identity provider cannot sign");
            TokenError::Server
        })
    }

    fn user_info(&self, headers: &HeaderMap) -> Whole {
        let token = headers.get(header::AUTHORIZATION).and_then(|line| line.to_str().ok()?.strip_prefix("Bearer "));
        let user = token.and_then(|token| Some(self.ledger().bearer(token, self.clock.now())?.user));
        let Some(user) = user else {
            let mut answer = site::json(StatusCode::UNAUTHORIZED, &serde_json::json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return answer;
        };
        site::json(StatusCode::OK, &wire::user_info(user))
    }

    /// Signs the browser out (`OpenID` Connect RP-Initiated Logout 1.0) and sends it back only to an address of the
    /// client's.
    fn end_session(&self, parts: &Parts, asked: &[u8]) -> Whole {
        for cookie in cookies(&parts.headers) {
            self.ledger().sign_out(cookie, self.clock.now());
        }
        let asked = Parameters::read(asked);
        let asked = |name| asked.as_ref().and_then(|asked| asked.get(name));
        let back = asked("post_logout_redirect_uri")
            .filter(|uri| self.client.post_logout_redirect_uris.iter().any(|own| own == uri))
            .and_then(|uri| Url::parse(uri).ok());
        let mut answer = match back {
            Some(mut back) => {
                if let Some(state) = asked("state") {
                    back.query_pairs_mut().append_pair("state", state);
                }
                away(Some(back))
            }
            None => told(StatusCode::OK, "Signed out", "The next app that you open will ask who you are."),
        };
        set_cookie(&mut answer, Cookie::build((COOKIE, String::new())).max_age(cookie::time::Duration::ZERO));
        answer
    }

    fn signed_in(&self, headers: &HeaderMap) -> Option<SignIn> {
        let (ledger, now) = (self.ledger(), self.clock.now());
        cookies(headers).find_map(|cookie| ledger.signed_in(cookie, now).cloned())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each change is made in one go, so a panic elsewhere leaves nothing half done.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site for Provider {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> Response {
        let (parts, body) = request.into_parts();
        let form = Limited::new(body, FORM_LIMIT).collect().await.map(http_body_util::Collected::to_bytes);
        site::whole(match form {
            Ok(form) => self.respond(&parts, &form),
            Err(_) => site::line(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long or broken off"),
        })
    }
}

impl TokenError {
    fn answer(self) -> Whole {
        let (status, code) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Server => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        let mut answer = site::json(status, &serde_json::json!({ "error": code }));
        if self == Self::InvalidClient {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        answer
    }
}

/// The client's id and secret in a `Basic` line. Our id and secrets are the same with and without percent-encoding.
fn basic(line: &HeaderValue) -> Option<(String, String)> {
    let decoded = BASE64.decode(line.to_str().ok()?.strip_prefix("Basic ")?.as_bytes()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    crate::cookie::values(headers, COOKIE).filter_map(|value| std::str::from_utf8(value).ok())
}

fn set_cookie(answer: &mut Whole, line: cookie::CookieBuilder<'_>) {
    let line = line.path("/").http_only(true).same_site(SameSite::Lax).build();
    if let Ok(line) = HeaderValue::from_str(&line.to_string()) {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
}

/// A redirect that turns a form into a page being opened.
fn away(to: Option<Url>) -> Whole {
    let Some(location) = to.and_then(|url| HeaderValue::from_str(url.as_str()).ok()) else {
        return told(StatusCode::BAD_REQUEST, "This request is refused", "There is no way back to the app.");
    };
    let mut answer = site::answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

fn told(status: StatusCode, heading: &str, message: &str) -> Whole {
    page::page(status, &Told { style: STYLE, heading, message })
}

#[derive(Template)]
#[template(path = "choice.html")]
struct Choice<'a> {
    style: &'static str,
    action: &'a str,
    users: [User; 2],
}

#[derive(Template)]
#[template(path = "told.html")]
struct Told<'a> {
    style: &'static str,
    heading: &'a str,
    message: &'a str,
}
