//! Set-ups of operators: a proxy in front of the edge, a script that fails, requests that an edge answers by itself.

use http::StatusCode;

use crate::world::{App, ClientConnection, EdgeKind, TRAEFIK, World, WorldBuilder, raw};

/// Changes to files: file, text in it, replacement.
type Changes = &'static [(&'static str, &'static str, &'static str)];

/// A network that a rule opens a path for, and the lines with which an edge believes a proxy in front of it.
const NETWORK: &str = "[[apps.rules]]\npath = \"/office\"\naccess = \"public\"\nnetworks = [\"203.0.113.0/24\"]\n";
const FRONTS: [(EdgeKind, Changes); 5] = [
    (
        TRAEFIK,
        &[(
            "traefik.yml",
            "# proxyProtocol: { trustedIPs: [192.0.2.1] }",
            "proxyProtocol: { trustedIPs: [127.0.0.1] }",
        )],
    ),
    (
        EdgeKind::Nginx,
        &[
            ("app.conf", "# set_real_ip_from 192.0.2.1;", "set_real_ip_from 127.0.0.1;"),
            ("app.conf", "# real_ip_header", "real_ip_header"),
        ],
    ),
    (EdgeKind::Caddy, &[("Caddyfile", "# trusted_proxies static 192.0.2.1", "trusted_proxies static 127.0.0.1")]),
    (EdgeKind::Envoy, &[("envoy.yaml", "# xff_num_trusted_hops: 1", "xff_num_trusted_hops: 1")]),
    (
        EdgeKind::HaProxy,
        &[(
            "haproxy.cfg",
            "# http-request set-src hdr_ip(X-Forwarded-For,-1) if { src 192.0.2.1 }",
            "http-request set-src hdr_ip(X-Forwarded-For,-1) if { src 127.0.0.1 }",
        )],
    ),
];

/// What a client might send in the hope that a proxy passes it on.
const CLAIMS: &str = "X-Forwarded-Host: rules.example.test\r\nX-Forwarded-Uri: /health\r\nX-Forwarded-Method: OPTIONS\r\n\
                      X-Original-URL: https://rules.example.test/health\r\nForwarded: for=203.0.113.7;host=rules.example.test\r\n\
                      Remote-User: evil\r\nX-authentik-username: evil\r\nX-Real-IP: 203.0.113.7\r\n";

#[tokio::test]
async fn a_proxy_in_front_tells_the_client_s_address_and_nothing_else() {
    // In place of a loopback address Envoy names the machine's own.
    let machine = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("203.0.113.1:9")?;
        Ok(socket.local_addr()?.ip().to_string())
    });
    let trusted = format!("trusted_proxies = [\"127.0.0.0/8\", \"{}/32\"]", machine.as_deref().unwrap_or("127.0.0.1"));
    for (kind, lines) in FRONTS {
        let world = WorldBuilder::with(kind).server(&trusted).edge(lines).tables(NETWORK).without_provider().await;
        for (client, expected) in [("203.0.113.7", "200"), ("198.51.100.9", "401")] {
            assert_eq!(status_in_front(&world, client, "rules", "/office").await, expected, "{kind:?}: {client}");
        }
        let before = world.app.requests();
        for (host, target) in [("admin", "/health"), ("rules", "/secret")] {
            assert_eq!(status_in_front(&world, "198.51.100.9", host, target).await, "401", "{kind:?}: {host}{target}");
        }
        assert_eq!(world.app.requests(), before, "{kind:?}");

        // With the files as they are nobody is believed. What a public path gets has no identity from outside.
        if kind != TRAEFIK {
            let world = WorldBuilder::with(kind).tables(NETWORK).without_provider().await;
            assert_eq!(status_in_front(&world, "203.0.113.7", "rules", "/office").await, "401", "{kind:?}");
            assert_eq!(status_in_front(&world, "203.0.113.7", "rules", "/health").await, "200", "{kind:?}");
            let echo = world.app.last();
            for name in ["Remote-User", "X-authentik-username"] {
                assert_eq!(echo.values_as(name).concat(), "", "{kind:?}: {echo:?}");
            }
        }
    }
}

/// Returns the status of a request that a proxy in front passes on for this client, with all that the client claims.
async fn status_in_front(world: &World, client: &str, host: &str, target: &str) -> String {
    let port = world.edge.port();
    let proxied = if world.edge.kind() == TRAEFIK {
        format!("PROXY TCP4 {client} 127.0.0.1 40000 {port}\r\n")
    } else {
        String::new()
    };
    let mut connection = ClientConnection::open(world, &proxied).await;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}.example.test:{port}\r\nSec-Fetch-Mode: cors\r\nX-Forwarded-For: {client}\r\n{CLAIMS}\r\n"
    );
    connection.send(request.as_bytes()).await;
    let answer = connection.until("\r\n\r\n").await;
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn haproxy_refuses_everything_while_its_script_fails() {
    for (step, broken) in [
        ("local function let_in(txn, response)\n", "local function let_in(txn, response)\n  error('broken')\n"),
        ("local function subrequest_headers(txn)\n", "local function subrequest_headers(txn)\n  error('broken')\n"),
    ] {
        let changes = [("doorward.lua", step, broken)];
        let world = WorldBuilder::with(EdgeKind::HaProxy).edge(&changes).without_provider().await;
        let answer = world.visitor().fetch(&world.at("rules", "/health")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!((answer.header("cache-control"), answer.header("retry-after")), ("no-store", "5"), "{answer:?}");
        assert_eq!(world.app.requests(), 0);
    }
}

#[tokio::test]
async fn haproxy_asks_about_the_request_that_it_serves() {
    let world = WorldBuilder::with(EdgeKind::HaProxy).without_provider().await;
    let ask = async |line: &str, host: &str, lines: &str| {
        let head = format!("{line} HTTP/1.1\r\nHost: {host}.example.test\r\nSec-Fetch-Mode: cors\r\n{lines}");
        raw::request(world.edge.plain_port(), &head).await.status
    };
    assert_eq!(ask("GET /health", "rules", "").await, StatusCode::OK);
    let before = world.app.requests();
    for (line, host, lines, expected) in [
        ("GET http://admin.example.test/health", "rules", "", StatusCode::BAD_REQUEST),
        ("GET http://admin.example.test/health", "admin", CLAIMS, StatusCode::UNAUTHORIZED),
        ("GET http://rules.example.test/secret", "rules", CLAIMS, StatusCode::UNAUTHORIZED),
        ("GET /health", "rules", "Host: admin.example.test\r\n", StatusCode::BAD_REQUEST),
        ("GET /health#/secret", "rules", "", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(ask(line, host, lines).await, expected, "{line} {host} {lines}");
    }
    assert_eq!(world.app.requests(), before);
}

#[tokio::test]
async fn nginx_s_second_question_lets_nobody_in() {
    // The first question is about another app, so that the second one has another answer.
    const FIRST: &str =
        "proxy_set_header Host $host$doorward_port;\n    proxy_set_header X-Original-URL $scheme://$host$doorward_port";
    const ELSEWHERE: &str =
        "proxy_set_header Host admin.example.test;\n    proxy_set_header X-Original-URL $scheme://admin.example.test";
    let world = WorldBuilder::with(EdgeKind::Nginx).edge(&[("server.conf", FIRST, ELSEWHERE)]).start().await;
    let alice = world.person("alice");
    alice.visit(&world.at("app", "/_doorward/start?rd=/")).await;
    assert_eq!(alice.fetch(&world.at("app", "/_doorward/session")).await.json()["user"], "alice");
    let answer = alice.fetch(&world.at("app", "/")).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::UNAUTHORIZED, String::new()), "{answer:?}");
    for name in ["remote-user", "remote-groups", "x-authentik-username"] {
        assert_eq!(answer.headers.get(name), None, "{answer:?}");
    }
    assert_eq!(world.app.requests(), 0);
}

#[tokio::test]
async fn what_nginx_itself_forbids_stays_nginx_s_own_403() {
    let closed = [("app.conf", "location / {", "location / {\n        deny all;")];
    let world = WorldBuilder::with(EdgeKind::Nginx).edge(&closed).without_provider().await;
    let answer = world.visitor().open(&world.at("rules", "/health")).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, ""), "{answer:?}");
    assert!(answer.text().contains("nginx"), "{answer:?}");
}

#[tokio::test]
async fn caddy_reloads_its_file() {
    let world = WorldBuilder::with(EdgeKind::Caddy).without_provider().await;
    let url = world.at("rules", "/health");
    world.visitor().fetch(&url).await.echo();
    let other = App::start().await;
    let file = world.dir().join("edge/Caddyfile");
    let text = std::fs::read_to_string(&file).unwrap();
    let moved = text.replace(&world.app.port.to_string(), &other.port.to_string());
    assert_ne!(moved, text);
    std::fs::write(&file, moved).unwrap();
    let output = world.edge.caddy_command("reload", world.dir()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.visitor().fetch(&url).await.echo();
    assert_eq!(other.requests(), 1);
    let file = include_str!("../../../deploy/caddy/Caddyfile");
    for left in ["admin off", "persist_config", "default_bind"] {
        assert!(!file.contains(left), "{left} is for tests");
    }
}
