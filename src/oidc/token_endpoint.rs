//! The token endpoint (RFC 6749) and the revocation endpoint (RFC 7009).
//!
//! Promises: no request is sent twice, because a code and a rotated refresh token count once; errors hold no code and no
//! token.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, RevocationUrl, StandardRevocableToken, TokenResponse as _, TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use url::Url;

use super::{
    error::Error,
    id_token::HeldIdToken,
    metadata::{ClientAuthentication, ProviderMetadata},
    metered::MeteredTransport,
    settings::Settings,
    token_set::{MAX_EXPIRES_IN, TokenSet},
    transport::TransportError,
};
use crate::{
    clock::{Clock, Timestamp},
    identity::Tokens,
    metrics::Endpoint,
};

/// Time until the next renewal of a session whose provider says neither when its access token expires nor when its ID token
/// does.
const DEFAULT_RENEWAL: Duration = Duration::from_mins(5);
/// Shortest remaining lifetime of an ID token that a renewal is timed by.
const MIN_ID_TOKEN_LIFETIME: Duration = Duration::from_secs(30);
/// Deadline of a revocation. Short, because nothing depends on it.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(3);

type OAuthClient = oauth2::Client<
    BasicErrorResponse,
    TokenSet,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// An authorization response, and the parameters of the request that it answers.
#[derive(Clone, Debug)]
pub struct Redemption<'a> {
    /// The authorization code.
    pub code: &'a str,
    /// `iss` of the response, where it was sent (RFC 9207).
    pub iss: Option<&'a str>,
    /// `redirect_uri` of the request.
    pub redirect_uri: &'a str,
    /// `nonce` of the request.
    pub nonce: &'a str,
    /// PKCE code verifier of the request.
    pub code_verifier: &'a str,
}

/// The token endpoint and the revocation endpoint of one provider.
pub(super) struct TokenEndpoint {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
    clock: Clock,
    warned_of_refresh_token: AtomicBool,
    warned_of_expires_in: AtomicBool,
}

impl TokenEndpoint {
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>, clock: Clock) -> Self {
        Self {
            settings,
            http,
            clock,
            warned_of_refresh_token: AtomicBool::new(false),
            warned_of_expires_in: AtomicBool::new(false),
        }
    }

    /// Exchanges an authorization code for tokens (RFC 6749, section 4.1.3; PKCE, RFC 7636).
    pub(super) async fn exchange_code(
        &self,
        redemption: &Redemption<'_>,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        self.http.counted(Endpoint::Token, self.request_with_code(redemption, metadata)).await
    }

    /// Exchanges a refresh token for new tokens (RFC 6749, section 6). It may be spent by that, whatever the answer.
    pub(super) async fn refresh(
        &self,
        refresh_token: &SecretString,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        self.http.counted(Endpoint::Token, self.request_with_refresh_token(refresh_token, metadata)).await
    }

    /// Revokes a refresh token where the provider offers that (RFC 7009). A failure is only logged.
    pub(super) async fn revoke(&self, refresh_token: &SecretString, metadata: &ProviderMetadata) {
        let Some(endpoint) = &metadata.revocation_endpoint else { return };
        let request = timeout(REVOCATION_TIMEOUT, self.request_revocation(refresh_token, endpoint, metadata));
        let request = async { request.await.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".into()))) };
        if let Err(error) = self.http.counted(Endpoint::Revocation, request).await {
            tracing::info!(provider = self.settings.name, %error, "a refresh token was not revoked and ends by itself");
        }
    }

    async fn request_with_code(
        &self,
        redemption: &Redemption<'_>,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        let redirect = RedirectUrl::new(redemption.redirect_uri.to_owned())
            .map_err(|_| Error::ClientRefused("the redirect URI is not a URL".into()))?;
        let response = client(&self.settings, metadata)
            .exchange_code(AuthorizationCode::new(redemption.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(redemption.code_verifier.to_owned()))
            .set_redirect_uri(Cow::Owned(redirect))
            .request_async(self.http.transport())
            .await
            .map_err(error_at_sign_in)?;
        require_bearer(response)
    }

    async fn request_with_refresh_token(
        &self,
        refresh_token: &SecretString,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        let response = client(&self.settings, metadata)
            .exchange_refresh_token(&RefreshToken::new(refresh_token.expose_secret().to_owned()))
            .request_async(self.http.transport())
            .await
            .map_err(error_at_renewal)?;
        require_bearer(response)
    }

    /// Sends the revocation request, but not to an endpoint that is not https, as the standard wants it.
    async fn request_revocation(
        &self,
        refresh_token: &SecretString,
        endpoint: &Url,
        metadata: &ProviderMetadata,
    ) -> Result<(), Error> {
        let client = client(&self.settings, metadata).set_revocation_url(RevocationUrl::from_url(endpoint.clone()));
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let request = client.revoke_token(token.into()).map_err(|_| TransportError::Cleartext)?;
        request.request_async(self.http.transport()).await.map_err(|error| match error {
            RequestTokenError::Request(error) => error.into(),
            _ => Error::ClientRefused("it will not revoke the token".into()),
        })
    }

    /// Returns the tokens of a response. `id_expires` is when its ID token expires, where that was verified: a session whose
    /// access token has no `expires_in` is renewed by it, or else after [`DEFAULT_RENEWAL`], because a session that is never
    /// renewed keeps its groups for as long as it lasts.
    pub(super) fn tokens(&self, response: &TokenSet, id_expires: Option<Timestamp>) -> Tokens {
        let (secret, now) = (|token: &str| Some(SecretString::from(token)), self.clock.now());
        let by_id = id_expires.filter(|time| (MIN_ID_TOKEN_LIFETIME..=MAX_EXPIRES_IN).contains(&time.since(now)));
        let by_access = response.expires_in().map(|expires_in| now.plus(expires_in));
        Tokens {
            access: secret(response.access_token().secret()),
            access_ends: by_access.or(by_id).or_else(|| Some(now.plus(DEFAULT_RENEWAL))),
            refresh: response.refresh_token().and_then(|token| secret(token.secret())),
            id: response.id_token.as_deref().and_then(secret),
        }
    }

    /// Warns, once, where a sign-in brought no refresh token or no `expires_in`: sessions without a refresh token cannot be
    /// renewed.
    pub(super) fn warn_at_sign_in(&self, response: &TokenSet) {
        let token = response.refresh_token();
        self.http.metrics().set_refresh_tokens(token.is_some());
        let asked = self.settings.scopes.iter().any(|scope| scope == "offline_access");
        if token.is_none() && asked && !self.warned_of_refresh_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                provider = self.settings.name,
                "the provider gave no refresh token although offline_access was asked for: sessions live by lifetime and \
                 idle_timeout, and groups change only at the next sign-in; mend: allow offline_access and refresh tokens \
                 for this client at the provider (authentik: add the offline_access scope mapping)"
            );
        }
        if token.is_some() {
            self.warn_of_expires_in(response);
        }
    }

    /// Warns, once, where a response has no `expires_in`: renewals are then timed by the ID token or a default.
    pub(super) fn warn_of_expires_in(&self, response: &TokenSet) {
        if response.expires_in().is_none() && !self.warned_of_expires_in.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                provider = self.settings.name,
                "the provider does not say how long its access tokens last, or not as a number of seconds (expires_in): \
                 sessions are renewed when the ID token ends, or else every 5 minutes; mend: have it send expires_in"
            );
        }
    }
}

/// Parses the ID token that a session holds.
pub(super) fn held(id_token: &SecretString) -> Option<HeldIdToken> {
    HeldIdToken::parse(id_token.expose_secret())
}

fn client(settings: &Settings, metadata: &ProviderMetadata) -> OAuthClient {
    let authentication = match metadata.client_authentication() {
        ClientAuthentication::Basic => AuthType::BasicAuth,
        ClientAuthentication::Post => AuthType::RequestBody,
    };
    let client = oauth2::Client::new(ClientId::new(settings.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_auth_type(authentication);
    match &settings.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    }
}

fn require_bearer(response: TokenSet) -> Result<TokenSet, Error> {
    match response.token_type() {
        BasicTokenType::Bearer => Ok(response),
        _ => Err(Error::InvalidMessage("the token endpoint issued another type of token than Bearer".into())),
    }
}

/// Returns the meaning of an error response (RFC 6749, section 5.2). Descriptions are left out: some repeat the request.
fn error_at_sign_in(error: RequestTokenError<TransportError, BasicErrorResponse>) -> Error {
    use BasicErrorResponseType as Code;
    match error {
        RequestTokenError::Request(error) => error.into(),
        RequestTokenError::ServerResponse(response) => match response.error() {
            Code::InvalidGrant => Error::GrantRefused,
            Code::Extension(code) if matches!(code.as_str(), "temporarily_unavailable" | "server_error") => {
                Error::Unavailable(code.clone())
            }
            Code::Extension(code) if !is_error_code(code) => Error::ClientRefused("an error that is not a code".into()),
            code => Error::ClientRefused(code.as_ref().to_owned()),
        },
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::InvalidMessage("the token endpoint's response is not one of OAuth 2.0".into())
        }
    }
}

/// Returns the same for a refresh token. Its session depends on the difference between a provider that refuses and one that
/// does not answer: an error page of a proxy before it is no refusal.
fn error_at_renewal(error: RequestTokenError<TransportError, BasicErrorResponse>) -> Error {
    use BasicErrorResponseType::Extension;
    /// Codes for which the person would have to come back (`OpenID` Connect Core, section 3.1.2.6); Entra sends them here too.
    const INTERACTION_CODES: &[&str] =
        &["interaction_required", "login_required", "account_selection_required", "consent_required"];
    match error {
        RequestTokenError::ServerResponse(response) if matches!(response.error(), Extension(code) if INTERACTION_CODES.contains(&code.as_str())) => {
            Error::GrantRefused
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::Unavailable("the token endpoint's response is not one of OAuth 2.0".into())
        }
        other => error_at_sign_in(other),
    }
}

fn is_error_code(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
