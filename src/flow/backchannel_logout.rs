//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8): a provider posts a logout token to
//! `/backchannel_logout`.
//!
//! Promises: only a verified logout token of a configured provider ends anything, and the same token only once; a refusal says
//! why, and nothing of the token.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body_util::Full;

use super::{
    context::RequestId,
    refusal_log::{RefusalDetails, RefusalLog},
};
use crate::{
    edge::{Body, Reason, Refusal, Response, Verdict, write_direct},
    metrics::LogoutKind as Ending,
    oidc::{self, LogoutSubject, Provider, VerifiedLogoutToken},
    pages,
    policy::Site,
    session::{LogoutTarget, LogoutTokenId, Sessions, Unavailable},
};

/// Path of the endpoint, below the prefix.
pub const PATH: &str = "/backchannel_logout";

/// The longest body, in bytes: twice the longest token that is accepted, and room for the rest of the form.
pub const MAX_BODY: usize = 32 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

/// Body of a back-channel logout. The server puts it among the request's extensions; empty where it could not be read.
#[derive(Clone, Debug)]
pub struct LogoutForm(pub Bytes);

/// Cause of a logout token ending nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is no form with exactly one logout token.
    #[error("the body is not a form of at most 32 KiB with one logout_token")]
    NoToken,
    /// The token is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The token was acted upon before.
    #[error("the logout token was used before (jti)")]
    Replayed,
    /// The provider's keys are unavailable.
    #[error("{0}")]
    Provider(String),
    /// The store is unavailable.
    #[error("{0}")]
    Store(#[from] Unavailable),
}

impl Error {
    fn reason(&self) -> Reason {
        match self {
            Self::NoToken | Self::Invalid(_) | Self::Replayed => Reason::BadRequest,
            Self::Provider(_) => Reason::ProviderUnavailable,
            Self::Store(_) => Reason::StoreUnavailable,
        }
    }
}

impl From<oidc::Error> for Error {
    fn from(error: oidc::Error) -> Self {
        match error {
            oidc::Error::Unavailable(_) | oidc::Error::Overloaded(_) => Self::Provider(error.to_string()),
            oidc::Error::GrantRefused
            | oidc::Error::ClientRefused(_)
            | oidc::Error::UnreadableAnswer(_)
            | oidc::Error::InvalidMessage(_)
            | oidc::Error::ClockSkew(_) => Self::Invalid(error.to_string()),
        }
    }
}

/// Ends sessions that a provider names in a logout token.
pub(super) struct BackchannelLogout {
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) refusal_log: Arc<RefusalLog>,
}

impl BackchannelLogout {
    /// Acts on a logout token of the app's own provider, where it was sent to an app's host, or of any other that is configured.
    pub(super) async fn handle(
        &self,
        request: &Parts,
        id: &RequestId,
        client: Option<IpAddr>,
        site: Option<Site<'_>>,
    ) -> Response {
        let (own, others): (Vec<_>, Vec<_>) = self
            .providers
            .iter()
            .enumerate()
            .partition(|(index, _)| site.is_some_and(|site| site.app.provider == *index));
        let providers = own.into_iter().chain(others).map(|(_, provider)| provider);
        let end = async |notice: VerifiedLogoutToken, provider: String| {
            let issuer = self.providers.iter().find(|known| known.settings().name == provider);
            let registration = issuer.expect("it is one of those that were tried").settings().registration();
            let once = LogoutTokenId { provider: &provider, registration, jti: &notice.jti, until: notice.expires };
            self.sessions.end_once(once, &sessions_of(notice.subject), Ending::Backchannel).await
        };
        handle(request, self.log_context(id, client, site), providers, end).await
    }

    /// Refuses a request by its header alone, where that says already that it holds no logout token.
    pub(super) fn precheck(
        &self,
        request: &Parts,
        id: &RequestId,
        client: Option<IpAddr>,
        site: Option<Site<'_>>,
    ) -> Option<Response> {
        let length = request.headers.get(header::CONTENT_LENGTH);
        // A body of unknown length is read until it is too long.
        let fits = length.is_none_or(|length| {
            let length = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
            length.is_some_and(|length| length <= MAX_BODY)
        });
        if is_form(request) && fits {
            return None;
        }
        Some(self.log_context(id, client, site).refuse(&Error::NoToken))
    }

    fn log_context<'a>(&'a self, id: &'a RequestId, client: Option<IpAddr>, site: Option<Site<'a>>) -> LogContext<'a> {
        let app = site.map(|site| site.app.name.as_str());
        LogContext { id, refusal_log: &self.refusal_log, app, client }
    }
}

/// Request as the log names it.
#[derive(Clone, Copy, Debug)]
struct LogContext<'a> {
    id: &'a RequestId,
    refusal_log: &'a RefusalLog,
    /// The app at the requested host; `None` at a name of the gate's own.
    app: Option<&'a str>,
    client: Option<IpAddr>,
}

impl LogContext<'_> {
    fn refuse(&self, error: &Error) -> Response {
        let detail = format!("a logout token: {error}");
        let details =
            RefusalDetails { app: self.app, client: self.client, detail: Some(&detail), ..RefusalDetails::default() };
        self.refusal_log.record(self.id, error.reason(), &details);
        refuse(error, self.id.as_str())
    }
}

/// Handles a request. `providers` begin with the requested app's own. `end` ends the sessions that the provider of this name
/// means and records the token's `jti`, both or neither; it returns how many it ended, or `None` where the `jti` was recorded
/// before.
async fn handle<F, E>(
    request: &Parts,
    context: LogContext<'_>,
    providers: impl Iterator<Item = &Arc<Provider>>,
    end: F,
) -> Response
where
    F: FnOnce(VerifiedLogoutToken, String) -> E,
    E: Future<Output = Result<Option<u64>, Unavailable>>,
{
    let LogContext { id, app, client, .. } = context;
    match end_sessions(request, providers, end).await {
        Ok((provider, sessions)) => {
            let client = client.map(|address| address.to_string());
            tracing::info!(request_id = %id, app, client, provider, sessions, "back-channel logout: signed out at the provider");
            success()
        }
        Err(error) => context.refuse(&error),
    }
}

async fn end_sessions<F, E>(
    request: &Parts,
    providers: impl Iterator<Item = &Arc<Provider>>,
    end: F,
) -> Result<(String, u64), Error>
where
    F: FnOnce(VerifiedLogoutToken, String) -> E,
    E: Future<Output = Result<Option<u64>, Unavailable>>,
{
    let token = token(request).ok_or(Error::NoToken)?;
    let (provider, notice) = verify(&token, providers).await?;
    let ended = end(notice, provider.clone()).await?;
    ended.map(|sessions| (provider, sessions)).ok_or(Error::Replayed)
}

/// Returns the one logout token in the form.
pub(super) fn token(request: &Parts) -> Option<String> {
    if !is_form(request) {
        return None;
    }
    let LogoutForm(form) = request.extensions.get()?;
    let mut tokens = url::form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then(|| token.into_owned())
}

fn is_form(request: &Parts) -> bool {
    let media_type = request.headers.get(header::CONTENT_TYPE).and_then(|line| line.to_str().ok());
    let media_type = media_type.and_then(|line| line.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(FORM))
}

/// Verifies a token with the providers in turn, until one accepts it.
///
/// Two providers may share an issuer, with different clients. A provider of another issuer refuses without any request.
async fn verify(
    token: &str,
    providers: impl Iterator<Item = &Arc<Provider>>,
) -> Result<(String, VerifiedLogoutToken), Error> {
    let mut cause = None;
    for provider in providers {
        match provider.verify_logout_token(token).await {
            Ok(notice) => return Ok((provider.settings().name.clone(), notice)),
            // Says more than the refusals of the others, to whom the token may not have been sent.
            Err(error @ oidc::Error::Unavailable(_)) => cause = Some(error),
            Err(error) => cause = cause.or(Some(error)),
        }
    }
    Err(cause.map_or(Error::NoToken, Error::from))
}

fn success() -> Response {
    let mut response = Response::new(Full::new(Bytes::new()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// JSON in any case: no person reads it (section 2.8).
fn refuse(error: &Error, request_id: &str) -> Response {
    let reason = error.reason();
    let status = match reason {
        Reason::BadRequest => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let headers = match status {
        StatusCode::SERVICE_UNAVAILABLE => vec![(header::RETRY_AFTER, HeaderValue::from_static("5"))],
        _ => Vec::new(),
    };
    let body = Body::Json(pages::json(reason.code(), &error.to_string(), request_id, None));
    write_direct(Verdict::Refuse(Refusal { status, reason, body, headers }), request_id)
}

/// Returns the sessions that a provider means.
pub(super) fn sessions_of(whom: LogoutSubject) -> LogoutTarget {
    match whom {
        LogoutSubject::Sid(sid) => LogoutTarget::Sid(sid),
        LogoutSubject::Subject(subject) => LogoutTarget::Subject(subject.0),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::{clock::Clock, oidc::tests::TestProvider};

    fn post(kind: &str, form: &str) -> Parts {
        let request = Request::post("/_doorward/backchannel_logout").header(header::CONTENT_TYPE, kind);
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(LogoutForm(Bytes::copy_from_slice(form.as_bytes())));
        parts
    }

    async fn answer(
        request: &Parts,
        providers: &[Arc<Provider>],
        end: impl FnOnce(VerifiedLogoutToken, String) -> Result<Option<u64>, Unavailable>,
    ) -> (StatusCode, Value) {
        let end = |notice, provider| std::future::ready(end(notice, provider));
        let id = RequestId::default();
        id.adopt("0123".to_owned());
        let log = RefusalLog::new(Clock::System);
        let context = LogContext { id: &id, refusal_log: &log, app: Some("app"), client: None };
        let response = handle(request, context, providers.iter(), end).await;
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    fn no_session(_: VerifiedLogoutToken, _: String) -> Result<Option<u64>, Unavailable> {
        panic!("nothing may be ended")
    }

    #[tokio::test]
    async fn a_verified_token_ends_the_sessions_that_it_names() {
        let word = TestProvider::of("authentik").await;
        for kind in [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"] {
            let request = post(kind, &format!("a=b&logout_token={}", word.token(&json!({}))));
            let (status, body) = answer(&request, &[Arc::clone(&word.provider)], |notice, provider| {
                assert_eq!((notice.subject, provider.as_str()), (LogoutSubject::Sid("sid-1".into()), "authentik"));
                Ok(Some(2))
            })
            .await;
            assert_eq!((status, body), (StatusCode::OK, Value::Null));
        }
    }

    #[tokio::test]
    async fn a_token_of_any_configured_provider_is_accepted() {
        let (own, other) = (TestProvider::of("own").await, TestProvider::of("other").await);
        let request = post(FORM, &format!("logout_token={}", other.token(&json!({}))));
        let providers = [own.provider, other.provider];
        let (status, _) = answer(&request, &providers, |_, provider| {
            assert_eq!(provider, "other");
            Ok(Some(0))
        })
        .await;
        assert_eq!(status, StatusCode::OK, "that there was no session to end is no failure");
    }

    #[tokio::test]
    async fn a_body_that_is_no_form_with_one_token_is_refused() {
        let word = TestProvider::of("authentik").await;
        let token = word.token(&json!({}));
        for (kind, form) in [
            (FORM, String::new()),
            (FORM, "token=a".to_owned()),
            (FORM, format!("logout_token={token}&logout_token={token}")),
            ("application/json", format!(r#"{{"logout_token":"{token}"}}"#)),
            ("text/plain", format!("logout_token={token}")),
        ] {
            let (status, body) = answer(&post(kind, &form), &[Arc::clone(&word.provider)], no_session).await;
            assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("bad_request")), "{kind} {form}");
            assert_eq!(body["request_id"], "0123");
        }
    }

    #[tokio::test]
    async fn an_invalid_token_is_refused_without_being_repeated() {
        let (own, other) = (TestProvider::of("own").await, TestProvider::of("other").await);
        for token in [other.token(&json!({ "aud": "another" })), other.token(&json!({ "nonce": "n" })), "a.b.c".into()]
        {
            let request = post(FORM, &format!("logout_token={token}"));
            let providers = [Arc::clone(&own.provider), Arc::clone(&other.provider)];
            let (status, body) = answer(&request, &providers, no_session).await;
            assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("bad_request")), "{token}");
            assert!(!body.to_string().contains(&token), "{body}");
        }
    }

    #[tokio::test]
    async fn a_token_counts_once() {
        let word = TestProvider::of("authentik").await;
        let request = post(FORM, &format!("logout_token={}", word.token(&json!({}))));
        let (status, body) = answer(&request, &[word.provider], |_, _| Ok(None)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body["message"].as_str().unwrap().contains("jti"), "{body}");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_acted_upon_now_may_be_sent_again() {
        let word = TestProvider::of("authentik").await;
        let request = post(FORM, &format!("logout_token={}", word.token(&json!({}))));
        let (status, body) = answer(&request, &[Arc::clone(&word.provider)], |_, _| Err(Unavailable::Deadline)).await;
        assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("store_unavailable")));

        let silent = TestProvider::without_keys("authentik").await;
        let request = post(FORM, &format!("logout_token={}", silent.token(&json!({}))));
        let providers = [word.provider, silent.provider];
        let (status, body) = answer(&request, &providers, no_session).await;
        assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider_unavailable")));
    }

    #[test]
    fn a_token_can_be_handled_on_any_thread() {
        fn is_send<T: Send>(_: &T) {}
        let (request, providers) = (post(FORM, ""), Vec::<Arc<Provider>>::new());
        let (id, log) = (RequestId::default(), RefusalLog::new(Clock::System));
        let context = LogContext { id: &id, refusal_log: &log, app: Some("app"), client: None };
        is_send(&handle(&request, context, providers.iter(), |_, _| async { Ok(Some(0)) }));
    }
}
