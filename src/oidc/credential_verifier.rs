//! Verification of API clients' credentials at one provider: its JWTs, opaque tokens and app passwords.
//!
//! Promises: claims become an identity by the same code as those of an ID token; nothing is sent to the provider for a JWT but
//! the request for its keys.

use std::sync::Arc;

use oauth2::{AccessToken, TokenResponse as _};

use super::{
    access_token::{AccessTokenClaims, ExpectedAccessToken, UnverifiedAccessToken},
    credential::{CredentialError, VerifiedCredential},
    error::Error,
    id_token::GrantType,
    introspection,
    jwks::TokenSender,
    jwt::LEEWAY,
    metadata::ProviderMetadata,
    provider::Provider,
    token_endpoint::AppPassword,
};
use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
};

/// Verifies API clients' credentials at one provider.
#[derive(Clone, Copy)]
pub struct CredentialVerifier<'p> {
    provider: &'p Provider,
}

impl<'p> CredentialVerifier<'p> {
    /// The verifier of this provider's credentials.
    #[must_use]
    pub fn at(provider: &'p Provider) -> Self {
        Self { provider }
    }

    /// Verifies a JWT that names this provider as its issuer, for one of these audiences, with the published keys.
    pub async fn verify(
        self,
        token: UnverifiedAccessToken<'_>,
        audience: &[String],
    ) -> Result<VerifiedCredential, CredentialError> {
        let provider = self.provider;
        let metadata = self.metadata().await?;
        let expected = ExpectedAccessToken {
            issuer: &metadata.issuer,
            audience,
            algorithms: metadata.algorithms(),
            now: provider.clock.now(),
        };
        token.check_claims(&expected)?;
        let check = |keys: &_| token.verify_signature(&expected, keys);
        provider.jwks.verify(&metadata.jwks_uri, TokenSender::ApiClient, check).await?;
        let AccessTokenClaims { claims, subject, expires } = token.into_claims()?;
        let identity = provider.claims_reader.of_access_token(claims, &subject, expected.now)?;
        Ok(VerifiedCredential { identity, accepted_until: until(expires), tokens: Tokens::default() })
    }

    /// Asks the provider about an opaque token, which counts where it was issued to the gate's own client or is for it, or for
    /// one of these audiences.
    pub async fn introspect(self, token: &str, audience: &[String]) -> Result<VerifiedCredential, CredentialError> {
        let provider = self.provider;
        let metadata = self.metadata().await?;
        let body = introspection::request(&provider.token_endpoint, &metadata, token).await?;
        let now = provider.clock.now();
        let read = introspection::read(&body, &provider.settings, &metadata.issuer, audience, now)?;
        let expires = read.expires;
        let identity = self.complete(read, token, &metadata).await?;
        Ok(VerifiedCredential { identity, accepted_until: until(expires), tokens: Tokens::default() })
    }

    /// Redeems a person's app password by the grant `client_credentials`, as authentik has it.
    ///
    /// Other providers ignore the name and the password and answer for the gate's own client: an answer counts only where it is
    /// about somebody of that name.
    pub async fn redeem(self, password: &AppPassword<'_>) -> Result<VerifiedCredential, CredentialError> {
        let provider = self.provider;
        let metadata = self.metadata().await?;
        let response = provider.token_endpoint.redeem_app_password(password, &metadata).await?;
        let access = response.access_token();
        let (identity, expires) = if let Some(raw) = response.id_token.as_deref() {
            let verified = provider.verify_id_token(raw, access, GrantType::AppPassword, &metadata).await;
            let verified = verified.map_err(own_answer)?.ok_or_else(|| CredentialError::refused("came before"))?;
            let expires = verified.expires();
            let userinfo = provider.userinfo_request(access, &metadata, provider.settings.timeout);
            (provider.claims_reader.complete(verified, &userinfo, None).await.map_err(own_answer)?, expires)
        } else {
            (self.introspect(access.secret(), &[]).await?.identity, None)
        };
        self.check_name(&identity, password.username)?;
        let tokens = provider.token_endpoint.tokens(&response, expires);
        let tokens = Tokens { refresh: None, ..tokens };
        let ends = [tokens.access_ends, expires].into_iter().flatten().min();
        Ok(VerifiedCredential { identity, accepted_until: until(ends), tokens })
    }

    /// Returns the provider's metadata. Those that cannot be read say nothing about a credential.
    async fn metadata(self) -> Result<Arc<ProviderMetadata>, CredentialError> {
        self.provider.metadata().await.map_err(own_answer)
    }

    /// Checks that an identity is that of this name, and not the gate's own client's.
    fn check_name(self, identity: &Identity, username: &str) -> Result<(), CredentialError> {
        let client = &self.provider.settings.client_id;
        let preferred = identity.claims.get("preferred_username").and_then(|name| name.as_str()).unwrap_or_default();
        let names = [identity.user.as_str(), preferred, identity.subject.0.as_str(), identity.email.as_str()];
        let is_named = names.iter().any(|name| !name.is_empty() && name.eq_ignore_ascii_case(username));
        let keycloak = format!("service-account-{client}");
        let is_client =
            names.iter().any(|name| name.eq_ignore_ascii_case(client) || name.eq_ignore_ascii_case(&keycloak));
        if is_named && !is_client {
            return Ok(());
        }
        tracing::warn!(
            provider = self.provider.settings.name,
            mend = "turn off bearer.app_passwords: this provider has none, and takes any password",
            "the provider answered an app password for somebody else than the user that it is of; it is refused"
        );
        Err(CredentialError::refused("was answered for somebody else by the provider"))
    }

    /// Returns the identity of an introspected token, with claims of the userinfo endpoint where the token is good for it.
    async fn complete(
        self,
        read: AccessTokenClaims,
        token: &str,
        metadata: &ProviderMetadata,
    ) -> Result<Identity, CredentialError> {
        let (AccessTokenClaims { claims, subject, .. }, reader) = (read, &self.provider.claims_reader);
        let scope = claims.members.get("scope").and_then(|scope| scope.as_str()).unwrap_or_default();
        if !scope.split(' ').any(|one| one == "openid") {
            return reader.of_access_token(claims, &subject, self.provider.clock.now()).map_err(own_answer);
        }
        let access = AccessToken::new(token.to_owned());
        let userinfo = self.provider.userinfo_request(&access, metadata, self.provider.settings.timeout);
        reader.of_introspected_token(claims, &subject, &userinfo).await.map_err(own_answer)
    }
}

/// Returns the error of an answer that the provider gave to the gate: where it cannot be used, that says nothing about the
/// credential.
fn own_answer(error: Error) -> CredentialError {
    match error {
        Error::GrantRefused => error.into(),
        other => CredentialError::Unavailable(other.to_string()),
    }
}

/// Returns the end of the acceptance of a token that expires then.
fn until(expires: Option<Timestamp>) -> Option<Timestamp> {
    expires.map(|expires| expires.plus(LEEWAY))
}
