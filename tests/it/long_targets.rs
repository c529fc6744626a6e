//! Long addresses: after sign-in the browser is where it wanted to go, whatever the address is made of (contract C11).

use http::StatusCode;
use serde_json::json;

use crate::world::{
    Browser, EdgeKind, PageRouting, TRAEFIK, Transport, Visitor, World, WorldBuilder,
    raw::{self, OriginalRequest},
};

/// Returns a target of this many bytes that hardly compresses.
fn long(path: &str, length: usize, seed: u64) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut target = format!("{path}?left=");
    while target.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        target.push(LETTERS[(state >> 33) as usize % LETTERS.len()] as char);
    }
    target
}

async fn comes_back(world: &World, browser: &Visitor, target: &str) {
    let begun = browser.open(&world.at("app", target)).await;
    let answer = browser.follow(begun).await;
    let echo = answer.echo();
    assert_eq!(echo.target.len(), target.len(), "{:#?}", answer.trail.last());
    assert_eq!(echo.target, target);
    assert_eq!(echo.values_as("Remote-User"), ["alice"]);
    for url in &answer.trail {
        let state = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap_or_default();
        assert!(state.len() <= 2_000, "a state of {} bytes", state.len());
    }
}

#[tokio::test]
async fn sixteen_kibibytes_come_back_through_every_edge() {
    let guarded = EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Tls, pages: PageRouting::Guarded };
    for kind in [TRAEFIK, guarded, EdgeKind::Nginx, EdgeKind::Caddy, EdgeKind::Envoy, EdgeKind::HaProxy] {
        let world = WorldBuilder::with(kind).start().await;
        for length in [500, 600, 2_700, 8 << 10, 16 << 10] {
            comes_back(&world, &world.person("alice"), &long("/explore", length, 7)).await;
        }
        // Through nginx a long address takes a way on which anybody could have written it: there a backslash is encoded.
        if kind != EdgeKind::Nginx {
            let target = format!("/q?path=C:\\Users\\x&{}", "%22".repeat(400));
            comes_back(&world, &world.person("alice"), &target).await;
        }
    }
}

#[tokio::test]
async fn a_backslash_in_a_query_comes_back_as_it_went() {
    for kind in [TRAEFIK, EdgeKind::Nginx, EdgeKind::Caddy, EdgeKind::Envoy] {
        let world = WorldBuilder::with(kind).start().await;
        comes_back(&world, &world.person("alice"), r"/q?path=C:\Users\x&re=a\.b").await;
    }
}

#[tokio::test]
async fn ten_tabs_of_eight_kibibytes_come_back_and_no_request_carries_more_than_one() {
    for kind in [TRAEFIK, EdgeKind::Nginx] {
        let world = WorldBuilder::with(kind).start().await;
        let browser = world.person("alice");
        let targets: Vec<_> = (0..10).map(|tab| long(&format!("/tab/{tab}"), 8 << 10, tab)).collect();
        let mut tabs = Vec::new();
        for target in &targets {
            // Up to the provider.
            let mut answer = browser.open(&world.at("app", target)).await;
            while let Some(next) = answer.location().filter(|next| next.contains("/_doorward/start")) {
                answer = browser.open(&next).await;
            }
            tabs.push((target, answer));
        }
        for place in ["/", "/_doorward/callback", "/_doorward/start"] {
            let sent = browser.cookies(&world.at("app", place).parse().unwrap());
            assert!(sent.len() <= 60, "{kind:?} {place}: {sent}");
        }
        let fourth = tabs.remove(3);
        for (target, answer) in std::iter::once(fourth).chain(tabs.into_iter().rev()) {
            let answer = browser.follow(answer).await;
            assert_eq!(answer.echo().target, *target, "{kind:?}");
            let hop = answer.trail.iter().find(|url| url.contains("/_doorward/callback/"));
            let left = browser.cookies(&hop.expect("it was kept").parse().unwrap());
            assert!(!left.contains("doorward_login_"), "{kind:?}: cleared: {left}");
        }
    }
}

#[tokio::test]
async fn ten_tabs_of_eight_kibibytes_come_back_in_a_browser() {
    let world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let mut tabs = Vec::new();
    for tab in 0..10 {
        let handle = browser.new_tab().await;
        let url = world.at("app", &long(&format!("/tab/{tab}"), 8 << 10, tab));
        browser.visit(&url).await;
        tabs.push((url, handle));
    }
    for (url, handle) in tabs.iter().cycle().skip(6).step_by(3).take(10) {
        browser.switch_to(handle).await;
        browser.click("#alice").await;
        let text = browser.arrives_at(url).await;
        assert!(text.contains("\"remote-user\",\"alice\""), "{text}");
        assert_eq!(browser.url().await, *url);
    }
}

#[tokio::test]
async fn what_is_not_kept_is_logged_and_leads_to_the_page_without_its_query() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    // A browser that drops the cookies of the path.
    let browser = world.person("alice");
    let callback = browser.up_to_the_callback(&world.at("app", &long("/deep/page", 8 << 10, 1))).await;
    let hop = browser.open(&callback).await.location().expect("it is kept");
    let elsewhere = world.visitor().open(&hop).await;
    assert_eq!(elsewhere.header("location"), world.at("app", "/deep/page"));
    assert!(world.gate.log().contains("the address to return to after sign-in is lost"), "{}", world.gate.log());
    // The browser itself has lost nothing by that.
    assert_eq!(browser.visit(&hop).await.echo().target, long("/deep/page", 8 << 10, 1));

    // Longer than any address that is kept.
    for _ in 0..3 {
        let target = long("/deep/page", 20 << 10, 2);
        let lines = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
        let asked = OriginalRequest { method: "GET", host: "app.example.test", target: &target, lines };
        let answer = raw::request(world.gate.port, &asked.in_dialect("traefik")).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{answer:?}");
        assert_eq!(answer.cookies().len(), 1, "{answer:?}");
    }
    let lines = world.gate.log().matches("the address to return to after sign-in is not kept").count();
    assert_eq!(lines, 1, "once a minute: {}", world.gate.log());
}
