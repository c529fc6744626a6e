//! Subrequests: the request that is checked is the request that is served, or it is refused.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;

use super::{APP, BARE, PAGE, RULES, SCRIPT, bare, cookies};
use crate::world::{
    WorldBuilder,
    raw::{self, DIALECTS, OriginalRequest},
};

/// Rules of every kind, all of them public.
const OPEN: &str = r#"
[[apps]]
name = "open"
hosts = ["open.example.test", "*.deep.example.test"]

[[apps.rules]]
path = { prefix = "/foo/" }
access = "public"

[[apps.rules]]
path = "/allowed"
access = "public"

[[apps.rules]]
path = { prefix = "/public/" }
access = "public"

[[apps.rules]]
path = "/options"
methods = ["OPTIONS"]
access = "public"

[[apps.rules]]
path = "/lan"
networks = ["192.168.0.0/16"]
access = "public"

[[apps]]
name = "expressions"
hosts = ["expressions.example.test"]

[[apps.rules]]
path = { regex = '/foo/.*/bar' }
access = "public"

[[apps.rules]]
path = { regex = '/allowed|/api/.*/status' }
access = "public"

[[apps.rules]]
path = { regex = '^/public/.*$' }
access = "public"

[[apps.rules]]
path = { regex = '/opt[a-z]+' }
methods = ["OPTIONS"]
access = "public"

[[apps]]
name = "strict"
hosts = ["a.deep.example.test"]
allow = { groups = ["admins"] }
"#;

/// The hosts whose rules are written as paths, and as expressions.
const HOSTS: [&str; 2] = ["open.example.test", "expressions.example.test"];

/// One session for all hosts.
const SHARED: &str = "cookie_domain = \"example.test\"";

pub(super) fn get<'a>(host: &'a str, target: &'a str, lines: &'a str) -> OriginalRequest<'a> {
    OriginalRequest { method: "GET", host, target, lines }
}

#[tokio::test]
async fn what_else_a_request_says_about_itself_opens_nothing() {
    let world = bare().await;
    for dialect in DIALECTS {
        let open = get(RULES, "/health", SCRIPT).in_dialect(dialect);
        assert_eq!(raw::request(world.gate.port, &open).await.status, StatusCode::OK, "{dialect}");
        for line in [
            "X-Original-URI: /health",
            "X-Original-URI: /_doorward/start",
            "X-Rewrite-URL: /health",
            "X-Forwarded-Prefix: /health",
            "X_Forwarded_Uri: /health",
            "X_Original_URL: https://rules.example.test/health",
            "X-Envoy-Original-Path: /health",
            "X-HTTP-Method-Override: OPTIONS",
            "Forwarded: for=127.0.0.1;host=rules.example.test;proto=https",
            "X-Forwarded-Proto: javascript",
            "User-Agent: GoogleHC/1.0",
            "Remote-User: alice",
            "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
        ] {
            let head = get(RULES, "/secret?/health", &format!("{SCRIPT}{line}\r\n")).in_dialect(dialect);
            let said = raw::request(world.gate.port, &head).await;
            assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect}: {line}");
        }
    }
}

#[tokio::test]
async fn an_authorization_header_is_the_app_s_where_no_rule_reads_one() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../fixtures/vectors/authorization-header.json")).unwrap();
    let vectors: Vec<_> =
        file["cases"].as_array().unwrap().iter().map(|case| case["header"].as_str().unwrap()).collect();
    assert!(vectors.len() > 10);
    for dialect in DIALECTS {
        for header in &vectors {
            for (session, status) in [("", StatusCode::UNAUTHORIZED), (alice.as_str(), StatusCode::OK)] {
                let lines = format!("{SCRIPT}{session}Authorization: {header}\r\n");
                let said = raw::request(world.gate.port, &get(APP, "/", &lines).in_dialect(dialect)).await;
                assert_eq!(said.status, status, "{dialect}: {header}: {said:?}");
                assert_ne!(said.reason(), "invalid_token", "{dialect}: {header}");
            }
        }
    }
}

#[tokio::test]
async fn one_edge_s_words_mean_nothing_to_another() {
    let world = bare().await;
    for dialect in DIALECTS {
        for other in DIALECTS.into_iter().filter(|other| *other != dialect) {
            // Headers of the other edge for an open path, beside those of this edge for a closed one.
            let foreign = get(RULES, "/health", "").in_dialect(other);
            let lines: String = foreign
                .split_inclusive("\r\n")
                .filter(|line| line.starts_with("X-"))
                .filter(|line| dialect == "nginx" || dialect == "envoy" || !line.starts_with("X-Forwarded-"))
                .collect();
            let head = get(RULES, "/secret", &format!("{SCRIPT}{lines}")).in_dialect(dialect);
            let said = raw::request(world.gate.port, &head).await;
            assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{dialect} with the words of {other}: {said:?}");
        }
    }
}

#[tokio::test]
async fn the_query_of_a_question_is_no_instruction() {
    let world = bare().await;
    for dialect in ["traefik", "caddy", "nginx"] {
        let head = get(RULES, "/secret", SCRIPT).in_dialect(dialect).replacen(
            " HTTP/1.1",
            "?rd=/_doorward/start&allowed_groups=&uri=/health HTTP/1.1",
            1,
        );
        let said = raw::request(world.gate.port, &head).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect}: {said:?}");
    }
}

#[tokio::test]
async fn a_rule_is_about_the_whole_path_and_nothing_but_the_path() {
    let world = WorldBuilder::with(BARE).tables(OPEN).start().await;
    for dialect in DIALECTS {
        for (target, open) in [
            ("/foo/x/bar", true),
            ("/allowed", true),
            ("/public/", true),
            ("/public/x%20y", true),
            ("/%", false),
            ("/foo/secret%23/bar", false),
            ("/private?path=/allowed", false),
            ("/admin?x=/allowed", false),
            ("/admin/allowed", false),
            ("/allowed/../admin", false),
            ("/Allowed", false),
            ("/%61llowed", false),
            ("/public/../admin", false),
            ("/public/%2e%2e/admin", false),
            ("/public/..%2fadmin", false),
            ("/public/..%5cadmin", false),
            ("/public/..;/admin", false),
            ("/public/..%3b/admin", false),
            ("/public/%00", false),
            ("/public/%3f", false),
            ("/public/%23", false),
            ("/public/%252e%252e/admin", false),
            ("/public/%c0%ae%c0%ae/admin", false),
            ("/public//admin", false),
            ("//public/x", false),
            ("/publicity", false),
        ] {
            let expected = if open { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            for host in HOSTS {
                let said = raw::request(world.gate.port, &get(host, target, SCRIPT).in_dialect(dialect)).await;
                assert_eq!(said.status, expected, "{dialect}: {host}{target}: {said:?}");
            }
        }
        for (target, status) in [
            ("/api/v1/status", StatusCode::OK),
            ("/api/private/sensitive?path=/status", StatusCode::UNAUTHORIZED),
            ("/x/api/v1/status", StatusCode::UNAUTHORIZED),
            ("/foo/x/bar?y", StatusCode::OK),
            ("/foo/x/bar/y", StatusCode::UNAUTHORIZED),
        ] {
            let said = raw::request(world.gate.port, &get(HOSTS[1], target, SCRIPT).in_dialect(dialect)).await;
            assert_eq!(said.status, status, "{dialect}: {target}: {said:?}");
        }
    }
}

#[tokio::test]
async fn methods_are_compared_case_sensitively() {
    let world = WorldBuilder::with(BARE).tables(OPEN).start().await;
    for dialect in DIALECTS {
        for (method, status) in [
            ("OPTIONS", StatusCode::OK),
            ("GET", StatusCode::UNAUTHORIZED),
            ("OPTIONSX", StatusCode::UNAUTHORIZED),
            ("options", StatusCode::BAD_REQUEST),
            ("Options", StatusCode::BAD_REQUEST),
        ] {
            for host in HOSTS {
                let original = OriginalRequest { method, host, target: "/options", lines: SCRIPT };
                let said = raw::request(world.gate.port, &original.in_dialect(dialect)).await;
                assert_eq!(said.status, status, "{dialect}: {host}: {method}: {said:?}");
            }
        }
    }
    // An nginx that does not send the method: no rule with methods matches.
    let silent =
        get("open.example.test", "/options", SCRIPT).in_dialect("nginx").replace("X-Original-Method: GET\r\n", "");
    assert_eq!(raw::request(world.gate.port, &silent).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_host_in_another_spelling_is_the_same_app() {
    let world = WorldBuilder::with(BARE).session(SHARED).tables(OPEN).start().await;
    let bob = cookies(&world, &world.signed_in("bob").await);
    for dialect in DIALECTS {
        for host in ["a.deep.example.test", "A.Deep.Example.TEST", "a.deep.example.test.", "a.deep.example.test:8443"] {
            let said = raw::request(world.gate.port, &get(host, "/public/x", &bob).in_dialect(dialect)).await;
            assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{dialect}: {host}");
        }
        let said =
            raw::request(world.gate.port, &get("a.a.deep.example.test", "/public/x", SCRIPT).in_dialect(dialect)).await;
        assert_eq!(said.status, StatusCode::OK, "{dialect}: the wildcard's own rule: {said:?}");
        for host in ["deep.example.test", "xopen.example.test", "open.example.test.evil.test"] {
            let said = raw::request(world.gate.port, &get(host, "/public/x", &bob).in_dialect(dialect)).await;
            assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "unknown_host"), "{dialect}: {host}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_missing_repeated_or_garbled_is_refused_and_never_guessed() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    for (dialect, from, to) in [
        ("traefik", "X-Forwarded-Host: app.example.test\r\n", "Connection: x-forwarded-host\r\n"),
        ("traefik", "X-Forwarded-Uri: /", "X-Forwarded-Uri: /\r\nX-Forwarded-Uri: /"),
        ("traefik", "X-Forwarded-Uri: /", "X-Forwarded-Uri: https://app.example.test/"),
        ("traefik", "X-Forwarded-Uri: /", "X-Forwarded-Uri: health"),
        ("traefik", "X-Forwarded-Uri: /", "X-Forwarded-Uri: /a\tb"),
        ("traefik", "X-Forwarded-Uri: /", "X-Forwarded-Uri: "),
        ("traefik", "X-Forwarded-Method: GET\r\n", ""),
        ("caddy", "X-Forwarded-Method: GET", "X-Forwarded-Method: GET\r\nX-Forwarded-Method: GET"),
        ("caddy", "X-Forwarded-Host: app.example.test", "X-Forwarded-Host: app.example.test, evil.test"),
        ("caddy", "X-Forwarded-Host: app.example.test", "X-Forwarded-Host: app.example.test\\evil.test"),
        ("caddy", "X-Forwarded-Host: app.example.test", "X-Forwarded-Host: evil@app.example.test"),
        ("nginx", "X-Original-URL: https://app.example.test/\r\n", ""),
        ("nginx", "X-Original-URL: https://", "X-Original-URL: "),
        ("nginx", "X-Original-URL: https://", "X-Original-URL: javascript://"),
        ("nginx", "X-Original-URL: https://", "X-Original-URL: https://evil@"),
        ("nginx", "X-Original-URL: https://app.example.test", "X-Original-URL: https://%00app.example.test"),
        ("nginx", "X-Original-URL: https://app.example.test", "X-Original-URL: https://app.example.test#"),
        ("nginx", "X-Original-URL:", "X-Original-URL: https://app.example.test/\r\nX-Original-URL:"),
        ("nginx", "X-Original-Method: GET", "X-Original-Method: GET\r\nX-Original-Method: GET"),
        ("nginx", "Host: app.example.test\r\n", ""),
        ("nginx", "Host: app.example.test", "Host: admin.example.test"),
        ("caddy", "Host: app.example.test", "Host: admin.example.test"),
        ("envoy", "Host: app.example.test\r\n", ""),
        ("envoy", "Host: app.example.test", "Host: app.example.test\r\nHost: app.example.test"),
        ("envoy", "GET /_doorward", "GET http://admin.example.test/_doorward"),
        ("envoy", "GET /_doorward", "GET http://evil@app.example.test/_doorward"),
    ] {
        let sound = get(APP, "/", &alice).in_dialect(dialect);
        assert_eq!(raw::request(world.gate.port, &sound).await.status, StatusCode::OK, "{sound}");
        let head = sound.replacen(from, to, 1);
        assert_ne!(head, sound, "{dialect}: {from}");
        let said = raw::request(world.gate.port, &head).await;
        assert_eq!((said.status, said.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "{head}\n{said:?}");
    }
    for dialect in DIALECTS {
        for chain in ["a", "", "10.0.0.1 ,", "unknown", "10.0.0.256", "10.0.0.1\r\nX-Forwarded-For: 10.0.0.1"] {
            let lines = format!("{alice}X-Forwarded-For: {chain}\r\n");
            // The client is unknown then, which is no reason for a refusal without rules on networks.
            let said = raw::request(world.gate.port, &get(APP, "/", &lines).in_dialect(dialect)).await;
            assert_eq!(said.status, StatusCode::OK, "{dialect}: {chain}: {said:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_question() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let sound = get(APP, "/", &alice).in_dialect("traefik");
    let many = "X-Many: x\r\n".repeat(200);
    for (what, bytes) in [
        ("a NUL in a value", sound.replacen("X-Forwarded-Uri: /", "X-Forwarded-Uri: /\0", 1)),
        ("a bare line feed and a line of its own", sound.replacen(" HTTP/1.1", " HTTP/1.1\n X: y", 1)),
        ("a space before the colon", sound.replacen("X-Forwarded-Uri:", "X-Forwarded-Uri :", 1)),
        ("an unknown version", sound.replacen("HTTP/1.1", "HTTP/9.9", 1)),
        ("two lengths", format!("{sound}Content-Length: 1\r\nContent-Length: 2\r\n")),
        ("a length that is none", format!("{sound}Content-Length: -1\r\n")),
        ("a coding that is none", format!("{sound}Transfer-Encoding: x\r\n")),
        ("200 lines", format!("{sound}{many}")),
        ("200 KiB", format!("{sound}X-Long: {}\r\n", "x".repeat(200 * 1024))),
        ("a tunnel", sound.replacen("GET", "CONNECT", 1)),
    ] {
        let said = raw::request(world.gate.port, &bytes).await;
        assert!(said.status.is_client_error(), "{what}: {said:?}");
        assert!(!said.headers.contains_key("remote-user"), "{what}: {said:?}");
    }
    // One request, whatever follows it.
    for tail in [
        "Content-Length: 60\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let smuggled = format!("{sound}{tail}\r\n{sound}\r\n");
        let said = raw::send(world.gate.port, smuggled.as_bytes()).await;
        assert!(!said.body.contains("HTTP/1.1"), "two answers to one request: {said:?}");
    }
}

#[tokio::test]
async fn over_http_2_a_host_is_named_once_or_the_same_way_twice() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let cookie = alice.trim().trim_start_matches("Cookie: ");
    for (host, status) in [
        (None, StatusCode::OK),
        (Some(APP), StatusCode::OK),
        (Some("rules.example.test"), StatusCode::BAD_REQUEST),
        (Some("nobody.example.test"), StatusCode::BAD_REQUEST),
    ] {
        let mut request = Request::get(format!("http://{APP}/_doorward/auth/envoy/x")).header("cookie", cookie);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let said = raw::over_http_2(world.gate.port, request.body(Empty::<Bytes>::new()).unwrap()).await;
        assert_eq!(said.status, status, "{host:?}: {said:?}");
    }
}

#[tokio::test]
async fn nginx_is_believed_only_about_a_host_that_it_routes_by() {
    for (tables, host, url, signed_out, alice) in [
        ("", RULES, RULES, StatusCode::OK, StatusCode::OK),
        // By default nginx sends the name of its upstream. That is accepted only if the configuration lists it as a service host.
        ("", "doorward", RULES, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        ("", "elsewhere.example.test", RULES, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        ("", "elsewhere.example.test", "nobody.example.test", StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        ("", "nobody.example.test", "nobody.example.test", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        ("", "admin.example.test", RULES, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        ("", APP, RULES, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        ("", RULES, "nobody.example.test", StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST),
        (
            "[access]\ndefault = \"authenticated\"",
            "else.example.test",
            RULES,
            StatusCode::BAD_REQUEST,
            StatusCode::BAD_REQUEST,
        ),
        (
            "[access]\ndefault = \"authenticated\"",
            RULES,
            "else.example.test",
            StatusCode::BAD_REQUEST,
            StatusCode::BAD_REQUEST,
        ),
        (
            "[access]\ndefault = \"authenticated\"",
            "else.example.test",
            "else.example.test",
            StatusCode::UNAUTHORIZED,
            StatusCode::OK,
        ),
    ] {
        let world = WorldBuilder::with(BARE).session(SHARED).tables(tables).start().await;
        let signed_in = cookies(&world, &world.signed_in("alice").await);
        for (lines, status) in [(SCRIPT, signed_out), (signed_in.as_str(), alice)] {
            let head = get(url, "/health", lines).in_dialect("nginx").replacen(
                &format!("Host: {url}"),
                &format!("Host: {host}"),
                1,
            );
            let said = raw::request(world.gate.port, &head).await;
            assert_eq!(said.status, status, "{tables}: {host} and {url}: {said:?}");
        }
    }
}

#[tokio::test]
async fn a_client_s_network_is_what_the_last_trusted_hop_saw() {
    let world = WorldBuilder::with(BARE).tables(OPEN).start().await;
    for dialect in DIALECTS {
        for (chain, status) in [
            ("192.168.1.1", StatusCode::OK),
            ("::ffff:192.168.1.1", StatusCode::OK),
            ("192.168.1.1, 127.0.0.1", StatusCode::OK),
            ("127.0.0.1, 127.0.0.1", StatusCode::UNAUTHORIZED),
            ("192.168.1.1, unknown", StatusCode::UNAUTHORIZED),
            ("192.168.1.1\r\nX-Forwarded-For: 192.168.1.1", StatusCode::UNAUTHORIZED),
            ("203.0.113.7, 192.168.1.1", StatusCode::OK),
            ("192.168.1.1, 203.0.113.7", StatusCode::UNAUTHORIZED),
            ("127.0.0.1", StatusCode::UNAUTHORIZED),
            ("::ffff:203.0.113.7", StatusCode::UNAUTHORIZED),
        ] {
            let lines = format!("{SCRIPT}X-Forwarded-For: {chain}\r\nX-Real-IP: 192.168.1.1\r\n");
            let said =
                raw::request(world.gate.port, &get("open.example.test", "/lan", &lines).in_dialect(dialect)).await;
            assert_eq!(said.status, status, "{dialect}: {chain}: {said:?}");
        }
        let lines = format!("{SCRIPT}X-Real-IP: 192.168.1.1\r\n");
        let said = raw::request(world.gate.port, &get("open.example.test", "/lan", &lines).in_dialect(dialect)).await;
        assert_eq!(
            said.status,
            StatusCode::UNAUTHORIZED,
            "{dialect}: a client without an address is unknown: {said:?}"
        );
    }
}

#[tokio::test]
async fn nobody_but_a_trusted_peer_is_heard() {
    let world = WorldBuilder::with(BARE).server(r#"trusted_proxies = ["10.0.0.0/8"]"#).without_provider().await;
    for dialect in DIALECTS {
        for (lines, target) in
            [(SCRIPT, "/health"), (PAGE, "/secret"), ("X-Forwarded-For: 10.0.0.1\r\n", "/_doorward/start")]
        {
            let said = raw::request(world.gate.port, &get(RULES, target, lines).in_dialect(dialect)).await;
            assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "untrusted_peer"), "{dialect}: {said:?}");
            assert_eq!(said.cookies(), [""; 0]);
        }
    }
}

#[test]
fn a_gate_that_anybody_could_speak_to_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("doorward.toml");
    let text = r#"
[server]
listen = "0.0.0.0:0"
management = "127.0.0.1:0"
[session]
secrets = ["the first secret of one test, which is long enough"]
[[providers]]
name = "neighbour"
issuer = "http://127.0.0.1:9"
client_id = "doorward"
[[apps]]
name = "app"
hosts = ["app.example.test"]
"#;
    std::fs::write(&config, text).unwrap();
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_doorward"))
        .env_clear()
        .current_dir(dir.path())
        .args(["serve", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("trusted_proxies"), "{ended:?}");
}

#[tokio::test]
async fn a_default_port_changes_no_address() {
    let world = bare().await;
    for dialect in DIALECTS {
        let locations = ["app.example.test", "app.example.test:443", "APP.example.test.:443"].map(|host| async {
            let said = raw::request(world.gate.port, &get(host, "/x", PAGE).in_dialect(dialect)).await;
            let location = url::Url::parse(said.header("location")).unwrap();
            location.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned()
        });
        for redirect_uri in futures_util::future::join_all(locations).await {
            assert_eq!(redirect_uri, "https://app.example.test/_doorward/callback", "{dialect}");
        }
    }
}
