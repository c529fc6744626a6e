//! Log lines that clients can cause: their number, length and content.

use http::StatusCode;
use serde_json::{Value, json};

use super::{APP, BARE, PAGE, RULES, SCRIPT, bare, cookies, cookies_at, direct};
use crate::world::{
    Signal, World, WorldBuilder,
    raw::{self, OriginalRequest, RawResponse},
};

async fn ask(world: &World, host: &str, target: &str, lines: &str) -> RawResponse {
    raw::request(world.gate.port, &OriginalRequest { method: "GET", host, target, lines }.in_dialect("traefik")).await
}

fn refusals(world: &World, reason: &str) -> Vec<Value> {
    let lines = world.gate.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["reason"] == reason).collect()
}

#[tokio::test]
async fn a_refusal_is_logged_with_its_requirement_and_repetitions_are_counted() {
    let mut world = bare().await;
    let bob = world.person("bob");
    bob.visit(&world.at("rules", "/")).await.echo();
    let lines = format!("{}X-Forwarded-For: 203.0.113.7\r\n", cookies_at(&world, &bob, "rules"));
    let mut ids = Vec::new();
    for number in 0..30 {
        let intent = if number % 2 == 0 { PAGE } else { SCRIPT };
        let said = ask(&world, RULES, &format!("/admin/{number}"), &format!("{lines}{intent}")).await;
        assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "group_missing"));
        ids.push(said.header("doorward-request-id").to_owned());
        assert!(said.body.contains(ids.last().unwrap()), "the answer quotes its id: {said:?}");
    }
    let lines = refusals(&world, "group_missing");
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    for (field, value) in [
        ("app", json!("rules")),
        ("host", json!(RULES)),
        ("client", json!("203.0.113.7")),
        ("user", json!("bob")),
        ("subject", json!("bob")),
        ("path", json!("/admin/0")),
        ("needs", json!("groups = [\"admins\"]")),
        ("has", json!("groups = [\"staff\"]")),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(ids.iter().all(|id| line["request_id"] == id.as_str()), "every id that was quoted is in the log: {ids:?}");

    let dir = world.dir().to_owned();
    world.gate.signal(Signal::Term);
    world.gate.exited().await;
    let log = std::fs::read_to_string(dir.join("doorward.log")).unwrap();
    let counted = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // Unknown hosts are counted as well: the world asks for one until its edge is there.
    let counted = counted.filter(|line| line["count"].is_u64() && line["reason"] == "group_missing");
    let counted: Vec<_> = counted.map(|line| line["count"].clone()).collect();
    assert_eq!(counted, [json!(29)]);
}

#[tokio::test]
async fn strangers_have_few_lines_and_short_ones() {
    let world = bare().await;
    let before = world.gate.log().len();
    let long = "x".repeat(60_000);
    for number in 0..200 {
        let host = format!("host-{number}.stranger.test");
        assert_eq!(ask(&world, &host, "/", SCRIPT).await.reason(), "unknown_host");
    }
    for number in 0..20 {
        let said = ask(&world, RULES, &format!("/never/{number}{long}"), SCRIPT).await;
        assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "rule_denied"));
        let said = raw::request(world.gate.port, &direct("GET", &format!("/start?rd=/{long}"), PAGE)).await;
        assert_ne!(said.status, StatusCode::INTERNAL_SERVER_ERROR);
        let said = raw::request(world.gate.port, &direct("DELETE", &format!("/reset?{number}"), PAGE)).await;
        assert_eq!(said.reason(), "bad_request");
        let notice = format!("{}Content-Length: 0\r\n", direct("POST", "/backchannel_logout", ""));
        assert_eq!(raw::request(world.gate.port, &notice).await.status, StatusCode::BAD_REQUEST);
    }
    let written = world.gate.log().len() - before;
    assert!(written < 24 * 1024, "{written} bytes of log for 280 requests");
    let hosts = refusals(&world, "unknown_host");
    assert_eq!(hosts.len(), 21, "twenty firsts, and one line for the rest");
    let denied = refusals(&world, "rule_denied");
    assert_eq!(denied.len(), 1, "{denied:?}");
    let path = denied[0]["path"].as_str().unwrap();
    assert!(path.starts_with("/never/0xxx") && path.chars().count() < 300 && path.contains("cut, 600"), "{path}");
}

#[tokio::test]
async fn an_untrusted_peer_has_one_line_however_often_it_asks() {
    let world = WorldBuilder::with(BARE).server(r#"trusted_proxies = ["10.0.0.0/8"]"#).without_provider().await;
    for number in 0..50 {
        assert_eq!(ask(&world, APP, &format!("/{number}"), SCRIPT).await.reason(), "untrusted_peer");
    }
    let lines = refusals(&world, "untrusted_peer");
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    assert_eq!(line["peer"], "127.0.0.1", "{line}");
}

#[tokio::test]
async fn what_a_provider_says_forges_no_line_of_text_and_no_row_of_a_table() {
    let hostile = "bob\nINFO signed in app=admin \u{1b}[31m\u{202e}nimda";
    let people = json!({ "bob": { "preferred_username": hostile, "groups": [hostile] } });
    let world =
        WorldBuilder::with(BARE).tables("[log]\nformat = \"text\"").provider(json!({ "people": people })).start().await;
    let bob = world.signed_in("bob").await;
    let lines = format!("{}{SCRIPT}", cookies(&world, &bob));
    ask(&world, "admin.example.test", "/a", &lines).await;
    ask(&world, RULES, "/never/%1b[31m\tx", SCRIPT).await;
    let log = world.gate.log();
    assert!(log.contains("\\u{1b}[31m") && log.contains("\\u{202e}"), "it is logged as an escape: {log}");
    for what in
        [world.gate.command(&["sessions", "list"]), world.gate.command(&["sessions", "list", "--format", "json"]), log]
    {
        assert!(!what.contains(['\u{1b}', '\u{202e}']), "{what:?}");
        assert!(!what.lines().any(|line| line.starts_with("INFO signed in")), "{what}");
    }
    assert_eq!(world.gate.command(&["sessions", "list"]).lines().count(), 2, "one session, one row");

    let world = WorldBuilder::with(BARE)
        .provider(json!({ "people": { "bob": { "preferred_username": hostile } } }))
        .start()
        .await;
    world.signed_in("bob").await;
    let log = world.gate.log();
    assert!(log.contains("\\u202e") && !log.contains('\u{202e}'), "JSON has it as an escape: {log}");
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
}

#[tokio::test]
async fn nothing_is_logged_at_info_for_whoever_is_let_in() {
    let world = bare().await;
    let (alice, hosts) = (world.person("alice"), [("app", APP), ("admin", "admin.example.test"), ("rules", RULES)]);
    for (name, _) in hosts {
        alice.visit(&world.at(name, "/")).await.echo();
    }
    let before = world.gate.log().len();
    for (name, host) in hosts {
        let lines = format!("{}{SCRIPT}", cookies_at(&world, &alice, name));
        assert_eq!(ask(&world, host, "/", &lines).await.status, StatusCode::OK);
    }
    assert_eq!(&world.gate.log()[before..], "");
}
