//! Protected-resource metadata (RFC 9728), and an MCP client that finds its way to a protected server by them alone.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::world::{
    Answer, EDGES, EdgeKind, McpServer, TRAEFIK, World, WorldBuilder, eventually, mcp_client,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

const MCP: &str = "mcp.example.test";
const PATH: &str = "/.well-known/oauth-protected-resource";

/// The documented route of each edge, switched on.
fn metadata_route(kind: EdgeKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        EdgeKind::Traefik { .. } => (
            "pages.yml",
            "    # doorward-metadata:\n    #   rule: \"Host(`mcp.example.com`) && PathPrefix(`/.well-known/oauth-protected-resource`)\"\n    \
             #   priority: 1000\n    #   service: doorward\n",
            "    doorward-metadata:\n      rule: \"Host(`mcp.example.test`) && PathPrefix(`/.well-known/oauth-protected-resource`)\"\n      \
             priority: 1000\n      service: doorward\n",
        ),
        EdgeKind::Nginx => (
            "server.conf",
            "# location ^~ /.well-known/oauth-protected-resource {\n#     proxy_pass http://doorward;\n#     proxy_http_version 1.1;\n\
             #     proxy_set_header Connection \"\";\n#     proxy_set_header Host $host$doorward_port;\n\
             #     proxy_set_header X-Forwarded-For $remote_addr;\n# }\n",
            "location ^~ /.well-known/oauth-protected-resource {\n    proxy_pass http://doorward;\n    proxy_http_version 1.1;\n    \
             proxy_set_header Connection \"\";\n    proxy_set_header Host $host$doorward_port;\n    \
             proxy_set_header X-Forwarded-For $remote_addr;\n}\n",
        ),
        EdgeKind::Caddy => (
            "Caddyfile",
            "\t# @doorward_metadata `{http.request.uri}.startsWith(\"/.well-known/oauth-protected-resource\")`\n\
             \t# reverse_proxy @doorward_metadata 127.0.0.1:9000\n",
            "\t@doorward_metadata `{http.request.uri}.startsWith(\"/.well-known/oauth-protected-resource\")`\n\
             \treverse_proxy @doorward_metadata 127.0.0.1:9000\n",
        ),
        EdgeKind::Envoy => (
            "envoy.yaml",
            "              # - match: { prefix: /.well-known/oauth-protected-resource }\n              \
             #   route: { cluster: doorward, timeout: 30s }\n              #   typed_per_filter_config: *unguarded\n",
            "              - match: { prefix: /.well-known/oauth-protected-resource }\n                \
             route: { cluster: doorward, timeout: 30s }\n                typed_per_filter_config: *unguarded\n",
        ),
        EdgeKind::HaProxy => (
            "haproxy.cfg",
            "    # acl doorward_pages path_beg /.well-known/oauth-protected-resource\n",
            "    acl doorward_pages path_beg /.well-known/oauth-protected-resource\n",
        ),
    }
}

/// Gives the gate an app for API clients, whose tokens are for its address at the edge, and waits until that is in force.
async fn publish(world: &World) {
    let (issuer, resource) = (world.provider.issuer(), world.at("mcp", "/mcp"));
    world.gate.configure(&format!(
        r#"{}
[bearer]
issuers = [{{ issuer = "{issuer}", audience = "{resource}" }}]

[[apps]]
name = "tools"
hosts = ["{MCP}"]
resource_metadata = true

[[apps.rules]]
path = "/mcp"
access = "bearer"

[[apps.rules]]
path = {{ prefix = "/api/" }}
access = "bearer"
"#,
        world.config()
    ));
    eventually("the app is known", async || {
        let reloads = world.gate.metric("doorward_config_reloads_total{result=\"applied\"}").await;
        reloads.filter(|count| *count > 0)
    })
    .await;
}

/// Sends a request as it is, without the headers and cookies of a browser.
async fn ask(world: &World, method: Method, target: &str) -> Answer {
    let request =
        Request::builder().method(method).uri(world.at("mcp", target)).header("origin", "https://client.example");
    world.visitor().send(request.body(Full::default()).unwrap()).await
}

#[tokio::test]
async fn metadata_name_the_very_resource_that_a_client_derived_their_address_from() {
    let world = WorldBuilder::with(EdgeKind::Nginx).without_provider().await;
    publish(&world).await;
    for (target, host, resource) in [
        ("", MCP, "https://mcp.example.test"),
        ("/", MCP, "https://mcp.example.test/"),
        ("/mcp", MCP, "https://mcp.example.test/mcp"),
        ("/a%20b/c/", MCP, "https://mcp.example.test/a%20b/c/"),
        ("/mcp?tenant=1&x=%22", MCP, "https://mcp.example.test/mcp?tenant=1&x=%22"),
        ("/mcp", "MCP.Example.Test:443", "https://mcp.example.test/mcp"),
        ("/mcp", "mcp.example.test:8443", "https://mcp.example.test:8443/mcp"),
    ] {
        let said = direct(&world, "GET", host, &format!("{PATH}{target}")).await;
        assert_eq!((said.status, said.header("content-type")), (StatusCode::OK, "application/json"), "{said:?}");
        assert_eq!(said.header("cache-control"), "public, max-age=300", "{said:?}");
        assert_eq!(said.header("access-control-allow-origin"), "*", "{said:?}");
        let expected = json!({
            "resource": resource,
            "authorization_servers": [world.provider.issuer()],
            "bearer_methods_supported": ["header"],
            "resource_name": "tools",
        });
        assert_eq!(serde_json::from_str::<Value>(&said.body).unwrap(), expected, "{target}");
    }
    let head = direct(&world, "HEAD", MCP, PATH).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""), "{head:?}");
}

async fn direct(world: &World, method: &str, host: &str, target: &str) -> RawResponse {
    raw::request(world.gate.port, &format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n")).await
}

#[tokio::test]
async fn metadata_are_read_from_any_origin_and_by_nothing_but_reading() {
    let world = WorldBuilder::with(EdgeKind::Nginx).without_provider().await;
    publish(&world).await;
    let target = format!("{PATH}/mcp");
    let preflight = direct(&world, "OPTIONS", MCP, &target).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT, "{preflight:?}");
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD"),
        ("access-control-allow-headers", "*"),
    ] {
        assert_eq!(preflight.header(name), value, "{preflight:?}");
    }
    for method in ["POST", "PUT", "DELETE", "TRACE"] {
        let said = direct(&world, method, MCP, &target).await;
        assert_eq!(
            (said.status, said.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS"),
            "{said:?}"
        );
    }
    for (host, target, status, reason) in [
        ("app.example.test", target.as_str(), StatusCode::NOT_FOUND, "not_found"),
        ("nobody.example.test", target.as_str(), StatusCode::FORBIDDEN, "unknown_host"),
        (MCP, "/.well-known/oauth-protected-resources", StatusCode::NOT_FOUND, "not_found"),
        (MCP, "/.well-known/oauth-protected-resource//mcp", StatusCode::NOT_FOUND, "not_found"),
        (MCP, "/.well-known/oauth-protected-resource/../mcp", StatusCode::NOT_FOUND, "not_found"),
        (MCP, "/.well-known/oauth-authorization-server", StatusCode::NOT_FOUND, "not_found"),
    ] {
        let said = direct(&world, "GET", host, target).await;
        assert_eq!((said.status, said.reason()), (status, reason), "{host} {target}: {said:?}");
    }
}

#[tokio::test]
async fn inside_a_subrequest_metadata_let_nobody_in() {
    let world = WorldBuilder::with(EdgeKind::Nginx).without_provider().await;
    publish(&world).await;
    for dialect in DIALECTS {
        for method in ["GET", "HEAD", "OPTIONS", "POST"] {
            for target in [PATH.to_owned(), format!("{PATH}/mcp?x")] {
                let asked = OriginalRequest { method, host: MCP, target: &target, lines: "" }.in_dialect(dialect);
                let said = raw::request(world.gate.port, &asked).await;
                assert_eq!(
                    (said.status, said.reason()),
                    (StatusCode::NOT_FOUND, "needs_route"),
                    "{dialect}: {method} {target}"
                );
            }
        }
        // An app without the key has the path for itself.
        let asked = OriginalRequest { method: "GET", host: "app.example.test", target: PATH, lines: "" };
        assert_eq!(raw::request(world.gate.port, &asked.in_dialect(dialect)).await.reason(), "no_session", "{dialect}");
    }
    assert!(
        world.gate.log().contains("/.well-known/oauth-protected-resource to the gate itself"),
        "{}",
        world.gate.log()
    );
}

#[tokio::test]
async fn a_401_names_the_metadata_of_the_requested_resource() {
    let world = WorldBuilder::with(EdgeKind::Nginx).without_provider().await;
    publish(&world).await;
    let long = format!("/api/{}", "x".repeat(600));
    for dialect in DIALECTS {
        for lines in ["", "Authorization: Bearer nonsense\r\n", "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n"] {
            for method in ["GET", "POST"] {
                let asked = OriginalRequest { method, host: MCP, target: "/mcp?x=1", lines }.in_dialect(dialect);
                let said = raw::request(world.gate.port, &asked).await;
                let challenge = said.header("www-authenticate");
                assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{asked}: {said:?}");
                let named = format!("resource_metadata=\"https://{MCP}{PATH}/mcp\"");
                assert!(challenge.starts_with("Bearer ") && challenge.contains(&named), "{asked}: {challenge}");
                assert_eq!(
                    challenge.contains("error=\"invalid_token\""),
                    lines.starts_with("Authorization"),
                    "{challenge}"
                );
            }
        }
        for (target, path) in [
            ("/api/a%20b/?x", "/api/a%20b/"),
            ("/api/\"x", "/api/%22x"),
            // No client derives those, so the metadata are those of the host.
            ("/api//x", ""),
            (long.as_str(), ""),
        ] {
            let asked = OriginalRequest { method: "GET", host: MCP, target, lines: "" }.in_dialect(dialect);
            let said = raw::request(world.gate.port, &asked).await;
            let named = format!("resource_metadata=\"https://{MCP}{PATH}{path}\"");
            assert!(said.header("www-authenticate").ends_with(&named), "{asked}: {said:?}");
            assert_eq!(said.header("access-control-expose-headers"), "WWW-Authenticate", "{said:?}");
        }
        // Where a session decides, no token would help.
        let asked = OriginalRequest { method: "POST", host: MCP, target: "/else", lines: "" }.in_dialect(dialect);
        let said = raw::request(world.gate.port, &asked).await;
        assert!(!said.header("www-authenticate").contains("resource_metadata"), "{said:?}");
    }
}

#[tokio::test]
async fn behind_every_edge_metadata_are_served_by_the_gate_over_the_documented_route() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).edge(&[metadata_route(kind)]).without_provider().await;
        publish(&world).await;
        let before = world.app.requests();
        for target in [PATH.to_owned(), format!("{PATH}/mcp")] {
            let answer = ask(&world, Method::GET, &target).await;
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (StatusCode::OK, "*"),
                "{kind:?}: {answer:?}"
            );
            let resource = world.at("mcp", target.strip_prefix(PATH).unwrap());
            assert_eq!(answer.json()["resource"], resource, "{kind:?}: with the port that browsers use");
        }
        assert_eq!(ask(&world, Method::OPTIONS, PATH).await.status, StatusCode::NO_CONTENT, "{kind:?}");
        let answer = ask(&world, Method::POST, "/mcp").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind:?}: {answer:?}");
        let named = format!("resource_metadata=\"{}\"", world.at("mcp", &format!("{PATH}/mcp")));
        assert!(answer.header("www-authenticate").contains(&named), "{kind:?}: {answer:?}");
        assert_eq!(world.app.requests(), before, "{kind:?}");
    }
}

#[tokio::test]
async fn without_the_route_no_metadata_and_nothing_else_come_through_an_edge() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).without_provider().await;
        publish(&world).await;
        let answer = ask(&world, Method::GET, PATH).await;
        assert!(!answer.status.is_success(), "{kind:?}: {answer:?}");
        assert_eq!(world.app.requests(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn an_mcp_client_finds_the_provider_registers_signs_in_and_calls_a_tool() {
    for kind in [TRAEFIK, EdgeKind::Caddy] {
        let logs = tempfile::tempdir().unwrap();
        let server = McpServer::start(logs.path()).await;
        let world = WorldBuilder::with(kind)
            .edge(&[metadata_route(kind)])
            .provider(json!({ "resources": true }))
            .serving(server.port)
            .start()
            .await;
        publish(&world).await;
        let resource = world.at("mcp", "/mcp");

        let told = mcp_client(world.dir(), &resource, "alice");
        assert_eq!(told["error"], Value::Null, "{kind:?}: {told:#}\n{}", world.gate.log());
        let requests: Vec<_> = told["requests"].as_array().unwrap().iter().map(step).collect();
        let (metadata, issuer) = (world.at("mcp", &format!("{PATH}/mcp")), world.provider.issuer());
        assert_eq!(
            requests[..2],
            [format!("POST {resource} 401"), format!("GET {metadata} 200")],
            "{kind:?}: {told:#}"
        );
        for made in
            [format!("POST {issuer}/reg 201"), format!("POST {issuer}/token 200"), format!("POST {resource} 200")]
        {
            assert!(requests.contains(&made), "{kind:?}: {made}: {told:#}");
        }
        assert_eq!(told["authorization"]["resource"], resource, "{kind:?}: {told:#}");
        assert_eq!(told["authorization"]["code_challenge_method"], "S256", "{kind:?}: {told:#}");
        assert_eq!((&told["token"]["aud"], &told["token"]["iss"]), (&json!(resource), &json!(issuer)), "{kind:?}");
        assert_eq!(told["whoami"]["remote-user"], "alice", "{kind:?}: {told:#}");
        assert_eq!(told["whoami"]["remote-groups"], "admins,staff", "{kind:?}: {told:#}");
    }
}

/// Returns a request of the client in one line.
fn step(request: &Value) -> String {
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", text("method"), text("url"), request["status"])
}
