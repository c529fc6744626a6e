//! Discovery and availability: a start without the provider, outages, metadata of another issuer, URLs for browsers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::{
    CALLBACK, Error, NONCE, RelyingParty, VERIFIER,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, TestKey, spawn},
    settings,
};
use crate::{
    oidc::{AuthorizationRequest, SilentRequest},
    shutdown,
};

fn query(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_sign_in_begins_with_the_code_flow_and_pkce() {
    let fake = FakeProvider::start().await;
    fake.script().metadata =
        json!({ "authorization_endpoint": format!("{}authorize?tenant=1&state=theirs#top", fake.issuer()) });
    let mut settings = settings(&fake.issuer());
    settings.extra_authorize_params = [
        ("prompt", "login"),
        ("state", "evil"),
        ("request_uri", "https://evil.example"),
        ("response_mode", "fragment"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let url = RelyingParty::new(settings).authorize().await.unwrap();
    assert!(url.as_str().starts_with(&format!("{}authorize?", fake.issuer())), "{url}");
    assert_eq!(url.fragment(), None);
    let expected = [
        ("client_id", CLIENT),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("nonce", NONCE),
        ("prompt", "login"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile email offline_access"),
        ("state", "a state"),
        ("tenant", "1"),
    ];
    assert_eq!(url.query_pairs().count(), expected.len(), "{url}");
    assert_eq!(query(&url), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn a_silent_request_prompts_for_nothing_and_says_whom_it_is_about() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.extra_authorize_params =
        [("prompt", "login"), ("login_hint", "bob"), ("acr_values", "2")].map(|(k, v)| (k.into(), v.into())).into();
    let rp = RelyingParty::new(settings);
    let (short, long) = (SecretString::from("header.claims.signature"), SecretString::from("x".repeat(2_001)));
    for (id_token, hint) in [
        (Some(&short), ("id_token_hint", "header.claims.signature")),
        (Some(&long), ("login_hint", "ann")),
        (None, ("login_hint", "ann")),
    ] {
        let request = AuthorizationRequest {
            redirect_uri: CALLBACK,
            state: "a state",
            nonce: NONCE,
            code_verifier: VERIFIER,
            silent: Some(SilentRequest { id_token_hint: id_token, login_hint: "ann" }),
        };
        let url = rp.provider.authorize(&request).await.unwrap();
        let hints = url.query_pairs().filter(|(name, _)| name.ends_with("_hint")).collect::<Vec<_>>();
        assert_eq!(hints, [(hint.0.into(), hint.1.into())]);
        let query = query(&url);
        assert_eq!((query["prompt"].as_str(), query["acr_values"].as_str()), ("none", "2"), "{url}");
        assert_eq!(url.query_pairs().filter(|(name, _)| name == "prompt").count(), 1);
    }
}

#[tokio::test]
async fn a_logout_request_names_the_session_and_the_way_back() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let hint = SecretString::from("header.claims.signature");
    assert_eq!(rp.provider.end_session_url(Some(&hint), CALLBACK, "s"), None, "the metadata are not known yet");
    rp.provider.poll().await.unwrap();
    let url = rp.provider.end_session_url(Some(&hint), CALLBACK, "s").unwrap();
    assert_eq!(url.path(), "/o/doorward/end-session");
    let expected = [
        ("client_id", CLIENT),
        ("id_token_hint", "header.claims.signature"),
        ("post_logout_redirect_uri", CALLBACK),
        ("state", "s"),
    ];
    assert_eq!(query(&url), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let without = rp.provider.end_session_url(None, CALLBACK, "s").unwrap();
    assert!(!query(&without).contains_key("id_token_hint"));
}

#[tokio::test]
async fn there_is_no_logout_request_where_it_is_off_or_the_provider_has_no_endpoint() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.end_session = false;
    let switched_off = RelyingParty::new(settings);
    switched_off.provider.poll().await.unwrap();
    assert_eq!(switched_off.provider.end_session_url(None, CALLBACK, "s"), None);

    fake.script().metadata = json!({ "end_session_endpoint": null });
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    assert_eq!(rp.provider.end_session_url(None, CALLBACK, "s"), None);
}

#[tokio::test]
async fn metadata_of_another_issuer_or_over_http_are_refused() {
    let fake = FakeProvider::start().await;
    let issuer = fake.issuer();
    for metadata in [
        json!({ "issuer": issuer.trim_end_matches('/') }),
        json!({ "issuer": "https://evil.example/" }),
        json!({ "issuer": null }),
        json!({ "token_endpoint": "ftp://files.example/token" }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "end_session_endpoint": "javascript:alert(1)" }),
        json!({ "authorization_endpoint": null }),
    ] {
        fake.script().metadata = metadata.clone();
        let rp = RelyingParty::of(&fake);
        let error = rp.authorize().await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{metadata}: {error:?}");
        assert!(!rp.provider.is_available());
    }
}

#[tokio::test]
async fn a_metadata_document_that_cannot_be_had_is_an_outage() {
    for fault in [
        InjectedFault::Status(404),
        InjectedFault::Status(500),
        InjectedFault::Redirect("https://evil.example/".into()),
        InjectedFault::HugeBody,
        InjectedFault::Body(200, "<html>".into()),
    ] {
        let fake = FakeProvider::start().await;
        fake.inject("openid-configuration", fault.clone());
        let rp = RelyingParty::of(&fake);
        rp.authorize().await.unwrap_err();
        assert!(!rp.provider.is_available(), "{fault:?}");
        assert!(rp.counts(r#"doorward_provider_up{provider="authentik"} 0"#), "{fault:?}");
        fake.clear_faults();
        rp.authorize().await.unwrap();
        assert!(rp.provider.is_available(), "{fault:?}");
    }
}

#[tokio::test]
async fn the_root_issuer_is_the_same_with_and_without_its_slash() {
    let fake = FakeProvider::start().await;
    let root = format!("http://{}", fake.address);
    fake.script().metadata = json!({ "issuer": root });
    fake.claims(json!({ "iss": root }));
    let rp = RelyingParty::new(settings(&root));
    rp.redeem().await.unwrap();
    fake.claims(json!({ "iss": format!("{root}/") }));
    rp.redeem().await.unwrap_err();
}

#[tokio::test]
async fn a_gate_that_starts_before_its_provider_finds_it_when_it_is_available() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let rp = RelyingParty::new(settings(&format!("http://{address}/o/doorward/")));
    let error = rp.authorize().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error:?}");

    let (provider, stop) = (Arc::clone(&rp.provider), shutdown::Signal::default());
    let own = stop.clone();
    spawn(async move { provider.maintain(own).await });
    let fake = FakeProvider::serve(TcpListener::bind(address).await.unwrap());
    rp.provider.health.becomes(true).await;
    assert!(rp.counts(r#"doorward_provider_up{provider="authentik"} 1"#));
    assert_eq!(fake.requests("jwks"), 1, "the keys are there before the first sign-in");
    stop.raise();
}

#[tokio::test]
async fn maintain_ends_when_stop_is_raised() {
    let fake = FakeProvider::start().await;
    fake.inject("openid-configuration", InjectedFault::Stall);
    let stop = shutdown::Signal::default();
    stop.raise();
    RelyingParty::of(&fake).provider.maintain(stop).await;
}

#[tokio::test]
async fn metadata_and_keys_stay_in_use_while_the_provider_is_unavailable() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    fake.inject("openid-configuration", InjectedFault::Status(503));
    rp.provider.poll().await.unwrap_err();
    assert!(!rp.provider.is_available());
    rp.redeem().await.unwrap();
}

#[tokio::test]
async fn no_new_visitor_is_sent_to_a_provider_that_is_unavailable() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    fake.inject("openid-configuration", InjectedFault::Status(503));
    rp.provider.poll().await.unwrap_err();
    rp.authorize().await.expect("once is no outage");
    rp.provider.poll().await.unwrap_err();
    for _ in 0..20 {
        let error = rp.authorize().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert!(fake.requests("openid-configuration") <= 5, "visitors do not cause a request each");
    // A visitor after the outage need not wait for the next background poll.
    fake.clear_faults();
    // In real time: the fake provider is a server of its own.
    while rp.authorize().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(rp.provider.is_available());
}

#[tokio::test]
async fn keys_that_cannot_be_used_replace_nothing() {
    for keys in [
        InjectedFault::Status(500),
        InjectedFault::Status(404),
        InjectedFault::Body(200, "{}".into()),
        InjectedFault::Body(200, json!({ "keys": [] }).to_string()),
        InjectedFault::Body(200, json!({ "keys": [{ "kty": "oct", "k": "AAAA", "kid": "one" }] }).to_string()),
        InjectedFault::Body(200, json!({ "keys": vec![TestKey::Two.public(); 101] }).to_string()),
        InjectedFault::HugeBody,
    ] {
        let fake = FakeProvider::start().await;
        let rp = RelyingParty::of(&fake);
        rp.provider.poll().await.unwrap();
        fake.inject("jwks", keys.clone());
        rp.now.fetch_add(3600, std::sync::atomic::Ordering::Relaxed);
        rp.provider.poll().await.unwrap_err();
        assert_eq!(fake.requests("jwks"), 2, "{keys:?}: old keys are fetched again");
        rp.now.fetch_sub(3600, std::sync::atomic::Ordering::Relaxed);
        rp.redeem().await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_once_an_hour_and_when_they_move() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    for _ in 0..5 {
        rp.provider.poll().await.unwrap();
    }
    assert_eq!(fake.requests("jwks"), 1);
    fake.script().metadata = json!({ "jwks_uri": format!("{}moved/jwks", fake.issuer()) });
    rp.provider.poll().await.unwrap();
    assert_eq!(fake.requests("jwks"), 2);
    assert!(rp.counts(r#"doorward_jwks_refreshes_total{provider="authentik",result="ok"} 2"#));
}

#[tokio::test]
async fn polls_are_single_flight() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let all = futures_util::future::join_all((0..20).map(|_| rp.authorize())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.requests("openid-configuration"), 1);

    let fake = FakeProvider::start().await;
    fake.inject("openid-configuration", InjectedFault::Status(503));
    let rp = RelyingParty::of(&fake);
    let all = futures_util::future::join_all((0..20).map(|_| rp.authorize())).await;
    assert!(all.iter().all(|one| matches!(one, Err(Error::Unavailable(_)))));
    assert_eq!(fake.requests("openid-configuration"), 1, "they share a failure too");
}
