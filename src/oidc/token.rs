//! The token endpoint and what comes from it: codes redeemed, refresh tokens redeemed and revoked, ID tokens verified, and
//! what is still missing asked of the userinfo endpoint.
//!
//! Promises: a code is sent only to the provider that the callback names; a person comes out only of a verified ID token;
//! errors hold no code and no token. It must not know sessions, nor what becomes of the tokens.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use oauth2::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, RevocationUrl, StandardRevocableToken, TokenResponse as _, TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    Error, Provider, Redemption, Settings, SignedIn,
    answer::{Answer, LONGEST_ACCESS},
    discovery::{ClientAuthentication, Metadata},
    id_token::{self, Expected, Occasion, VerifiedIdToken},
    jwt::Doubt,
    keys,
    profile::{self, UserInfo},
    transport::Failure,
};
use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
    metrics::Endpoint,
};

/// Renewal of a session whose provider says neither when its access token ends nor when its ID token does.
const UNSAID_RENEWAL: Duration = Duration::from_mins(5);
/// The shortest rest of an ID token's life that a renewal is timed by.
const SHORTEST_REST: Duration = Duration::from_secs(30);
/// What the operator has been told about a provider, so that each thing is told once.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashSet<Peculiarity>>);

/// A peculiarity of a provider that its operator should know of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peculiarity {
    /// No refresh tokens come, although they were asked for.
    NoRefreshToken,
    /// Refresh tokens come without a readable `expires_in`.
    NoExpiry,
    /// A claim has a type that it should not have. Names come from the configuration and the gate's own list.
    OddClaim(String),
}

impl Told {
    /// Whether this is the first time.
    fn is_news(&self, what: Peculiarity) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what)
    }
}

type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Provider {
    /// The whole of a redemption.
    pub(super) async fn exchange(&self, redemption: &Redemption<'_>) -> Result<SignedIn, Error> {
        let metadata = self.metadata().await?;
        check_callback(redemption.iss, &metadata)?;
        let answer = self.counted(Endpoint::Token, self.request_tokens(redemption, &metadata)).await?;
        let raw = answer.id_token.as_deref().ok_or_else(|| {
            Error::Unbelievable("the token endpoint issued no ID token; mend: ask for the scope openid".into())
        })?;
        let code = AuthorizationCode::new(redemption.code.to_owned());
        let occasion = Occasion::SignIn { nonce: redemption.nonce, code: &code };
        let verified = self.verify(raw, answer.access_token(), occasion, &metadata).await?;
        let identity = self.identify(&verified, answer.access_token(), &metadata, None).await?;
        self.note_refresh_token(answer.refresh_token());
        let sid = verified.session().map(ToOwned::to_owned);
        if answer.refresh_token().is_some() {
            self.note_expiry(&answer);
        }
        Ok(SignedIn { identity, tokens: self.tokens(&answer, verified.ends()), sid })
    }

    async fn request_tokens(&self, redemption: &Redemption<'_>, metadata: &Metadata) -> Result<Answer, Error> {
        let redirect = RedirectUrl::new(redemption.redirect_uri.to_owned())
            .map_err(|_| Error::ClientRefused("the redirect URI is not a URL".into()))?;
        let answer = client(&self.settings, metadata)
            .exchange_code(AuthorizationCode::new(redemption.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(redemption.verifier.to_owned()))
            .set_redirect_uri(Cow::Owned(redirect))
            .request_async(&self.transport)
            .await
            .map_err(refusal)?;
        bearer(answer)
    }

    /// Redeems a refresh token (RFC 6749, section 6). It may be spent by that, whatever the answer.
    pub(super) async fn request_renewal(&self, refresh: &SecretString, metadata: &Metadata) -> Result<Answer, Error> {
        let answer = client(&self.settings, metadata)
            .exchange_refresh_token(&RefreshToken::new(refresh.expose_secret().to_owned()))
            .request_async(&self.transport)
            .await
            .map_err(refusal_to_renew)?;
        bearer(answer)
    }

    /// Has a refresh token forgotten (RFC 7009). An endpoint that is not https is left alone, as the standard wants it.
    pub(super) async fn request_revocation(
        &self,
        refresh: &SecretString,
        endpoint: &Url,
        metadata: &Metadata,
    ) -> Result<(), Error> {
        let client = client(&self.settings, metadata).set_revocation_url(RevocationUrl::from_url(endpoint.clone()));
        let token = RefreshToken::new(refresh.expose_secret().to_owned());
        let request = client.revoke_token(token.into()).map_err(|_| Failure::Cleartext)?;
        request.request_async(&self.transport).await.map_err(|error| match error {
            RequestTokenError::Request(failure) => failure.into(),
            _ => Error::ClientRefused("it will not revoke the token".into()),
        })
    }

    /// Verifies an ID token; keys that do not fit are fetched once more, for the provider may have changed them.
    pub(super) async fn verify(
        &self,
        raw: &str,
        access: &AccessToken,
        occasion: Occasion<'_>,
        metadata: &Metadata,
    ) -> Result<VerifiedIdToken, Error> {
        let expected = Expected {
            issuer: &metadata.issuer,
            client_id: &self.settings.client_id,
            occasion,
            algorithms: metadata.algorithms(),
            now: self.clock.now(),
            access,
        };
        let held = self.keys(&metadata.jwks_uri).await?;
        match id_token::verify(raw, &expected, &held.keys) {
            Err(Doubt::Key(_)) => {
                // Not a verdict on the token: strangers may have used up the fetch that it would have caused.
                let newer = self.newer_keys(&metadata.jwks_uri, Some(&held)).await?.ok_or_else(keys::too_soon)?;
                Ok(id_token::verify(raw, &expected, &newer.keys)?)
            }
            verdict => Ok(verdict?),
        }
    }

    /// The person whom a verified ID token is about, completed from the userinfo endpoint where there is one.
    pub(super) async fn identify(
        &self,
        verified: &VerifiedIdToken,
        access: &AccessToken,
        metadata: &Metadata,
        before: Option<&Identity>,
    ) -> Result<Identity, Error> {
        let userinfo = match &metadata.userinfo_endpoint {
            Some(url) if profile::is_incomplete(&self.settings, verified) => {
                self.userinfo(url, access, verified.subject()).await?
            }
            _ => UserInfo::new(),
        };
        self.note_odd_claims(verified.claims());
        profile::identity(&self.settings, verified, userinfo, before)
    }

    /// What the userinfo endpoint says about `subject`.
    pub(super) async fn userinfo(&self, url: &Url, access: &AccessToken, subject: &str) -> Result<UserInfo, Error> {
        let claims = self.counted(Endpoint::Userinfo, self.request_userinfo(url, access, subject)).await?;
        self.note_odd_claims(&claims);
        Ok(claims)
    }

    async fn request_userinfo(&self, url: &Url, access: &AccessToken, subject: &str) -> Result<UserInfo, Error> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", access.secret()))
            .map_err(|_| Error::Unbelievable("the access token does not fit into a header".into()))?;
        let response = self.transport.get(url, Some(authorization)).await?;
        match response.status() {
            StatusCode::OK => profile::parse_userinfo(response.body(), subject),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Error::ClientRefused(format!("status {status} from the userinfo endpoint")))
            }
            // Somebody on the way who knows nothing of tokens.
            status => Err(Error::Unavailable(format!("status {status} from the userinfo endpoint"))),
        }
    }

    /// The tokens of an answer. `id_ends` is when the ID token that came with it ends, where it was verified: a session whose
    /// access token does not say when it ends is renewed by that, or else after [`UNSAID_RENEWAL`], because a session that is
    /// never renewed keeps its groups for as long as it lasts.
    pub(super) fn tokens(&self, answer: &Answer, id_ends: Option<Timestamp>) -> Tokens {
        let (secret, now) = (|token: &str| Some(SecretString::from(token)), self.clock.now());
        let by_id = id_ends.filter(|ends| (SHORTEST_REST..=LONGEST_ACCESS).contains(&ends.since(now)));
        let ends = answer.expires_in().map(|span| now.plus(span));
        Tokens {
            access: secret(answer.access_token().secret()),
            access_ends: ends.or(by_id).or_else(|| Some(now.plus(UNSAID_RENEWAL))),
            refresh: answer.refresh_token().and_then(|token| secret(token.secret())),
            id: answer.id_token.as_deref().and_then(secret),
        }
    }

    /// Sessions are renewed by something else than what the provider says of their tokens: the operator hears of it, once.
    pub(super) fn note_expiry(&self, answer: &Answer) {
        if answer.expires_in().is_none() && self.told.is_news(Peculiarity::NoExpiry) {
            tracing::warn!(
                provider = self.settings.name,
                "the provider does not say how long its access tokens last, or not as a number of seconds (expires_in): \
                 sessions are renewed when the ID token ends, or else every 5 minutes; mend: have it send expires_in"
            );
        }
    }

    fn note_odd_claims(&self, claims: &UserInfo) {
        for claim in profile::odd_claims(&self.settings, claims) {
            if self.told.is_news(Peculiarity::OddClaim(claim.to_owned())) {
                tracing::warn!(
                    provider = self.settings.name,
                    claim,
                    "the provider sends a claim of another type than it should have, which counts as absent"
                );
            }
        }
    }

    /// Sessions without a refresh token cannot be renewed: the operator hears of it, once.
    fn note_refresh_token(&self, token: Option<&RefreshToken>) {
        self.metrics.set_refresh_tokens(token.is_some());
        let asked = self.settings.scopes.iter().any(|scope| scope == "offline_access");
        if token.is_none() && asked && self.told.is_news(Peculiarity::NoRefreshToken) {
            tracing::warn!(
                provider = self.settings.name,
                "the provider gave no refresh token although offline_access was asked for: sessions live by lifetime and \
                 idle_timeout, and groups change only at the next sign-in; mend: allow offline_access and refresh tokens \
                 for this client at the provider (authentik: add the offline_access scope mapping)"
            );
        }
    }
}

/// The nonce of an ID token that is held.
pub(super) fn nonce(id: &SecretString) -> Option<String> {
    id_token::nonce(id.expose_secret())
}

fn bearer(answer: Answer) -> Result<Answer, Error> {
    match answer.token_type() {
        BasicTokenType::Bearer => Ok(answer),
        _ => Err(Error::Unbelievable("the token endpoint issued another type of token than Bearer".into())),
    }
}

/// RFC 9207: a callback that names another issuer carries a code for somebody else.
fn check_callback(iss: Option<&str>, metadata: &Metadata) -> Result<(), Error> {
    match iss {
        Some(iss) if iss == metadata.issuer => Ok(()),
        Some(_) => Err(Error::Unbelievable("the callback came from another issuer".into())),
        None if metadata.names_itself_in_callbacks() => {
            Err(Error::Unbelievable("the callback does not say which issuer it came from".into()))
        }
        None => Ok(()),
    }
}

fn client(settings: &Settings, metadata: &Metadata) -> Client {
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

/// What a failed token request means (RFC 6749, section 5.2). Descriptions are left out: some repeat the request.
fn refusal(error: RequestTokenError<Failure, BasicErrorResponse>) -> Error {
    use BasicErrorResponseType as Code;
    match error {
        RequestTokenError::Request(failure) => failure.into(),
        RequestTokenError::ServerResponse(response) => match response.error() {
            Code::InvalidGrant => Error::GrantRefused,
            Code::Extension(code) if matches!(code.as_str(), "temporarily_unavailable" | "server_error") => {
                Error::Unavailable(code.clone())
            }
            Code::Extension(code) if !is_error_code(code) => Error::ClientRefused("an error that is not a code".into()),
            code => Error::ClientRefused(code.as_ref().to_owned()),
        },
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::Unbelievable("the token endpoint's answer is not what OAuth 2.0 says".into())
        }
    }
}

/// The same for a refresh token, whose session hangs on the difference between a provider that says no and one that says
/// nothing: a page of whatever stands before it is no answer.
fn refusal_to_renew(error: RequestTokenError<Failure, BasicErrorResponse>) -> Error {
    use BasicErrorResponseType::Extension;
    /// The person would have to come back (`OpenID` Connect Core, section 3.1.2.6); Entra says so here as well.
    const IN_PERSON: &[&str] =
        &["interaction_required", "login_required", "account_selection_required", "consent_required"];
    match error {
        RequestTokenError::ServerResponse(response) if matches!(response.error(), Extension(code) if IN_PERSON.contains(&code.as_str())) => {
            Error::GrantRefused
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::Unavailable("the token endpoint's answer is not what OAuth 2.0 says".into())
        }
        other => refusal(other),
    }
}

fn is_error_code(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
