//! In the place of oauth2-proxy (`server.compat`): nginx and Traefik as that gate documents them, and what its paths answer.

use http::StatusCode;
use serde_json::json;

use crate::world::{
    EdgeKind, PageRouting, Transport, World, WorldBuilder,
    raw::{self, RawResponse},
};

const COMPAT: &str = "compat = [\"oauth2-proxy\"]";
const TRAEFIK: EdgeKind =
    EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded };
const HEADERS: &str = "headers = [\"oauth2-proxy\"]";
const FETCH: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
/// A path and a query that proxies and URL libraries tend to change.
const DEEP: &str = "/a%2Fb/c%20d?x=1&y=a%2Bb&empty=";

/// Locations of a server, as the page about nginx has them. What is left of the shipped ones is their name in a comment.
const NGINX_SERVER: &str = "# In the place of /etc/nginx/doorward/server.conf.
    location /oauth2/ {
        proxy_pass http://doorward;
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Auth-Request-Redirect $request_uri;
    }
    location = /oauth2/auth {
        proxy_pass http://doorward;
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Uri $request_uri;
        proxy_set_header Content-Length \"\";
        proxy_pass_request_body off;
    }
    location @oauth2_signin {
        return 302 /oauth2/sign_in?rd=$scheme://$http_host$request_uri;
    }";

/// A protected location, which sends people to the sign-in.
const NGINX_LOCATION: &str = "auth_request /oauth2/auth;
        error_page 401 = @oauth2_signin;
        auth_request_set $user $upstream_http_x_auth_request_user;
        auth_request_set $email $upstream_http_x_auth_request_email;
        proxy_set_header X-User $user;
        proxy_set_header X-Email $email;";

/// The same as older versions document it: the page of the sign-in with a status that no browser follows.
const OLDER_NGINX_LOCATION: &str = "auth_request /oauth2/auth;
        error_page 401 =403 /oauth2/sign_in;
        auth_request_set $user $upstream_http_x_auth_request_user;
        auth_request_set $email $upstream_http_x_auth_request_email;
        proxy_set_header X-User $user;
        proxy_set_header X-Email $email;";

/// Headers that the shipped middleware passes to the check.
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

async fn behind_nginx(location: &'static str) -> World {
    WorldBuilder::with(EdgeKind::Nginx)
        .server(COMPAT)
        .app(HEADERS)
        .edge(&[
            ("app.conf", "include /etc/nginx/doorward/server.conf;", NGINX_SERVER),
            ("app.conf", "include /etc/nginx/doorward/location.conf;", location),
        ])
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await
}

async fn ask(world: &World, path: &str, lines: &str) -> RawResponse {
    raw::request(world.gate.port, &format!("GET {path} HTTP/1.1\r\n{lines}")).await
}

/// Returns the address behind the only button of a page.
fn button(page: &str) -> String {
    let (_, rest) = page.split_once("<a class=\"button\" href=\"").unwrap_or_else(|| panic!("no button: {page}"));
    rest.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&")
}

#[tokio::test]
async fn nginx_as_oauth2_proxy_documents_it_needs_no_change() {
    for location in [NGINX_LOCATION, OLDER_NGINX_LOCATION] {
        let world = behind_nginx(location).await;
        let alice = world.person("alice").with("x-user", "root").with("x-forwarded-method", "GET");
        let page = alice.visit(&world.at("app", DEEP)).await;
        let expected = if location == NGINX_LOCATION { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(page.status, expected, "{page:?}");
        let start = button(&page.text());
        assert!(start.starts_with(&world.at("app", "/oauth2/start?rd=")), "{start}");

        let back = alice.visit(&start).await;
        assert_eq!(back.url, world.at("app", DEEP), "{:#?}", back.trail);
        let sent = back.trail.iter().find(|url| url.contains("redirect_uri=")).expect("a trip to the provider");
        let sent: url::Url = sent.parse().unwrap();
        let redirect_uri = sent.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert_eq!(redirect_uri, world.at("app", "/oauth2/callback"));
        assert_eq!(back.echo().values_as("x-user"), ["alice"]);
        assert_eq!(alice.fetch(&world.at("app", "/data")).await.status, StatusCode::OK);
        assert_ne!(world.visitor().fetch(&world.at("app", "/data")).await.status, StatusCode::OK);

        let about = alice.fetch(&world.at("app", "/oauth2/userinfo")).await;
        let expected = json!({
            "user": "alice", "email": "alice@example.test", "groups": ["admins", "staff"], "preferredUsername": "alice",
        });
        assert_eq!(about.json(), expected);
        assert_eq!(world.visitor().fetch(&world.at("app", "/oauth2/userinfo")).await.status, StatusCode::UNAUTHORIZED);

        let out = alice.visit(&world.at("app", "/oauth2/sign_out?rd=%2Fbye")).await;
        assert!(!alice.fetch(&world.at("app", "/data")).await.status.is_success(), "{:#?}", out.trail);
    }
}

#[tokio::test]
async fn answers_are_those_that_edges_know_from_oauth2_proxy() {
    let world = WorldBuilder::with(TRAEFIK)
        .server(&format!("{COMPAT}\nservice_hosts = [\"gate\"]"))
        .app(HEADERS)
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    let cookies = format!("Cookie: {}\r\n", alice.cookies(&world.at("app", "/").parse().unwrap()));
    let app = "Host: app.example.test\r\nX-Forwarded-Uri: /x\r\n";

    let nobody = ask(&world, "/oauth2/auth", &format!("{app}{PAGE}")).await;
    assert_eq!((nobody.status, nobody.reason()), (StatusCode::UNAUTHORIZED, "no_session"));
    for name in ["location", "set-cookie", "content-type"] {
        assert!(!nobody.headers.contains_key(name), "{name}: {nobody:?}");
    }
    let known = ask(&world, "/oauth2/auth", &format!("{app}{FETCH}{cookies}")).await;
    assert_eq!((known.status, known.header("content-length")), (StatusCode::ACCEPTED, "0"), "{known:?}");
    assert_eq!(known.header("x-auth-request-user"), "alice");
    assert_eq!(known.header("x-auth-request-groups"), "admins,staff");
    assert_eq!(known.header("x-auth-request-access-token"), "");

    // What the question asks for on top only takes away.
    for (query, status) in [
        ("allowed_groups=staff", StatusCode::ACCEPTED),
        ("allowed_groups=nobody,staff", StatusCode::ACCEPTED),
        ("allowed_groups=nobody", StatusCode::FORBIDDEN),
        ("allowed_groups=staff&allowed_groups=nobody", StatusCode::FORBIDDEN),
        ("allowed_groups=nobody&allowed_groups=staff", StatusCode::FORBIDDEN),
        ("allowed_groups=", StatusCode::FORBIDDEN),
        ("allowed_emails=alice@example.test", StatusCode::ACCEPTED),
        ("allowed_emails=bob@example.test", StatusCode::FORBIDDEN),
        ("allowed_email_domains=example.test&allowed_groups=staff", StatusCode::ACCEPTED),
        ("allowed_email_domains=example.com", StatusCode::FORBIDDEN),
        ("something=else", StatusCode::ACCEPTED),
    ] {
        let narrowed = ask(&world, &format!("/oauth2/auth?{query}"), &format!("{app}{FETCH}{cookies}")).await;
        assert_eq!(narrowed.status, status, "{query}: {narrowed:?}");
    }
    // It lets nobody in whom the configuration keeps out, and closes what is open to everybody.
    let admin = "Host: rules.example.test\r\nX-Forwarded-Uri: /never/x\r\n";
    let denied = ask(&world, "/oauth2/auth?allowed_groups=staff", &format!("{admin}{FETCH}{cookies}")).await;
    assert_eq!((denied.status, denied.reason()), (StatusCode::FORBIDDEN, "rule_denied"));
    let open = "Host: rules.example.test\r\nX-Forwarded-Uri: /health\r\n";
    assert_eq!(ask(&world, "/oauth2/auth", &format!("{open}{FETCH}")).await.status, StatusCode::ACCEPTED);
    let narrowed = ask(&world, "/oauth2/auth?allowed_groups=staff", &format!("{open}{FETCH}")).await;
    assert_eq!(narrowed.status, StatusCode::UNAUTHORIZED);
    // At the gate's own path nothing of a query is an instruction.
    let native =
        "Host: gate\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: app.example.test\r\nX-Forwarded-Uri: /\r\n";
    let native =
        ask(&world, "/_doorward/auth/traefik?allowed_groups=nobody", &format!("{native}{FETCH}{cookies}")).await;
    assert_eq!(native.status, StatusCode::OK);
}

#[tokio::test]
async fn lines_that_disagree_about_what_is_asked_are_refused_and_a_path_of_the_gates_own_lets_nobody_in() {
    let world = WorldBuilder::with(TRAEFIK)
        .server(&format!("{COMPAT}\nservice_hosts = [\"gate\"]"))
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    let cookies = format!("Cookie: {}\r\n", alice.cookies(&world.at("app", "/").parse().unwrap()));
    let (app, gate) = ("Host: app.example.test\r\nX-Forwarded-Uri: /x\r\n", "Host: gate\r\n");
    let traefik = "X-Forwarded-Host: app.example.test\r\nX-Forwarded-Uri: /x\r\nX-Forwarded-Method: GET\r\n";
    let ingress = "X-Original-URL: https://app.example.test/x\r\nX-Original-Method: GET\r\n";
    for (lines, status) in [
        (app.to_owned(), StatusCode::ACCEPTED),
        (format!("{app}{ingress}"), StatusCode::ACCEPTED),
        (format!("{app}X-Forwarded-Host: rules.example.test\r\n"), StatusCode::BAD_REQUEST),
        (format!("{app}X-Original-URL: https://app.example.test/health\r\n"), StatusCode::BAD_REQUEST),
        (format!("{gate}{traefik}"), StatusCode::ACCEPTED),
        (format!("{gate}{ingress}"), StatusCode::ACCEPTED),
        (format!("{gate}{traefik}{ingress}"), StatusCode::ACCEPTED),
        (format!("{gate}{traefik}X-Original-URL: https://app.example.test/\r\n"), StatusCode::BAD_REQUEST),
        (format!("{gate}{traefik}X-Original-Method: POST\r\n"), StatusCode::BAD_REQUEST),
        (format!("{gate}{ingress}X-Forwarded-Host: rules.example.test\r\n"), StatusCode::BAD_REQUEST),
        (format!("{gate}{ingress}X-Forwarded-Uri: /health\r\n"), StatusCode::BAD_REQUEST),
        ("Host: app.example.test\r\n".to_owned(), StatusCode::BAD_REQUEST),
        (gate.to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let answer = ask(&world, "/oauth2/auth", &format!("{lines}{FETCH}{cookies}")).await;
        assert_eq!(answer.status, status, "{lines}: {answer:?}");
    }
    for target in [
        "/oauth2/auth",
        "/oauth2/start",
        "/oauth2/userinfo",
        "/oauth2/../admin/",
        "/oauth2/%2e%2e/admin/",
        "/oauth2/ping",
    ] {
        let lines = format!("Host: rules.example.test\r\nX-Forwarded-Uri: {target}\r\n{FETCH}");
        let answer = ask(&world, "/oauth2/auth", &lines).await;
        assert!(answer.status.is_client_error(), "{target}: {answer:?}");
    }
    // A form that is sent without a method that the gate could believe counts as any that a rule closes.
    for path in ["/oauth2/auth/", "/oauth2/auth/nginx", "/oauth2/%61uth", "/_doorward/auth/oauth2-proxy"] {
        let answer = ask(&world, path, &format!("{app}{FETCH}{cookies}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_page_that_needs_a_stronger_sign_in_is_asked_for_by_the_way_of_oauth2_proxy() {
    let rule = "[[apps.rules]]\npath = { prefix = \"/strong/\" }\nallow = { acr = [\"mfa\"] }";
    let world = WorldBuilder::with(EdgeKind::Nginx)
        .server(COMPAT)
        .app(&format!("{HEADERS}\n{rule}"))
        .edge(&[
            ("app.conf", "include /etc/nginx/doorward/server.conf;", NGINX_SERVER),
            ("app.conf", "include /etc/nginx/doorward/location.conf;", NGINX_LOCATION),
        ])
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await;
    let alice = world.person("alice");
    let page = alice.visit(&world.at("app", "/weak")).await;
    assert_eq!(alice.visit(&button(&page.text())).await.status, StatusCode::OK);
    let page = alice.visit(&world.at("app", "/strong/x")).await;
    let asked = alice.open(&button(&page.text())).await;
    let authorize: url::Url = asked.location().unwrap().parse().unwrap();
    assert!(authorize.query_pairs().any(|(name, value)| name == "acr_values" && value == "mfa"), "{authorize}");
}

#[tokio::test]
async fn traefik_as_oauth2_proxy_documents_it_asks_at_the_path_of_that_gate() {
    let kind = EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded };
    let world = WorldBuilder::with(kind)
        .server(&format!("{COMPAT}\nservice_hosts = [\"127.0.0.1\"]"))
        .app(HEADERS)
        .edge(&[
            ("dynamic/gate.yml", "/_doorward/auth/traefik", "/oauth2/auth"),
            ("dynamic/gate.yml", LISTED_HEADERS, "        # All of the client's headers, as that gate documents it.\n"),
        ])
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await;
    let visitor = world.visitor();
    let nobody = visitor.fetch(&world.at("app", "/x")).await;
    assert_eq!((nobody.status, nobody.reason()), (StatusCode::UNAUTHORIZED, "no_session"));
    // A client that describes another request is refused, and nobody else.
    let liar = world.visitor().with("x-original-url", "https://rules.example.test/health");
    assert_eq!(liar.fetch(&world.at("app", "/x")).await.status, StatusCode::BAD_REQUEST);
    let open = visitor.fetch(&world.at("rules", "/health")).await;
    assert_eq!(open.status, StatusCode::OK, "{open:?}");
}

/// A site of Caddy as that gate documents it: its check has no query of its own, so that Caddy appends the client's.
const CADDY: &str = "handle /oauth2/* {
			reverse_proxy 127.0.0.1:9000 {
				header_up X-Real-IP {remote_host}
				header_up X-Forwarded-Uri {uri}
			}
		}
		forward_auth 127.0.0.1:9000 {
			uri /oauth2/auth
			header_up X-Real-IP {remote_host}
			copy_headers X-Auth-Request-User X-Auth-Request-Email
			@unknown status 401
			handle_response @unknown {
				redir * /oauth2/sign_in?rd={scheme}://{hostport}{uri}
			}
		}";

#[tokio::test]
async fn caddy_as_oauth2_proxy_documents_it_needs_no_change_and_a_clients_query_opens_nothing() {
    let world = WorldBuilder::with(EdgeKind::Caddy)
        .server(COMPAT)
        .app(HEADERS)
        .edge(&[("Caddyfile", "import doorward", CADDY)])
        .provider(json!({ "oauth2_proxy": true }))
        .start()
        .await;
    let alice = world.person("alice").with("x-auth-request-user", "root");
    let page = alice.visit(&world.at("app", DEEP)).await;
    let back = alice.visit(&button(&page.text())).await;
    assert_eq!(back.url, world.at("app", DEEP), "{:#?}", back.trail);
    assert_eq!(back.echo().values_as("x-auth-request-user"), ["alice"]);
    assert_eq!(alice.fetch(&world.at("app", "/x?allowed_groups=staff")).await.status, StatusCode::OK);
    assert_eq!(alice.fetch(&world.at("app", "/x?allowed_groups=nobody")).await.status, StatusCode::FORBIDDEN);
    let carol = world.visitor();
    let closed = carol.fetch(&world.at("app", "/x?allowed_groups=staff")).await;
    assert!(!closed.status.is_success(), "{closed:?}");
}

#[tokio::test]
async fn without_compat_nothing_of_oauth2_proxy_answers() {
    let world = WorldBuilder::with(TRAEFIK).start().await;
    for path in ["auth", "start", "callback", "sign_in", "sign_out", "userinfo"] {
        let lines = format!("Host: app.example.test\r\nX-Forwarded-Uri: /\r\n{FETCH}");
        let answer = ask(&world, &format!("/oauth2/{path}"), &lines).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {answer:?}");
    }
}
