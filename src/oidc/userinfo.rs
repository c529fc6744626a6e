//! The userinfo endpoint (`OpenID` Connect Core, section 5.3), for claims that the ID token lacks.
//!
//! Promises: a response about another subject than the ID token's is refused.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderValue, StatusCode};
use oauth2::AccessToken;
use serde_json::Value;
use url::Url;

use super::{
    claims, error::Error, id_token::VerifiedIdToken, jwt::JsonObject, metadata::ProviderMetadata,
    metered::MeteredTransport, settings::Settings,
};
use crate::{identity::Identity, metrics::Endpoint};

/// The userinfo endpoint of one provider.
pub(super) struct UserinfoEndpoint {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
    /// Mistyped claims that have been logged, so that each is logged once. Names come from the configuration and the
    /// gate's own list.
    warned_claims: Mutex<HashSet<String>>,
}

impl UserinfoEndpoint {
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>) -> Self {
        Self { settings, http, warned_claims: Mutex::default() }
    }

    /// Returns the identity of a verified ID token, completed from the userinfo endpoint where there is one. `previous` is
    /// the session's identity, at a renewal.
    pub(super) async fn complete(
        &self,
        verified: &VerifiedIdToken,
        access_token: &AccessToken,
        metadata: &ProviderMetadata,
        previous: Option<&Identity>,
    ) -> Result<Identity, Error> {
        let userinfo = match &metadata.userinfo_endpoint {
            Some(url) if claims::needs_userinfo(&self.settings, verified) => {
                self.fetch(url, access_token, verified.subject()).await?
            }
            _ => JsonObject::new(),
        };
        self.warn_of_mistyped(verified.claims());
        claims::identity(&self.settings, verified, userinfo, previous)
    }

    /// Fetches the claims about `subject`.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        access_token: &AccessToken,
        subject: &str,
    ) -> Result<JsonObject, Error> {
        let claims = self.http.counted(Endpoint::Userinfo, self.request(url, access_token, subject)).await?;
        self.warn_of_mistyped(&claims);
        Ok(claims)
    }

    async fn request(&self, url: &Url, access_token: &AccessToken, subject: &str) -> Result<JsonObject, Error> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", access_token.secret()))
            .map_err(|_| Error::InvalidMessage("the access token does not fit into a header".into()))?;
        let response = self.http.transport().get(url, Some(authorization)).await?;
        match response.status() {
            StatusCode::OK => parse(response.body(), subject),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Error::ClientRefused(format!("status {status} from the userinfo endpoint")))
            }
            // A proxy on the way, which knows nothing of tokens.
            status => Err(Error::Unavailable(format!("status {status} from the userinfo endpoint"))),
        }
    }

    fn warn_of_mistyped(&self, claims: &JsonObject) {
        for claim in claims::mistyped_claims(&self.settings, claims) {
            if self.warned_claims.lock().unwrap_or_else(PoisonError::into_inner).insert(claim.to_owned()) {
                tracing::warn!(
                    provider = self.settings.name,
                    claim,
                    "the provider sends a claim of another type than it should have, which counts as absent"
                );
            }
        }
    }
}

/// Parses a userinfo response (`OpenID` Connect Core, section 5.3.2): a plain JSON object about the same subject.
pub(super) fn parse(body: &[u8], subject: &str) -> Result<JsonObject, Error> {
    let claims: JsonObject = serde_json::from_slice(body).map_err(|_| {
        Error::InvalidMessage("the userinfo response is not a JSON object; mend: have it unsigned".into())
    })?;
    if claims.get("sub").and_then(Value::as_str) == Some(subject) {
        Ok(claims)
    } else {
        Err(Error::InvalidMessage("the userinfo response is about another subject than the ID token".into()))
    }
}
