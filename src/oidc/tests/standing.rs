//! Whether the provider answers: starting without it, outages, metadata of somebody else, the addresses for browsers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::{
    Bench, CALLBACK, Error, NONCE,
    provider::{CLIENT, FakeProvider, Key, Sin, spawn},
    settings,
};
use crate::shutdown;

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
    let url = Bench::new(settings).authorize().await.unwrap();
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
async fn signing_out_names_the_session_and_the_way_back() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    let hint = SecretString::from("header.claims.signature");
    assert_eq!(bench.provider.end_session(Some(&hint), CALLBACK, "s"), None, "nothing is known yet");
    bench.provider.ask().await.unwrap();
    let url = bench.provider.end_session(Some(&hint), CALLBACK, "s").unwrap();
    assert_eq!(url.path(), "/o/doorward/end-session");
    let expected = [
        ("client_id", CLIENT),
        ("id_token_hint", "header.claims.signature"),
        ("post_logout_redirect_uri", CALLBACK),
        ("state", "s"),
    ];
    assert_eq!(query(&url), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let without = bench.provider.end_session(None, CALLBACK, "s").unwrap();
    assert!(!query(&without).contains_key("id_token_hint"));
}

#[tokio::test]
async fn signing_out_stays_here_where_there_is_nowhere_to_go() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.end_session = false;
    let unwilling = Bench::new(settings);
    unwilling.provider.ask().await.unwrap();
    assert_eq!(unwilling.provider.end_session(None, CALLBACK, "s"), None);

    fake.script().metadata = json!({ "end_session_endpoint": null });
    let bench = Bench::at(&fake);
    bench.provider.ask().await.unwrap();
    assert_eq!(bench.provider.end_session(None, CALLBACK, "s"), None);
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
        let bench = Bench::at(&fake);
        let error = bench.authorize().await.unwrap_err();
        assert!(matches!(error, Error::Unbelievable(_)), "{metadata}: {error:?}");
        assert!(!bench.provider.is_up());
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_had_is_an_outage() {
    for sin in [
        Sin::Status(404),
        Sin::Status(500),
        Sin::Redirects("https://evil.example/".into()),
        Sin::Huge,
        Sin::Says(200, "<html>".into()),
    ] {
        let fake = FakeProvider::start().await;
        fake.sin("openid-configuration", sin.clone());
        let bench = Bench::at(&fake);
        bench.authorize().await.unwrap_err();
        assert!(!bench.provider.is_up(), "{sin:?}");
        assert!(bench.counts(r#"doorward_provider_up{provider="authentik"} 0"#), "{sin:?}");
        fake.repent();
        bench.authorize().await.unwrap();
        assert!(bench.provider.is_up(), "{sin:?}");
    }
}

#[tokio::test]
async fn the_root_issuer_is_the_same_with_and_without_its_slash() {
    let fake = FakeProvider::start().await;
    let root = format!("http://{}", fake.address);
    fake.script().metadata = json!({ "issuer": root });
    fake.claims(json!({ "iss": root }));
    let bench = Bench::new(settings(&root));
    bench.redeem().await.unwrap();
    fake.claims(json!({ "iss": format!("{root}/") }));
    bench.redeem().await.unwrap_err();
}

#[tokio::test]
async fn a_gate_that_starts_before_its_provider_finds_it_when_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bench = Bench::new(settings(&format!("http://{address}/o/doorward/")));
    let error = bench.authorize().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error:?}");

    let (provider, stop) = (Arc::clone(&bench.provider), shutdown::Signal::default());
    let own = stop.clone();
    spawn(async move { provider.maintain(own).await });
    let fake = FakeProvider::serve(TcpListener::bind(address).await.unwrap());
    bench.provider.discovery.becomes(true).await;
    assert!(bench.counts(r#"doorward_provider_up{provider="authentik"} 1"#));
    assert_eq!(fake.asked("jwks"), 1, "the keys are there before the first person is");
    stop.raise();
}

#[tokio::test]
async fn maintaining_ends_when_it_is_asked_to() {
    let fake = FakeProvider::start().await;
    fake.sin("openid-configuration", Sin::Stalls);
    let stop = shutdown::Signal::default();
    stop.raise();
    Bench::at(&fake).provider.maintain(stop).await;
}

#[tokio::test]
async fn what_is_known_goes_on_while_the_provider_is_away() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    bench.provider.ask().await.unwrap();
    fake.sin("openid-configuration", Sin::Status(503));
    bench.provider.ask().await.unwrap_err();
    assert!(!bench.provider.is_up());
    bench.redeem().await.unwrap();
}

#[tokio::test]
async fn nobody_new_is_sent_to_a_provider_that_is_away() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    bench.provider.ask().await.unwrap();
    fake.sin("openid-configuration", Sin::Status(503));
    bench.provider.ask().await.unwrap_err();
    bench.authorize().await.expect("once is no outage");
    bench.provider.ask().await.unwrap_err();
    for _ in 0..20 {
        let error = bench.authorize().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert!(fake.asked("openid-configuration") <= 5, "it is not asked as often as people come");
    // Whoever comes after it has come back need not wait until it is asked in the background.
    fake.repent();
    while bench.authorize().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(bench.provider.is_up());
}

#[tokio::test]
async fn keys_that_cannot_be_used_replace_nothing() {
    for keys in [
        Sin::Status(500),
        Sin::Status(404),
        Sin::Says(200, "{}".into()),
        Sin::Says(200, json!({ "keys": [] }).to_string()),
        Sin::Says(200, json!({ "keys": [{ "kty": "oct", "k": "AAAA", "kid": "one" }] }).to_string()),
        Sin::Says(200, json!({ "keys": vec![Key::Two.public(); 101] }).to_string()),
        Sin::Huge,
    ] {
        let fake = FakeProvider::start().await;
        let bench = Bench::at(&fake);
        bench.provider.ask().await.unwrap();
        fake.sin("jwks", keys.clone());
        bench.hand.fetch_add(3600, std::sync::atomic::Ordering::Relaxed);
        bench.provider.ask().await.unwrap_err();
        assert_eq!(fake.asked("jwks"), 2, "{keys:?}: old keys are fetched again");
        bench.hand.fetch_sub(3600, std::sync::atomic::Ordering::Relaxed);
        bench.redeem().await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_once_an_hour_and_when_they_move() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    for _ in 0..5 {
        bench.provider.ask().await.unwrap();
    }
    assert_eq!(fake.asked("jwks"), 1);
    fake.script().metadata = json!({ "jwks_uri": format!("{}moved/jwks", fake.issuer()) });
    bench.provider.ask().await.unwrap();
    assert_eq!(fake.asked("jwks"), 2);
    assert!(bench.counts(r#"doorward_jwks_refreshes_total{provider="authentik",result="ok"} 2"#));
}

#[tokio::test]
async fn many_people_who_come_first_cause_one_question() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    let all = futures_util::future::join_all((0..20).map(|_| bench.authorize())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(fake.asked("openid-configuration"), 1);

    let fake = FakeProvider::start().await;
    fake.sin("openid-configuration", Sin::Status(503));
    let bench = Bench::at(&fake);
    let all = futures_util::future::join_all((0..20).map(|_| bench.authorize())).await;
    assert!(all.iter().all(|one| matches!(one, Err(Error::Unavailable(_)))));
    assert_eq!(fake.asked("openid-configuration"), 1, "they share a bad answer too");
}
