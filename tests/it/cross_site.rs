//! `cross_site`: requests of other sites and of siblings that a session would let in.

use http::{Method, StatusCode};

use crate::world::{
    ClientConnection, EDGES, EdgeKind, RequestMode, Visitor, World, WorldBuilder, eventually,
    raw::{self, DIALECTS, OriginalRequest},
};

/// One session for all hosts.
const SHARED: &str = "cookie_domain = \"example.test\"";

const GUARDED: &str = "guarded.example.test";
const PARTLY: &str = "partly.example.test";

/// An app that is guarded but for some paths, and one that is not but for a folder.
const APPS: &str = r#"
[[apps]]
name = "guarded"
hosts = ["guarded.example.test"]
cross_site = "deny"

[[apps.rules]]
path = "/saml/acs"
methods = ["POST"]
access = "authenticated"
cross_site = "allow"

[[apps.rules]]
path = { prefix = "/open/" }
access = "optional"

[[apps.rules]]
path = "/hook"
access = "public"

[[apps]]
name = "partly"
hosts = ["partly.example.test"]

[[apps.rules]]
path = { prefix = "/admin/" }
access = "authenticated"
cross_site = "deny"
"#;

const CROSS_SITE: &str = "Sec-Fetch-Site: cross-site\r\n";
const SIBLING: &str = "Sec-Fetch-Site: same-site\r\nOrigin: https://app.example.test\r\n";
const OWN: &str = "Sec-Fetch-Site: same-origin\r\nOrigin: https://guarded.example.test\r\n";

async fn world(kind: EdgeKind) -> World {
    WorldBuilder::with(kind).session(SHARED).tables(APPS).start().await
}

fn cookies(world: &World, person: &Visitor) -> String {
    format!("Cookie: {}\r\n", person.cookies(&world.at("guarded", "/").parse().unwrap()))
}

#[tokio::test]
async fn a_session_lets_no_other_site_change_anything() {
    let world = world(EdgeKind::Nginx).await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    for dialect in DIALECTS {
        for (host, method, target, lines, expected) in [
            (GUARDED, "POST", "/", OWN, ""),
            (GUARDED, "POST", "/", "", ""),
            (GUARDED, "POST", "/", "Sec-Fetch-Site: none\r\n", ""),
            (GUARDED, "POST", "/", "Origin: https://GUARDED.example.test:443\r\n", ""),
            (GUARDED, "POST", "/", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/", SIBLING, "cross_site"),
            (GUARDED, "POST", "/", "Origin: https://app.example.test\r\n", "cross_site"),
            (GUARDED, "POST", "/", "Origin: http://guarded.example.test\r\n", "cross_site"),
            (GUARDED, "POST", "/", "Origin: https://guarded.example.test:8443\r\n", "cross_site"),
            (GUARDED, "POST", "/", "Origin: null\r\n", "cross_site"),
            (GUARDED, "POST", "/", "Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n", "cross_site"),
            (GUARDED, "POST", "/", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: same-origin\r\n", "cross_site"),
            (
                GUARDED,
                "POST",
                "/",
                "Origin: https://guarded.example.test\r\nOrigin: https://guarded.example.test\r\n",
                "cross_site",
            ),
            (GUARDED, "POST", "/", "Sec-Fetch-Site: Same-Origin\r\n", "cross_site"),
            (GUARDED, "DELETE", "/", CROSS_SITE, "cross_site"),
            (GUARDED, "TRACE", "/", CROSS_SITE, "cross_site"),
            (GUARDED, "PROPFIND", "/", CROSS_SITE, "cross_site"),
            (GUARDED, "GET", "/", CROSS_SITE, ""),
            (GUARDED, "HEAD", "/", CROSS_SITE, ""),
            (GUARDED, "OPTIONS", "/", CROSS_SITE, ""),
            (GUARDED, "GET", "/", "Upgrade: websocket\r\nOrigin: https://app.example.test\r\n", "cross_site"),
            (GUARDED, "GET", "/", "Sec-WebSocket-Version: 13\r\nOrigin: https://app.example.test\r\n", "cross_site"),
            (GUARDED, "GET", "/", "Upgrade: websocket\r\nOrigin: https://guarded.example.test\r\n", ""),
            // Rules, in both directions.
            (GUARDED, "POST", "/saml/acs", CROSS_SITE, ""),
            (GUARDED, "PUT", "/saml/acs", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/saml/ACS", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/saml//acs", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/x/../saml/acs", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/open/x", CROSS_SITE, "cross_site"),
            (GUARDED, "POST", "/open/x", OWN, ""),
            (GUARDED, "POST", "/hook", CROSS_SITE, ""),
            (PARTLY, "POST", "/", CROSS_SITE, ""),
            (PARTLY, "POST", "/admin/x", CROSS_SITE, "cross_site"),
            (PARTLY, "POST", "//ADMIN/x", CROSS_SITE, "cross_site"),
            (PARTLY, "POST", "/x/../admin/x", CROSS_SITE, "cross_site"),
        ] {
            let lines = format!("{alice}Sec-Fetch-Mode: cors\r\n{lines}");
            let asked = OriginalRequest { method, host, target, lines: &lines }.in_dialect(dialect);
            let said = raw::request(world.gate.port, &asked).await;
            let status = if expected.is_empty() { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!((said.status, said.reason()), (status, expected), "{dialect}: {asked}");
        }
    }
}

#[tokio::test]
async fn who_has_no_session_gets_what_they_got_before() {
    let world = world(EdgeKind::Nginx).await;
    for (target, expected) in [("/", StatusCode::UNAUTHORIZED), ("/open/x", StatusCode::OK), ("/hook", StatusCode::OK)]
    {
        let lines = format!("Sec-Fetch-Mode: cors\r\n{CROSS_SITE}");
        let asked = OriginalRequest { method: "POST", host: GUARDED, target, lines: &lines }.in_dialect("traefik");
        assert_eq!(raw::request(world.gate.port, &asked).await.status, expected, "{target}");
    }
}

#[tokio::test]
async fn the_refusal_is_a_page_or_json_and_its_line_says_what_was_there_and_what_mends_it() {
    let world = world(EdgeKind::Nginx).await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let ask = async |lines: &str| {
        let lines = format!("{alice}{lines}");
        let asked = OriginalRequest { method: "POST", host: GUARDED, target: "/pay?n=1", lines: &lines };
        raw::request(world.gate.port, &asked.in_dialect("traefik")).await
    };
    let json = ask(&format!("Sec-Fetch-Mode: cors\r\n{SIBLING}")).await;
    assert_eq!(json.header("content-type"), "application/json", "{json:?}");
    assert!(json.body.contains("\"error\":\"cross_site\""), "{json:?}");
    let page = ask(&format!("Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n{CROSS_SITE}")).await;
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(
        page.body.contains("Another site sent this") && page.body.contains(page.header("doorward-request-id")),
        "{page:?}"
    );
    for said in [&json, &page] {
        assert_eq!((said.status, said.header("cache-control")), (StatusCode::FORBIDDEN, "no-store"), "{said:?}");
    }
    let log = world.gate.log();
    let line = log.lines().find(|line| line.contains("cross_site")).unwrap_or_else(|| panic!("{log}"));
    for part in [
        "guarded",
        "alice",
        "/pay",
        "same-site",
        "https://app.example.test",
        "https://guarded.example.test",
        "a rule for its path and method",
        json.header("doorward-request-id"),
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("n=1"), "{line}");
    let counted = r#"doorward_auth_requests_total{app="guarded",edge="traefik",verdict="forbidden"}"#;
    assert_eq!(world.gate.metric(counted).await, Some(2));
    assert_eq!(world.gate.metric(r#"doorward_refusals_total{app="guarded",reason="cross_site"}"#).await, Some(2));
}

#[tokio::test]
async fn behind_every_edge_a_sibling_neither_sends_forms_nor_opens_sockets() {
    for kind in EDGES {
        let world = world(kind).await;
        let alice = world.signed_in("alice").await;
        let (own, sibling) = (world.at("guarded", ""), world.at("app", ""));
        let before = world.app.requests();
        for (origin, site, expected) in
            [(&own, "same-origin", StatusCode::OK), (&sibling, "same-site", StatusCode::FORBIDDEN)]
        {
            for mode in [RequestMode::Fetch, RequestMode::Page] {
                let mut request = alice.request(mode, &world.at("guarded", "/form"));
                *request.method_mut() = Method::POST;
                request.headers_mut().insert("origin", origin.parse().unwrap());
                request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
                let answer = alice.send(request).await;
                let reason = if expected == StatusCode::OK { "" } else { "cross_site" };
                assert_eq!((answer.status, answer.reason()), (expected, reason), "{kind:?}: {origin}: {answer:?}");
            }
            let begins = if expected == StatusCode::OK { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
            let answer = socket(&world, &alice, origin).await;
            assert!(answer.starts_with(begins), "{kind:?}: {origin}: {answer}");
        }
        let mut link = alice.request(RequestMode::Page, &world.at("guarded", "/page"));
        link.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
        assert_eq!(alice.send(link).await.echo().target, "/page", "{kind:?}: links lead here as before");
        assert_eq!(world.app.requests() - before, 4, "{kind:?}: two requests, a socket and a link");
    }
}

/// Opens a WebSocket from a page of this origin, and returns the head of the answer.
async fn socket(world: &World, person: &Visitor, origin: &str) -> String {
    let place: url::Url = world.at("guarded", "/").parse().unwrap();
    let mut connection = ClientConnection::open(world, "").await;
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {GUARDED}:{}\r\nOrigin: {origin}\r\nCookie: {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        world.edge.port(),
        person.cookies(&place),
    );
    connection.send(request.as_bytes()).await;
    connection.until("\r\n\r\n").await
}

#[tokio::test]
async fn an_nginx_that_does_not_send_the_method_has_every_request_refused_and_is_told_what_mends_it() {
    const METHOD: &str = "    proxy_set_header X-Original-Method $request_method;\n";
    let plan = WorldBuilder::with(EdgeKind::Nginx).edge(&[("server.conf", METHOD, "")]);
    let world = plan.session(SHARED).tables(APPS).start().await;
    let alice = world.signed_in("alice").await;
    let mut link = alice.request(RequestMode::Page, &world.at("guarded", "/page"));
    link.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    let answer = alice.send(link).await;
    // Without a page: nginx's second question has the method.
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    assert_eq!(world.app.requests(), 1, "only the page after the sign-in");
    eventually("the log says it", async || {
        let log = world.gate.log();
        let is_told = |line: &str| line.contains("cross_site") && line.contains("X-Original-Method $request_method");
        log.lines().any(is_told).then_some(())
    })
    .await;
}
