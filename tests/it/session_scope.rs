//! The scope of a session: it is valid at its host, or in its domain, for its provider's issuer and client (contract C14a),
//! and nowhere else. Its tokens are sent nowhere else.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::world::{
    EdgeKind, Provider, RequestMode, Visitor, World, WorldBuilder, eventually,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

/// Edge with the gate in clear text, so that raw requests can be sent to it.
const BARE: EdgeKind = EdgeKind::Nginx;

const APP: &str = "app.example.test";
const RULES: &str = "rules.example.test";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
const SCRIPT: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";

/// Returns the cookies that the app at `app.example.test` could see.
fn copied(world: &World, visitor: &Visitor) -> String {
    format!("Cookie: {}\r\n", visitor.cookies(&world.at("app", "/").parse().unwrap()))
}

async fn subrequest(world: &World, dialect: &str, host: &str, lines: &str) -> RawResponse {
    raw::request(world.gate.port, &OriginalRequest { method: "GET", host, target: "/", lines }.in_dialect(dialect))
        .await
}

async fn direct(world: &World, host: &str, page: &str, lines: &str) -> RawResponse {
    raw::request(world.gate.port, &format!("GET /_doorward{page} HTTP/1.1\r\nHost: {host}\r\n{lines}")).await
}

async fn is_valid(world: &World, cookies: &str) -> bool {
    subrequest(world, "traefik", APP, &format!("{SCRIPT}{cookies}")).await.status == StatusCode::OK
}

#[tokio::test]
async fn a_cookie_that_one_app_saw_is_nobody_at_any_other_host() {
    let world = WorldBuilder::with(BARE).start().await;
    // Each host under a wildcard has sessions of its own.
    world.gate.configure(&world.config().replace(&format!("\"{RULES}\""), "\"*.example.test\""));
    eventually("the wildcard is in force", async || {
        let said = subrequest(&world, "traefik", "other.example.test", SCRIPT).await;
        (said.reason() == "no_session").then_some(())
    })
    .await;
    let alice = world.signed_in("alice").await;
    alice.visit(&world.at("rules", "/")).await.echo();
    let cookies = copied(&world, &alice);
    let at_rules = format!("Cookie: {}\r\n", alice.cookies(&world.at("rules", "/").parse().unwrap()));
    for (dialect, host) in DIALECTS.into_iter().flat_map(|dialect| {
        ["admin.example.test", RULES, "other.example.test", "x.app.example.test"].map(|host| (dialect, host))
    }) {
        let said = subrequest(&world, dialect, host, &format!("{SCRIPT}{cookies}")).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect} {host}");
    }
    for (host, expected) in [
        (RULES, StatusCode::OK),
        ("RULES.example.test.", StatusCode::OK),
        ("rules.example.test:8443", StatusCode::OK),
        ("other.example.test", StatusCode::UNAUTHORIZED),
        (APP, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(
            subrequest(&world, "traefik", host, &format!("{SCRIPT}{at_rules}")).await.status,
            expected,
            "{host}"
        );
    }
    assert!(is_valid(&world, &cookies).await);
}

#[tokio::test]
async fn the_pages_of_another_host_reveal_and_end_nothing() {
    let world = WorldBuilder::with(BARE).start().await;
    let alice = world.signed_in("alice").await;
    let cookies = copied(&world, &alice);
    let said = direct(&world, RULES, "/session", &format!("{SCRIPT}{cookies}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"));
    assert!(!said.body.contains("alice"), "{said:?}");
    for page in ["/sign_out", "/reset", "/sign_out?rd=%2F"] {
        let said = direct(&world, RULES, page, &format!("{PAGE}{cookies}")).await;
        assert!(!said.header("location").contains("id_token_hint"), "{page}: {said:?}");
        assert!(is_valid(&world, &cookies).await, "{page}");
    }
    // The session cookie of another host does not count as signed in.
    let said = direct(&world, RULES, "/callback?state=x&code=y", &format!("{PAGE}{cookies}")).await;
    assert!(said.header("location").starts_with(&world.provider.issuer()), "{said:?}");
    // A sign-in here does not end the session there.
    let bob = world.person("bob");
    let callback = bob.up_to_the_callback(&world.at("rules", "/")).await;
    let mut request = bob.request(RequestMode::Page, &callback);
    let line = cookies.trim_start_matches("Cookie: ").trim_end();
    request.headers_mut().append("cookie", line.parse().unwrap());
    assert_eq!(bob.send(request).await.reason(), "signed_in");
    assert!(is_valid(&world, &cookies).await);
    let said = direct(&world, APP, "/session", &format!("{SCRIPT}{cookies}")).await;
    assert!(said.body.contains("alice"), "{said:?}");
    assert_eq!(direct(&world, APP, "/sign_out", &format!("{PAGE}{cookies}")).await.status, StatusCode::FOUND);
    assert!(!is_valid(&world, &cookies).await);
}

#[tokio::test]
async fn a_login_cookie_completes_no_sign_in_at_another_host() {
    let world = WorldBuilder::with(BARE).start().await;
    let alice = world.person("alice");
    alice.open(&world.at("app", "/")).await;
    let copied = copied(&world, &alice);
    // A sign-in at another host that has returned from the provider.
    let mallory = world.person("bob");
    let callback = mallory.up_to_the_callback(&world.at("rules", "/")).await;
    let query = callback.split_once("/_doorward/callback").unwrap().1;
    let said = direct(&world, RULES, &format!("/callback{query}"), &format!("{PAGE}{copied}")).await;
    assert!(!said.cookies().iter().any(|line| line.starts_with("__Host-doorward=")), "{said:?}");
}

#[tokio::test]
async fn the_state_of_a_sign_out_leads_on_at_its_own_host_alone() {
    let world = WorldBuilder::with(BARE).start().await;
    let alice = copied(&world, &world.signed_in("alice").await);
    let said = direct(&world, APP, "/sign_out?rd=%2Fnext", &format!("{PAGE}{alice}")).await;
    let provider = url::Url::parse(said.header("location")).unwrap();
    let state = provider.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    for (host, leads_on) in [(RULES, false), ("admin.example.test", false), (APP, true)] {
        let said = direct(&world, host, &format!("/signed_out?state={state}"), PAGE).await;
        assert_eq!(said.header("location").ends_with("/next"), leads_on, "{host}: {said:?}");
    }
}

#[tokio::test]
async fn with_a_cookie_domain_a_session_is_valid_at_its_hosts_and_at_none_outside() {
    let session = "cookie_domain = \"example.test\"";
    let world = WorldBuilder::with(BARE).session(session).tables("[access]\ndefault = \"authenticated\"").start().await;
    let alice = world.signed_in("alice").await;
    let cookies = copied(&world, &alice);
    for (host, expected) in [
        (APP, StatusCode::OK),
        (RULES, StatusCode::OK),
        ("admin.example.test", StatusCode::OK),
        ("unnamed.example.test", StatusCode::OK),
        ("example.test", StatusCode::OK),
        ("notexample.test", StatusCode::UNAUTHORIZED),
        ("app.example.test.evil.test", StatusCode::UNAUTHORIZED),
        ("test", StatusCode::UNAUTHORIZED),
    ] {
        let said = subrequest(&world, "traefik", host, &format!("{SCRIPT}{cookies}")).await;
        assert_eq!(said.status, expected, "{host}: {said:?}");
    }
    direct(&world, "notexample.test", "/sign_out", &format!("{PAGE}{cookies}")).await;
    assert!(is_valid(&world, &cookies).await);
    assert_eq!(direct(&world, RULES, "/sign_out", &format!("{PAGE}{cookies}")).await.status, StatusCode::FOUND);
    assert!(!is_valid(&world, &cookies).await);
}

/// Replaces the provider by another issuer under the same name.
async fn replace_provider(world: &World) -> Provider {
    let origins = ["app", "admin", "rules"].map(|host| world.at(host, ""));
    let mut other = Provider::new(world.dir(), &origins, &json!({ "access_token_ttl": 4 }));
    other.start().await;
    change(world, &world.provider.issuer(), &other.issuer()).await;
    other
}

async fn change(world: &World, from: &str, to: &str) {
    let applied = r#"doorward_config_reloads_total{result="applied"}"#;
    let before = world.gate.metric(applied).await.unwrap_or_default();
    let config = world.config();
    assert!(config.contains(from));
    world.gate.configure(&config.replace(from, to));
    let is_applied = async || (world.gate.metric(applied).await? > before).then_some(());
    eventually("the change is in force", is_applied).await;
}

/// Starts a world whose sessions are renewed after two seconds.
async fn renewing() -> World {
    let provider = json!({ "access_token_ttl": 4 });
    WorldBuilder::with(BARE).session("renew_before = \"2s\"").provider(provider).start().await
}

#[tokio::test]
async fn sessions_of_another_issuer_under_the_same_name_are_over_and_their_tokens_go_nowhere() {
    let mut world = renewing().await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let (alice, bob) = (copied(&world, &alice), copied(&world, &bob));
    let before = world.provider.token_requests().await;
    let other = replace_provider(&world).await;
    // Real time, because the provider's token lifetime is: until the access token of 4 s has expired.
    for round in 0..6 {
        let said = subrequest(&world, "traefik", APP, &format!("{SCRIPT}{alice}")).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{round}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let said = direct(&world, APP, "/session", &format!("{SCRIPT}{alice}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"));
    let said = direct(&world, APP, "/sign_out", &format!("{PAGE}{bob}")).await;
    assert_eq!((said.status, said.header("location")), (StatusCode::OK, ""), "{said:?}");
    // In the store as well as in the cache.
    world.gate.restart(crate::world::Signal::Term).await;
    let said = subrequest(&world, "traefik", APP, &format!("{SCRIPT}{alice}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"));

    let counts = other.control("grants").await;
    assert_eq!((other.token_requests().await, counts["revocations"].as_u64()), (0, Some(0)), "{counts}");
    let counts = world.provider.control("grants").await;
    assert_eq!((world.provider.token_requests().await, counts["revocations"].as_u64()), (before, Some(0)), "{counts}");
    // A sign-in at the new issuer works.
    let carol = world.visitor();
    carol.keep(&other.issuer(), "user=alice; Path=/");
    carol.visit(&world.at("app", "/")).await.echo();
}

#[tokio::test]
async fn sessions_of_another_client_are_over_and_count_again_when_it_is_put_back() {
    let world = renewing().await;
    let alice = copied(&world, &world.signed_in("alice").await);
    let before = world.provider.token_requests().await;
    change(&world, "client_id = \"doorward\"", "client_id = \"another\"").await;
    let said = subrequest(&world, "traefik", APP, &format!("{SCRIPT}{alice}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"));
    // Real time, because the provider's token lifetime is: beyond the renewal that would be due after 2 s.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let said = subrequest(&world, "traefik", APP, &format!("{SCRIPT}{alice}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"));
    assert_eq!(world.provider.token_requests().await, before, "no refresh token was sent under another client");
    change(&world, "client_secret", "timeout = \"9s\"\nclient_secret").await;
    assert!(
        is_valid(&world, &alice).await,
        "what is the same issuer and client is the same, whatever else was changed"
    );
}

#[tokio::test]
async fn a_sign_in_that_began_at_another_issuer_or_client_is_begun_anew_and_its_code_is_shown_to_nobody() {
    for is_other_client in [true, false] {
        let world = WorldBuilder::with(BARE).start().await;
        let alice = world.person("alice");
        let callback = alice.up_to_the_callback(&world.at("app", "/deep?x=1")).await;
        let other = if is_other_client {
            change(&world, "client_id = \"doorward\"", "client_id = \"another\"").await;
            None
        } else {
            Some(replace_provider(&world).await)
        };
        let answer = alice.open(&callback).await;
        let begun = other.as_ref().unwrap_or(&world.provider).issuer();
        assert!(answer.header("location").starts_with(&begun), "{answer:?}");
        assert_eq!(world.provider.token_requests().await, 0);
        if let Some(other) = other {
            assert_eq!(other.token_requests().await, 0);
        }
    }
}
