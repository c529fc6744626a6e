//! Rules on paths, and ambiguous paths that two servers could read differently.

use http::StatusCode;

use crate::world::{EDGES, EdgeKind, PageRouting, RequestMode, TRAEFIK, Transport, World, WorldBuilder};

#[tokio::test]
async fn a_public_path_is_open_to_everybody_with_empty_identity_headers() {
    let world = World::new().await;
    for person in [world.visitor(), world.signed_in("alice").await] {
        let echo = person.with("remote-user", "evil").fetch(&world.at("rules", "/health")).await.echo();
        assert!(echo.values_as("Remote-User").iter().all(|user| user.is_empty()), "{echo:?}");
    }
    let signed_out = world.visitor();
    for near in ["/health/", "/healthy", "/health/x", "/HEALTH", "/x?/health"] {
        let answer = signed_out.fetch(&world.at("rules", near)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{near}: {answer:?}");
    }
}

#[tokio::test]
async fn an_optional_path_has_identity_headers_if_signed_in_and_never_redirects() {
    let world = World::new().await;
    let open = world.at("rules", "/open/page");
    let echo = world.visitor().with("remote-user", "evil").open(&open).await.echo();
    assert!(echo.values_as("Remote-User").iter().all(|user| user.is_empty()), "{echo:?}");
    let alice = world.person("alice");
    alice.visit(&world.at("rules", "/")).await.echo();
    assert_eq!(alice.open(&open).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn a_denied_path_is_denied_to_everybody_and_a_group_rule_to_those_outside() {
    let world = World::new().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    for person in [&alice, &bob] {
        person.visit(&world.at("rules", "/")).await.echo();
        let answer = person.open(&world.at("rules", "/never/mind")).await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "rule_denied"), "{answer:?}");
    }
    assert_eq!(alice.open(&world.at("rules", "/admin/x")).await.echo().target, "/admin/x");
    let answer = bob.open(&world.at("rules", "/admin/x")).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
}

/// Paths that some servers read as `/open/…` and others do not. No reading is closed to people who may use the app.
const AMBIGUOUS: [&str; 6] =
    ["//open/secret", "/open//secret", "/open/group%2Fname", "/open;x=1/secret", "/%6fpen/secret", "/open%5csecret"];

/// Paths whose reading by an app is unknown.
const UNREADABLE: [&str; 12] = [
    "/open/../secret",
    "/open/%2e%2e/secret",
    "/open/%2E./secret",
    "/open/..%2fsecret",
    "/open/..;/secret",
    "/open/..;x=1/secret",
    "/open/..%5csecret",
    "/open/..\\secret",
    "/open/./secret",
    "/open/%2e/secret",
    "/open/x%00",
    "/open/%zz",
];

/// Edges that pass on the target unchanged, to the gate and to the app.
const RAW: [EdgeKind; 3] = [EdgeKind::Nginx, EdgeKind::Caddy, EdgeKind::HaProxy];

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_public_to_nobody() {
    for kind in RAW {
        let world = WorldBuilder::with(kind).start().await;
        let (signed_out, alice) = (world.visitor(), world.person("alice"));
        alice.visit(&world.at("rules", "/")).await.echo();
        let before = world.app.requests();
        for path in AMBIGUOUS.into_iter().chain(UNREADABLE) {
            let answer = signed_out.fetch(&world.at("rules", path)).await;
            assert!(answer.status.is_client_error(), "{kind:?}: {path}: {answer:?}");
        }
        // A rule of the app denies: the path might mean that one.
        for path in UNREADABLE {
            let answer = alice.fetch(&world.at("rules", path)).await;
            assert!(answer.status.is_client_error(), "{kind:?}: {path}: {answer:?}");
        }
        assert_eq!(world.app.requests(), before, "{kind:?}");
        for path in AMBIGUOUS {
            assert_eq!(alice.fetch(&world.at("rules", path)).await.echo().target, path, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_passes_where_every_reading_would() {
    let world = WorldBuilder::with(EdgeKind::Caddy).start().await;
    let alice = world.signed_in("alice").await;
    for path in ["/a/%2e%2e/b", "/a//b", "/a%2Fb", "/a;x=1/../b"] {
        assert_eq!(alice.fetch(&world.at("app", path)).await.echo().target, path);
    }
}

/// More rules of the app `rules`.
const MORE: &str = r#"
[[apps.rules]]
preset = "pwa-assets"

[[apps.rules]]
path = { regex = '/users/[0-9]+/avatar[.]png' }
access = "public"

[[apps.rules]]
path = { regex = '/reports/[0-9]+' }
access = "deny"

[[apps.rules]]
path = { prefix = "/team/" }
allow = { groups = ["staff"], require = { groups = ["admins"], users = ["*@example.test"] } }

[[apps.rules]]
path = { prefix = "/club/" }
allow = { except = { groups = ["admins"] } }

[[apps.rules]]
path = { prefix = "/quiz/" }
allow = { groups = ["staff"], except = { users = ["BOB@example.test"] } }
"#;

#[tokio::test]
async fn an_expression_opens_whole_paths_and_closes_every_spelling_of_them() {
    for kind in RAW {
        let world = WorldBuilder::with(kind).tables(MORE).start().await;
        let (signed_out, alice) = (world.visitor(), world.person("alice"));
        alice.visit(&world.at("rules", "/")).await.echo();
        let echo = signed_out.fetch(&world.at("rules", "/users/7/avatar.png?size=64")).await.echo();
        assert_eq!(echo.target, "/users/7/avatar.png?size=64", "{kind:?}");
        for path in ["/users/7/avatar.png/", "/x/users/7/avatar.png", "/users/7%23/avatar.png", "/users/7/avatarxpng"] {
            let answer = signed_out.fetch(&world.at("rules", path)).await;
            assert!(answer.status.is_client_error(), "{kind:?}: {path}: {answer:?}");
        }
        for path in ["/reports/7", "/Reports/7/", "/reports/7.json", "/reports//7", "/reports%2F7", "/reports/7;x"] {
            let answer = alice.fetch(&world.at("rules", path)).await;
            assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "rule_denied"), "{kind:?}: {path}");
        }
        assert_eq!(alice.fetch(&world.at("rules", "/reports/x")).await.echo().target, "/reports/x", "{kind:?}");
    }
}

#[tokio::test]
async fn the_icons_of_an_app_are_open_to_whoever_reads_them_and_to_nobody_who_writes() {
    let world = WorldBuilder::with(TRAEFIK).tables(MORE).start().await;
    let alice = world.person("alice");
    alice.visit(&world.at("rules", "/")).await.echo();
    for person in [world.visitor(), alice] {
        let person = person.with("remote-user", "evil");
        for path in ["/favicon.ico", "/manifest.webmanifest", "/apple-touch-icon.png", "/android-chrome-512x512.png"] {
            let echo = person.fetch(&world.at("rules", path)).await.echo();
            assert!(echo.values_as("Remote-User").iter().all(|user| user.is_empty()), "{path}: {echo:?}");
        }
    }
    let visitor = world.visitor();
    let mut request = visitor.request(RequestMode::Fetch, &world.at("rules", "/favicon.ico"));
    *request.method_mut() = http::Method::POST;
    assert_eq!(visitor.send(request).await.status, StatusCode::UNAUTHORIZED);
    for path in ["/Favicon.ico", "/favicon.ico/", "/x/favicon.ico", "/robots.txt", "/favicon.ico.html"] {
        let answer = visitor.fetch(&world.at("rules", path)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_required_and_what_is_excepted_comes_on_top_of_what_lets_in() {
    let world = WorldBuilder::with(TRAEFIK).tables(MORE).start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    for person in [&alice, &bob] {
        person.visit(&world.at("rules", "/")).await.echo();
    }
    for (path, person, reason) in [
        ("/team/x", &alice, None),
        ("/team/x", &bob, Some("group_missing")),
        ("/club/x", &bob, None),
        ("/club/x", &alice, Some("not_allowed")),
        ("/quiz/x", &alice, None),
        ("/quiz/x", &bob, Some("not_allowed")),
    ] {
        let answer = person.fetch(&world.at("rules", path)).await;
        match reason {
            None => assert_eq!(answer.echo().target, path),
            Some(reason) => {
                assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, reason), "{path}: {answer:?}");
            }
        }
    }
    let log = world.gate.log();
    let needs = "groups = [\\\"staff\\\"], require = { groups = [\\\"admins\\\"], users = [\\\"*@example.test\\\"] }";
    assert!(log.contains(needs), "{log}");
}

#[tokio::test]
async fn the_gate_s_own_prefix_opens_nothing_of_the_app() {
    for kind in [
        TRAEFIK,
        EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Tls, pages: PageRouting::Guarded },
        EdgeKind::Nginx,
        EdgeKind::Caddy,
        EdgeKind::Envoy,
        EdgeKind::HaProxy,
    ] {
        let world = WorldBuilder::with(kind).start().await;
        for path in [
            "/_doorward/../secret",
            "/_doorward/%2e%2e/secret",
            "/_doorward/..%2fsecret",
            "/_doorward",
            "/_doorward/nothing",
        ] {
            let answer = world.visitor().fetch(&world.at("app", path)).await;
            assert!(!answer.status.is_success(), "{kind:?}: {path}: {answer:?}");
        }
        assert_eq!(world.app.requests(), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn own_endpoints_that_need_a_route_say_so_without_one() {
    let world = WorldBuilder::with(EdgeKind::Traefik {
        entry: Transport::Tls,
        gate: Transport::Plain,
        pages: PageRouting::Guarded,
    })
    .start()
    .await;
    let alice = world.signed_in("alice").await;
    for (method, path) in [("GET", "ping"), ("GET", "session"), ("GET", "client.js"), ("POST", "backchannel_logout")] {
        let mut request = alice.request(RequestMode::Fetch, &world.at("app", &format!("/_doorward/{path}")));
        *request.method_mut() = method.parse().unwrap();
        let answer = alice.send(request).await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::NOT_FOUND, "needs_route"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn the_gate_s_own_pages_answer_over_their_route() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let alice = world.signed_in("alice").await;
        assert_eq!(alice.fetch(&world.at("app", "/_doorward/ping")).await.status, StatusCode::NO_CONTENT, "{kind:?}");
        let session = alice.fetch(&world.at("app", "/_doorward/session")).await;
        assert_eq!(session.status, StatusCode::OK, "{kind:?}: {session:?}");
        assert_eq!(session.json()["user"], "alice", "{kind:?}");
        assert_eq!(session.json()["groups"], serde_json::json!(["admins", "staff"]), "{kind:?}");
        let script = world.visitor().fetch(&world.at("app", "/_doorward/client.js")).await;
        assert_eq!(script.status, StatusCode::OK, "{kind:?}: {script:?}");
        assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8", "{kind:?}");
        assert_eq!(script.header("cache-control"), "public, max-age=300", "{kind:?}");
        let answer = world.visitor().fetch(&world.at("app", "/_doorward/session")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind:?}");
    }
}
