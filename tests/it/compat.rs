//! In the place of an authentik outpost (`server.compat`): its paths, signatures and answers, at providers and edges set up for it.

use http::StatusCode;
use serde_json::json;

use crate::world::{
    EdgeKind, PageRouting, Transport, Visitor, World, WorldBuilder,
    raw::{self, RawResponse},
};

const COMPAT: &str = "compat = [\"authentik\"]";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
const FETCH: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";
/// A path and a query that proxies and URL libraries tend to change.
const DEEP: &str = "/a%2Fb/c%20d?x=1&y=a%2Bb&empty=";
const TRAEFIK: EdgeKind =
    EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded };

/// An estate that was set up for an outpost: only the middleware's address leads to the gate now.
async fn estate() -> World {
    WorldBuilder::with(TRAEFIK)
        .server(COMPAT)
        .edge(&[("dynamic/gate.yml", "/_doorward/auth/traefik", "/outpost.goauthentik.io/auth/traefik")])
        .provider(json!({ "outpost": true }))
        .start()
        .await
}

async fn ask(world: &World, path: &str, lines: &str) -> RawResponse {
    raw::request(world.gate.port, &format!("GET {path} HTTP/1.1\r\n{lines}")).await
}

fn traefik(host: &str, target: &str) -> String {
    format!("Host: gate\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n")
}

const AUTH: &str = "/outpost.goauthentik.io/auth";

#[tokio::test]
async fn a_middleware_and_a_provider_that_were_set_up_for_an_outpost_need_no_change() {
    let world = estate().await;
    let alice = world.person("alice");
    let first = alice.open(&world.at("app", DEEP)).await;
    assert_eq!(first.status, StatusCode::FOUND, "{first:?}");
    let authorize: url::Url = first.location().unwrap().parse().unwrap();
    let sent = authorize.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(sent, world.at("app", "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true"));

    let page = alice.visit(&world.at("app", DEEP)).await;
    assert_eq!(page.url, world.at("app", DEEP), "{:#?}", page.trail);
    let echo = page.echo();
    assert_eq!(echo.values_as("X-authentik-username"), ["alice"]);
    assert_eq!(echo.values_as("X-authentik-groups"), ["admins|staff"]);
    for name in ["X-authentik-entitlements", "X-authentik-jwt"] {
        assert_eq!(echo.values_as(name), [""], "{name}");
    }
    assert_eq!(alice.fetch(&world.at("app", "/data")).await.status, StatusCode::OK);
    assert_eq!(world.visitor().fetch(&world.at("app", "/data")).await.status, StatusCode::UNAUTHORIZED);

    // Long targets are kept below the callback that is routed.
    let long = format!("/long?{}", "x".repeat(3_000));
    let bob = world.person("bob");
    assert_eq!(bob.visit(&world.at("app", &long)).await.url, world.at("app", &long));

    let out = alice.visit(&world.at("app", "/outpost.goauthentik.io/sign_out")).await;
    assert!(out.url.starts_with(&world.provider.issuer()), "{:#?}", out.trail);
    let done = alice.submit(&out, &[("logout", "yes")]).await;
    assert!(done.url.starts_with(&world.at("app", "/outpost.goauthentik.io/signed_out?")), "{:#?}", done.trail);
    assert_eq!((done.status, done.reason()), (StatusCode::UNAUTHORIZED, "signed_out"));
    assert_eq!(alice.fetch(&world.at("app", "/data")).await.status, StatusCode::UNAUTHORIZED, "{:#?}", out.trail);
}

#[tokio::test]
async fn an_error_that_authentik_appends_with_a_second_question_mark_is_read() {
    let world = estate().await;
    let answer_to = async |callback: &str| {
        let asked = format!("{}{PAGE}", traefik("app.example.test", callback));
        let answer = ask(&world, &format!("{AUTH}/traefik"), &asked).await;
        assert!(!answer.headers.contains_key("x-authentik-username"), "{answer:?}");
        (answer.status, answer.reason().to_owned())
    };
    let well_formed = answer_to("/?X-authentik-auth-callback=true&error=access_denied&state=x").await;
    let odd = answer_to("/?X-authentik-auth-callback=true?error=access_denied&state=x").await;
    assert_eq!(odd, well_formed);
}

#[tokio::test]
async fn answers_are_those_that_edges_know_from_an_outpost() {
    let world = WorldBuilder::with(TRAEFIK).server(COMPAT).provider(json!({ "outpost": true })).start().await;
    let unknown =
        ask(&world, &format!("{AUTH}/traefik"), &format!("{}{FETCH}", traefik("nobody.example.test", "/"))).await;
    assert_eq!((unknown.status, unknown.reason()), (StatusCode::BAD_REQUEST, "unknown_host"));
    assert!(unknown.body.contains("no app for hostname"), "{unknown:?}");
    let native = traefik("nobody.example.test", "/");
    let native = ask(&world, "/_doorward/auth/traefik", &format!("{native}{FETCH}")).await;
    assert_eq!(native.status, StatusCode::FORBIDDEN);
    let broken = ask(&world, &format!("{AUTH}/traefik"), "Host: gate\r\n").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let ping = ask(&world, "/outpost.goauthentik.io/ping", "Host: gate\r\n").await;
    assert_eq!(ping.status, StatusCode::NO_CONTENT);

    // What clients can send and nginx does not set is not read.
    let nginx = "Host: rules.example.test\r\nX-Original-URL: https://rules.example.test/admin/\r\n\
                 X-Original-URI: /health\r\nX-Original-Method: GET\r\n";
    let answer = ask(&world, &format!("{AUTH}/nginx"), &format!("{nginx}{FETCH}")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    // A path of the gate's own lets nobody in to the app, whoever names it where.
    for (target, status) in [
        ("/outpost.goauthentik.io/../admin/", StatusCode::FORBIDDEN),
        ("/outpost.goauthentik.io/%2e%2e/admin/", StatusCode::FORBIDDEN),
        ("/outpost.goauthentik.io/auth/traefik", StatusCode::NOT_FOUND),
        ("/outpost.goauthentik.io/ping", StatusCode::NOT_FOUND),
        ("/admin/?X-authentik-auth-callback=false", StatusCode::UNAUTHORIZED),
    ] {
        let asked = format!("{}{FETCH}", traefik("rules.example.test", target));
        let answer = ask(&world, &format!("{AUTH}/traefik"), &asked).await;
        assert_eq!(answer.status, status, "{target}: {answer:?}");
    }
    // Somebody else's link signs nobody out.
    let alice = world.signed_in("alice").await;
    let cookies = alice.cookies(&world.at("app", "/").parse().unwrap());
    let signature = traefik("app.example.test", "/?X-authentik-logout=true");
    let linked = format!("{signature}{PAGE}Sec-Fetch-Site: cross-site\r\nCookie: {cookies}\r\n");
    let asked = ask(&world, &format!("{AUTH}/traefik"), &linked).await;
    assert_eq!((asked.status, asked.reason()), (StatusCode::FORBIDDEN, "confirm_sign_out"), "{asked:?}");
    assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_compat_nothing_of_it_answers() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    for path in ["auth/traefik", "auth/nginx", "start", "callback", "ping", "sign_out"] {
        let lines = format!("{}{FETCH}", traefik("app.example.test", "/"));
        let answer = ask(&world, &format!("/outpost.goauthentik.io/{path}"), &lines).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn an_app_gets_the_attributes_that_are_listed_and_a_credential_of_its_own() {
    let attributes = json!({
        "additionalHeaders": { "X-Team": "red", "X-Level": 3, "X-Unlisted": "no", "X-authentik-username": "root" },
        "grafana_user": "ann", "grafana_password": "a-password-at-the-app", "door_code": "1234",
    });
    let world = WorldBuilder::with(TRAEFIK)
        .server(COMPAT)
        .app(
            "headers = [\"authentik\"]\nadditional_headers = [\"X-Team\", \"X-Level\", \"X-Missing\"]\n\
             basic_auth = { user_attribute = \"grafana_user\", password_attribute = \"grafana_password\" }",
        )
        .edge(&[
            ("dynamic/gate.yml", "/_doorward/auth/traefik", "/outpost.goauthentik.io/auth/traefik"),
            (
                "dynamic/gate.yml",
                "          - Remote-User\n",
                "          - Remote-User\n          - Authorization\n          - X-Team\n          - X-Level\n          - X-Missing\n",
            ),
        ])
        .provider(json!({
            "outpost": true, "more_claims": ["ak_proxy"], "people": { "alice": { "ak_proxy": { "user_attributes": attributes } } },
        }))
        .start()
        .await;
    let mine =
        |who: Visitor| who.with("x-team", "blue").with("x-missing", "mine").with("authorization", "Basic bWU6bWU=");
    let echo = mine(world.person("alice")).visit(&world.at("app", "/")).await.echo();
    for (name, expected) in [
        ("x-team", "red"),
        ("x-level", "3"),
        ("x-missing", ""),
        ("authorization", "Basic YW5uOmEtcGFzc3dvcmQtYXQtdGhlLWFwcA=="),
        ("x-authentik-username", "alice"),
    ] {
        assert_eq!(echo.values_as(name), [expected], "{name}");
    }
    assert!(echo.values_as("x-unlisted").is_empty());
    // Somebody without attributes gets none of them, and neither does what they send.
    let echo = mine(world.person("bob")).visit(&world.at("app", "/")).await.echo();
    for name in ["x-team", "x-level", "x-missing", "authorization"] {
        assert_eq!(echo.values_as(name), [""], "{name}");
    }
    for secret in ["a-password-at-the-app", "YW5uOmEtcGFzc3dvcmQ", "1234"] {
        assert!(!world.gate.log().contains(&format!("\"{secret}")), "{secret}");
    }
}

#[tokio::test]
async fn the_cookie_of_an_old_outpost_stays_until_somebody_resets() {
    let world = WorldBuilder::with(TRAEFIK)
        .server(COMPAT)
        .session("legacy_cookies = [\"authentik_proxy_*\"]")
        .edge(&[("dynamic/gate.yml", "/_doorward/auth/traefik", "/outpost.goauthentik.io/auth/traefik")])
        .provider(json!({ "outpost": true }))
        .start()
        .await;
    let alice = world.person("alice");
    let place: url::Url = world.at("app", "/").parse().unwrap();
    alice.keep(place.as_str(), "authentik_proxy_0a1b2c3d=old; Path=/");
    alice.keep(place.as_str(), "grafana_session=theirs; Path=/");
    alice.visit(place.as_str()).await.echo();
    assert!(alice.cookies(&place).contains("authentik_proxy_0a1b2c3d=old"), "{}", alice.cookies(&place));
    let reset = alice.visit(&world.at("app", "/outpost.goauthentik.io/reset")).await;
    assert_eq!(reset.reason(), "reset", "{reset:?}");
    let left = alice.cookies(&place);
    assert!(!left.contains("authentik_proxy_") && !left.contains("doorward"), "{left}");
    assert!(left.contains("grafana_session=theirs"), "{left}");
}
