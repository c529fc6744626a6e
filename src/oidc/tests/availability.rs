//! Discovery and availability: a start without the provider, outages, metadata of another issuer, URLs for browsers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

use super::{
    CALLBACK, Error, NONCE, RelyingParty, VERIFIER,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, TestKey, spawn},
    settings,
};
use crate::{
    oidc::{AuthorizationRequest, HttpTransport, LogoutRequest, SilentRequest},
    shutdown,
};

fn logout(id_token: Option<&SecretString>) -> LogoutRequest<'_> {
    LogoutRequest { id_token, logout_hint: "ann", redirect_uri: CALLBACK, state: "s" }
}

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
            acr_values: &[],
            max_age: None,
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
async fn a_step_up_asks_for_its_classes_and_a_recent_proof_in_place_of_the_configured_ones() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.extra_authorize_params =
        [("acr_values", "2"), ("max_age", "9"), ("prompt", "login")].map(|(k, v)| (k.into(), v.into())).into();
    let rp = RelyingParty::new(settings);
    let classes = ["gold", "urn:x:silver"].map(str::to_owned);
    for (acr_values, max_age, expected) in [
        ([].as_slice(), None, ["2", "9"]),
        (&classes, None, ["gold urn:x:silver", "9"]),
        (&[], Some(900), ["2", "900"]),
        (&classes, Some(0), ["gold urn:x:silver", "0"]),
    ] {
        let request = AuthorizationRequest {
            redirect_uri: CALLBACK,
            state: "a state",
            nonce: NONCE,
            code_verifier: VERIFIER,
            acr_values,
            max_age: max_age.map(Duration::from_secs),
            silent: None,
        };
        let url = rp.provider.authorize(&request).await.unwrap();
        let asked = ["acr_values", "max_age", "prompt"].map(|name| {
            let values = url.query_pairs().filter(|(own, _)| own == name).map(|(_, value)| value.into_owned());
            values.collect::<Vec<_>>().join(" and ")
        });
        assert_eq!(asked, [expected[0], expected[1], "login"], "{url}");
    }
}

#[tokio::test]
async fn a_logout_request_names_the_session_and_the_way_back() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let token = SecretString::from("header.claims.signature");
    assert_eq!(rp.provider.end_session_url(&logout(Some(&token))), None, "the metadata are not known yet");
    rp.provider.poll().await.unwrap();
    let by_token = rp.provider.end_session_url(&logout(Some(&token))).unwrap();
    assert_eq!(by_token.path(), "/o/doorward/end-session");
    let expected = [
        ("client_id", CLIENT),
        ("id_token_hint", "header.claims.signature"),
        ("post_logout_redirect_uri", CALLBACK),
        ("state", "s"),
    ];
    assert_eq!(query(&by_token), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());

    // An ID token with many groups makes an address that proxies and providers refuse.
    let room = 2_000 - by_token.as_str().len() + token.expose_secret().len();
    let expected =
        [("client_id", CLIENT), ("logout_hint", "ann"), ("post_logout_redirect_uri", CALLBACK), ("state", "s")];
    for (length, is_hint) in [(room, true), (room + 1, false), (20_000, false)] {
        let token = SecretString::from("t".repeat(length));
        let url = rp.provider.end_session_url(&logout(Some(&token))).unwrap();
        assert!(url.as_str().len() <= 2_000, "{} bytes", url.as_str().len());
        assert_eq!(query(&url).contains_key("id_token_hint"), is_hint, "{length}");
        if !is_hint {
            assert_eq!(query(&url), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        }
    }
    let url = rp.provider.end_session_url(&logout(None)).unwrap();
    assert_eq!(query(&url), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn there_is_no_logout_request_where_it_is_off_or_the_provider_has_no_endpoint() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.end_session = false;
    let switched_off = RelyingParty::new(settings);
    switched_off.provider.poll().await.unwrap();
    assert_eq!(switched_off.provider.end_session_url(&logout(None)), None);

    fake.script().metadata = json!({ "end_session_endpoint": null });
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    assert_eq!(rp.provider.end_session_url(&logout(None)), None);
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
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
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

    let stop = maintained(&rp);
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
    assert!(rp.provider.is_available(), "once is no outage");
    rp.provider.poll().await.unwrap_err();
    assert!(!rp.provider.is_available());
    rp.redeem().await.unwrap();
}

#[tokio::test]
async fn the_first_visitor_after_a_quiet_while_is_not_sent_to_a_provider_that_has_gone() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    rp.authorize().await.unwrap();
    assert_eq!(fake.requests("openid-configuration"), 1, "it has just answered");

    let mut later = settings(&fake.issuer());
    later.timeout = Duration::from_secs(7);
    let quiet = || rp.provider.with_settings(later.clone(), HttpTransport::new(&later).unwrap());
    let request = AuthorizationRequest {
        redirect_uri: CALLBACK,
        state: "a state",
        nonce: NONCE,
        code_verifier: VERIFIER,
        acr_values: &[],
        max_age: None,
        silent: None,
    };
    fake.inject("openid-configuration", InjectedFault::Stall);
    quiet().authorize(&request).await.expect("slow is not unavailable");
    fake.inject("openid-configuration", InjectedFault::Status(503));
    let gone = quiet();
    let error = gone.authorize(&request).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!gone.is_available());
    fake.clear_faults();
    quiet().authorize(&request).await.unwrap();
}

#[tokio::test]
async fn metadata_that_have_not_changed_are_not_sent_again() {
    let fake = FakeProvider::start().await;
    fake.script().entity_tag = Some("\"one\"".into());
    let rp = RelyingParty::of(&fake);
    for _ in 0..3 {
        rp.provider.poll().await.unwrap();
    }
    assert_eq!((fake.requests("openid-configuration"), fake.requests("304")), (3, 2));
    assert!(rp.authorize().await.unwrap().path().ends_with("/authorize"));

    fake.script().metadata = json!({ "authorization_endpoint": format!("{}moved", fake.issuer()) });
    fake.script().entity_tag = Some("\"two\"".into());
    rp.provider.poll().await.unwrap();
    assert!(rp.authorize().await.unwrap().path().ends_with("/moved"));

    fake.script().entity_tag = None;
    rp.provider.poll().await.unwrap();
    rp.provider.poll().await.unwrap();
    assert_eq!(fake.requests("304"), 2, "a tag that is not given any more is not sent either");
}

#[tokio::test]
async fn an_optional_endpoint_that_cannot_be_used_keeps_nobody_out() {
    let fake = FakeProvider::start().await;
    fake.script().metadata = json!({
        "end_session_endpoint": "", "revocation_endpoint": "/revoke", "userinfo_endpoint": "javascript:alert(1)",
        "scopes_supported": "openid profile", "id_token_signing_alg_values_supported": null,
    });
    let rp = RelyingParty::of(&fake);
    rp.authorize().await.unwrap();
    rp.redeem().await.unwrap();
    assert_eq!(rp.provider.end_session_url(&logout(None)), None);
}

#[tokio::test]
async fn a_redirect_of_the_metadata_says_where_it_leads_and_what_to_write() {
    let fake = FakeProvider::start().await;
    let (origin, issuer) = (format!("http://{}", fake.address), fake.issuer());
    for (location, named, expected) in [
        (format!("{origin}/apps/oidc/metadata"), Some(issuer.clone()), "answer at"),
        ("/apps/oidc/metadata".into(), Some(format!("{origin}/other")), "write issuer = \"http://127.0.0.1"),
        (format!("{origin}/new/.well-known/openid-configuration"), None, "/new\""),
        (
            "https://id.example.com/.well-known/openid-configuration?a=b".into(),
            None,
            "write issuer = \"https://id.example.com/\"",
        ),
        ("https://id.example.com/login".into(), None, "calls `issuer`"),
    ] {
        fake.clear_faults();
        fake.inject("openid-configuration", InjectedFault::Redirect(location.clone()));
        if let Some(named) = named {
            fake.inject("metadata", InjectedFault::Body(200, json!({ "issuer": named }).to_string()));
        }
        let error = RelyingParty::of(&fake).authorize().await.unwrap_err();
        let text = error.to_string();
        let path = location.split('?').next().unwrap();
        assert!(matches!(error, Error::Unavailable(_)) && text.contains(path), "{location}: {text}");
        assert!(text.contains(expected) && text.contains("not followed"), "{location}: {text}");
    }
}

/// Has a provider polled in the background until the test is over.
fn maintained(rp: &RelyingParty) -> shutdown::Signal {
    let (provider, stop) = (Arc::clone(&rp.provider), shutdown::Signal::default());
    let own = stop.clone();
    spawn(async move { provider.maintain(own).await });
    stop
}

#[tokio::test]
async fn an_outage_shows_at_once_where_a_request_meets_it() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let stop = maintained(&rp);
    rp.provider.health.becomes(true).await;
    for endpoint in ["openid-configuration", "token"] {
        fake.inject(endpoint, InjectedFault::Status(503));
    }
    rp.redeem().await.unwrap_err();
    let seen = tokio::time::timeout(Duration::from_secs(5), rp.provider.health.becomes(false)).await;
    seen.expect("not only with the next poll");
    assert!(rp.counts(r#"doorward_provider_up{provider="authentik"} 0"#));

    // One that answers is asked for nothing but what is needed.
    fake.clear_faults();
    rp.provider.health.becomes(true).await;
    stop.raise();
}

#[tokio::test]
async fn a_token_endpoint_that_fails_alone_is_no_outage() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let stop = maintained(&rp);
    rp.provider.health.becomes(true).await;
    fake.inject("token", InjectedFault::Status(503));
    let polls = fake.requests("openid-configuration");
    rp.redeem().await.unwrap_err();
    while fake.requests("openid-configuration") == polls {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(rp.provider.is_available());
    stop.raise();
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
