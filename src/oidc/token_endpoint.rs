//! The token endpoint (RFC 6749) and the revocation endpoint (RFC 7009).
//!
//! Promises: no request is sent twice, because a code and a rotated refresh token count once, but where the client
//! authentication was refused before they were looked at; errors hold no code and no token.

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
    RefreshToken, RequestTokenError, RevocationUrl, Scope, StandardRevocableToken, TokenResponse as _, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use openidconnect::{
    JsonWebKey as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::{
    client_auth::{AcceptedMethod, AuthPlan, ClientAuthMethod, TokenUse},
    error::Error,
    id_token::HeldIdToken,
    metadata::ProviderMetadata,
    metered::MeteredTransport,
    odd_fields::OddFields,
    settings::Settings,
    sign_in::Redemption,
    token_answer::{RevocationClient, TokenClient, TokenError},
    token_set::{MAX_EXPIRES_IN, TokenSet},
    transport::TransportError,
};
use crate::{
    clock::{Clock, Timestamp},
    identity::Tokens,
    metrics::{Endpoint, ProviderResult},
};

/// Time until the next renewal of a session whose provider says neither when its access token expires nor when its ID token
/// does.
const DEFAULT_RENEWAL: Duration = Duration::from_mins(5);
/// Shortest remaining lifetime of an ID token that a renewal is timed by.
const MIN_ID_TOKEN_LIFETIME: Duration = Duration::from_secs(30);
/// Deadline of a revocation. Short, because nothing depends on it.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Shortest client secret, in bytes, that may sign ID tokens: those of the hash's output.
const MIN_SIGNING_SECRET: usize = 32;

pub(super) type OAuthClient = oauth2::Client<
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

/// The token endpoint and the revocation endpoint of one provider.
pub(super) struct TokenEndpoint {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
    clock: Clock,
    odd: Arc<OddFields>,
    accepted: AcceptedMethod,
    warned_of_refresh_token: AtomicBool,
    warned_of_expires_in: AtomicBool,
}

/// What is exchanged for tokens.
#[derive(Clone, Copy)]
enum TokenGrant<'a> {
    Code(&'a Redemption<'a>),
    RefreshToken(&'a SecretString),
    AppPassword(&'a AppPassword<'a>),
}

/// A person's app password.
#[derive(Clone, Copy)]
pub struct AppPassword<'a> {
    /// The name of its owner.
    pub username: &'a str,
    /// The password itself.
    pub password: &'a str,
}

impl TokenEndpoint {
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>, clock: Clock, odd: Arc<OddFields>) -> Self {
        Self {
            settings,
            http,
            clock,
            odd,
            accepted: AcceptedMethod::default(),
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
        self.exchange(TokenGrant::Code(redemption), metadata).await
    }

    /// Exchanges a refresh token for new tokens (RFC 6749, section 6). It may be spent by that, whatever the answer.
    pub(super) async fn refresh(
        &self,
        refresh_token: &SecretString,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        self.exchange(TokenGrant::RefreshToken(refresh_token), metadata).await
    }

    /// Exchanges a person's app password for tokens: authentik's reading of the grant `client_credentials` (RFC 6749,
    /// section 4.4).
    pub(super) async fn redeem_app_password(
        &self,
        password: &AppPassword<'_>,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, Error> {
        self.exchange(TokenGrant::AppPassword(password), metadata).await
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn http(&self) -> &MeteredTransport {
        &self.http
    }

    /// Returns the methods of client authentication to try, at any endpoint of the provider.
    pub(super) fn auth_plan(&self, metadata: &ProviderMetadata, token_use: TokenUse) -> AuthPlan {
        self.accepted.plan(self.settings.client_auth, metadata.client_auth_method(), token_use)
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

    /// Exchanges a grant within the provider's `timeout`; once more where the client authentication is refused, and another
    /// method may be tried.
    async fn exchange(&self, grant: TokenGrant<'_>, metadata: &ProviderMetadata) -> Result<TokenSet, Error> {
        let deadline = Instant::now() + self.settings.timeout;
        let plan = self.auth_plan(metadata, grant.token_use());
        let refused = match self.request(grant, plan.first, metadata, deadline).await {
            Ok(tokens) => {
                self.accepted.confirm(plan.first);
                return Ok(tokens);
            }
            Err(TokenError::ClientAuthentication(reason)) => reason,
            Err(TokenError::Other(error)) => return Err(error),
        };
        // Without a secret the methods are the same.
        let Some(fallback) = plan.fallback.filter(|_| self.settings.client_secret.is_some()) else {
            return Err(Error::ClientRefused(refused));
        };
        match self.request(grant, fallback, metadata, deadline).await {
            Ok(tokens) => {
                self.learn(fallback, plan.first);
                Ok(tokens)
            }
            // The refused try may have spent the code: the next one comes with this method first.
            Err(TokenError::Other(Error::GrantRefused)) if grant.token_use() == TokenUse::SignIn => {
                self.accepted.suspect(fallback);
                Err(Error::GrantRefused)
            }
            Err(TokenError::Other(error @ Error::Unavailable(_))) => Err(error),
            // A method that was only tried ends no session.
            Err(_) => Err(Error::ClientRefused(refused)),
        }
    }

    pub(super) fn learn(&self, accepted: ClientAuthMethod, refused: ClientAuthMethod) {
        if self.accepted.learn(accepted) {
            tracing::warn!(
                provider = self.settings.name,
                refused = refused.name(),
                accepted = accepted.name(),
                "the provider refused one method of client authentication and accepted another, which is used from now on; \
                 mend: write client_auth = \"{}\"",
                accepted.setting()
            );
        }
    }

    async fn request(
        &self,
        grant: TokenGrant<'_>,
        method: ClientAuthMethod,
        metadata: &ProviderMetadata,
        deadline: Instant,
    ) -> Result<TokenSet, TokenError> {
        let request = async {
            let late = || Err(Error::from(TransportError::Timeout(self.settings.timeout)).into());
            timeout_at(deadline, self.request_tokens(grant, method, metadata)).await.unwrap_or_else(|_| late())
        };
        let outcome = |error: &TokenError| match error {
            TokenError::ClientAuthentication(_) => ProviderResult::Refused,
            TokenError::Other(error) => error.request_outcome(),
        };
        self.http.counted_by(Endpoint::Token, request, outcome).await
    }

    async fn request_tokens(
        &self,
        grant: TokenGrant<'_>,
        method: ClientAuthMethod,
        metadata: &ProviderMetadata,
    ) -> Result<TokenSet, TokenError> {
        let client = client(&self.settings, metadata, method);
        let http = TokenClient { http: self.http.transport(), odd: &self.odd, token_use: grant.token_use() };
        let response = match grant {
            TokenGrant::Code(redemption) => {
                let redirect = RedirectUrl::new(redemption.redirect_uri.to_owned())
                    .map_err(|_| Error::ClientRefused("the redirect URI is not a URL".into()))?;
                client
                    .exchange_code(AuthorizationCode::new(redemption.code.to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(redemption.code_verifier.to_owned()))
                    .set_redirect_uri(Cow::Owned(redirect))
                    .request_async(&http)
                    .await
            }
            TokenGrant::RefreshToken(token) => {
                client
                    .exchange_refresh_token(&RefreshToken::new(token.expose_secret().to_owned()))
                    .request_async(&http)
                    .await
            }
            TokenGrant::AppPassword(AppPassword { username, password }) => {
                // No refresh token is wanted: the password is sent again.
                let scopes = self.settings.scopes.iter().filter(|scope| *scope != "offline_access");
                client
                    .exchange_client_credentials()
                    .add_extra_param("username", *username)
                    .add_extra_param("password", *password)
                    .add_scopes(scopes.map(|scope| Scope::new(scope.clone())))
                    .request_async(&http)
                    .await
            }
        };
        response.map_err(|error| match error {
            RequestTokenError::Request(error) => error,
            // Comes never: `TokenClient` passes on nothing that could make one.
            _ => Error::InvalidMessage("the token endpoint's answer is not one of OAuth 2.0".into()).into(),
        })
    }

    /// Sends the revocation request. The `oauth2` crate would send none to an endpoint that is not https; which address may be
    /// reached how, for an http issuer too, is judged by the transport.
    async fn request_revocation(
        &self,
        refresh_token: &SecretString,
        endpoint: &Url,
        metadata: &ProviderMetadata,
    ) -> Result<(), Error> {
        let mut https = endpoint.clone();
        https.set_scheme("https").map_err(|()| TransportError::Cleartext)?;
        let method = self.auth_plan(metadata, TokenUse::Renewal).first;
        let client = client(&self.settings, metadata, method).set_revocation_url(RevocationUrl::from_url(https));
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let request = client.revoke_token(token.into()).map_err(|_| TransportError::Cleartext)?;
        let http = RevocationClient { http: self.http.transport(), endpoint };
        request.request_async(&http).await.map_err(|error| match error {
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
        if response.refresh_token().is_some() {
            self.http.metrics().set_refresh_tokens(true);
            self.warn_of_expires_in(response);
            return;
        }
        self.http.metrics().set_refresh_tokens(false);
        if self.warned_of_refresh_token.swap(true, Ordering::Relaxed) {
            return;
        }
        let provider = &self.settings.name;
        if self.settings.scopes.iter().any(|scope| scope == "offline_access") {
            tracing::warn!(
                provider,
                "the provider gave no refresh token although offline_access was asked for: sessions live by lifetime and \
                 idle_timeout, and groups change only at the next sign-in; mend: allow offline_access and refresh tokens \
                 for this client at the provider (authentik: add the offline_access scope mapping)"
            );
        } else {
            tracing::warn!(
                provider,
                "the provider gave no refresh token, and offline_access was not asked for: sessions live by lifetime and \
                 idle_timeout, and groups change only at the next sign-in; mend: add offline_access to scopes, or allow \
                 refresh tokens for this client at the provider (Google: extra_authorize_params access_type and prompt)"
            );
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

/// Returns the key of ID tokens that are signed with the client's secret; `None` where public keys have to verify them, or the
/// secret is shorter than HS256 asks for (RFC 7518, section 3.2).
pub(super) fn secret_key(settings: &Settings, metadata: &ProviderMetadata) -> Option<CoreJsonWebKeySet> {
    let secret = settings.client_secret.as_ref()?.expose_secret().as_bytes();
    let applies = metadata.signs_by_secret(settings) && secret.len() >= MIN_SIGNING_SECRET;
    applies.then(|| CoreJsonWebKeySet::new(vec![CoreJsonWebKey::new_symmetric(secret.to_vec())]))
}

/// Returns a client of the provider that authenticates itself by this method.
pub(super) fn client(settings: &Settings, metadata: &ProviderMetadata, method: ClientAuthMethod) -> OAuthClient {
    let authentication = match method {
        ClientAuthMethod::Basic => AuthType::BasicAuth,
        ClientAuthMethod::Post => AuthType::RequestBody,
    };
    let client = oauth2::Client::new(ClientId::new(settings.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_auth_type(authentication);
    match &settings.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    }
}

impl TokenGrant<'_> {
    fn token_use(self) -> TokenUse {
        match self {
            Self::Code(_) => TokenUse::SignIn,
            Self::RefreshToken(_) | Self::AppPassword(_) => TokenUse::Renewal,
        }
    }
}
