//! Real edges in common set-ups: host, path and client are checked as the edge routed by them.

use http::StatusCode;

use super::{RULES, SCRIPT, cookies};
use crate::world::{
    EdgeKind, PageRouting, Transport, World, WorldBuilder,
    raw::{self, RawResponse},
};

const ADMIN: &str = "admin.example.test";

/// nginx's line as shipped, and as other gates document it.
const SHIPPED_URL: &str = "X-Original-URL $scheme://$host$doorward_port$request_uri;";
const DOCUMENTED_URL: &str = "X-Original-URL $scheme://$http_host$request_uri;";

const SHIPPED_HOST: &str = "proxy_set_header Host $host$doorward_port;\n    proxy_set_header X-Original-URL";
const CLIENTS_HOST: &str = "proxy_set_header Host $http_host;\n    proxy_set_header X-Original-URL";
const GATES_HOST: &str = "proxy_set_header Host doorward.auth.svc;\n    proxy_set_header X-Original-URL";
/// Without a line for it, nginx sends the name of its upstream.
const NO_HOST: &str = "proxy_set_header X-Original-URL";

/// Sends a raw request to the edge in clear text.
async fn ask(world: &World, line: &str, lines: &str) -> RawResponse {
    raw::request(world.edge.plain_port(), &format!("{line} HTTP/1.1\r\n{lines}")).await
}

/// Returns the cookies of bob, who may use `app` and not `admin`.
async fn bob(world: &World) -> String {
    cookies(world, &world.signed_in("bob").await)
}

#[tokio::test]
async fn nginx_in_its_usual_settings_is_not_talked_into_another_app() {
    for (what, host, url, services) in [
        ("as shipped", SHIPPED_HOST, SHIPPED_URL, ""),
        ("the address by the client's line", SHIPPED_HOST, DOCUMENTED_URL, ""),
        ("the host by the client's line", CLIENTS_HOST, SHIPPED_URL, ""),
        ("the upstream's name", NO_HOST, SHIPPED_URL, "service_hosts = [\"doorward\"]"),
        ("the gate's name", GATES_HOST, SHIPPED_URL, "service_hosts = [\"doorward.auth.svc\"]"),
        ("the gate's name, without service_hosts", GATES_HOST, SHIPPED_URL, ""),
        ("the gate's name, the address by the client's line, without service_hosts", GATES_HOST, DOCUMENTED_URL, ""),
    ] {
        let changes = [("server.conf", SHIPPED_HOST, host), ("server.conf", SHIPPED_URL, url)];
        let world = WorldBuilder::with(EdgeKind::Nginx).server(services).edge(&changes).start().await;
        let speaks = services.is_empty() && host == GATES_HOST;
        let said = ask(&world, "GET /health", &format!("Host: {RULES}\r\n{SCRIPT}")).await;
        // nginx turns a 400 into a 500, which the shipped files show as 503.
        let expected = if speaks { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        assert_eq!(said.status, expected, "{what}: {said:?}");

        let before = world.app.requests();
        for line in ["/health", "/open/x", "/"] {
            // nginx routes by the request line and passes on the `Host` header.
            let lines = format!("Host: {RULES}\r\n{SCRIPT}");
            let said = ask(&world, &format!("GET http://{ADMIN}{line}"), &lines).await;
            assert!(!said.status.is_success() && world.app.requests() == before, "{what}: {line}: {said:?}");
        }
        if !speaks {
            let lines = format!("Host: app.example.test\r\n{SCRIPT}{}", bob(&world).await);
            let before = world.app.requests();
            let said = ask(&world, &format!("GET http://{ADMIN}/"), &lines).await;
            assert!(!said.status.is_success() && world.app.requests() == before, "{what}: {said:?}");
        }
    }
}

#[tokio::test]
async fn traefik_behind_a_trusted_proxy_tells_the_gate_nothing_that_came_from_there() {
    let changes = [("traefik.yml", "  web:\n", "  web:\n    forwardedHeaders: { trustedIPs: [\"127.0.0.0/8\"] }\n")];
    let kind = EdgeKind::Traefik { entry: Transport::Plain, gate: Transport::Tls, pages: PageRouting::Guarded };
    let world = WorldBuilder::with(kind).edge(&changes).start().await;
    let said = ask(&world, "GET /health", &format!("Host: {RULES}\r\n{SCRIPT}")).await;
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
    let before = world.app.requests();
    for (host, lines) in [
        (RULES, "X-Forwarded-Uri: /health\r\n"),
        (RULES, "X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Uri: /open/x\r\n"),
        (RULES, "X-Forwarded-Prefix: /health\r\n"),
        (ADMIN, "X-Forwarded-Host: rules.example.test\r\nX-Forwarded-Uri: /health\r\n"),
        (ADMIN, "X-Forwarded-Host: rules.example.test\r\n"),
    ] {
        let said = ask(&world, "GET /secret", &format!("Host: {host}\r\n{SCRIPT}{lines}")).await;
        assert_eq!((said.status, world.app.requests()), (StatusCode::UNAUTHORIZED, before), "{host} {lines}: {said:?}");
    }
    let lines = format!("Host: {ADMIN}\r\nX-Forwarded-Host: app.example.test\r\n{SCRIPT}{}", bob(&world).await);
    let before = world.app.requests();
    let said = ask(&world, "GET /", &lines).await;
    assert!(said.status.is_client_error() && world.app.requests() == before, "{said:?}");
}

#[tokio::test]
async fn caddy_behind_a_trusted_proxy_is_judged_by_the_host_that_it_routed_by() {
    const PINNED: &str = "\t\theader_up X-Forwarded-Host {http.request.hostport}\n";
    let trusts = ("Caddyfile", "\tservers {\n", "\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n");
    let plain = (
        "Caddyfile",
        "https://*.example.com {",
        "http://*.example.com {\n\troute {\n\t\timport doorward\n\t\treverse_proxy 127.0.0.1:8080\n\t}\n}\n\nhttps://*.example.com {",
    );
    let loose = ("Caddyfile", PINNED, "");
    for changes in [vec![trusts, plain], vec![trusts, plain, loose]] {
        let is_shipped = changes.len() == 2;
        let world = WorldBuilder::with(EdgeKind::Caddy).edge(&changes).start().await;
        let said = ask(&world, "GET /health", &format!("Host: {RULES}\r\n{SCRIPT}")).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        let before = world.app.requests();
        let named = format!("X-Forwarded-Host: {RULES}\r\nX-Forwarded-Uri: /health\r\nX-Forwarded-Method: OPTIONS\r\n");
        for target in ["/secret", "/health"] {
            let said = ask(&world, &format!("GET {target}"), &format!("Host: {ADMIN}\r\n{SCRIPT}{named}")).await;
            let expected = if is_shipped { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
            assert_eq!((said.status, world.app.requests()), (expected, before), "{target}: {said:?}");
        }
        // Two hosts of one app are no contradiction, nor is a port.
        let lines = format!("Host: {RULES}\r\nX-Forwarded-Host: {RULES}.:8443\r\n{SCRIPT}");
        let said = ask(&world, "GET /health", &lines).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        let lines = format!("Host: {ADMIN}\r\nX-Forwarded-Host: app.example.test\r\n{SCRIPT}{}", bob(&world).await);
        let before = world.app.requests();
        let said = ask(&world, "GET /", &lines).await;
        assert!(said.status.is_client_error() && world.app.requests() == before, "{said:?}");
    }
}

#[tokio::test]
async fn a_contradiction_is_logged_with_the_lines_that_fix_it() {
    let world = super::bare().await;
    for (dialect, lines, mend) in [
        (
            "nginx",
            "X-Original-URL: https://rules.example.test/health\r\n",
            "proxy_set_header X-Original-URL $scheme://$host$request_uri",
        ),
        (
            "caddy",
            "X-Forwarded-Host: rules.example.test\r\nX-Forwarded-Uri: /health\r\nX-Forwarded-Method: GET\r\n",
            "header_up X-Forwarded-Host",
        ),
    ] {
        let head = format!("GET /_doorward/auth/{dialect} HTTP/1.1\r\nHost: {ADMIN}\r\n{lines}{SCRIPT}");
        let said = raw::request(world.gate.port, &head).await;
        assert_eq!((said.status, said.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "{dialect}: {said:?}");
        let log = world.gate.log();
        let line = log.lines().find(|line| line.contains(said.header("doorward-request-id")));
        let line = line.unwrap_or_else(|| panic!("{dialect}: {log}"));
        for part in [mend, ADMIN, RULES] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
