//! Tests of the provider: requests that it refuses, and the validity of its tokens.

use std::sync::{Arc, atomic::AtomicU64};

use openidconnect::{
    ClientId, IdTokenVerifier, IssuerUrl, Nonce, TokenResponse as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::*;
use crate::clock::Timestamp;

const REDIRECT: &str = "http://notes.localhost:8080/_doorward/callback";
const POST_LOGOUT: &str = "http://notes.localhost:8080/_doorward/signed_out";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters-0123456789";
const NOON: Timestamp = Timestamp::from_unix(1_785_585_600);

/// A provider with a manual clock.
struct RunningProvider {
    provider: DemoProvider,
    time: Arc<AtomicU64>,
}

struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl TestResponse {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn location(&self) -> Url {
        Url::parse(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn cookie(&self) -> String {
        self.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
    }
}

impl RunningProvider {
    fn new() -> Self {
        let (clock, time) = Clock::manual(NOON);
        let client = RegisteredClient {
            id: "gate".to_owned(),
            secret: crypto::digest(b"secret"),
            redirect_uris: vec![REDIRECT.to_owned()],
            post_logout_redirect_uris: vec![POST_LOGOUT.to_owned()],
        };
        let issuer = Url::parse("http://127.0.0.1:9/").unwrap();
        Self { provider: DemoProvider::new(issuer, client, clock).unwrap(), time }
    }

    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)], form: &str) -> TestResponse {
        let request = headers.iter().fold(Request::builder().method(method).uri(target), |request, (name, value)| {
            request.header(*name, *value)
        });
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (parts, body) = self.provider.respond(&parts, form.as_bytes()).into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        TestResponse { status: parts.status, headers: parts.headers, body }
    }

    async fn sign_in(&self, user: &str) -> TestResponse {
        self.ask(Method::POST, &authorize(&[]), &[], &format!("user={user}")).await
    }

    async fn code(&self, user: &str) -> String {
        self.sign_in(user).await.parameter("code").unwrap()
    }

    async fn token(&self, form: &[(&str, &str)]) -> TestResponse {
        let own = [("client_id", "gate"), ("client_secret", "secret")];
        let form = encoded(own.iter().filter(|(name, _)| form.iter().all(|(other, _)| other != name)).chain(form));
        self.ask(Method::POST, "/token", &[], &form).await
    }

    async fn redeem(&self, code: &str) -> TestResponse {
        self.token(&redemption(code)).await
    }
}

fn encoded<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)]
}

/// Returns the target of an authorization request with some parameters changed, or omitted by an empty value.
fn authorize(changed: &[(&str, &str)]) -> String {
    let challenge = crypto::encode(&crypto::digest(VERIFIER.as_bytes()));
    let usual = [
        ("response_type", "code"),
        ("client_id", "gate"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile email offline_access"),
        ("state", "the state"),
        ("nonce", "the nonce"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let kept = usual.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    format!("/authorize?{}", encoded(kept.chain(changed)))
}

#[tokio::test]
async fn a_sign_in_yields_an_id_token_that_the_published_key_verifies() {
    let provider = RunningProvider::new();
    let answered = provider.sign_in("alice").await;
    assert_eq!(answered.parameter("state").as_deref(), Some("the state"));
    assert_eq!(answered.parameter("iss").as_deref(), Some("http://127.0.0.1:9/"));
    let tokens = provider.redeem(&answered.parameter("code").unwrap()).await;
    let tokens: wire::TokenEndpointResponse = serde_json::from_value(tokens.json()).unwrap();
    let jwks = provider.ask(Method::GET, "/jwks", &[], "").await;
    let keys: CoreJsonWebKeySet = serde_json::from_slice(&jwks.body).unwrap();
    let issuer = IssuerUrl::new("http://127.0.0.1:9/".to_owned()).unwrap();
    let verifier = IdTokenVerifier::<CoreJsonWebKey>::new_public_client(ClientId::new("gate".to_owned()), issuer, keys)
        .set_allowed_algs([CoreJwsSigningAlgorithm::EdDsa])
        .set_time_fn(|| NOON.to_system().into());
    let claims = tokens.id_token().unwrap().claims(&verifier, &Nonce::new("the nonce".to_owned())).unwrap();
    let claims = serde_json::to_value(claims).unwrap();
    assert_eq!(claims["preferred_username"], "alice");
    assert_eq!(claims["groups"], serde_json::json!(["admins", "staff"]));
    assert!(claims["sid"].is_string());
}

#[tokio::test]
async fn discovery_names_every_endpoint_below_the_issuer() {
    let document = RunningProvider::new().ask(Method::GET, "/.well-known/openid-configuration", &[], "").await.json();
    assert_eq!(document["issuer"], "http://127.0.0.1:9/");
    for (key, path) in [
        ("authorization_endpoint", "authorize"),
        ("token_endpoint", "token"),
        ("userinfo_endpoint", "userinfo"),
        ("jwks_uri", "jwks"),
        ("end_session_endpoint", "end_session"),
    ] {
        assert_eq!(document[key], format!("http://127.0.0.1:9/{path}"), "{key}");
    }
    assert_eq!(document["code_challenge_methods_supported"], serde_json::json!(["S256"]));
}

#[tokio::test]
async fn a_code_can_be_redeemed_once() {
    let provider = RunningProvider::new();
    let code = provider.code("alice").await;
    assert_eq!(provider.redeem(&code).await.status, StatusCode::OK);
    let again = provider.redeem(&code).await;
    assert_eq!((again.status, &again.json()["error"]), (StatusCode::BAD_REQUEST, &Value::from("invalid_grant")));
}

#[tokio::test]
async fn a_code_expires_after_a_minute() {
    let provider = RunningProvider::new();
    let code = provider.code("alice").await;
    provider.time.store(NOON.unix() + 60, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(provider.redeem(&code).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn an_invalid_redemption_is_refused_and_uses_up_the_code() {
    for (changed, value, error) in [
        ("code_verifier", "another-verifier-of-more-than-forty-three-characters", "invalid_grant"),
        ("redirect_uri", "http://admin.localhost:8080/_doorward/callback", "invalid_grant"),
        ("code", "made-up", "invalid_grant"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("client_secret", "guessed", "invalid_client"),
        ("client_id", "somebody", "invalid_client"),
    ] {
        let provider = RunningProvider::new();
        let code = provider.code("alice").await;
        let usual = redemption(&code);
        let form: Vec<_> = usual.into_iter().filter(|(name, _)| *name != changed).chain([(changed, value)]).collect();
        assert_eq!(provider.token(&form).await.json()["error"], error, "{changed}");
        let spent = matches!(changed, "code_verifier" | "redirect_uri");
        let honest = provider.redeem(&code).await.status;
        assert_eq!(honest, if spent { StatusCode::BAD_REQUEST } else { StatusCode::OK }, "{changed}");
    }
}

#[tokio::test]
async fn the_client_may_authenticate_with_http_basic() {
    let provider = RunningProvider::new();
    let code = provider.code("bob").await;
    let form = encoded(redemption(&code).iter());
    for (pair, status) in [("gate:guessed", StatusCode::UNAUTHORIZED), ("gate:secret", StatusCode::OK)] {
        let line = format!("Basic {}", BASE64.encode(pair.as_bytes()));
        let answered = provider.ask(Method::POST, "/token", &[("authorization", &line)], &form).await;
        assert_eq!(answered.status, status, "{pair}");
    }
}

#[tokio::test]
async fn a_refresh_token_is_replaced_and_the_old_one_refused() {
    let provider = RunningProvider::new();
    let first = provider.redeem(&provider.code("alice").await).await.json();
    let old = first["refresh_token"].as_str().unwrap();
    let renewed = provider.token(&[("grant_type", "refresh_token"), ("refresh_token", old)]).await.json();
    let new = renewed["refresh_token"].as_str().unwrap();
    assert_ne!(old, new);
    assert!(renewed["id_token"].is_string());
    let reused = provider.token(&[("grant_type", "refresh_token"), ("refresh_token", old)]).await;
    assert_eq!(reused.json()["error"], "invalid_grant");
    assert_eq!(provider.token(&[("grant_type", "refresh_token"), ("refresh_token", new)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn there_is_no_refresh_token_without_offline_access() {
    let provider = RunningProvider::new();
    let code = provider
        .ask(Method::POST, &authorize(&[("scope", "openid")]), &[], "user=bob")
        .await
        .parameter("code")
        .unwrap();
    assert!(provider.redeem(&code).await.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn userinfo_needs_a_valid_access_token() {
    let provider = RunningProvider::new();
    let tokens = provider.redeem(&provider.code("bob").await).await.json();
    let line = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let known = provider.ask(Method::GET, "/userinfo", &[("authorization", &line)], "").await;
    assert_eq!(known.json()["groups"], serde_json::json!(["staff"]));
    provider.time.store(NOON.plus(ACCESS_LIFETIME).unix(), std::sync::atomic::Ordering::Relaxed);
    for headers in [&[("authorization", line.as_str())][..], &[("authorization", "Bearer made-up")], &[]] {
        let refused = provider.ask(Method::GET, "/userinfo", headers, "").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_registered_redirect_uri_is_never_redirected() {
    let provider = RunningProvider::new();
    for changed in [
        ("client_id", "somebody"),
        ("redirect_uri", "http://evil.example/"),
        ("redirect_uri", "http://notes.localhost:8080/_doorward/callback/../../"),
        ("redirect_uri", ""),
    ] {
        let answered = provider.ask(Method::GET, &authorize(&[changed]), &[], "").await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{changed:?}");
        assert!(!answered.headers.contains_key(header::LOCATION), "{changed:?}");
    }
    let twice = format!("{}&redirect_uri=http%3A%2F%2Fevil.example%2F", authorize(&[]));
    assert_eq!(provider.ask(Method::GET, &twice, &[], "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_invalid_request_is_redirected_with_the_error() {
    let provider = RunningProvider::new();
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("prompt", "none", "login_required"),
    ] {
        let answered = provider.ask(Method::GET, &authorize(&[(name, value)]), &[], "").await;
        assert_eq!(answered.parameter("error").as_deref(), Some(error), "{name}");
        assert_eq!(answered.parameter("state").as_deref(), Some("the state"), "{name}");
    }
}

#[tokio::test]
async fn a_signed_in_user_is_asked_again_only_on_request() {
    let provider = RunningProvider::new();
    let cookie = provider.sign_in("alice").await.cookie();
    for prompt in ["", "none", "consent"] {
        let known = provider.ask(Method::GET, &authorize(&[("prompt", prompt)]), &[("cookie", &cookie)], "").await;
        assert!(known.parameter("code").is_some(), "{prompt}");
    }
    for prompt in ["login", "select_account", "login consent"] {
        let asked = provider.ask(Method::GET, &authorize(&[("prompt", prompt)]), &[("cookie", &cookie)], "").await;
        assert_eq!(asked.status, StatusCode::OK, "{prompt}");
        assert!(String::from_utf8_lossy(&asked.body).contains("Sign in as bob"), "{prompt}");
    }
}

#[tokio::test]
async fn another_site_cannot_sign_a_browser_in() {
    let provider = RunningProvider::new();
    let headers = [("sec-fetch-site", "cross-site")];
    let answered = provider.ask(Method::POST, &authorize(&[]), &headers, "user=bob").await;
    assert_eq!(answered.status, StatusCode::FORBIDDEN);
    assert!(!answered.headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn signing_out_revokes_everything_and_redirects_only_to_a_registered_uri() {
    let provider = RunningProvider::new();
    for (back, expected) in [(POST_LOGOUT, Some(format!("{POST_LOGOUT}?state=s+1"))), ("http://evil.example/", None)] {
        let signed_in = provider.sign_in("alice").await;
        let cookie = signed_in.cookie();
        let tokens = provider.redeem(&signed_in.parameter("code").unwrap()).await.json();
        let query = encoded([("post_logout_redirect_uri", back), ("state", "s 1")].iter());
        let headers = [("cookie", cookie.as_str())];
        let out = provider.ask(Method::GET, &format!("/end_session?{query}"), &headers, "").await;
        let location = out.headers.get(header::LOCATION).map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(location, expected);
        let cleared = out.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cleared.contains("Max-Age=0"), "{cleared}");
        let asked = provider.ask(Method::GET, &authorize(&[]), &headers, "").await;
        assert_eq!(asked.status, StatusCode::OK, "nobody is signed in any more");
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let renewal = provider.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
        assert_eq!(renewal.json()["error"], "invalid_grant");
    }
}
