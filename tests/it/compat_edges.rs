//! Edges as authentik documents them for its outposts, asking the gate in the place of one (`server.compat`).

use http::StatusCode;
use serde_json::json;

use crate::world::{EdgeKind, PageRouting, Transport, World, WorldBuilder};

/// A path and a query that proxies and URL libraries tend to change.
const DEEP: &str = "/a%2Fb/c%20d?x=1&y=a%2Bb&empty=";

/// Headers that the shipped middleware passes to the check; authentik's passes all.
const LISTED_HEADERS: &str = "        authRequestHeaders:
          - Accept
          - Authorization
          - Cookie
          - Doorward-Token
          - Origin
          - Purpose
          - Referer
          - Sec-Fetch-Dest
          - Sec-Fetch-Mode
          - Sec-Fetch-Site
          - Sec-Purpose
          - Sec-WebSocket-Version
          - Upgrade
          - X-Requested-With
";

/// Locations of a server. What is left of the shipped ones is their name in a comment.
const NGINX_SERVER: &str = "# In the place of /etc/nginx/doorward/server.conf.
    location /outpost.goauthentik.io {
        proxy_pass http://doorward/outpost.goauthentik.io;
        proxy_set_header Host $http_host;
        proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
        add_header Set-Cookie $auth_cookie;
        auth_request_set $auth_cookie $upstream_http_set_cookie;
        proxy_pass_request_body off;
        proxy_set_header Content-Length \"\";
    }
    location @goauthentik_proxy_signin {
        internal;
        add_header Set-Cookie $auth_cookie;
        return 302 /outpost.goauthentik.io/start?rd=$scheme://$http_host$request_uri;
    }";

/// A protected location.
const NGINX_LOCATION: &str = "auth_request /outpost.goauthentik.io/auth/nginx;
        error_page 401 = @goauthentik_proxy_signin;
        auth_request_set $auth_cookie $upstream_http_set_cookie;
        add_header Set-Cookie $auth_cookie;
        auth_request_set $authentik_username $upstream_http_x_authentik_username;
        auth_request_set $authentik_groups $upstream_http_x_authentik_groups;
        auth_request_set $authentik_entitlements $upstream_http_x_authentik_entitlements;
        auth_request_set $authentik_email $upstream_http_x_authentik_email;
        auth_request_set $authentik_name $upstream_http_x_authentik_name;
        auth_request_set $authentik_uid $upstream_http_x_authentik_uid;
        proxy_set_header X-authentik-username $authentik_username;
        proxy_set_header X-authentik-groups $authentik_groups;
        proxy_set_header X-authentik-entitlements $authentik_entitlements;
        proxy_set_header X-authentik-email $authentik_email;
        proxy_set_header X-authentik-name $authentik_name;
        proxy_set_header X-authentik-uid $authentik_uid;";

/// A site.
const CADDY: &str = "reverse_proxy /outpost.goauthentik.io/* 127.0.0.1:9000
		forward_auth 127.0.0.1:9000 {
			uri /outpost.goauthentik.io/auth/caddy
			copy_headers X-Authentik-Username X-Authentik-Groups X-Authentik-Entitlements X-Authentik-Email \
     X-Authentik-Name X-Authentik-Uid X-Authentik-Jwt X-Authentik-Meta-Jwks X-Authentik-Meta-Outpost \
     X-Authentik-Meta-Provider X-Authentik-Meta-App X-Authentik-Meta-Version
			trusted_proxies private_ranges
		}";

async fn estate(kind: EdgeKind, changes: &[(&'static str, &'static str, &'static str)]) -> World {
    WorldBuilder::with(kind)
        .server("compat = [\"authentik\"]")
        .edge(changes)
        .provider(json!({ "outpost": true }))
        .start()
        .await
}

/// Signs in by way of the edge, and tries what clients could claim.
async fn lets_in_who_signs_in_and_nobody_else(world: &World, deep: &str) {
    let alice = world.person("alice").with("x-authentik-username", "root").with("x-authentik-groups", "owners");
    let page = alice.visit(&world.at("app", deep)).await;
    assert_eq!(page.url, world.at("app", deep), "{:#?}", page.trail);
    let echo = page.echo();
    assert_eq!(echo.target, deep);
    assert_eq!(echo.values_as("x-authentik-username"), ["alice"]);
    assert_eq!(echo.values_as("x-authentik-groups"), ["admins|staff"]);
    let sent = page.trail.iter().find(|url| url.contains("redirect_uri=")).expect("a trip to the provider");
    let sent: url::Url = sent.parse().unwrap();
    let redirect_uri = sent.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    let registered = "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
    assert_eq!(redirect_uri, world.at("app", registered));
    assert_eq!(alice.fetch(&world.at("app", "/data")).await.status, StatusCode::OK);
    assert!(!world.visitor().fetch(&world.at("app", "/data")).await.status.is_success());

    // What describes another request is the edge's to say; nothing that a client sends opens a closed path.
    for (name, value) in [
        ("x-forwarded-uri", "/health"),
        ("x-forwarded-host", "app.example.test"),
        ("x-original-uri", "/health"),
        ("x-original-url", "https://rules.example.test/health"),
        ("x-forwarded-uri", "/outpost.goauthentik.io/ping"),
        ("x-original-uri", "/outpost.goauthentik.io/start"),
    ] {
        let requests = world.app.requests();
        let answer = world.visitor().with(name, value).fetch(&world.at("rules", "/admin/")).await;
        assert!(!answer.status.is_success(), "{name}: {value}: {answer:?}");
        assert_eq!(world.app.requests(), requests, "{name}: {value}: {answer:?}");
    }
    for target in [
        "/outpost.goauthentik.io/../admin/",
        "/outpost.goauthentik.io/%2e%2e/admin/",
        "/admin/?X-authentik-auth-callback=true",
    ] {
        let requests = world.app.requests();
        let answer = world.visitor().fetch(&world.at("rules", target)).await;
        assert!(!answer.status.is_success(), "{target}: {answer:?}");
        assert_eq!(world.app.requests(), requests, "{target}: {answer:?}");
    }
    assert_eq!(world.visitor().fetch(&world.at("rules", "/health")).await.status, StatusCode::OK);

    alice.visit(&world.at("app", "/outpost.goauthentik.io/sign_out")).await;
    assert!(!alice.fetch(&world.at("app", "/data")).await.status.is_success());
}

#[tokio::test]
async fn traefik_as_authentik_documents_it() {
    let kind = EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded };
    let changes = [
        ("dynamic/gate.yml", "/_doorward/auth/traefik", "/outpost.goauthentik.io/auth/traefik"),
        ("dynamic/gate.yml", "trustForwardHeader: false", "trustForwardHeader: true"),
        ("dynamic/gate.yml", LISTED_HEADERS, ""),
    ];
    lets_in_who_signs_in_and_nobody_else(&estate(kind, &changes).await, DEEP).await;
}

#[tokio::test]
async fn nginx_as_authentik_documents_it() {
    let changes = [
        ("app.conf", "include /etc/nginx/doorward/server.conf;", NGINX_SERVER),
        ("app.conf", "include /etc/nginx/doorward/location.conf;", NGINX_LOCATION),
    ];
    lets_in_who_signs_in_and_nobody_else(&estate(EdgeKind::Nginx, &changes).await, DEEP).await;
}

#[tokio::test]
async fn caddy_as_authentik_documents_it() {
    let world = estate(EdgeKind::Caddy, &[("Caddyfile", "import doorward", CADDY)]).await;
    lets_in_who_signs_in_and_nobody_else(&world, DEEP).await;
}

#[tokio::test]
async fn envoy_at_the_path_of_an_outpost() {
    let changes = [("envoy.yaml", "/_doorward/", "/outpost.goauthentik.io/")];
    // Envoy itself refuses an escaped slash.
    let deep = DEEP.replace("%2F", "/");
    lets_in_who_signs_in_and_nobody_else(&estate(EdgeKind::Envoy, &changes).await, &deep).await;
}
