//! Token introspection (RFC 7662): the provider says whether a token is in force, and whose it is.
//!
//! Promises: a token counts only where the provider calls it active and it was issued to this client or is for an audience of
//! ours; an answer that is none of RFC 7662 says nothing about the token; no text holds a token.

use std::{future::Future, pin::Pin, sync::OnceLock};

use http::{HeaderValue, Response, StatusCode, header};
use oauth2::{AccessToken, IntrospectionUrl};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    access_token::{self, AccessTokenClaims, STRICT},
    client_auth::{ClientAuthMethod, TokenUse},
    credential::CredentialError,
    error::Error,
    json::ReadObject,
    jwt,
    metadata::ProviderMetadata,
    settings::Settings,
    token_endpoint::{self, TokenEndpoint},
    transport::{HttpTransport, TransportError},
};
use crate::{clock::Timestamp, metrics::Endpoint};

/// A client of the introspection endpoint for the `oauth2` crate, which builds the request. The answer is kept as it came:
/// that crate would read it with types of its own and leave out all claims.
struct IntrospectionClient<'a> {
    http: &'a HttpTransport,
    answer: OnceLock<HttpResponse>,
}

impl<'c> AsyncHttpClient<'c> for IntrospectionClient<'_> {
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TransportError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let _first = self.answer.set(self.http.send(request).await?);
            let mut nothing = Response::new(br#"{"active":false}"#.to_vec());
            nothing.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(nothing)
        })
    }
}

/// Asks the provider about a token, within its `timeout`; once more where the client authentication is refused and another
/// method may be tried. Returns the body of the answer.
pub(super) async fn request(
    endpoint: &TokenEndpoint,
    metadata: &ProviderMetadata,
    token: &str,
) -> Result<Vec<u8>, Error> {
    let url = metadata.introspection_endpoint.as_ref().ok_or_else(|| {
        Error::ClientRefused(
            "its metadata name no introspection_endpoint; mend: offer it there, or turn off bearer.introspection"
                .into(),
        )
    })?;
    let settings = endpoint.settings();
    let deadline = Instant::now() + settings.timeout;
    let plan = endpoint.auth_plan(metadata, TokenUse::Renewal);
    let ask = async |method| {
        let late = Err(Error::from(TransportError::Timeout(settings.timeout)));
        let asked = timeout_at(deadline, ask(endpoint, metadata, url, method, token));
        endpoint.http().counted(Endpoint::Introspection, async { asked.await.unwrap_or(late) }).await
    };
    let refused = match ask(plan.first).await? {
        (status, body) if status.is_success() => return Ok(body),
        (status, _) => status,
    };
    let fallback = plan.fallback.filter(|_| refused == StatusCode::UNAUTHORIZED && settings.client_secret.is_some());
    if let Some(fallback) = fallback
        && let (status, body) = ask(fallback).await?
        && status.is_success()
    {
        endpoint.learn(fallback, plan.first);
        return Ok(body);
    }
    Err(Error::ClientRefused(format!(
        "status {refused} from the introspection endpoint; mend: check client_id and client_secret, and let this client \
         introspect tokens at the provider"
    )))
}

async fn ask(
    endpoint: &TokenEndpoint,
    metadata: &ProviderMetadata,
    url: &Url,
    method: ClientAuthMethod,
    token: &str,
) -> Result<(StatusCode, Vec<u8>), Error> {
    let client = token_endpoint::client(endpoint.settings(), metadata, method)
        .set_introspection_url(IntrospectionUrl::from_url(url.clone()));
    let token = AccessToken::new(token.to_owned());
    let http = IntrospectionClient { http: endpoint.http().transport(), answer: OnceLock::new() };
    let sent = client.introspect(&token).set_token_type_hint("access_token").request_async(&http).await;
    match (http.answer.into_inner(), sent) {
        (Some(answer), _) => Ok((answer.status(), answer.into_body())),
        (None, Err(oauth2::RequestTokenError::Request(error))) => Err(error.into()),
        (None, _) => Err(Error::Unavailable("the introspection request could not be sent".into())),
    }
}

/// Reads an answer about a token, and checks what it says of it. The token is ours where it was issued to this client, or is for
/// it, or for one of `audience`.
pub(super) fn read(
    body: &[u8],
    settings: &Settings,
    issuer: &str,
    audience: &[String],
    now: Timestamp,
) -> Result<AccessTokenClaims, CredentialError> {
    let unreadable = |problem: &str| {
        CredentialError::Unavailable(format!(
            "the answer of the introspection endpoint {problem}; mend: check the provider"
        ))
    };
    let mut claims = ReadObject::parse(body, STRICT).map_err(|error| unreadable(&error.to_string()))?;
    match claims.members.remove("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(CredentialError::refused("is not in force (active)")),
        _ => return Err(unreadable("does not say whether the token is active")),
    }
    let members = &mut claims.members;
    if members.get("iss").is_some_and(|named| !named.is_null() && named.as_str() != Some(issuer)) {
        return Err(CredentialError::refused("is of another issuer (iss)"));
    }
    let client = jwt::identifier(members, "client_id").map(ToOwned::to_owned);
    let is_issued_to_us = client.as_deref() == Some(settings.client_id.as_str());
    let is_for_us = access_token::names_one_of(members, std::slice::from_ref(&settings.client_id));
    if !is_issued_to_us && !is_for_us && !access_token::names_one_of(members, audience) {
        return Err(CredentialError::refused("was issued to another client, for another audience (client_id, aud)"));
    }
    access_token::check_purpose(members).map_err(CredentialError::refused)?;
    let expires = match members.get("exp") {
        None | Some(Value::Null) => None,
        Some(_) => Some(
            access_token::seconds(members, "exp")
                .ok_or_else(|| CredentialError::refused("has an exp that is no time"))?,
        ),
    };
    access_token::check_times(members, expires, now)?;
    // RFC 9068, section 2.2: a client that acts for itself is the subject.
    let subject = match members.get("sub") {
        None | Some(Value::Null) => client,
        Some(_) => jwt::identifier(members, "sub").map(ToOwned::to_owned),
    };
    let subject = subject.ok_or_else(|| CredentialError::refused("says not whose it is (sub, client_id)"))?;
    if let (None, Some(name)) = (members.get("preferred_username"), members.get("username").cloned()) {
        members.insert("preferred_username".to_owned(), name);
    }
    Ok(AccessTokenClaims { claims, subject, expires })
}
