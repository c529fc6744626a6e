//! Refusals, and headers of clients that have no effect.

use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::world::{EDGES, RequestMode, TRAEFIK, World, WorldBuilder, eventually};

#[tokio::test]
async fn bob_gets_a_refusal_and_alice_is_allowed() {
    let world = World::new().await;
    let admin = world.at("admin", "/");
    let answer = world.person("bob").visit(&admin).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
    assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
    assert!(answer.text().contains("bob"), "the page says who is signed in");
    assert_eq!(world.app.requests(), 0);

    let bob = world.signed_in("bob").await;
    bob.visit(&admin).await;
    let answer = bob.fetch(&admin).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
    assert!(answer.json()["error"].is_string());

    assert_eq!(world.person("alice").visit(&admin).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn somebody_whose_groups_the_provider_holds_back_is_told_so_and_the_log_says_what_to_mend() {
    let people = json!({ "bob": { "groups": null, "hasgroups": true } });
    let provider = json!({ "people": people, "more_claims": ["hasgroups"] });
    let world = WorldBuilder::with(TRAEFIK).provider(provider).start().await;
    let bob = world.signed_in("bob").await;
    bob.visit(&world.at("admin", "/")).await;
    let answer = bob.fetch(&world.at("admin", "/")).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "groups_incomplete"), "{answer:?}");
    assert_eq!(bob.fetch(&world.at("app", "/")).await.status, StatusCode::OK, "other rules let him in as before");
    eventually("the log says it, once for the provider and for the refusal", async || {
        let log = world.gate.log();
        let says = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        (says(&["does not send the groups", "mend"]) == 1 && says(&["groups_incomplete", "needs", "mend"]) == 1)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_that_no_app_names_is_refused_to_everybody_and_never_redirected() {
    let world = World::new().await;
    for person in [world.visitor(), world.signed_in("alice").await] {
        for answer in [person.open(&world.at("nobody", "/")).await, person.fetch(&world.at("nobody", "/")).await] {
            assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "unknown_host"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_a_client_claims_to_be_never_reaches_the_app() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let bob = world.signed_in("bob").await;
        // One at a time: an edge may refuse a spelling, which is fine too.
        for name in [
            "remote-user",
            "remote-groups",
            "x-authentik-username",
            "x-authentik-groups",
            "x-authentik-entitlements",
            "x-authentik-meta-app",
            "x_authentik_username",
            "x-authentik_groups",
            "remote_user",
            "x.authentik.username",
            "x.authentik-groups",
            "x-auth-request-user",
            "x-auth-request-groups",
        ] {
            let answer = bob.clone().with(name, "evil").fetch(&world.at("app", "/who")).await;
            if answer.status == StatusCode::BAD_REQUEST {
                continue;
            }
            let echo = answer.echo();
            assert!(!echo.values_as(name).contains(&"evil"), "{kind:?}: {name} reached the app: {echo:?}");
            assert_eq!(echo.values_as("Remote-User"), ["bob"], "{kind:?}: {name}");
        }
    }
}

#[tokio::test]
async fn what_a_client_says_about_its_own_request_opens_nothing() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        for (name, value) in [
            ("x-forwarded-uri", "/health"),
            ("x-forwarded-host", "nobody.example.test"),
            ("x-forwarded-method", "OPTIONS"),
            ("x-forwarded-prefix", "/health"),
            ("x-original-uri", "/health"),
            ("x-original-url", "https://rules.example.test/health"),
            ("x-original-method", "OPTIONS"),
            ("x-rewrite-url", "/health"),
            ("x-envoy-original-path", "/health"),
            ("forwarded", "for=127.0.0.1;host=nobody.example.test;proto=http"),
            ("x-forwarded-for", "127.0.0.1"),
            ("user-agent", "GoogleHC/1.0"),
            ("if-none-match", "*"),
            ("range", "bytes=0-0"),
        ] {
            let answer = world.visitor().with(name, value).fetch(&world.at("rules", "/secret?a=/health")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind:?}: {name}: {value}: {answer:?}");
        }
        assert_eq!(world.app.requests(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_send_subrequests_through_the_edge() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let alice = world.signed_in("alice").await;
        for path in
            ["auth/traefik", "auth/caddy", "auth/nginx", "auth/envoy/", "auth/envoy/../../start", "x/../auth/envoy/"]
        {
            let asking = alice
                .clone()
                .with("x-forwarded-method", "GET")
                .with("x-original-url", "https://app.example.test/")
                .with("x-forwarded-uri", "/");
            let answer = asking.fetch(&world.at("app", &format!("/_doorward/{path}"))).await;
            // A path with dot segments may reach the app, which she is allowed to use.
            let by_the_app = answer.header("set-cookie").starts_with("app=");
            assert!(!answer.status.is_success() || (by_the_app && path.contains("..")), "{kind:?}: {path}: {answer:?}");
            assert_eq!(answer.headers.get("remote-user"), None, "{kind:?}: {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_made_up_cookie_is_no_session_in_any_form() {
    let world = World::new().await;
    let good = world.signed_in("alice").await.cookies(&world.at("app", "/").parse().unwrap());
    let session = good.split("; ").find(|cookie| cookie.contains("doorward")).expect("a session cookie");
    let (name, value) = session.split_once('=').unwrap();
    let mut flipped = value.as_bytes().to_vec();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let long = "x".repeat(8192);
    for made_up in
        ["", "x", "%00", "\"\"", "==", &long, &value[..value.len() - 1], std::str::from_utf8(&flipped).unwrap()]
    {
        let visitor = world.visitor();
        let mut request = visitor.request(RequestMode::Fetch, &world.at("app", "/"));
        request.headers_mut().insert("cookie", HeaderValue::from_str(&format!("{name}={made_up}")).unwrap());
        let answer = visitor.send(request).await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{made_up}: {answer:?}");
        assert_eq!(answer.headers.get("set-cookie"), None, "a fetch clears nothing: {answer:?}");
    }
    // An invalid cookie beside the valid one does no harm.
    let visitor = world.visitor();
    let mut request = visitor.request(RequestMode::Fetch, &world.at("app", "/"));
    request.headers_mut().insert("cookie", HeaderValue::from_str(&format!("{name}=stray; {good}")).unwrap());
    assert_eq!(visitor.send(request).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn only_a_trusted_peer_may_send_subrequests() {
    let lines = r#"trusted_proxies = ["10.0.0.0/8"]"#;
    let world = WorldBuilder::with(TRAEFIK).server(lines).without_provider().await;
    let answer = world.visitor().open(&world.at("app", "/")).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "untrusted_peer"), "{answer:?}");
}

#[tokio::test]
async fn thirty_kilobytes_of_cookies_are_answered_through_every_edge() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let alice = world.signed_in("alice").await;
        for number in 0..10 {
            alice.keep(&world.at("app", "/"), &format!("tracking{number}={}; Path=/", "x".repeat(3_000)));
        }
        assert_eq!(alice.fetch(&world.at("app", "/")).await.echo().values_as("Remote-User"), ["alice"], "{kind:?}");
    }
}
