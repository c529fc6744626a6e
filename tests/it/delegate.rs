//! Apps whose checks an outpost answers (`delegate`).

use std::fs;

use http::StatusCode;

use crate::world::{
    EDGES, EdgeKind, World, WorldBuilder, eventually,
    outpost::{COOKIE, Outpost, OutpostFault, OutpostUser},
    raw::{self, DIALECTS, OriginalRequest, PersistentConnection, RawResponse},
};

const HOST: &str = "old.example.test";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
const FETCH: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";
const ANN: OutpostUser = OutpostUser { name: "ann", groups: "staff|admins" };

fn tables(outpost: &Outpost, dialect: &str, more: &str) -> String {
    let address = outpost.url(dialect);
    format!(
        "[[apps]]\nname = \"old\"\nhosts = [\"{HOST}\", \"unknown.example.test\"]\nheaders = [\"authentik\"]\n\
         delegate = \"{address}\"\n{more}\n"
    )
}

async fn world_with(outpost: &Outpost, dialect: &str, more: &str) -> World {
    WorldBuilder::with(EdgeKind::Nginx).tables(&tables(outpost, dialect, more)).without_provider().await
}

async fn ask(world: &World, dialect: &str, target: &str, lines: &str) -> RawResponse {
    let request = OriginalRequest { method: "GET", host: HOST, target, lines };
    raw::request(world.gate.port, &request.in_dialect(dialect)).await
}

#[tokio::test]
async fn an_outpost_is_asked_in_its_own_dialect_whatever_the_edge_speaks_and_only_its_headers_reach_the_app() {
    for asked in ["traefik", "caddy", "nginx", "envoy"] {
        let outpost = Outpost::start().await;
        let world = world_with(&outpost, asked, "").await;
        let ann = outpost.sign_in(ANN);
        for dialect in DIALECTS {
            let forged = format!(
                "{FETCH}{ann}X-Authentik-Username: root\r\nX_authentik_groups: admins\r\nX-Forwarded-Proto: gopher\r\n"
            );
            let admitted = ask(&world, dialect, "/a%2Fb?x=1&X-y", &forged).await;
            assert_eq!(admitted.status, StatusCode::OK, "{asked} {dialect}: {admitted:?}");
            for (name, value) in [
                ("x-authentik-username", "ann"),
                ("x-authentik-groups", "staff|admins"),
                ("x-authentik-uid", "uid-ann"),
                ("x-authentik-jwt", ""),
                ("x-authentik-meta-app", "old-app"),
                ("content-length", "0"),
            ] {
                assert_eq!(admitted.header(name), value, "{asked} {dialect} {name}");
            }
            for absent in ["set-cookie", "x-secret"] {
                assert!(!admitted.headers.contains_key(absent), "{asked} {dialect}: {admitted:?}");
            }
            let (target, sent) = outpost.last();
            let value = |name: &str| sent.get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!(value("x-forwarded-proto"), "https");
            assert_eq!(sent.get_all("x-authentik-username").iter().count(), 0, "{sent:?}");
            assert!(!sent.contains_key("x_authentik_groups"), "{sent:?}");
            match asked {
                "envoy" => assert!(target.ends_with("/auth/envoy/a%2Fb?x=1&X-y"), "{target}"),
                "nginx" => assert_eq!(value("x-original-url"), format!("https://{HOST}/a%2Fb?x=1&X-y")),
                _ => assert_eq!((value("x-forwarded-host"), value("x-forwarded-uri")), (HOST, "/a%2Fb?x=1&X-y")),
            }
        }
    }
}

#[tokio::test]
async fn a_page_goes_where_the_outpost_sends_it_and_a_fetch_is_told_to_sign_in() {
    let outpost = Outpost::start().await;
    let world = world_with(&outpost, "traefik", "").await;
    let page = ask(&world, "traefik", "/x", PAGE).await;
    assert_eq!(page.status, StatusCode::FOUND);
    assert_eq!(page.header("location"), format!("https://id.example.test/authorize?state=x&asked=https://{HOST}/x"));
    assert_eq!(page.cookies(), [format!("{COOKIE}=attempt; Path=/; HttpOnly; Secure")]);
    assert_eq!((page.reason(), page.header("cache-control")), ("no_session", "no-store"));
    assert!(!page.header("doorward-request-id").is_empty());
    // nginx sends the browser where a 401 has a `Location`.
    let page = ask(&world, "nginx", "/x", PAGE).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.header("location").starts_with("https://id.example.test/authorize"), "{page:?}");

    for (dialect, body) in [("traefik", true), ("nginx", false)] {
        let fetch = ask(&world, dialect, "/x?y", FETCH).await;
        assert_eq!((fetch.status, fetch.header("location")), (StatusCode::UNAUTHORIZED, ""), "{fetch:?}");
        assert!(!fetch.headers.contains_key("set-cookie"), "an attempt of its own for each poll: {fetch:?}");
        if body {
            let told: serde_json::Value = serde_json::from_str(&fetch.body).unwrap();
            assert_eq!(told["error"], "login_required");
            let url = format!("https://{HOST}/outpost.goauthentik.io/start?rd=https://{HOST}/x?y");
            assert_eq!(told["login_url"], url);
        }
    }
    let request = OriginalRequest { method: "GET", host: "unknown.example.test", target: "/", lines: PAGE };
    let unknown = raw::request(world.gate.port, &request.in_dialect("traefik")).await;
    assert_eq!((unknown.status, unknown.reason()), (StatusCode::BAD_REQUEST, "bad_request"));
    assert!(unknown.body.contains("no app for hostname"), "{unknown:?}");
    assert_eq!(unknown.header("content-type"), "application/json");
}

#[tokio::test]
async fn with_compat_the_outposts_own_paths_and_signatures_go_to_it() {
    let outpost = Outpost::start().await;
    let plan = WorldBuilder::with(EdgeKind::Nginx).server("compat = [\"authentik\"]");
    let world = plan.tables(&tables(&outpost, "traefik", "")).without_provider().await;
    let ann = outpost.sign_in(ANN);
    for target in
        ["/outpost.goauthentik.io/callback?code=x", "/x?X-authentik-logout=true", "/x?X-authentik-auth-callback=true"]
    {
        let asked = outpost.questions();
        let answer = ask(&world, "traefik", target, &format!("{PAGE}{ann}")).await;
        assert_eq!((answer.status, outpost.questions()), (StatusCode::OK, asked + 1), "{target}: {answer:?}");
        let (_, sent) = outpost.last();
        assert_eq!(sent.get("x-forwarded-uri").unwrap(), target);
    }
    // Those of the gate stay the gate's.
    let asked = outpost.questions();
    assert_ne!(ask(&world, "traefik", "/_doorward/start", &format!("{PAGE}{ann}")).await.status, StatusCode::OK);
    assert_eq!(outpost.questions(), asked);
}

#[tokio::test]
async fn nothing_but_its_200_lets_in() {
    let outpost = Outpost::start().await;
    let world = world_with(&outpost, "traefik", "").await;
    let ann = outpost.sign_in(ANN);
    for (fault, expected, reason) in [
        (OutpostFault::Status(201), 503, "upstream_unavailable"),
        (OutpostFault::Status(204), 503, "upstream_unavailable"),
        (OutpostFault::Status(206), 503, "upstream_unavailable"),
        (OutpostFault::Status(304), 503, "upstream_unavailable"),
        (OutpostFault::Status(401), 401, "no_session"),
        (OutpostFault::Status(403), 403, "not_allowed"),
        (OutpostFault::Status(404), 404, "unknown_host"),
        (OutpostFault::Status(500), 500, "upstream_unavailable"),
        (OutpostFault::Status(502), 503, "upstream_unavailable"),
        (OutpostFault::Status(503), 503, "upstream_unavailable"),
        (OutpostFault::Status(504), 503, "upstream_unavailable"),
        (OutpostFault::Closed, 503, "upstream_unavailable"),
        (OutpostFault::Silent, 503, "upstream_timeout"),
    ] {
        outpost.set_fault(fault);
        let answer = ask(&world, "traefik", "/", &format!("{FETCH}{ann}")).await;
        assert_eq!((answer.status.as_u16(), answer.reason()), (expected, reason), "{fault:?}: {answer:?}");
        assert_eq!(answer.headers.contains_key("retry-after"), expected == 503, "{fault:?}: {answer:?}");
        assert!(!answer.headers.contains_key("x-authentik-username"), "{answer:?}");
    }
    outpost.set_fault(OutpostFault::None);
    assert_eq!(ask(&world, "traefik", "/", &format!("{FETCH}{ann}")).await.status, StatusCode::OK);
    let log = world.gate.log();
    assert!(log.contains("the outpost is unavailable") && log.contains("the outpost is available again"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_checks_at_thirty_two_at_a_time_open_at_most_thirty_two_connections_and_a_restart_refuses_nobody()
{
    let mut outpost = Outpost::start().await;
    let world = world_with(&outpost, "traefik", "").await;
    let ann = outpost.sign_in(ANN);
    let cookie = ann.trim_start_matches("Cookie: ").trim_end().to_owned();
    let checks = |times: usize| {
        let (port, cookie) = (world.gate.port, cookie.clone());
        let workers = (0..32).map(move |_| {
            let cookie = cookie.clone();
            async move {
                let mut edge = PersistentConnection::open(port).await;
                for _ in 0..times / 32 {
                    let answer = edge.ask(HOST, "/", &cookie).await;
                    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                    assert_eq!(answer.header("x-authentik-username"), "ann");
                }
            }
        });
        futures_util::future::join_all(workers)
    };
    checks(2_000).await;
    assert!(outpost.connections() <= 32, "{} connections", outpost.connections());
    let series = format!("doorward_upstream_connects_total{{upstream=\"http://127.0.0.1:{}\"}}", outpost.port);
    let opened = usize::try_from(world.gate.metric(&series).await.unwrap()).unwrap();
    assert_eq!(opened, outpost.connections());
    outpost.stop().await;
    outpost.start_again().await;
    checks(320).await;
    assert!(outpost.connections() <= 2 * 32, "{} connections", outpost.connections());
}

#[tokio::test]
async fn an_admission_counts_for_a_while_for_the_same_cookies_alone() {
    let outpost = Outpost::start().await;
    let world = world_with(&outpost, "traefik", "delegate_cache = \"1m\"").await;
    let (ann, bob) = (outpost.sign_in(ANN), outpost.sign_in(OutpostUser { name: "bob", groups: "" }));
    let user = async |lines: &str, target: &str| {
        let answer = ask(&world, "traefik", target, &format!("{FETCH}{lines}")).await;
        (
            answer.status.as_u16(),
            answer.headers.get("x-authentik-username").map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    let ann_is_in = (200, Some("ann".to_owned()));
    for target in ["/", "/app.js", "/style.css"] {
        assert_eq!(user(&ann, target).await, ann_is_in);
    }
    assert_eq!(outpost.questions(), 1);
    assert_eq!(user(&bob, "/").await, (200, Some("bob".to_owned())));
    assert_eq!(user("", "/").await.0, 401);
    assert_eq!(outpost.questions(), 3);
    // Refusals are not kept, and what was kept goes on through an outage.
    assert_eq!(user("", "/").await.0, 401);
    assert_eq!(outpost.questions(), 4);
    // A sign-out, or whatever else the outpost answers itself, is never an admission that was kept.
    for target in ["/?X-authentik-logout=true", "/outpost.goauthentik.io/sign_out"] {
        let before = outpost.questions();
        user(&ann, target).await;
        assert_eq!(outpost.questions(), before + 1, "{target}");
    }
    outpost.set_fault(OutpostFault::Closed);
    assert_eq!(user(&ann, "/").await, ann_is_in);
    assert_eq!(user("", "/").await.0, 503);
}

#[tokio::test]
async fn while_the_outpost_is_unavailable_a_password_lets_in_and_no_longer() {
    let outpost = Outpost::start().await;
    let world = world_with(&outpost, "traefik", "").await;
    let hash = bcrypt::hash("correct-horse", 4).unwrap();
    fs::write(world.dir().join("users"), format!("eve:{hash}\n")).unwrap();
    let users = world.dir().join("users");
    let emergency = format!("[emergency]\nusers_file = {users:?}\nhosts = [\"{HOST}\"]\n");
    world.gate.configure(&format!("{}\n{emergency}", world.config()));
    eventually("the configuration is in force", async || {
        world.gate.log().contains("configuration reloaded").then_some(())
    })
    .await;
    let basic = data_encoding::BASE64.encode(b"eve:correct-horse");
    let right = format!("Authorization: Basic {basic}\r\n");
    let ann = outpost.sign_in(ANN);

    // Closed: the header is the outpost's, and slow is not dead.
    outpost.set_fault(OutpostFault::Slow(1_500));
    assert_eq!(ask(&world, "traefik", "/", &format!("{PAGE}{right}")).await.status, StatusCode::FOUND);
    assert_eq!(ask(&world, "traefik", "/", &format!("{PAGE}{ann}")).await.status, StatusCode::OK);
    outpost.set_fault(OutpostFault::Closed);
    assert_eq!(ask(&world, "traefik", "/", PAGE).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let asked = eventually("a page is asked for a password", async || {
        let answer = ask(&world, "traefik", "/", PAGE).await;
        answer.header("www-authenticate").starts_with("Basic ").then_some(answer)
    })
    .await;
    assert_eq!((asked.status, asked.reason()), (StatusCode::UNAUTHORIZED, "upstream_unavailable"));
    assert_eq!(world.gate.metric("doorward_emergency_active").await, Some(1));
    let fetch = ask(&world, "traefik", "/", FETCH).await;
    assert_eq!((fetch.status, fetch.header("www-authenticate")), (StatusCode::SERVICE_UNAVAILABLE, ""));
    let admitted = ask(&world, "traefik", "/", &format!("{FETCH}{right}")).await;
    assert_eq!((admitted.status, admitted.header("doorward-emergency")), (StatusCode::OK, "true"));
    assert_eq!((admitted.header("x-authentik-username"), admitted.header("x-authentik-groups")), ("emergency:eve", ""));
    let wrong = data_encoding::BASE64.encode(b"eve:wrong");
    let refused = ask(&world, "traefik", "/", &format!("{PAGE}Authorization: Basic {wrong}\r\n")).await;
    assert_eq!((refused.status, refused.reason()), (StatusCode::UNAUTHORIZED, "emergency_refused"));

    outpost.set_fault(OutpostFault::None);
    assert_eq!(ask(&world, "traefik", "/", &format!("{PAGE}{right}")).await.status, StatusCode::FOUND);
    let back = ask(&world, "traefik", "/", &format!("{PAGE}{ann}")).await;
    assert_eq!((back.status, back.header("doorward-emergency")), (StatusCode::OK, ""));
    eventually("it is closed", async || {
        (world.gate.metric("doorward_emergency_active").await == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_edge_passes_on_what_the_outpost_says() {
    for kind in EDGES {
        let outpost = Outpost::start().await;
        let app = format!("delegate = \"{}\"\nheaders = [\"authentik\"]\n", outpost.url("traefik"));
        let world = WorldBuilder::with(kind).start().await;
        let config = world.config().replacen("headers = [\"remote\", \"authentik\"]\n", &app, 1);
        world.gate.configure(&config);
        eventually("the configuration is in force", async || {
            world.gate.log().contains("configuration reloaded").then_some(())
        })
        .await;
        let visitor = world.visitor().with("x-authentik-username", "root");
        let page = visitor.open(&world.at("app", "/x")).await;
        assert_eq!(page.status, StatusCode::FOUND, "{kind:?}: {page:?}");
        let location = page.location().unwrap();
        assert!(location.starts_with("https://id.example.test/authorize"), "{kind:?}: {location}");
        assert_eq!(visitor.fetch(&world.at("app", "/x")).await.status, StatusCode::UNAUTHORIZED, "{kind:?}");
        let ann = outpost.sign_in(ANN);
        let value = ann.trim_start_matches("Cookie: ").trim_end();
        visitor.keep(&world.at("app", "/"), &format!("{value}; Path=/"));
        let echo = visitor.fetch(&world.at("app", "/x?y=1")).await.echo();
        assert_eq!((echo.target.as_str(), echo.values_as("x-authentik-username")), ("/x?y=1", vec!["ann"]), "{kind:?}");
        assert_eq!(echo.values_as("x-authentik-groups"), ["staff|admins"], "{kind:?}");
    }
}
