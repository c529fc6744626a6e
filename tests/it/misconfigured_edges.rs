//! Edges that do not pass on what the gate reads, or ask at no edge's path: nobody goes round for ever, and the log says which
//! line mends it.

use http::StatusCode;

use crate::world::{
    EdgeKind, TRAEFIK, WorldBuilder, eventually,
    raw::{self, DIALECTS, OriginalRequest},
};

const PAGE: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";

/// Shipped lines without the one for cookies.
const LISTED: (&str, &str) = ("          - Authorization\n          - Cookie\n", "          - Authorization\n");
const ENVOY: (&str, &str) = (
    "                - { exact: cookie }\n                - { exact: doorward-token }\n",
    "                - { exact: doorward-token }\n",
);

#[tokio::test]
async fn an_edge_that_does_not_pass_cookies_to_the_check_is_named_after_three_rounds() {
    for (kind, change) in
        [(TRAEFIK, ("gate.yml", LISTED.0, LISTED.1)), (EdgeKind::Envoy, ("envoy.yaml", ENVOY.0, ENVOY.1))]
    {
        let world = WorldBuilder::with(kind).edge(&[change]).start().await;
        let alice = world.person("alice");
        let mut answer = alice.open(&world.at("app", "/page")).await;
        let mut hops = Vec::new();
        while let Some(next) = answer.location() {
            assert!(hops.len() < 60, "it goes round: {hops:#?}");
            hops.push(next.clone());
            answer = alice.open(&next).await;
        }
        let callbacks = hops.iter().filter(|url| url.contains("/_doorward/callback")).count();
        assert_eq!(answer.reason(), "sign_in_loop", "{kind:?}: {answer:?}");
        assert!((2..=4).contains(&callbacks), "{kind:?}: {callbacks} sign-ins: {hops:#?}");
        let text = answer.text();
        assert!(text.contains("<code>Cookie</code>"), "{kind:?}: {text}");
        assert!(text.contains(answer.header("doorward-request-id")), "{kind:?}: {text}");
        let log = world.gate.log();
        assert!(log.contains("the edge must pass Cookie to the check"), "{kind:?}: {log}");
        assert!(
            log.contains(if kind == TRAEFIK { "authRequestHeaders" } else { "allowed_headers" }),
            "{kind:?}: {log}"
        );
        assert_eq!(world.app.requests(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn an_edge_that_passes_neither_accept_nor_the_mode_is_named_once_an_hour() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    let warning = "the edge passes neither Accept nor Sec-Fetch-Mode to the check";
    let ask = async |dialect: &str, lines: &str| {
        let asked = OriginalRequest { method: "GET", host: "app.example.test", target: "/", lines };
        raw::request(world.gate.port, &asked.in_dialect(dialect)).await.status
    };
    // A program that gives its name, and an edge that is known to pass them on.
    assert_eq!(ask("caddy", "User-Agent: backup-job/1.1\r\n").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("envoy", PAGE).await, StatusCode::FOUND);
    assert_eq!(ask("envoy", "").await, StatusCode::UNAUTHORIZED);
    assert!(!world.gate.log().contains(warning), "{}", world.gate.log());
    for (dialect, lines) in [("traefik", "Cookie: a=b\r\n"), ("caddy", "User-Agent: Mozilla/5.0\r\n")] {
        for _ in 0..3 {
            assert_eq!(ask(dialect, lines).await, StatusCode::UNAUTHORIZED);
        }
    }
    let log = world.gate.log();
    assert_eq!(log.matches(warning).count(), 2, "once for each edge: {log}");
    assert!(log.contains("authRequestHeaders: [Accept, Authorization, Cookie"), "{log}");
}

/// Shipped lines of what Traefik passes on, and those that are often written in their place.
const ALL: &str = "          - Accept\n          - Authorization\n          - Cookie\n          - Doorward-Token\n          \
                   - Origin\n          - Purpose\n          - Referer\n          - Sec-Fetch-Dest\n          - Sec-Fetch-Mode\n          - Sec-Fetch-Site\n";
const TWO: &str = "          - Authorization\n          - Cookie\n";

#[tokio::test]
async fn a_traefik_that_passes_two_headers_to_the_check_is_named() {
    let world = WorldBuilder::with(TRAEFIK).edge(&[("gate.yml", ALL, TWO)]).start().await;
    let visitor = world.visitor().with("user-agent", "Mozilla/5.0");
    let answer = visitor.open(&world.at("app", "/")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    let log = world.gate.log();
    assert!(log.contains("the edge passes neither Accept nor Sec-Fetch-Mode to the check"), "{log}");
    assert!(log.contains("authRequestHeaders: [Accept, Authorization, Cookie"), "{log}");
}

#[tokio::test]
async fn a_question_at_no_edges_path_is_refused_with_those_that_there_are() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    let question =
        "Host: 127.0.0.1\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: app.example.test\r\nX-Forwarded-Uri: /\r\n";
    for path in ["/_doorward/auth/treafik", "/_doorward/auth", "/_doorward/auth/", "/", "/oauth2/auth"] {
        for lines in [PAGE, "Accept: application/json\r\n"] {
            let answer = raw::request(world.gate.port, &format!("GET {path} HTTP/1.1\r\n{question}{lines}")).await;
            assert_eq!((answer.status, answer.reason()), (StatusCode::NOT_FOUND, "no_such_edge"), "{path}: {answer:?}");
            for dialect in DIALECTS {
                assert!(answer.body.contains(&format!("/_doorward/auth/{dialect}")), "{path}: {answer:?}");
            }
        }
    }
    let lines = world.gate.log().matches("refused: no edge asks at this path").count();
    assert_eq!(lines, 1, "once a minute: {}", world.gate.log());
}

#[tokio::test]
async fn a_logout_token_is_taken_at_a_name_of_the_gate_itself() {
    let mut world = WorldBuilder::with(EdgeKind::Nginx)
        .server("service_hosts = [\"doorward.auth.svc\"]")
        // Nothing listens there, so the token is not spent.
        .provider(
            serde_json::json!({ "backchannel_logout": true, "backchannel_logout_uri": "http://127.0.0.1:9/none" }),
        )
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    let asked = alice.visit(&format!("{}/session/end", world.provider.issuer())).await;
    alice.submit(&asked, &[("logout", "yes")]).await;
    let token = eventually("the provider has made a logout token", async || {
        let notices = world.provider.control("grants").await["notices"].clone();
        notices.as_array()?.first()?.as_str().map(str::to_owned)
    })
    .await;
    let post = async |host: &str| {
        let body = format!("logout_token={token}");
        let head = format!(
            "POST /_doorward/backchannel_logout HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        raw::send(world.gate.port, head.as_bytes()).await
    };
    assert_eq!(post("elsewhere.svc").await.status, StatusCode::FORBIDDEN);
    assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::OK);
    let answer = post("doorward.auth.svc:9000").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::UNAUTHORIZED);
    // Nothing else is served there.
    let start = "GET /_doorward/start HTTP/1.1\r\nHost: doorward.auth.svc\r\n";
    assert_eq!(raw::request(world.gate.port, start).await.reason(), "unknown_host");
    world.provider.stop().await;
}
