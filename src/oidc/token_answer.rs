//! Answers of the token endpoint: what is meant by a status, a body and an error code (RFC 6749, sections 5.1 and 5.2).
//!
//! Promises: any 2xx whose body is a token response counts, whatever its `Content-Type` says; a session is over only where
//! the provider refuses its refresh token, and not because of what a proxy before it says; errors hold no code and no token.

use std::{future::Future, pin::Pin};

use http::{Response, StatusCode};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde::Deserialize;
use url::Url;

use super::{
    client_auth::TokenUse,
    error::{Error, is_plain_word},
    odd_fields::OddFields,
    token_set::{TokenSet, TokenSetError},
    transport::{HttpTransport, TransportError},
};

/// Codes for which the person would have to come back (`OpenID` Connect Core, section 3.1.2.6); Entra sends them here too.
/// `access_denied` is what a policy at the provider says about the person.
const INTERACTION_CODES: &[&str] =
    &["interaction_required", "login_required", "account_selection_required", "consent_required", "access_denied"];

/// A client of the token endpoint for the `oauth2` crate, which takes nothing but status 200 with the right `Content-Type`:
/// an answer is read here, and passed on as that crate wants it.
pub(super) struct TokenClient<'a> {
    pub(super) http: &'a HttpTransport,
    pub(super) odd: &'a OddFields,
    pub(super) token_use: TokenUse,
}

/// A client of the revocation endpoint for the `oauth2` crate, which knows it by an https address only.
pub(super) struct RevocationClient<'a> {
    pub(super) http: &'a HttpTransport,
    /// The address itself.
    pub(super) endpoint: &'a Url,
}

/// Errors of one request to the token endpoint.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The client authentication was refused, before anything else was looked at.
    #[error("the client authentication was refused: {0}")]
    ClientAuthentication(String),
    /// Everything else.
    #[error(transparent)]
    Other(#[from] Error),
}

/// The error code of an error response. Descriptions are left out: some repeat the request.
#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
}

impl<'c> AsyncHttpClient<'c> for TokenClient<'_> {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.http.send(request).await.map_err(Error::from)?;
            let tokens = read(response.status(), response.body(), self.token_use, self.odd)?;
            let body = serde_json::to_vec(&tokens).expect("tokens are text and a number");
            Ok(Response::new(body))
        })
    }
}

impl<'c> AsyncHttpClient<'c> for RevocationClient<'_> {
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TransportError>> + Send + 'c>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            *request.uri_mut() = self.endpoint.as_str().parse().map_err(|_| TransportError::Cleartext)?;
            let mut response = self.http.send(request).await?;
            if response.status().is_success() {
                *response.status_mut() = StatusCode::OK;
            }
            Ok(response)
        })
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::ClientAuthentication(reason) => Self::ClientRefused(reason),
            TokenError::Other(error) => error,
        }
    }
}

/// Reads an answer of the token endpoint.
fn read(status: StatusCode, body: &[u8], token_use: TokenUse, odd: &OddFields) -> Result<TokenSet, TokenError> {
    if !status.is_success() {
        return Err(refusal(status, body, token_use));
    }
    TokenSet::read(body, odd).map_err(|error| match (&error, token_use) {
        // The body of an outage that calls itself a success: a session does not depend on it.
        (TokenSetError::Unreadable(_), TokenUse::Renewal) => {
            Error::UnreadableAnswer(format!("status {status}, and {error}")).into()
        }
        _ => Error::InvalidMessage(error.to_string()).into(),
    })
}

/// Returns the meaning of an answer that is no success.
fn refusal(status: StatusCode, body: &[u8], token_use: TokenUse) -> TokenError {
    let code = serde_json::from_slice(body).ok().map(|ErrorResponse { error }| error);
    match (code.as_deref(), token_use) {
        (Some("invalid_client"), _) => TokenError::ClientAuthentication("invalid_client".to_owned()),
        // Keycloak's name for a wrong secret; and RFC 6749 has this status for nothing else.
        (Some("unauthorized_client"), _) if status == StatusCode::UNAUTHORIZED => {
            TokenError::ClientAuthentication("unauthorized_client".to_owned())
        }
        (None, _) if status == StatusCode::UNAUTHORIZED => {
            TokenError::ClientAuthentication(format!("status {status} without an error code"))
        }
        (Some("invalid_grant"), _) => Error::GrantRefused.into(),
        (Some(code @ ("temporarily_unavailable" | "server_error")), _) => Error::Unavailable(code.to_owned()).into(),
        (Some(code), TokenUse::Renewal) if is_grant_refused(status, code) => Error::GrantRefused.into(),
        (Some(code), _) if is_plain_word(code) => Error::ClientRefused(code.to_owned()).into(),
        (Some(_), _) => Error::ClientRefused("an error that is not a code".to_owned()).into(),
        (None, TokenUse::SignIn) => {
            Error::InvalidMessage(format!("the token endpoint answered with status {status} and no error code")).into()
        }
        // A proxy before a provider that is being replaced.
        (None, TokenUse::Renewal) => {
            Error::UnreadableAnswer(format!("status {status} without an error code from the token endpoint")).into()
        }
    }
}

/// Returns `true` if a code says at a renewal that the refresh token is not accepted any more. Dex says `invalid_request` for
/// one that it does not know; what concerns the client or its configuration would be said of every session.
fn is_grant_refused(status: StatusCode, code: &str) -> bool {
    INTERACTION_CODES.contains(&code) || (status == StatusCode::BAD_REQUEST && code == "invalid_request")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_at(token_use: TokenUse, status: u16, body: &str) -> Result<TokenSet, TokenError> {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), token_use, &OddFields::new("authentik"))
    }

    #[test]
    fn any_success_with_tokens_in_it_counts() {
        for status in [200, 201, 202, 203, 299] {
            let body = json!({ "access_token": "a" }).to_string();
            assert!(read_at(TokenUse::Renewal, status, &body).is_ok(), "{status}");
        }
    }

    #[test]
    fn a_refresh_token_that_the_provider_does_not_accept_is_refused_under_any_name() {
        for (status, code, expected) in [
            (400, "invalid_request", "GrantRefused"),
            (400, "invalid_grant", "GrantRefused"),
            (403, "invalid_grant", "GrantRefused"),
            (400, "access_denied", "GrantRefused"),
            (400, "login_required", "GrantRefused"),
            (400, "unauthorized_client", "ClientRefused"),
            (400, "unsupported_grant_type", "ClientRefused"),
            (400, "invalid_scope", "ClientRefused"),
            (400, "slow_down", "ClientRefused"),
            (400, "temporarily_unavailable", "Unavailable"),
            (400, "server_error", "Unavailable"),
            (404, "invalid_request", "ClientRefused"),
            (400, "invalid_client", "ClientAuthentication"),
            (401, "invalid_client", "ClientAuthentication"),
            (401, "unauthorized_client", "ClientAuthentication"),
        ] {
            let error = read_at(TokenUse::Renewal, status, &json!({ "error": code }).to_string()).unwrap_err();
            let text = format!("{error:?}");
            assert!(text.contains(expected), "{status} {code}: {text}");
        }
        let at_sign_in = read_at(TokenUse::SignIn, 400, r#"{"error":"invalid_request"}"#).unwrap_err();
        assert!(matches!(&at_sign_in, TokenError::Other(Error::ClientRefused(_))), "{at_sign_in:?}");
    }

    #[test]
    fn an_answer_without_a_code_ends_no_session() {
        for (status, body) in [
            (404, "<h1>no</h1>"),
            (403, ""),
            (400, r#"{"error":{"code":1}}"#),
            (200, "<h1>soon</h1>"),
            (200, "{}"),
            (204, ""),
        ] {
            let error = read_at(TokenUse::Renewal, status, body).unwrap_err();
            assert!(matches!(&error, TokenError::Other(Error::UnreadableAnswer(_))), "{status} {body}: {error:?}");
            let error = read_at(TokenUse::SignIn, status, body).unwrap_err();
            assert!(matches!(&error, TokenError::Other(Error::InvalidMessage(_))), "{status} {body}: {error:?}");
        }
        let unauthorized = read_at(TokenUse::Renewal, 401, "<h1>no</h1>").unwrap_err();
        assert!(matches!(&unauthorized, TokenError::ClientAuthentication(_)), "{unauthorized:?}");
    }
}
