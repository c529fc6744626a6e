//! Keys by which the ID tokens of one client are verified: the provider's published ones, or the client's secret.
//!
//! Promises: the secret counts only where the provider offers nothing else and that is agreed to, for what the token endpoint issued
//! alone: never for a logout token, nor for what a client brings.

use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};

use super::{
    error::Error,
    jwks::{Jwks, TokenSender},
    jwt::JwtError,
    metadata::ProviderMetadata,
    settings::Settings,
    token_endpoint,
};

/// Keys of one client's ID tokens.
pub(super) enum IdTokenKeys {
    /// Those at `jwks_uri`.
    Published,
    /// The client's secret (HS256).
    Secret(CoreJsonWebKeySet),
}

impl IdTokenKeys {
    pub(super) fn of(settings: &Settings, metadata: &ProviderMetadata) -> Self {
        token_endpoint::secret_key(settings, metadata).map_or(Self::Published, Self::Secret)
    }

    /// Returns the algorithms that count. A secret and a public key never count for one token.
    pub(super) fn algorithms(&self, metadata: &ProviderMetadata) -> Vec<CoreJwsSigningAlgorithm> {
        match self {
            Self::Published => metadata.algorithms(),
            Self::Secret(_) => vec![CoreJwsSigningAlgorithm::HmacSha256],
        }
    }

    /// Verifies an ID token that the token endpoint issued.
    pub(super) async fn verify<T>(
        &self,
        jwks: &Jwks,
        metadata: &ProviderMetadata,
        check: impl Fn(&CoreJsonWebKeySet) -> Result<T, JwtError>,
    ) -> Result<T, Error> {
        match self {
            Self::Published => jwks.verify(&metadata.jwks_uri, TokenSender::Provider, check).await,
            Self::Secret(key) => Ok(check(key)?),
        }
    }

    /// Fetches the published keys where they are due. authentik publishes none for a proxy provider.
    pub(super) async fn fetch_if_due(&self, jwks: &Jwks, metadata: &ProviderMetadata) -> Result<(), Error> {
        match self {
            Self::Published => jwks.fetch_if_due(&metadata.jwks_uri).await,
            Self::Secret(_) => Ok(()),
        }
    }
}
