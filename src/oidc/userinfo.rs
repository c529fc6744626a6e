//! The userinfo endpoint (`OpenID` Connect Core, section 5.3), for claims that the ID token lacks.
//!
//! Promises: claims about another subject than the ID token's are never used; a signed response counts only with the signature
//! of a published key.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};
use oauth2::AccessToken;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::{
    error::Error,
    json::ReadObject,
    jwks::{Jwks, TokenSender},
    jwt::{self, LEEWAY, UnverifiedJwt},
    metadata::ProviderMetadata,
    metered::MeteredTransport,
    settings::Settings,
    signature,
};
use crate::{clock::Timestamp, metrics::Endpoint};

/// Longest signed response. It comes from the provider over TLS, not from a visitor.
const MAX_SIGNED_LENGTH: usize = 256 * 1024;
/// Members that decide whether a response is used at all.
const STRICT: &[&str] = &["sub"];
/// The same of a signed one.
const STRICT_IN_JWT: &[&str] = &["sub", "iss", "aud", "exp"];

/// The userinfo endpoint of one provider.
pub(super) struct UserinfoEndpoint {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
}

/// A request for the claims about one subject.
pub(super) struct UserinfoRequest<'a> {
    pub(super) access_token: &'a AccessToken,
    pub(super) metadata: &'a ProviderMetadata,
    /// Keys for a signed response.
    pub(super) jwks: &'a Jwks,
    pub(super) now: Timestamp,
    pub(super) within: Duration,
}

/// Errors of a userinfo request.
#[derive(Debug)]
pub(super) enum UserinfoError {
    /// About somebody else: the access token is not this person's, and nothing that came with it can be believed.
    AnotherSubject,
    /// No claims, or none that can be used.
    Unusable(Error),
}

impl From<Error> for UserinfoError {
    fn from(error: Error) -> Self {
        Self::Unusable(error)
    }
}

impl From<UserinfoError> for Error {
    fn from(error: UserinfoError) -> Self {
        match error {
            UserinfoError::AnotherSubject => Self::InvalidMessage(
                "the userinfo response is about another subject than the ID token (sub); mend: report it to the \
                 provider's operator"
                    .into(),
            ),
            UserinfoError::Unusable(error) => error,
        }
    }
}

impl UserinfoEndpoint {
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>) -> Self {
        Self { settings, http }
    }

    /// Fetches the claims about `subject` from `url`.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        request: &UserinfoRequest<'_>,
        subject: &str,
    ) -> Result<ReadObject, UserinfoError> {
        let mut is_another = false;
        let fetched = async {
            let fetched = timeout(request.within, Box::pin(self.request(url, request, subject))).await;
            let late = || Error::Unavailable("the userinfo endpoint did not answer in time".into());
            fetched.unwrap_or_else(|_| Err(late().into())).map_err(|error| {
                is_another = matches!(error, UserinfoError::AnotherSubject);
                Error::from(error)
            })
        };
        let counted = self.http.counted(Endpoint::Userinfo, fetched).await;
        counted.map_err(|error| if is_another { UserinfoError::AnotherSubject } else { error.into() })
    }

    async fn request(
        &self,
        url: &Url,
        request: &UserinfoRequest<'_>,
        subject: &str,
    ) -> Result<ReadObject, UserinfoError> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", request.access_token.secret()))
            .map_err(|_| Error::InvalidMessage("the access token does not fit into a header".into()))?;
        let response = self.http.transport().get(url, Some(authorization)).await.map_err(Error::from)?;
        if let Some(error) = status_error(response.status()) {
            return Err(error.into());
        }
        let body = response.body();
        match str::from_utf8(body).map(str::trim) {
            Ok(text) if is_jwt(text) => self.verify_signed(text, request, subject).await,
            _ => parse(body, subject),
        }
    }

    /// Verifies a signed response (section 5.3.2). `iss` and `aud` need not be there.
    async fn verify_signed(
        &self,
        raw: &str,
        request: &UserinfoRequest<'_>,
        subject: &str,
    ) -> Result<ReadObject, UserinfoError> {
        let jwt = UnverifiedJwt::parse(raw, MAX_SIGNED_LENGTH, STRICT_IN_JWT).map_err(|problem| invalid(&problem))?;
        let check = |keys: &_| signature::verify("userinfo response", &jwt, signature::VERIFIABLE, keys).map(drop);
        request.jwks.verify(&request.metadata.jwks_uri, TokenSender::Provider, check).await?;
        let claims = &jwt.claims.members;
        if claims.get("iss").is_some_and(|issuer| issuer.as_str() != Some(&request.metadata.issuer)) {
            return Err(invalid("is of another issuer (iss)").into());
        }
        let is_ours = |audience: Vec<&str>| audience.contains(&self.settings.client_id.as_str());
        if claims.contains_key("aud") && !jwt::audience(claims).is_some_and(is_ours) {
            return Err(invalid("is for another client (aud)").into());
        }
        let is_current = || jwt::numeric_date(claims, "exp").is_some_and(|end| request.now.minus(LEEWAY) < end);
        if claims.contains_key("exp") && !is_current() {
            return Err(invalid("has expired (exp)").into());
        }
        about(jwt.claims, subject)
    }
}

/// Returns the error for a response that is not a success.
fn status_error(status: StatusCode) -> Option<Error> {
    let text = || format!("status {status} from the userinfo endpoint");
    match status {
        _ if status.is_success() => None,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Some(Error::Unavailable(text())),
        _ if status.is_client_error() => Some(Error::InvalidMessage(format!(
            "{}; mend: let the provider accept its own access tokens there (ADFS, Entra ID: ask for no scope of another \
             API), or have it put the groups and names into the ID token",
            text()
        ))),
        // A proxy on the way, which knows nothing of tokens.
        _ => Some(Error::Unavailable(text())),
    }
}

fn is_jwt(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.contains('.') && text.bytes().all(is_part)
}

/// Parses an unsigned response: a JSON object about `subject`.
pub(super) fn parse(body: &[u8], subject: &str) -> Result<ReadObject, UserinfoError> {
    match ReadObject::parse(body, STRICT) {
        Ok(read) => about(read, subject),
        Err(error) => Err(invalid(&error.to_string()).into()),
    }
}

fn about(read: ReadObject, subject: &str) -> Result<ReadObject, UserinfoError> {
    match read.members.get("sub").and_then(Value::as_str) {
        Some(own) if own == subject => Ok(read),
        None | Some("") => Err(invalid("does not say about whom it is (sub is missing, empty or not text)").into()),
        Some(_) => Err(UserinfoError::AnotherSubject),
    }
}

fn invalid(problem: &str) -> Error {
    Error::InvalidMessage(format!(
        "the userinfo response {problem}; mend: have the provider answer with a JSON object or a JWT that it has signed"
    ))
}
