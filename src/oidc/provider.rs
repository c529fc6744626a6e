//! One provider: a facade over its discovery, keys, endpoints and health.
//!
//! Promises: an identity comes only of a verified ID token; a code is sent only to the provider that the callback names; no
//! new visitor is sent to a provider that is unavailable.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use oauth2::{AccessToken, AuthorizationCode, TokenResponse as _};
use secrecy::SecretString;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use url::Url;

use super::{
    authorize::{self, AuthorizationRequest, LogoutRequest},
    capacity::SignInCapacity,
    claims,
    claims_reader::ClaimsReader,
    discovery::Discovery,
    error::Error,
    health::{self, ProviderHealth},
    id_token::{self, ExpectedIdToken, GrantType, VerifiedIdToken},
    id_token_keys::IdTokenKeys,
    jwks::{self, Jwks},
    jwt::JwtError,
    logout_token::{self, LogoutSubject, UnverifiedLogoutToken, VerifiedLogoutToken},
    metadata::ProviderMetadata,
    metered::{MeteredTransport, PollReason},
    odd_fields::OddFields,
    renewal::{RefreshRequest, Refreshed, RefreshedClaims},
    settings::Settings,
    sid_retention::SidRetention,
    sign_in::{Redemption, SignedIn},
    token_endpoint::{self, TokenEndpoint},
    token_set::TokenSet,
    transport::HttpTransport,
    userinfo::{UserinfoEndpoint, UserinfoRequest},
};
use crate::{clock::Clock, identity::Tokens, metrics, shutdown};

/// Time that a sign-in or a renewal waits for metadata that are not known yet.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// Time that a visitor waits to be sent to a provider of which nothing was heard for a while. Short: slow is not unavailable.
const GLANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// One provider, shared by all requests.
pub struct Provider {
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Clock,
    pub(super) http: Arc<MeteredTransport>,
    pub(super) discovery: Discovery,
    pub(super) jwks: Jwks,
    pub(super) token_endpoint: TokenEndpoint,
    pub(super) claims_reader: ClaimsReader,
    pub(super) health: ProviderHealth,
    sid_retention: SidRetention,
    sign_ins: SignInCapacity,
    /// Single-flight: one poll at a time, and those who waited take its outcome.
    single_flight: Semaphore,
}

impl Provider {
    /// A provider of which nothing is known yet. Sends nothing.
    #[must_use]
    pub fn new(settings: Settings, transport: HttpTransport, clock: Clock, metrics: metrics::ProviderMetrics) -> Self {
        let settings = Arc::new(settings);
        let http = Arc::new(MeteredTransport::new(transport, metrics.clone()));
        let odd = Arc::new(OddFields::new(&settings.name));
        let token_endpoint =
            TokenEndpoint::new(Arc::clone(&settings), Arc::clone(&http), clock.clone(), Arc::clone(&odd));
        let userinfo_endpoint = UserinfoEndpoint::new(Arc::clone(&settings), Arc::clone(&http));
        Self {
            discovery: Discovery::new(Arc::clone(&settings), Arc::clone(&http), Arc::clone(&odd)),
            jwks: Jwks::new(Arc::clone(&http), clock.clone(), Arc::clone(&odd)),
            token_endpoint,
            claims_reader: ClaimsReader::new(Arc::clone(&settings), userinfo_endpoint, odd),
            sid_retention: SidRetention::new(Arc::clone(&settings), metrics.clone()),
            health: ProviderHealth::new(Arc::clone(&settings), clock.clone(), metrics),
            sign_ins: SignInCapacity::new(),
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
            sid_retention: new.sid_retention.with_state_of(&self.sid_retention),
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

    /// Returns for how long the outage lasts because of which no new visitor is sent here; `None` while there is none.
    #[must_use]
    pub fn sign_in_outage(&self) -> Option<Duration> {
        self.health.sign_in_outage().map(|outage| outage.lasted())
    }

    /// Returns `true` if it answers now. Asks it, and does not wait for long.
    pub async fn answers_now(&self) -> bool {
        timeout(METADATA_TIMEOUT, self.poll()).await.is_ok_and(|polled| polled.is_ok())
    }

    /// Returns the URL of an authorization request. Fetches the metadata where they are not known yet or the provider is
    /// unavailable.
    pub async fn authorize(&self, request: &AuthorizationRequest<'_>) -> Result<Url, Error> {
        let metadata = self.metadata_for_sign_in().await?;
        Ok(authorize::authorization_url(&self.settings, &metadata, request))
    }

    /// Redeems an authorization code, and verifies the ID token that comes back. `Overloaded` where too many are being redeemed.
    pub async fn redeem(&self, redemption: &Redemption<'_>) -> Result<SignedIn, Error> {
        let metadata = self.metadata().await?;
        authorize::check_response_issuer(redemption.iss, &metadata)?;
        let _turn = self.sign_ins.turn().await?;
        let response = self.token_endpoint.exchange_code(redemption, &metadata).await?;
        let raw = response.id_token.as_deref().ok_or_else(|| {
            Error::InvalidMessage("the token endpoint issued no ID token; mend: ask for the scope openid".into())
        })?;
        let (access_token, code) = (response.access_token(), AuthorizationCode::new(redemption.code.to_owned()));
        let grant = GrantType::AuthorizationCode { nonce: redemption.nonce, code: &code };
        let verified = self.verify_id_token(raw, access_token, grant, &metadata).await?.ok_or(JwtError::Repeated)?;
        let (sid, expires) = (verified.sid().map(ToOwned::to_owned), verified.expires());
        let userinfo = self.userinfo_request(access_token, &metadata, self.settings.timeout);
        let identity = self.claims_reader.complete(verified, &userinfo, None).await?;
        self.token_endpoint.warn_at_sign_in(&response);
        let tokens = self.token_endpoint.tokens(&response, expires);
        Ok(SignedIn { identity, tokens, sid })
    }

    /// Renews a session with its refresh token. To be awaited to the end: the token may be spent by then, and its
    /// replacement is in the result.
    ///
    /// `Unavailable`, `UnreadableAnswer` and `ClientRefused` say nothing about the session; all other errors mean that it
    /// cannot be renewed again. Only `Unavailable` says something about the provider.
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
        let metadata = self.metadata().await.map_err(jwks::says_nothing_of_tokens)?;
        token.verify(&metadata, &self.jwks).await
    }

    /// Returns the session that a front-channel logout request ends (Front-Channel Logout 1.0), or `None` where the request
    /// is not from this provider.
    #[must_use]
    pub fn frontchannel_logout(&self, iss: Option<&str>, sid: Option<&str>) -> Option<LogoutSubject> {
        let metadata = self.discovery.metadata()?;
        logout_token::frontchannel_subject(&metadata, iss, sid)
    }

    /// Polls metadata and keys until `stop` is raised. Logs by which way it is asked, where that is not the plain one.
    pub async fn maintain(&self, stop: shutdown::Signal) {
        let Settings { name, issuer, internal_url, .. } = &*self.settings;
        if let Some(internal) = internal_url {
            tracing::info!(provider = name, %issuer, %internal, "the provider is asked at its internal address");
        }
        if let Some(proxy) = self.http.transport().proxy_of(issuer) {
            tracing::info!(provider = name, %issuer, proxy, "the provider is asked by way of a proxy");
        }
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
            self.health.poll_is_due(self.http.contact(), Instant::now()).await;
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
        IdTokenKeys::of(&self.settings, &metadata).fetch_if_due(&self.jwks, &metadata).await
    }

    /// Returns the metadata; where they are not known yet, polls once, and not for long.
    pub(super) async fn metadata(&self) -> Result<Arc<ProviderMetadata>, Error> {
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
        match self.health.sign_in_outage() {
            Some(outage) if outage.is_probe_due() => {
                // Its health has noted the outcome.
                let _ = timeout(METADATA_TIMEOUT, self.poll()).await;
            }
            None if !health::is_fresh(self.http.contact().last_answer()) => self.glance().await,
            _ => {}
        }
        if let Some(outage) = self.health.sign_in_outage() {
            return Err(outage.to_error());
        }
        self.metadata().await
    }

    /// Looks whether a provider of which nothing was heard for a while is there, and a second time before it is called away. Its
    /// health notes what comes of it.
    async fn glance(&self) {
        let polls = async {
            if self.poll().await.is_err() {
                let _ = self.poll().await;
            }
        };
        if timeout(GLANCE_TIMEOUT, polls).await.is_err() {
            self.http.contact().call_for_poll(PollReason::Visitor);
        }
    }

    /// Verifies an ID token; `None` where it is the one that the session holds.
    pub(super) async fn verify_id_token(
        &self,
        raw: &str,
        access_token: &AccessToken,
        grant: GrantType<'_>,
        metadata: &ProviderMetadata,
    ) -> Result<Option<VerifiedIdToken>, Error> {
        let keys = IdTokenKeys::of(&self.settings, metadata);
        let expected = ExpectedIdToken {
            issuer: &metadata.issuer,
            client_id: &self.settings.client_id,
            grant,
            algorithms: keys.algorithms(metadata),
            now: self.clock.now(),
            access_token,
        };
        let check = |keys: &_| match id_token::verify(raw, &expected, keys) {
            Err(JwtError::Repeated) => Ok(None),
            verified => verified.map(Some),
        };
        keys.verify(&self.jwks, metadata, check).await
    }

    async fn renew(&self, request: &RefreshRequest<'_>) -> Result<Refreshed, Error> {
        let metadata = self.metadata().await?;
        let response = self.token_endpoint.refresh(request.refresh_token, &metadata).await?;
        let late = Err(Error::Unavailable("the claims did not come in time".into()));
        let claims = self.refreshed_claims(request, &response, &metadata);
        let claims = timeout(self.settings.timeout, claims).await.unwrap_or(late);
        let outdated = || claims::outdated_identity(&self.settings, request.identity, self.clock.now());
        let claims = RefreshedClaims::or_unchanged(claims, &self.settings.name, outdated)?;
        self.token_endpoint.warn_of_expires_in(&response);
        let sid = self.sid_retention.judge(request.sid, claims.told_sid());
        let issued = self.token_endpoint.tokens(&response, claims.id_token_expires);
        let tokens = Tokens {
            refresh: issued.refresh.or_else(|| Some(request.refresh_token.clone())),
            id: claims.id_token.or_else(|| request.id_token.cloned()),
            ..issued
        };
        Ok(Refreshed { identity: claims.identity, tokens, sid })
    }

    /// Reads the person's claims again: from the new ID token, or else from the userinfo endpoint.
    async fn refreshed_claims(
        &self,
        request: &RefreshRequest<'_>,
        response: &TokenSet,
        metadata: &ProviderMetadata,
    ) -> Result<RefreshedClaims, Error> {
        let (access_token, previous) = (response.access_token(), request.identity);
        // Before the deadline of all of it, so that a slow userinfo endpoint does not cost what the ID token says.
        let userinfo = self.userinfo_request(access_token, metadata, self.settings.timeout.mul_f32(0.9));
        let mut verified = None;
        if let Some(raw) = response.id_token.as_deref() {
            let held = request.id_token.and_then(token_endpoint::held);
            let grant = GrantType::RefreshToken { subject: &previous.subject.0, held: held.as_ref() };
            verified = self.verify_id_token(raw, access_token, grant, metadata).await?;
            if verified.is_none() {
                self.claims_reader.warn_of_repeated_id_token();
            }
        }
        let Some(verified) = verified else {
            let identity = self.claims_reader.renewed_without_id_token(&userinfo, previous).await?;
            return Ok(RefreshedClaims { identity, ..RefreshedClaims::default() });
        };
        let (sid, id_token_expires) = (verified.sid().map(ToOwned::to_owned), verified.expires());
        let identity = self.claims_reader.complete(verified, &userinfo, Some(previous)).await?;
        let id_token = response.id_token.as_deref().map(SecretString::from);
        Ok(RefreshedClaims { identity: Some(identity), sid, id_token, id_token_expires })
    }

    pub(super) fn userinfo_request<'a>(
        &'a self,
        access_token: &'a AccessToken,
        metadata: &'a ProviderMetadata,
        within: Duration,
    ) -> UserinfoRequest<'a> {
        UserinfoRequest { access_token, metadata, jwks: &self.jwks, now: self.clock.now(), within }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
