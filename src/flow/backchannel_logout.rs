//! What a provider tells the gate by itself: that somebody has signed out there (`OpenID` Connect Back-Channel Logout 1.0,
//! sections 2.5 to 2.8).
//!
//! Promises: only a verified word of a configured provider ends anything, and the same word only once; a refusal says why,
//! and nothing of the token. It must not know how sessions are found and ended.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, request::Parts};
use http_body_util::Full;

use super::{
    context::RequestId,
    refusals::{RefusalLog, Refused},
};
use crate::{
    edge::{Body, Reason, Refusal, Response, Verdict, write_direct},
    oidc::{self, LogoutNotice, Provider},
    pages,
    session::Unavailable,
};

/// Where providers send notices, below the prefix.
pub const PAGE: &str = "/backchannel_logout";

/// Bytes of a notice: twice the longest token that is believed, and room for what stands around it.
pub const LONGEST: usize = 32 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

/// The body of a backchannel_logout, put among its request's extensions by whoever read it. Empty where it could not be read.
#[derive(Clone, Debug)]
pub struct Form(pub Bytes);

/// Why a notice ended nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is not exactly one logout token in it.
    #[error("the body is not a form of at most 32 KiB with one logout_token")]
    NotANotice,
    /// It cannot be believed.
    #[error("{0}")]
    Unbelievable(String),
    /// It has been acted upon already.
    #[error("the logout token was used before (jti)")]
    Repeated,
    /// The provider's keys cannot be had to verify it.
    #[error("{0}")]
    Provider(String),
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] Unavailable),
}

impl Error {
    fn reason(&self) -> Reason {
        match self {
            Self::NotANotice | Self::Unbelievable(_) | Self::Repeated => Reason::BadRequest,
            Self::Provider(_) => Reason::ProviderUnavailable,
            Self::Store(_) => Reason::StoreUnavailable,
        }
    }
}

impl From<oidc::Error> for Error {
    fn from(error: oidc::Error) -> Self {
        match error {
            oidc::Error::Unavailable(_) => Self::Provider(error.to_string()),
            oidc::Error::GrantRefused
            | oidc::Error::ClientRefused(_)
            | oidc::Error::InvalidMessage(_)
            | oidc::Error::ClockSkew(_) => Self::Unbelievable(error.to_string()),
        }
    }
}

/// Who tells something, as far as the log is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) id: &'a RequestId,
    pub(super) log: &'a RefusalLog,
    pub(super) app: &'a str,
    pub(super) client: Option<IpAddr>,
}

impl Told<'_> {
    fn refuse(&self, error: &Error) -> Response {
        let detail = format!("a logout notice: {error}");
        let refused = Refused { app: Some(self.app), client: self.client, detail: Some(&detail), ..Refused::default() };
        self.log.note(self.id, error.reason(), &refused);
        refuse(error, self.id.as_str())
    }
}

/// Takes a notice and answers it. `providers` begin with the asked app's own; `end` ends the sessions that a provider of
/// this name means and remembers the backchannel_logout, both or neither: how many it ended, `None` where the notice came before.
pub(super) async fn hear<F, E>(
    request: &Parts,
    told: Told<'_>,
    providers: impl Iterator<Item = &Arc<Provider>>,
    end: F,
) -> Response
where
    F: FnOnce(VerifiedLogoutToken, String) -> E,
    E: Future<Output = Result<Option<u64>, Unavailable>>,
{
    let Told { id, app, client, .. } = told;
    match act(request, providers, end).await {
        Ok((provider, sessions)) => {
            let client = client.map(|address| address.to_string());
            tracing::info!(request_id = %id, app, client, provider, sessions, "signed out at the provider");
            thanks()
        }
        Err(error) => told.refuse(&error),
    }
}

/// Refuses a notice by its header alone, where that says already that it is none: before a byte of its body has been read.
#[must_use]
pub(super) fn unheard(request: &Parts, told: Told<'_>) -> Option<Response> {
    let length = request.headers.get(header::CONTENT_LENGTH);
    // A body whose length is not told is read until it is too long.
    let fits = length.is_none_or(|length| {
        length.to_str().ok().and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length <= LONGEST)
    });
    if is_form(request) && fits {
        return None;
    }
    Some(told.refuse(&Error::NotANotice))
}

fn is_form(request: &Parts) -> bool {
    let kind = request.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next()).is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(FORM))
}

async fn act<F, E>(
    request: &Parts,
    providers: impl Iterator<Item = &Arc<Provider>>,
    end: F,
) -> Result<(String, u64), Error>
where
    F: FnOnce(VerifiedLogoutToken, String) -> E,
    E: Future<Output = Result<Option<u64>, Unavailable>>,
{
    let token = token(request).ok_or(Error::NotANotice)?;
    let (provider, notice) = verify(&token, providers).await?;
    let ended = end(notice, provider.clone()).await?;
    ended.map(|sessions| (provider, sessions)).ok_or(Error::Repeated)
}

/// The one token in the form.
pub(super) fn token(request: &Parts) -> Option<String> {
    if !is_form(request) {
        return None;
    }
    let Form(form) = request.extensions.get()?;
    let mut tokens = url::form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then(|| token.into_owned())
}

/// The first of the providers that believes the token to be its own. Two of them may have the same issuer, with different
/// clients; one that is of another issuer refuses without asking anybody.
async fn verify(
    token: &str,
    providers: impl Iterator<Item = &Arc<Provider>>,
) -> Result<(String, VerifiedLogoutToken), Error> {
    let mut why = None;
    for provider in providers {
        match provider.verify_logout_token(token).await {
            Ok(notice) => return Ok((provider.settings().name.clone(), notice)),
            // Whoever would have to be asked again says more than the others, to whom the token may not have been sent.
            Err(error @ oidc::Error::Unavailable(_)) => why = Some(error),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(why.map_or(Error::NotANotice, Error::from))
}

fn thanks() -> Response {
    let mut response = Response::new(Full::new(Bytes::new()));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// JSON, whoever asks: no person reads it (section 2.8).
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

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        clock::Clock,
        oidc::{LogoutSubject, tests::TestProvider},
    };

    fn post(kind: &str, form: &str) -> Parts {
        let request = Request::post("/_doorward/backchannel_logout").header(header::CONTENT_TYPE, kind);
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Form(Bytes::copy_from_slice(form.as_bytes())));
        parts
    }

    async fn heard(
        request: &Parts,
        providers: &[Arc<Provider>],
        end: impl FnOnce(VerifiedLogoutToken, String) -> Result<Option<u64>, Unavailable>,
    ) -> (StatusCode, Value) {
        let end = |notice, provider| std::future::ready(end(notice, provider));
        let id = RequestId::default();
        id.adopt("0123".to_owned());
        let log = RefusalLog::new(Clock::System);
        let told = Told { id: &id, log: &log, app: "app", client: None };
        let response = hear(request, told, providers.iter(), end).await;
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    fn nobody(_: VerifiedLogoutToken, _: String) -> Result<Option<u64>, Unavailable> {
        panic!("nothing may be ended")
    }

    #[tokio::test]
    async fn a_believed_notice_ends_what_it_names() {
        let word = TestProvider::of("authentik").await;
        for kind in [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"] {
            let request = post(kind, &format!("a=b&logout_token={}", word.token(&json!({}))));
            let (status, body) = heard(&request, &[Arc::clone(&word.provider)], |notice, provider| {
                assert_eq!((notice.subject, provider.as_str()), (LogoutSubject::Sid("sid-1".into()), "authentik"));
                Ok(Some(2))
            })
            .await;
            assert_eq!((status, body), (StatusCode::OK, Value::Null));
        }
    }

    #[tokio::test]
    async fn a_notice_is_believed_from_any_provider_that_is_configured() {
        let (own, other) = (TestProvider::of("own").await, TestProvider::of("other").await);
        let request = post(FORM, &format!("logout_token={}", other.token(&json!({}))));
        let providers = [own.provider, other.provider];
        let (status, _) = heard(&request, &providers, |_, provider| {
            assert_eq!(provider, "other");
            Ok(Some(0))
        })
        .await;
        assert_eq!(status, StatusCode::OK, "that there was nothing to end is no failure");
    }

    #[tokio::test]
    async fn what_is_no_form_with_one_token_is_refused() {
        let word = TestProvider::of("authentik").await;
        let token = word.token(&json!({}));
        for (kind, form) in [
            (FORM, String::new()),
            (FORM, "token=a".to_owned()),
            (FORM, format!("logout_token={token}&logout_token={token}")),
            ("application/json", format!(r#"{{"logout_token":"{token}"}}"#)),
            ("text/plain", format!("logout_token={token}")),
        ] {
            let (status, body) = heard(&post(kind, &form), &[Arc::clone(&word.provider)], nobody).await;
            assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("bad_request")), "{kind} {form}");
            assert_eq!(body["request_id"], "0123");
        }
    }

    #[tokio::test]
    async fn a_token_that_nobody_believes_is_refused_without_being_repeated() {
        let (own, other) = (TestProvider::of("own").await, TestProvider::of("other").await);
        for token in [other.token(&json!({ "aud": "another" })), other.token(&json!({ "nonce": "n" })), "a.b.c".into()]
        {
            let request = post(FORM, &format!("logout_token={token}"));
            let providers = [Arc::clone(&own.provider), Arc::clone(&other.provider)];
            let (status, body) = heard(&request, &providers, nobody).await;
            assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("bad_request")), "{token}");
            assert!(!body.to_string().contains(&token), "{body}");
        }
    }

    #[tokio::test]
    async fn a_notice_counts_once() {
        let word = TestProvider::of("authentik").await;
        let request = post(FORM, &format!("logout_token={}", word.token(&json!({}))));
        let (status, body) = heard(&request, &[word.provider], |_, _| Ok(None)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body["message"].as_str().unwrap().contains("jti"), "{body}");
    }

    #[tokio::test]
    async fn a_notice_that_cannot_be_acted_upon_now_may_be_sent_again() {
        let word = TestProvider::of("authentik").await;
        let request = post(FORM, &format!("logout_token={}", word.token(&json!({}))));
        let (status, body) = heard(&request, &[Arc::clone(&word.provider)], |_, _| Err(Unavailable::Deadline)).await;
        assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("store_unavailable")));

        let silent = TestProvider::without_keys("authentik").await;
        let request = post(FORM, &format!("logout_token={}", silent.token(&json!({}))));
        let providers = [word.provider, silent.provider];
        let (status, body) = heard(&request, &providers, nobody).await;
        assert_eq!((status, &body["error"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("provider_unavailable")));
    }

    #[test]
    fn a_notice_can_be_heard_on_any_thread() {
        fn is_send<T: Send>(_: &T) {}
        let (request, providers) = (post(FORM, ""), Vec::<Arc<Provider>>::new());
        let (id, log) = (RequestId::default(), RefusalLog::new(Clock::System));
        let told = Told { id: &id, log: &log, app: "app", client: None };
        is_send(&hear(&request, told, providers.iter(), |_, _| async { Ok(Some(0)) }));
    }
}
