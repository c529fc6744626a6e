//! Rate limits: how often one network may begin and complete sign-ins, and that nobody else pays for it.

use http::StatusCode;
use url::Url;

use crate::world::{
    EdgeKind, World, WorldBuilder, eventually,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

const APP: &str = "app.example.test";
const PAGE: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

async fn world(limits: &str) -> World {
    WorldBuilder::with(EdgeKind::Nginx).server("trusted_proxies = [\"127.0.0.1/32\"]").tables(limits).start().await
}

/// Opens a page of the app from a client's address, as an edge asks about it.
async fn open(world: &World, dialect: &str, client: &str, more: &str) -> RawResponse {
    let lines = format!("X-Forwarded-For: {client}\r\n{PAGE}{more}");
    let original = OriginalRequest { method: "GET", host: APP, target: "/", lines: &lines };
    raw::request(world.gate.port, &original.in_dialect(dialect)).await
}

/// Opens one of the gate's own pages from a client's address, over the direct route.
async fn direct(world: &World, client: &str, target: &str, more: &str) -> RawResponse {
    // With the edge's port, as browsers send it.
    let app: Url = world.at("app", "/").parse().unwrap();
    let (host, port) = (app.host_str().unwrap(), app.port().unwrap());
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nX-Forwarded-For: {client}\r\n{more}");
    raw::request(world.gate.port, &head).await
}

#[track_caller]
fn assert_limited(said: &RawResponse, status: u16) {
    assert_eq!((said.status.as_u16(), said.reason()), (status, "rate_limited"), "{said:?}");
    let seconds: u64 = said.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{said:?}");
    assert!(said.cookies().is_empty() && !said.headers.contains_key("location"), "{said:?}");
}

#[tokio::test]
async fn a_network_that_has_begun_too_many_sign_ins_waits_and_nobody_else_does() {
    let world = world("[limits]\nsign_in = { per_minute = 1, burst = 3 }").await;
    let alice = world.signed_in("alice").await.cookies(&world.at("app", "/").parse().unwrap());
    let networks = ["198.51.100.1", "198.51.100.2", "2001:db8::1"];
    for client in networks {
        for _ in 0..3 {
            assert_eq!(open(&world, "traefik", client, "").await.status, StatusCode::FOUND, "{client}");
        }
    }
    for client in ["198.51.100.1", "::ffff:198.51.100.2", "2001:db8::ffff"] {
        for dialect in DIALECTS {
            let said = open(&world, dialect, client, "").await;
            assert_limited(&said, if dialect == "nginx" { 403 } else { 429 });
            let is_page = said.header("content-type").starts_with("text/html");
            assert_eq!(is_page, dialect != "nginx", "{dialect}: {said:?}");
        }
        assert_limited(&direct(&world, client, "/_doorward/start?rd=%2F", PAGE).await, 429);
        let said = direct(&world, client, "/_doorward/start?rd=%2F", "Accept: */*\r\n").await;
        assert_limited(&said, 429);
        assert!(said.body.contains("\"error\":\"rate_limited\"") && said.body.contains("request_id"), "{said:?}");
        // The signed-in pass, and what would not have begun a sign-in is told the same as before.
        let said = open(&world, "traefik", client, &format!("Cookie: {alice}\r\n")).await;
        assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, "alice"));
        let fetch = format!("X-Forwarded-For: {client}\r\nAccept: */*\r\n");
        let original = OriginalRequest { method: "GET", host: APP, target: "/", lines: &fetch };
        let said = raw::request(world.gate.port, &original.in_dialect("traefik")).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"));
    }
    for client in ["198.51.100.3", "2001:db8:0:1::1"] {
        assert_eq!(open(&world, "traefik", client, "").await.status, StatusCode::FOUND, "{client}");
    }
    let refused = world.gate.metric(r#"doorward_refusals_total{app="app",reason="rate_limited"}"#).await.unwrap();
    assert_eq!(refused, 18);
    let log = world.gate.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("\"rate_limited\"")).collect();
    let [line] = lines.as_slice() else { panic!("one line, and a count later: {log}") };
    assert!(line.contains("limits.sign_in") && line.contains("198.51.100.1") && line.contains(APP), "{line}");
}

#[tokio::test]
async fn callbacks_beyond_the_limit_cost_the_provider_nothing_and_strand_nobody() {
    let world = world("[limits]\ncallback = { per_minute = 1, burst = 2 }").await;
    let (attacker, token) = ("198.51.100.1", r#"doorward_provider_requests_total{endpoint="token","#);
    let exchanges = async |world: &World| world.gate.metrics().await.matches(token).count();
    let bob = world.person("bob");
    let callback = bob.up_to_the_callback(&world.at("app", "/")).await;
    let callback: Url = callback.parse().unwrap();
    let target = format!("{}?{}", callback.path(), callback.query().unwrap());
    let cookies = bob.cookies(&callback);
    for _ in 0..2 {
        let junk = direct(&world, attacker, "/_doorward/callback?code=x&state=y", PAGE).await;
        assert_eq!(junk.status, StatusCode::FOUND, "{junk:?}");
    }
    let before = exchanges(&world).await;
    let lines = format!("{PAGE}Cookie: {cookies}\r\n");
    let said = direct(&world, attacker, &target, &lines).await;
    assert_limited(&said, 429);
    assert!(said.body.contains("/_doorward/start?rd="), "the page offers to try again: {said:?}");
    assert_eq!(exchanges(&world).await, before, "the provider is not asked");
    let said = direct(&world, "198.51.100.2", &target, &lines).await;
    assert_eq!(said.status, StatusCode::FOUND, "the same callback from elsewhere is completed: {said:?}");
    let session = said
        .cookies()
        .iter()
        .find_map(|line| line.split(';').next().filter(|c| !c.contains("login")))
        .unwrap()
        .to_owned();
    // Signed in already, so that it is sent on where it wanted to go.
    let said = direct(&world, attacker, &target, &format!("{PAGE}Cookie: {session}\r\n")).await;
    assert_eq!((said.status, said.header("location")), (StatusCode::FOUND, world.at("app", "/").as_str()));
}

#[tokio::test]
async fn an_office_behind_one_address_signs_in_at_once() {
    let world = world("").await;
    let asked = (0..400).map(|_| open(&world, "traefik", "198.51.100.1", ""));
    let said = futures_util::future::join_all(asked).await;
    let begun = said.iter().filter(|said| said.status == StatusCode::FOUND).count();
    let limited = said.iter().filter(|said| said.reason() == "rate_limited").count();
    assert!(begun >= 300 && limited > 0 && begun + limited == 400, "{begun} have begun, {limited} wait");
}

#[tokio::test]
async fn unknown_clients_share_ten_times_as_much_and_the_log_says_so_once() {
    let world = world("[limits]\nsign_in = { per_minute = 1, burst = 2 }").await;
    // Every hop is a trusted proxy; no line; no address.
    for number in 0..20 {
        let client = ["127.0.0.1", "127.0.0.1, 127.0.0.1", "unknown"][number % 3];
        assert_eq!(open(&world, "traefik", client, "").await.status, StatusCode::FOUND, "{number}");
    }
    assert_limited(&open(&world, "traefik", "127.0.0.1", "").await, 429);
    assert_eq!(open(&world, "traefik", "198.51.100.1", "").await.status, StatusCode::FOUND);
    let log = world.gate.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("the addresses of clients are unknown")).collect();
    let [line] = lines.as_slice() else { panic!("{log}") };
    assert!(line.contains("X-Forwarded-For") && line.contains("server.trusted_proxies"), "{line}");
}

#[tokio::test]
async fn a_reload_changes_the_limits_of_networks_that_wait() {
    let world = world("[limits]\nsign_in = { per_minute = 1, burst = 1 }").await;
    assert_eq!(open(&world, "traefik", "198.51.100.1", "").await.status, StatusCode::FOUND);
    assert_limited(&open(&world, "traefik", "198.51.100.1", "").await, 429);
    world.gate.configure(&format!("{}\n[brand]\ntitle = \"Other\"\n", world.config()));
    let applied = r#"doorward_config_reloads_total{result="applied"}"#;
    eventually("the title is applied", async || (world.gate.metric(applied).await == Some(1)).then_some(())).await;
    assert_limited(&open(&world, "traefik", "198.51.100.1", "").await, 429);
    world.gate.configure(&world.config().replace("burst = 1 }", "burst = 50 }"));
    eventually("the limit is applied", async || (world.gate.metric(applied).await == Some(2)).then_some(())).await;
    assert_eq!(open(&world, "traefik", "198.51.100.1", "").await.status, StatusCode::FOUND);
}
