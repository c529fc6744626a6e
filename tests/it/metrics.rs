//! Contents of `/metrics` and the log.

use std::{io::Write, process::Stdio};

use serde_json::json;

use crate::world::{TRAEFIK, World, WorldBuilder, system};

async fn busy() -> World {
    let world = WorldBuilder::with(TRAEFIK).start().await;
    let alice = world.signed_in("alice").await;
    for host in ["app", "admin", "rules", "nobody", "evil-host"] {
        for path in ["/", "/evil-path?evil-query"] {
            alice.fetch(&world.at(host, path)).await;
            world.visitor().open(&world.at(host, path)).await;
        }
    }
    world
}

#[tokio::test]
async fn metrics_are_well_formed_and_take_no_label_from_a_request() {
    let world = busy().await;
    let metrics = world.gate.metrics().await;
    for word in ["evil", "example.test", "alice", "nobody"] {
        assert!(!metrics.contains(word), "{word} is in the metrics:\n{metrics}");
    }
    assert!(metrics.contains(r#"doorward_auth_requests_total{app="app",edge="traefik",verdict="allow"}"#), "{metrics}");
    assert!(metrics.contains(r#"doorward_logins_total{provider="neighbour",result="succeeded"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"doorward_provider_refresh_tokens{provider="neighbour"} 1"#), "{metrics}");

    let mut promtool = system("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
}

#[tokio::test]
async fn the_log_is_silent_about_allowed_requests_and_holds_no_secret() {
    let world = busy().await;
    let alice = world.signed_in("alice").await;
    let before = world.gate.log().len();
    for _ in 0..20 {
        alice.fetch(&world.at("app", "/")).await.echo();
    }
    let log = world.gate.log();
    assert_eq!(&log[before..], "", "twenty requests were let in");
    let cookie = alice.cookies(&world.at("app", "/").parse().unwrap());
    for (_, value) in
        cookie.split("; ").filter_map(|cookie| cookie.split_once('=')).filter(|(_, value)| value.len() > 8)
    {
        assert!(!log.contains(value), "a cookie is in the log");
    }
    for word in ["code=", "state=", "eyJ", "refresh_token=", "first secret of one test"] {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn a_provider_without_refresh_tokens_is_reported() {
    let world = WorldBuilder::with(TRAEFIK).provider(json!({ "refresh_tokens": false })).start().await;
    world.signed_in("alice").await;
    let metrics = world.gate.metrics().await;
    assert!(metrics.contains(r#"doorward_provider_refresh_tokens{provider="neighbour"} 0"#), "{metrics}");
    assert!(world.gate.log().contains("refresh token"), "{}", world.gate.log());
}
