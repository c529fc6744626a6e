//! Headers in size: what the gate takes of a request, and what of an identity reaches an app through real edges.

use http::{Request, StatusCode};
use http_body_util::Empty;
use serde_json::json;

use crate::world::{
    EdgeKind, TRAEFIK, Visitor, World, WorldBuilder, eventually,
    raw::{self, OriginalRequest},
};

const APPLIED: &str = r#"doorward_config_reloads_total{result="applied"}"#;
const GROUPS_CUT: &str = r#"doorward_groups_cut_total{app="app"}"#;
const TOKENS_LEFT_OUT: &str = r#"doorward_tokens_left_out_total{app="app"}"#;
const LOG_LINE: &str = "identity headers do not fit into server.header_budget";

/// Groups of 36 bytes, as many providers name them.
fn groups(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("{n:08x}-0000-4000-8000-{n:012x}")).collect()
}

/// Starts a world in which alice is in 400 groups and bob in 40; its app lets in the last group of each by name, and gets the
/// ID token.
async fn crowded(kind: EdgeKind, changes: &[(&'static str, &'static str, &'static str)]) -> World {
    let people = json!({ "alice": { "groups": groups(400) }, "bob": { "groups": groups(40) } });
    let world = WorldBuilder::with(kind).edge(changes).provider(json!({ "people": people })).start().await;
    let (all, headers) = (groups(400), r#"headers = ["remote", "authentik"]"#);
    let more = format!("{headers}\npass_id_token = true\nallow = {{ groups = [{:?}, {:?}] }}", all[399], all[39]);
    reconfigure(&world, headers, &more).await;
    world
}

/// Replaces a part of the configuration, and waits until it is in force.
async fn reconfigure(world: &World, from: &str, to: &str) {
    let config = std::fs::read_to_string(world.gate.path()).unwrap();
    assert!(config.contains(from), "{from} is not in {config}");
    let before = world.gate.metric(APPLIED).await;
    world.gate.configure(&config.replacen(from, to, 1));
    eventually("the change is in force", async || (world.gate.metric(APPLIED).await > before).then_some(())).await;
}

async fn raise_budget(world: &World) {
    reconfigure(world, "[server]", "[server]\nheader_budget = \"32KiB\"").await;
}

/// Identity as the app got it.
struct Received {
    remote: Vec<String>,
    authentik: Vec<String>,
    token: String,
}

async fn received(world: &World, visitor: &Visitor, user: &str) -> Received {
    let echo = visitor.fetch(&world.at("app", "/")).await.echo();
    let list = |name, separator| echo.values_as(name).concat().split(separator).map(str::to_owned).collect();
    assert_eq!([echo.values_as("Remote-User"), echo.values_as("X-authentik-username")], [[user], [user]]);
    assert_eq!(echo.values_as("X-authentik-meta-jwks"), [format!("{}/jwks", world.provider.issuer())]);
    Received {
        remote: list("Remote-Groups", ','),
        authentik: list("X-authentik-groups", '|'),
        token: echo.values_as("X-authentik-jwt").concat(),
    }
}

async fn many_groups_reach_the_app_as_far_as_the_budget_goes(kind: EdgeKind) {
    let world = crowded(kind, &[]).await;
    let (all, alice) = (groups(400), world.signed_in("alice").await);
    for _ in 0..3 {
        let Received { remote, authentik, token } = received(&world, &alice, "alice").await;
        assert!((20..100).contains(&remote.len()), "{kind:?}: {}", remote.len());
        assert!(remote.len().abs_diff(authentik.len()) <= 1, "{kind:?}");
        for sent in [&remote, &authentik] {
            // Those that the app's `allow` names come first.
            let others = all.iter().enumerate().filter(|(n, _)| ![39, 399].contains(n)).map(|(_, group)| group);
            let expected: Vec<_> = [&all[39], &all[399]].into_iter().chain(others).take(sent.len()).collect();
            assert_eq!(sent.iter().collect::<Vec<_>>(), expected, "{kind:?}");
        }
        assert_eq!(token, "", "{kind:?}");
    }
    // In the header with the fewest.
    let cut = world.gate.metric(GROUPS_CUT).await.unwrap();
    assert!((300..380).contains(&cut), "{kind:?}: {cut}");
    assert_eq!(world.gate.metric(TOKENS_LEFT_OUT).await, Some(1), "{kind:?}");
    let log = world.gate.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(LOG_LINE)).collect();
    assert_eq!(lines.len(), 1, "{kind:?}: {lines:#?}");
    let sent = 400 - cut;
    for part in [
        r#""app":"app""#.to_owned(),
        r#""user":"alice""#.to_owned(),
        format!(r#""groups_sent":{sent}"#),
        r#""groups":400"#.to_owned(),
        "x-authentik-jwt is empty".to_owned(),
        "raise server.header_budget".to_owned(),
    ] {
        assert!(lines[0].contains(&part), "{kind:?}: {part} is not in {}", lines[0]);
    }

    let bob = world.signed_in("bob").await;
    let Received { remote, token, .. } = received(&world, &bob, "bob").await;
    assert!(remote.len() > 30 && token.is_empty(), "{kind:?}: {} groups beside {token:?}", remote.len());
    raise_budget(&world).await;
    let Received { remote, authentik, .. } = received(&world, &alice, "alice").await;
    assert_eq!([remote.len(), authentik.len()], [400, 400], "{kind:?}");
    let Received { remote, authentik, token } = received(&world, &bob, "bob").await;
    assert_eq!([remote.len(), authentik.len()], [40, 40], "{kind:?}");
    assert_eq!(token.split('.').count(), 3, "{kind:?}: {token}");
}

#[tokio::test]
async fn many_groups_reach_the_app_as_far_as_the_budget_goes_through_traefik() {
    many_groups_reach_the_app_as_far_as_the_budget_goes(TRAEFIK).await;
}

#[tokio::test]
async fn many_groups_reach_the_app_as_far_as_the_budget_goes_through_nginx() {
    many_groups_reach_the_app_as_far_as_the_budget_goes(EdgeKind::Nginx).await;
}

#[tokio::test]
async fn nginx_as_it_is_takes_the_default_budget_and_refuses_a_larger_one() {
    let changes = [("nginx/server.conf", "proxy_buffer_size 40k;", "proxy_buffer_size 4k;")];
    let world = crowded(EdgeKind::Nginx, &changes).await;
    let alice = world.signed_in("alice").await;
    assert!(received(&world, &alice, "alice").await.remote.len() > 20);
    raise_budget(&world).await;
    let refused = alice.fetch(&world.at("app", "/")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
}

#[tokio::test]
async fn a_person_in_400_groups_signs_out_at_the_provider_too() {
    for kind in [TRAEFIK, EdgeKind::Nginx] {
        let world = crowded(kind, &[]).await;
        let alice = world.signed_in("alice").await;
        let asked = alice.visit(&world.at("app", "/_doorward/sign_out")).await;
        assert!(asked.url.starts_with(&world.provider.issuer()), "{kind:?}: {asked:#?}");
        assert!(asked.url.len() <= 2_000 && asked.url.contains("logout_hint=alice"), "{kind:?}: {}", asked.url);
        assert!(asked.url.contains("client_id=doorward") && !asked.url.contains("id_token_hint"), "{kind:?}");
        let done = alice.submit(&asked, &[("logout", "yes")]).await;
        assert!(done.url.starts_with(&world.at("app", "/_doorward/signed_out")), "{kind:?}: {:#?}", done.trail);
        assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::UNAUTHORIZED, "{kind:?}");
        // The session at the provider has ended too: it would ask for the user.
        alice.keep(&world.provider.issuer(), "user=; Path=/");
        assert!(alice.visit(&world.at("app", "/")).await.text().contains("Who are you?"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_request_of_200_lines_is_taken_and_a_longer_one_is_refused_with_a_reason() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    let port = world.gate.port;
    for (lines, status, reason) in [(180, 401, "no_session"), (220, 431, "headers_too_large")] {
        let more = "x-more: y\r\n".repeat(lines);
        let original = OriginalRequest { method: "GET", host: "app.example.test", target: "/", lines: &more };
        let refused = raw::request(port, &original.in_dialect("traefik")).await;
        assert_eq!((refused.status.as_u16(), refused.reason()), (status, reason), "{lines} lines over HTTP/1.1");
        assert_eq!(refused.header("cache-control"), "no-store");

        let mut request = Request::get(format!("http://127.0.0.1:{port}/_doorward/auth/traefik"));
        for (name, value) in [("method", "GET"), ("host", "app.example.test"), ("uri", "/")] {
            request = request.header(format!("x-forwarded-{name}"), value);
        }
        for _ in 0..lines {
            request = request.header("x-more", "y");
        }
        let refused = raw::over_http_2(port, request.body(Empty::new()).unwrap()).await;
        assert_eq!((refused.status.as_u16(), refused.reason()), (status, reason), "{lines} lines over HTTP/2");
        assert_eq!(refused.header("cache-control"), "no-store");
    }
    let long = Request::get(format!("http://127.0.0.1:{port}/_doorward/ping2")).header("cookie", "c".repeat(100_000));
    let refused = raw::over_http_2(port, long.body(Empty::new()).unwrap()).await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (431, "headers_too_large"));
    assert_eq!(refused.header("cache-control"), "no-store");
    raw::send(port, b"G\x01T / HTTP/1.1\r\n\r\n").await;
    // The refusals of HTTP itself are counted when their connection ends.
    eventually("all are counted", async || {
        let metrics = world.gate.metrics().await;
        let counted = |reason, times| {
            metrics.contains(&format!("doorward_refusals_total{{app=\"-\",reason=\"{reason}\"}} {times}\n"))
        };
        (counted("headers_too_large", 3) && counted("bad_request", 1)).then_some(())
    })
    .await;
    let logged = world.gate.log().lines().filter(|line| line.contains("\"headers_too_large\"")).count();
    assert_eq!(logged, 1, "the first is logged, the others are counted: {}", world.gate.log());
}
