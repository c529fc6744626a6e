//! What the provider refuses, and that what it issues can be believed.

use std::sync::{Arc, atomic::AtomicU64};

use openidconnect::{
    ClientId, IdTokenVerifier, IssuerUrl, Nonce, TokenResponse as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

use super::*;
use crate::clock::Timestamp;

const REDIRECT: &str = "http://notes.localhost:8080/_doorward/callback";
const AFTERWARDS: &str = "http://notes.localhost:8080/_doorward/signed_out";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters-0123456789";
const NOON: Timestamp = Timestamp::from_unix(1_785_585_600);

struct Desk {
    provider: Provider,
    hand: Arc<AtomicU64>,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn location(&self) -> Url {
        Url::parse(self.headers[header::LOCATION].to_str().unwrap()).unwrap()
    }

    fn told(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn cookie(&self) -> String {
        self.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Desk {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(NOON);
        let client = Client {
            id: "gate".to_owned(),
            secret: crypto::digest(b"secret"),
            redirect_uris: vec![REDIRECT.to_owned()],
            post_logout_redirect_uris: vec![AFTERWARDS.to_owned()],
        };
        let issuer = Url::parse("http://127.0.0.1:9/").unwrap();
        Self { provider: Provider::new(issuer, client, clock).unwrap(), hand }
    }

    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)], form: &str) -> Answered {
        let request = headers.iter().fold(Request::builder().method(method).uri(target), |request, (name, value)| {
            request.header(*name, *value)
        });
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (parts, body) = self.provider.respond(&parts, form.as_bytes()).into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    async fn sign_in(&self, user: &str) -> Answered {
        self.ask(Method::POST, &authorize(&[]), &[], &format!("user={user}")).await
    }

    async fn code(&self, user: &str) -> String {
        self.sign_in(user).await.told("code").unwrap()
    }

    async fn token(&self, form: &[(&str, &str)]) -> Answered {
        let own = [("client_id", "gate"), ("client_secret", "secret")];
        let form = encoded(own.iter().filter(|(name, _)| form.iter().all(|(other, _)| other != name)).chain(form));
        self.ask(Method::POST, "/token", &[], &form).await
    }

    async fn redeem(&self, code: &str) -> Answered {
        self.token(&redemption(code)).await
    }
}

fn encoded<'a>(fields: impl Iterator<Item = &'a (&'a str, &'a str)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn redemption(code: &str) -> [(&str, &str); 4] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)]
}

/// The target of an authorization request, with some parameters changed, or left out by an empty value.
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
    let desk = Desk::new();
    let answered = desk.sign_in("alice").await;
    assert_eq!(answered.told("state").as_deref(), Some("the state"));
    assert_eq!(answered.told("iss").as_deref(), Some("http://127.0.0.1:9/"));
    let tokens = desk.redeem(&answered.told("code").unwrap()).await;
    let tokens: wire::TokenResponse = serde_json::from_value(tokens.json()).unwrap();
    let jwks = desk.ask(Method::GET, "/jwks", &[], "").await;
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
    let document = Desk::new().ask(Method::GET, "/.well-known/openid-configuration", &[], "").await.json();
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
async fn a_code_is_good_once() {
    let desk = Desk::new();
    let code = desk.code("alice").await;
    assert_eq!(desk.redeem(&code).await.status, StatusCode::OK);
    let again = desk.redeem(&code).await;
    assert_eq!((again.status, &again.json()["error"]), (StatusCode::BAD_REQUEST, &Value::from("invalid_grant")));
}

#[tokio::test]
async fn a_code_is_good_for_a_minute() {
    let desk = Desk::new();
    let code = desk.code("alice").await;
    desk.hand.store(NOON.unix() + 60, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(desk.redeem(&code).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_redemption_that_does_not_fit_is_refused_and_spends_the_code() {
    for (changed, value, error) in [
        ("code_verifier", "another-verifier-of-more-than-forty-three-characters", "invalid_grant"),
        ("redirect_uri", "http://admin.localhost:8080/_doorward/callback", "invalid_grant"),
        ("code", "made-up", "invalid_grant"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("client_secret", "guessed", "invalid_client"),
        ("client_id", "somebody", "invalid_client"),
    ] {
        let desk = Desk::new();
        let code = desk.code("alice").await;
        let usual = redemption(&code);
        let form: Vec<_> = usual.into_iter().filter(|(name, _)| *name != changed).chain([(changed, value)]).collect();
        assert_eq!(desk.token(&form).await.json()["error"], error, "{changed}");
        let spent = matches!(changed, "code_verifier" | "redirect_uri");
        let honest = desk.redeem(&code).await.status;
        assert_eq!(honest, if spent { StatusCode::BAD_REQUEST } else { StatusCode::OK }, "{changed}");
    }
}

#[tokio::test]
async fn the_secret_may_come_in_a_basic_line() {
    let desk = Desk::new();
    let code = desk.code("bob").await;
    let form = encoded(redemption(&code).iter());
    for (pair, status) in [("gate:guessed", StatusCode::UNAUTHORIZED), ("gate:secret", StatusCode::OK)] {
        let line = format!("Basic {}", BASE64.encode(pair.as_bytes()));
        let answered = desk.ask(Method::POST, "/token", &[("authorization", &line)], &form).await;
        assert_eq!(answered.status, status, "{pair}");
    }
}

#[tokio::test]
async fn a_refresh_token_is_replaced_and_the_old_one_refused() {
    let desk = Desk::new();
    let first = desk.redeem(&desk.code("alice").await).await.json();
    let old = first["refresh_token"].as_str().unwrap();
    let renewed = desk.token(&[("grant_type", "refresh_token"), ("refresh_token", old)]).await.json();
    let new = renewed["refresh_token"].as_str().unwrap();
    assert_ne!(old, new);
    assert!(renewed["id_token"].is_string());
    let reused = desk.token(&[("grant_type", "refresh_token"), ("refresh_token", old)]).await;
    assert_eq!(reused.json()["error"], "invalid_grant");
    assert_eq!(desk.token(&[("grant_type", "refresh_token"), ("refresh_token", new)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn there_is_no_refresh_token_unless_it_was_asked_for() {
    let desk = Desk::new();
    let code = desk.ask(Method::POST, &authorize(&[("scope", "openid")]), &[], "user=bob").await.told("code").unwrap();
    assert!(desk.redeem(&code).await.json().get("refresh_token").is_none());
}

#[tokio::test]
async fn userinfo_is_for_whoever_bears_an_access_token_that_is_still_good() {
    let desk = Desk::new();
    let tokens = desk.redeem(&desk.code("bob").await).await.json();
    let line = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let known = desk.ask(Method::GET, "/userinfo", &[("authorization", &line)], "").await;
    assert_eq!(known.json()["groups"], serde_json::json!(["staff"]));
    desk.hand.store(NOON.plus(ACCESS_LIFETIME).unix(), std::sync::atomic::Ordering::Relaxed);
    for headers in [&[("authorization", line.as_str())][..], &[("authorization", "Bearer made-up")], &[]] {
        let refused = desk.ask(Method::GET, "/userinfo", headers, "").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_trusted_address_is_never_sent_anywhere() {
    let desk = Desk::new();
    for changed in [
        ("client_id", "somebody"),
        ("redirect_uri", "http://evil.example/"),
        ("redirect_uri", "http://notes.localhost:8080/_doorward/callback/../../"),
        ("redirect_uri", ""),
    ] {
        let answered = desk.ask(Method::GET, &authorize(&[changed]), &[], "").await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{changed:?}");
        assert!(!answered.headers.contains_key(header::LOCATION), "{changed:?}");
    }
    let twice = format!("{}&redirect_uri=http%3A%2F%2Fevil.example%2F", authorize(&[]));
    assert_eq!(desk.ask(Method::GET, &twice, &[], "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_request_that_asks_wrongly_is_sent_back_with_the_reason() {
    let desk = Desk::new();
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("prompt", "none", "login_required"),
    ] {
        let answered = desk.ask(Method::GET, &authorize(&[(name, value)]), &[], "").await;
        assert_eq!(answered.told("error").as_deref(), Some(error), "{name}");
        assert_eq!(answered.told("state").as_deref(), Some("the state"), "{name}");
    }
}

#[tokio::test]
async fn somebody_who_is_signed_in_is_asked_again_only_on_request() {
    let desk = Desk::new();
    let cookie = desk.sign_in("alice").await.cookie();
    for prompt in ["", "none", "consent"] {
        let known = desk.ask(Method::GET, &authorize(&[("prompt", prompt)]), &[("cookie", &cookie)], "").await;
        assert!(known.told("code").is_some(), "{prompt}");
    }
    for prompt in ["login", "select_account", "login consent"] {
        let asked = desk.ask(Method::GET, &authorize(&[("prompt", prompt)]), &[("cookie", &cookie)], "").await;
        assert_eq!(asked.status, StatusCode::OK, "{prompt}");
        assert!(String::from_utf8_lossy(&asked.body).contains("Sign in as bob"), "{prompt}");
    }
}

#[tokio::test]
async fn another_site_cannot_sign_a_browser_in() {
    let desk = Desk::new();
    let headers = [("sec-fetch-site", "cross-site")];
    let answered = desk.ask(Method::POST, &authorize(&[]), &headers, "user=bob").await;
    assert_eq!(answered.status, StatusCode::FORBIDDEN);
    assert!(!answered.headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn signing_out_ends_everything_and_leads_back_only_to_the_clients_own_address() {
    let desk = Desk::new();
    for (back, expected) in [(AFTERWARDS, Some(format!("{AFTERWARDS}?state=s+1"))), ("http://evil.example/", None)] {
        let signed_in = desk.sign_in("alice").await;
        let cookie = signed_in.cookie();
        let tokens = desk.redeem(&signed_in.told("code").unwrap()).await.json();
        let query = encoded([("post_logout_redirect_uri", back), ("state", "s 1")].iter());
        let headers = [("cookie", cookie.as_str())];
        let out = desk.ask(Method::GET, &format!("/end_session?{query}"), &headers, "").await;
        let location = out.headers.get(header::LOCATION).map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(location, expected);
        let cleared = out.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cleared.contains("Max-Age=0"), "{cleared}");
        let asked = desk.ask(Method::GET, &authorize(&[]), &headers, "").await;
        assert_eq!(asked.status, StatusCode::OK, "nobody is signed in any more");
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let renewal = desk.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
        assert_eq!(renewal.json()["error"], "invalid_grant");
    }
}
