//! One provider: a facade over its discovery, keys, endpoints and health.
//!
//! Promises: an identity comes only of a verified ID token; a code is sent only to the provider that the callback names; no
//! new visitor is sent to a provider that is unavailable.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use oauth2::{AccessToken, AuthorizationCode, TokenResponse as _};
use secrecy::SecretString;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use url::Url;

use super::{
    authorize::{self, AuthorizationRequest, LogoutRequest},
    claims,
    discovery::Discovery,
    error::Error,
    health::ProviderHealth,
    id_token::{self, ExpectedIdToken, GrantType, VerifiedIdToken},
    jwks::{self, Jwks},
    logout_token::{self, LogoutSubject, UnverifiedLogoutToken, VerifiedLogoutToken},
    metadata::ProviderMetadata,
    metered::MeteredTransport,
    renewal::{RefreshRequest, Refreshed, RefreshedClaims},
    settings::Settings,
    token_endpoint::{self, Redemption, TokenEndpoint},
    token_set::TokenSet,
    transport::HttpTransport,
    userinfo::UserinfoEndpoint,
};
use crate::{
    clock::Clock,
    identity::{Identity, Tokens},
    metrics, shutdown,
};

/// Time that a sign-in or a renewal waits for metadata that are not known yet.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// One provider, shared by all requests.
pub struct Provider {
    settings: Arc<Settings>,
    clock: Clock,
    http: Arc<MeteredTransport>,
    pub(super) discovery: Discovery,
    jwks: Jwks,
    token_endpoint: TokenEndpoint,
    userinfo_endpoint: UserinfoEndpoint,
    pub(super) health: ProviderHealth,
    /// Single-flight: one poll at a time, and those who waited take its outcome.
    single_flight: Semaphore,
}

/// Result of a sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person, as the provider vouches for them.
    pub identity: Identity,
    /// The tokens that the provider issued.
    pub tokens: Tokens,
    /// The provider's identifier of its session.
    pub sid: Option<String>,
}

impl Provider {
    /// A provider of which nothing is known yet. Sends nothing.
    #[must_use]
    pub fn new(settings: Settings, transport: HttpTransport, clock: Clock, metrics: metrics::ProviderMetrics) -> Self {
        let settings = Arc::new(settings);
        let http = Arc::new(MeteredTransport::new(transport, metrics.clone()));
        Self {
            discovery: Discovery::new(Arc::clone(&settings), Arc::clone(&http)),
            jwks: Jwks::new(Arc::clone(&http), clock.clone()),
            token_endpoint: TokenEndpoint::new(Arc::clone(&settings), Arc::clone(&http), clock.clone()),
            userinfo_endpoint: UserinfoEndpoint::new(Arc::clone(&settings), Arc::clone(&http)),
            health: ProviderHealth::new(Arc::clone(&settings), clock.clone(), metrics),
            single_flight: Semaphore::new(1),
            settings,
            clock,
            http,
        }
    }

    /// Returns the same provider with other settings. Metadata, keys and health are taken over, so that no request
    /// has to wait for them again; one with another issuer is another provider, of which nothing is known yet.
    #[must_use]
    pub fn with_settings(&self, settings: Settings, transport: HttpTransport) -> Self {
        let is_same = settings.issuer == self.settings.issuer;
        let new = Self::new(settings, transport, self.clock.clone(), self.http.metrics().clone());
        if !is_same {
            return new;
        }
        Self {
            discovery: new.discovery.with_state_of(&self.discovery),
            jwks: new.jwks.with_state_of(&self.jwks),
            health: new.health.with_state_of(&self.health),
            ..new
        }
    }

    /// Returns its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns `true` if it answered when it was last polled.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.health.is_available()
    }

    /// Returns the URL of an authorization request. Fetches the metadata where they are not known yet or the provider is
    /// unavailable.
    pub async fn authorize(&self, request: &AuthorizationRequest<'_>) -> Result<Url, Error> {
        let metadata = self.metadata_for_sign_in().await?;
        Ok(authorize::authorization_url(&self.settings, &metadata, request))
    }

    /// Redeems an authorization code, and verifies the ID token that comes back.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<SignedIn, Error> {
        let metadata = self.metadata().await?;
        authorize::check_response_issuer(redemption.iss, &metadata)?;
        let response = self.token_endpoint.exchange_code(redemption, &metadata).await?;
        let raw = response.id_token.as_deref().ok_or_else(|| {
            Error::InvalidMessage("the token endpoint issued no ID token; mend: ask for the scope openid".into())
        })?;
        let (access_token, code) = (response.access_token(), AuthorizationCode::new(redemption.code.to_owned()));
        let grant = GrantType::AuthorizationCode { nonce: redemption.nonce, code: &code };
        let verified = self.verify_id_token(raw, access_token, grant, &metadata).await?;
        let identity = self.userinfo_endpoint.complete(&verified, access_token, &metadata, None).await?;
        self.token_endpoint.warn_at_sign_in(&response);
        let tokens = self.token_endpoint.tokens(&response, verified.expires());
        Ok(SignedIn { identity, tokens, sid: verified.sid().map(ToOwned::to_owned) })
    }

    /// Renews a session with its refresh token. To be awaited to the end: the token may be spent by then, and its
    /// replacement is in the result.
    ///
    /// `Unavailable` and `ClientRefused` say nothing about the session; all other errors mean that it cannot be renewed
    /// again.
    pub async fn refresh(&self, request: &RefreshRequest<'_>) -> Result<Refreshed, Error> {
        let permit = self.health.admit_refresh().ok_or_else(|| {
            Error::Unavailable(
                "the circuit breaker of its token endpoint is open after requests without an answer".into(),
            )
        })?;
        let result = self.renew(request).await;
        if !matches!(result, Err(Error::Unavailable(_))) {
            permit.answered();
        }
        result
    }

    /// Upper bound of the time that [`Provider::refresh`] takes: a lease on a renewal has to outlive it.
    #[must_use]
    pub fn refresh_timeout(&self) -> Duration {
        METADATA_TIMEOUT + 2 * self.settings.timeout
    }

    /// Revokes a refresh token where the provider offers that (RFC 7009). A failure changes nothing here: the token ends by
    /// itself.
    pub async fn revoke(&self, refresh_token: &SecretString) {
        let Some(metadata) = self.discovery.metadata() else { return };
        self.token_endpoint.revoke(refresh_token, &metadata).await;
    }

    /// Returns the URL of a logout request (RP-Initiated Logout 1.0); `None` where the provider has no endpoint for it, its
    /// metadata are not known or `end_session` is off.
    #[must_use]
    pub fn end_session_url(&self, request: &LogoutRequest<'_>) -> Option<Url> {
        if !self.settings.end_session {
            return None;
        }
        let metadata = self.discovery.metadata()?;
        authorize::end_session_url(&self.settings, &metadata, request)
    }

    /// Returns the URL of its signing keys, once its metadata are known.
    pub async fn jwks_url(&self) -> Url {
        self.discovery.first_metadata().await.jwks_uri.clone()
    }

    /// Verifies a logout token (Back-Channel Logout 1.0). `Unavailable` where the keys cannot be had; all other errors are
    /// `InvalidMessage`.
    pub async fn verify_logout_token(&self, raw: &str) -> Result<VerifiedLogoutToken, Error> {
        let token = UnverifiedLogoutToken::parse(raw, &self.settings, self.clock.now())?;
        let metadata = self.metadata().await?;
        token.verify(&metadata, &self.jwks).await
    }

    /// Returns the session that a front-channel logout request ends (Front-Channel Logout 1.0), or `None` where the request
    /// is not from this provider.
    #[must_use]
    pub fn frontchannel_logout(&self, iss: Option<&str>, sid: Option<&str>) -> Option<LogoutSubject> {
        let metadata = self.discovery.metadata()?;
        logout_token::frontchannel_subject(&metadata, iss, sid)
    }

    /// Polls metadata and keys until `stop` is raised.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        tokio::select! {
            () = stop.raised() => {}
            never = self.poll_forever() => match never {},
        }
    }

    /// Polls for ever, so that an outage and its end are seen without anybody signing in.
    async fn poll_forever(&self) -> Infallible {
        loop {
            // Its health has logged and noted the outcome.
            let _ = self.poll().await;
            sleep(self.health.poll_delay()).await;
        }
    }

    /// Fetches the metadata, and the keys where they are due. Single-flight: callers that come during a poll share its
    /// outcome.
    pub(super) async fn poll(&self) -> Result<(), Error> {
        let seen = self.health.polls();
        let _turn = self.single_flight.acquire().await.expect("the semaphore is never closed");
        if self.health.polls() != seen {
            return self.health.last_poll();
        }
        let outcome = self.fetch_metadata_and_keys().await;
        self.health.record_poll(&outcome);
        outcome
    }

    async fn fetch_metadata_and_keys(&self) -> Result<(), Error> {
        let metadata = self.discovery.fetch(&self.health).await?;
        self.jwks.fetch_if_due(&metadata.jwks_uri).await
    }

    /// Returns the metadata; where they are not known yet, polls once, and not for long.
    async fn metadata(&self) -> Result<Arc<ProviderMetadata>, Error> {
        if let Some(known) = self.discovery.metadata() {
            return Ok(known);
        }
        let text = format!("no metadata within {}", humantime::format_duration(METADATA_TIMEOUT));
        let polled = timeout(METADATA_TIMEOUT, self.poll()).await.unwrap_or(Err(Error::Unavailable(text)));
        // Metadata may have come even where the keys did not: the browser can be on its way meanwhile.
        self.discovery
            .metadata()
            .ok_or_else(|| polled.err().unwrap_or_else(|| Error::Unavailable("it answered without metadata".into())))
    }

    /// Returns the metadata for a visitor whose browser is to be sent to the provider: none during an outage. One visitor a
    /// second finds out whether it is over.
    async fn metadata_for_sign_in(&self) -> Result<Arc<ProviderMetadata>, Error> {
        if self.discovery.metadata().is_none() {
            return self.metadata().await;
        }
        if self.health.sign_in_outage().is_some_and(|outage| outage.is_probe_due()) {
            // Its health has noted the outcome.
            let _ = timeout(METADATA_TIMEOUT, self.poll()).await;
        }
        match self.health.sign_in_outage() {
            Some(outage) => Err(outage.to_error()),
            None => self.metadata().await,
        }
    }

    async fn verify_id_token(
        &self,
        raw: &str,
        access_token: &AccessToken,
        grant: GrantType<'_>,
        metadata: &ProviderMetadata,
    ) -> Result<VerifiedIdToken, Error> {
        let expected = ExpectedIdToken {
            issuer: &metadata.issuer,
            client_id: &self.settings.client_id,
            grant,
            algorithms: metadata.algorithms(),
            now: self.clock.now(),
            access_token,
        };
        let check = |keys: &_| id_token::verify(raw, &expected, keys);
        self.jwks.verify(&metadata.jwks_uri, check, |_| jwks::refetch_too_soon()).await
    }

    async fn renew(&self, request: &RefreshRequest<'_>) -> Result<Refreshed, Error> {
        let metadata = self.metadata().await?;
        let response = self.token_endpoint.refresh(request.refresh_token, &metadata).await?;
        let late = Err(Error::Unavailable("the claims did not come in time".into()));
        let claims = self.refreshed_claims(request, &response, &metadata);
        let claims = timeout(self.settings.timeout, claims).await.unwrap_or(late);
        let claims = RefreshedClaims::or_unchanged(claims, &self.settings.name)?;
        self.token_endpoint.warn_of_expires_in(&response);
        let issued = self.token_endpoint.tokens(&response, claims.id_token_expires);
        let tokens = Tokens {
            refresh: issued.refresh.or_else(|| Some(request.refresh_token.clone())),
            id: claims.id_token.or_else(|| request.id_token.cloned()),
            ..issued
        };
        Ok(Refreshed { identity: claims.identity, tokens, sid: claims.sid })
    }

    /// Reads the person's claims again: from the new ID token, or else from the userinfo endpoint.
    async fn refreshed_claims(
        &self,
        request: &RefreshRequest<'_>,
        response: &TokenSet,
        metadata: &ProviderMetadata,
    ) -> Result<RefreshedClaims, Error> {
        let (access_token, previous) = (response.access_token(), request.identity);
        let Some(raw) = response.id_token.as_deref() else {
            let Some(url) = &metadata.userinfo_endpoint else { return Ok(RefreshedClaims::default()) };
            let userinfo = self.userinfo_endpoint.fetch(url, access_token, &previous.subject.0).await?;
            let identity = claims::refreshed_identity(&self.settings, previous, &userinfo)?;
            return Ok(RefreshedClaims { identity: Some(identity), ..RefreshedClaims::default() });
        };
        let nonce = request.id_token.and_then(token_endpoint::nonce);
        let grant = GrantType::RefreshToken { subject: &previous.subject.0, nonce: nonce.as_deref() };
        let verified = self.verify_id_token(raw, access_token, grant, metadata).await?;
        let identity = self.userinfo_endpoint.complete(&verified, access_token, metadata, Some(previous)).await?;
        Ok(RefreshedClaims {
            identity: Some(identity),
            sid: verified.sid().map(ToOwned::to_owned),
            id_token: Some(SecretString::from(raw)),
            id_token_expires: verified.expires(),
        })
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
