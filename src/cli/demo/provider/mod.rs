//! The demo's identity provider: an OpenID provider with two people and no passwords.
//!
//! It behaves and refuses like a real one on the wire: a code is valid once, for a minute, for its client and redirect URI,
//! and with the PKCE verifier; refresh tokens rotate.

mod authorize;
mod client;
mod state;
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

pub(super) use self::client::RegisteredClient;
use self::{
    authorize::{AuthorizationError, AuthorizationParameters, FormParameters, Prompt},
    state::{ACCESS_LIFETIME, AccessType, CodeGrant, ProviderSession, ProviderState},
    users::User,
    wire::{TokenParameters, TokenSigner},
};
use super::{
    page::{self, STYLE},
    web::{self, FullResponse, Handler, StreamedResponse},
};
use crate::{clock::Clock, crypto};

/// Name of the provider's session cookie.
const COOKIE: &str = "doorward_demo_provider";

/// Size limit of a form in bytes: more than any that is sent here.
const MAX_FORM_SIZE: usize = 16 * 1024;

/// An OpenID provider in memory.
pub(super) struct DemoProvider {
    signer: TokenSigner,
    client: RegisteredClient,
    clock: Clock,
    state: Mutex<ProviderState>,
}

/// Error response of the token endpoint (RFC 6749, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenEndpointError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnsupportedGrantType,
    /// A bug of the demo.
    Server,
}

impl DemoProvider {
    /// A provider without sessions, with a new key. `issuer` ends with a slash.
    pub(super) fn new(issuer: Url, client: RegisteredClient, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self { signer: TokenSigner::new(issuer)?, client, clock, state: Mutex::new(ProviderState::new()) })
    }

    fn respond(&self, parts: &Parts, form: &[u8]) -> FullResponse {
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration") => web::json(StatusCode::OK, &self.signer.metadata()),
            (&Method::GET, "/jwks") => web::json(StatusCode::OK, &self.signer.keys()),
            (&Method::GET, "/authorize") => self.authorize(parts),
            (&Method::POST, "/authorize") => self.choose(parts, form),
            (&Method::POST, "/token") => self.token(&parts.headers, form),
            (&Method::GET | &Method::POST, "/userinfo") => self.user_info(&parts.headers),
            (&Method::GET, "/end_session") => self.end_session(parts, parts.uri.query().unwrap_or_default().as_bytes()),
            (&Method::POST, "/end_session") => self.end_session(parts, form),
            _ => web::text(StatusCode::NOT_FOUND, "the demo's identity provider has nothing here"),
        }
    }

    /// Handles the authorization request: redirects with a code if the browser is signed in, else shows the page to choose
    /// a user.
    fn authorize(&self, parts: &Parts) -> FullResponse {
        let authorization = match self.authorization(parts) {
            Ok(authorization) => authorization,
            Err(refusal) => return self.refuse(refusal),
        };
        match (authorization.prompt, self.signed_in(&parts.headers)) {
            (Prompt::IfNeeded | Prompt::Never, Some(sign_in)) => self.grant(authorization, sign_in),
            (Prompt::Never, None) => redirect(authorization.back.with_error("login_required", self.signer.issuer())),
            (Prompt::IfNeeded, None) | (Prompt::Always, _) => self.ask(parts),
        }
    }

    /// Signs in the user who was chosen on the page.
    fn choose(&self, parts: &Parts, form: &[u8]) -> FullResponse {
        // Login CSRF: another site must not sign a browser in. Programs send no such header.
        if parts.headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
            return message_page(
                StatusCode::FORBIDDEN,
                "Not signed in",
                "Only the page of this provider can sign you in.",
            );
        }
        let authorization = match self.authorization(parts) {
            Ok(authorization) => authorization,
            Err(refusal) => return self.refuse(refusal),
        };
        let Some(user) = FormParameters::read(form).as_ref().and_then(|form| form.get("user")).and_then(User::named)
        else {
            return message_page(StatusCode::BAD_REQUEST, "Not signed in", "Nobody of that name is here.");
        };
        let (cookie, sign_in) = self.state().sign_in(user, self.clock.now());
        let mut answer = self.grant(authorization, sign_in);
        set_cookie(&mut answer, Cookie::build((COOKIE, cookie)));
        answer
    }

    fn authorization(&self, parts: &Parts) -> Result<AuthorizationParameters, AuthorizationError> {
        AuthorizationParameters::read(parts.uri.query().unwrap_or_default(), &self.client)
    }

    fn refuse(&self, refusal: AuthorizationError) -> FullResponse {
        match refusal {
            AuthorizationError::MessagePage(why) => {
                message_page(StatusCode::BAD_REQUEST, "This request is refused", why)
            }
            AuthorizationError::RedirectToClient(back, code) => redirect(back.with_error(code, self.signer.issuer())),
        }
    }

    fn grant(&self, authorization: AuthorizationParameters, sign_in: ProviderSession) -> FullResponse {
        let AuthorizationParameters { back, nonce, challenge, access, prompt: _ } = authorization;
        let grant = CodeGrant { sign_in, redirect_uri: back.redirect_uri.clone(), challenge, nonce, access };
        let code = self.state().issue_code(grant, self.clock.now());
        redirect(back.with_code(&code, self.signer.issuer()))
    }

    fn ask(&self, parts: &Parts) -> FullResponse {
        let action = parts.uri.path_and_query().map_or("/authorize", http::uri::PathAndQuery::as_str);
        let page = UserChoicePage { style: STYLE, action, users: User::ALL };
        // Browsers check the redirect after a form against the same list as the form (CSP, `form-action`).
        let mut targets = vec!["'self'".to_owned()];
        let origins = self.client.redirect_uris.iter().filter_map(|uri| Url::parse(uri).ok());
        targets.extend(origins.map(|uri| uri.origin().ascii_serialization()));
        page::page_with_form(StatusCode::OK, &page, &targets.join(" "))
    }

    fn token(&self, headers: &HeaderMap, form: &[u8]) -> FullResponse {
        match self.issue(headers, form) {
            Ok(tokens) => web::json(StatusCode::OK, &tokens),
            Err(error) => error.answer(),
        }
    }

    fn issue(&self, headers: &HeaderMap, form: &[u8]) -> Result<wire::TokenEndpointResponse, TokenEndpointError> {
        let form = FormParameters::read(form).ok_or(TokenEndpointError::InvalidRequest)?;
        self.authenticate(headers, &form)?;
        match form.get("grant_type") {
            Some("authorization_code") => self.redeem(&form),
            Some("refresh_token") => self.rotate(&form),
            Some(_) => Err(TokenEndpointError::UnsupportedGrantType),
            None => Err(TokenEndpointError::InvalidRequest),
        }
    }

    fn authenticate(&self, headers: &HeaderMap, form: &FormParameters) -> Result<(), TokenEndpointError> {
        let (id, secret) = if let Some(line) = headers.get(header::AUTHORIZATION) {
            basic(line).ok_or(TokenEndpointError::InvalidClient)?
        } else {
            let field = |name| form.get(name).unwrap_or_default().to_owned();
            (field("client_id"), field("client_secret"))
        };
        let known = id == self.client.id && crypto::digest(secret.as_bytes()) == self.client.secret;
        if known { Ok(()) } else { Err(TokenEndpointError::InvalidClient) }
    }

    fn redeem(&self, form: &FormParameters) -> Result<wire::TokenEndpointResponse, TokenEndpointError> {
        let (Some(code), Some(verifier)) = (form.get("code"), form.get("code_verifier")) else {
            return Err(TokenEndpointError::InvalidRequest);
        };
        let grant = self.state().redeem_code(code, self.clock.now()).ok_or(TokenEndpointError::InvalidGrant)?;
        let same_redirect = form.get("redirect_uri") == Some(&grant.redirect_uri);
        let pkce_holds = crypto::encode(&crypto::digest(verifier.as_bytes())) == grant.challenge;
        if same_redirect && pkce_holds {
            self.issue_tokens(&grant.sign_in, grant.nonce, grant.access)
        } else {
            Err(TokenEndpointError::InvalidGrant)
        }
    }

    fn rotate(&self, form: &FormParameters) -> Result<wire::TokenEndpointResponse, TokenEndpointError> {
        let token = form.get("refresh_token").ok_or(TokenEndpointError::InvalidRequest)?;
        let sign_in = self.state().redeem_refresh(token, self.clock.now()).ok_or(TokenEndpointError::InvalidGrant)?;
        self.issue_tokens(&sign_in, None, AccessType::Offline)
    }

    fn issue_tokens(
        &self,
        sign_in: &ProviderSession,
        nonce: Option<String>,
        access: AccessType,
    ) -> Result<wire::TokenEndpointResponse, TokenEndpointError> {
        let now = self.clock.now();
        let mut state = self.state();
        let refresh = (access == AccessType::Offline).then(|| state.issue_refresh(sign_in.clone(), now));
        let issue = TokenParameters {
            client_id: &self.client.id,
            sign_in,
            nonce,
            access: state.issue_access(sign_in.clone(), now),
            expires_in: ACCESS_LIFETIME,
            refresh,
        };
        self.signer.tokens(issue, now).map_err(|error| {
            tracing::error!(%error, "the demo's identity provider cannot sign");
            TokenEndpointError::Server
        })
    }

    fn user_info(&self, headers: &HeaderMap) -> FullResponse {
        let token = headers.get(header::AUTHORIZATION).and_then(|line| line.to_str().ok()?.strip_prefix("Bearer "));
        let user = token.and_then(|token| Some(self.state().bearer(token, self.clock.now())?.user));
        let Some(user) = user else {
            let mut answer = web::json(StatusCode::UNAUTHORIZED, &serde_json::json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return answer;
        };
        web::json(StatusCode::OK, &wire::user_info(user))
    }

    /// Signs the browser out (`OpenID` Connect RP-Initiated Logout 1.0) and redirects only to a registered URI of the
    /// client.
    fn end_session(&self, parts: &Parts, asked: &[u8]) -> FullResponse {
        for cookie in cookies(&parts.headers) {
            self.state().sign_out(cookie, self.clock.now());
        }
        let asked = FormParameters::read(asked);
        let asked = |name| asked.as_ref().and_then(|asked| asked.get(name));
        let back = asked("post_logout_redirect_uri")
            .filter(|uri| self.client.post_logout_redirect_uris.iter().any(|own| own == uri))
            .and_then(|uri| Url::parse(uri).ok());
        let mut answer = match back {
            Some(mut back) => {
                if let Some(state) = asked("state") {
                    back.query_pairs_mut().append_pair("state", state);
                }
                redirect(Some(back))
            }
            None => message_page(StatusCode::OK, "Signed out", "The next app that you open will ask who you are."),
        };
        set_cookie(&mut answer, Cookie::build((COOKIE, String::new())).max_age(cookie::time::Duration::ZERO));
        answer
    }

    fn signed_in(&self, headers: &HeaderMap) -> Option<ProviderSession> {
        let (state, now) = (self.state(), self.clock.now());
        cookies(headers).find_map(|cookie| state.signed_in(cookie, now).cloned())
    }

    fn state(&self) -> MutexGuard<'_, ProviderState> {
        // No change can panic half-way, so the state of a poisoned lock is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for DemoProvider {
    async fn answer(&self, request: Request<Incoming>, _peer: IpAddr) -> StreamedResponse {
        let (parts, body) = request.into_parts();
        let form = Limited::new(body, MAX_FORM_SIZE).collect().await.map(http_body_util::Collected::to_bytes);
        web::boxed(match form {
            Ok(form) => self.respond(&parts, &form),
            Err(_) => web::text(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long or broken off"),
        })
    }
}

impl TokenEndpointError {
    fn answer(self) -> FullResponse {
        let (status, code) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Server => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        let mut answer = web::json(status, &serde_json::json!({ "error": code }));
        if self == Self::InvalidClient {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        answer
    }
}

/// Returns the client ID and secret of a `Basic` credential. Ours are the same with and without percent-encoding.
fn basic(line: &HeaderValue) -> Option<(String, String)> {
    let decoded = BASE64.decode(line.to_str().ok()?.strip_prefix("Basic ")?.as_bytes()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    crate::cookie::values(headers, COOKIE).filter_map(|value| std::str::from_utf8(value).ok())
}

fn set_cookie(answer: &mut FullResponse, line: cookie::CookieBuilder<'_>) {
    let line = line.path("/").http_only(true).same_site(SameSite::Lax).build();
    if let Ok(line) = HeaderValue::from_str(&line.to_string()) {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
}

/// Redirects with 303, which turns the POST of a form into a GET.
fn redirect(to: Option<Url>) -> FullResponse {
    let Some(location) = to.and_then(|url| HeaderValue::from_str(url.as_str()).ok()) else {
        return message_page(StatusCode::BAD_REQUEST, "This request is refused", "There is no way back to the app.");
    };
    let mut answer = web::response(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

fn message_page(status: StatusCode, heading: &str, message: &str) -> FullResponse {
    page::page(status, &MessagePage { style: STYLE, heading, message })
}

/// Page to choose a user.
#[derive(Template)]
#[template(path = "choice.html")]
struct UserChoicePage<'a> {
    style: &'static str,
    action: &'a str,
    users: [User; 2],
}

/// Page with a heading and a message.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    style: &'static str,
    heading: &'a str,
    message: &'a str,
}
