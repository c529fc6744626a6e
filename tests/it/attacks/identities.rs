//! Unverified e-mail addresses, with the real program and the certified provider.

use http::StatusCode;
use serde_json::json;

use super::{APP, BARE, PAGE, SCRIPT, cookies};
use crate::world::{
    Visitor, World, WorldBuilder,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

/// Apps that allow another person's address.
const CEO: &str = r#"
[[apps]]
name = "board"
hosts = ["board.example.test"]
headers = ["remote", "authentik", { "X-Mail" = "{claims.email}" }]
allow = { users = ["ceo@example.test"] }

[[apps]]
name = "company"
hosts = ["company.example.test"]
allow = { users = ["*@example.test"] }

[[apps]]
name = "claimed"
hosts = ["claimed.example.test"]
allow = { claims = { email = ["ceo@example.test"] } }

[[apps]]
name = "proven"
hosts = ["proven.example.test"]
allow = { claims = { email_verified = ["true"] } }
"#;

/// Starts a world in which bob has set his address to another person's.
async fn with_bob(lines: &str, verified: serde_json::Value) -> (World, Visitor) {
    let people =
        json!({ "bob": { "email": "ceo@example.test", "email_verified": verified, "preferred_username": "" } });
    let world = WorldBuilder::with(BARE)
        .session("cookie_domain = \"example.test\"")
        .tables(CEO)
        .provider(json!({ "people": people }))
        .without_provider()
        .await;
    let mut world = world;
    if !lines.is_empty() {
        let text = world.config().replace("client_id = \"doorward\"", &format!("client_id = \"doorward\"\n{lines}"));
        world.gate.configure(&text);
        world.gate.restart(crate::world::Signal::Term).await;
    }
    world.start_provider().await;
    let bob = world.signed_in("bob").await;
    (world, bob)
}

async fn ask(world: &World, who: &Visitor, host: &str) -> RawResponse {
    let lines = format!("{}{SCRIPT}", cookies(world, who));
    let original = OriginalRequest { method: "GET", host, target: "/", lines: &lines };
    raw::request(world.gate.port, &original.in_dialect("traefik")).await
}

#[tokio::test]
async fn an_address_that_nobody_vouches_for_opens_nothing_and_is_nobodys_name() {
    for verified in [json!(false), json!("false"), json!("yes"), json!(0), json!(["true"])] {
        let (world, bob) = with_bob("", verified.clone()).await;
        for host in ["board.example.test", "company.example.test", "claimed.example.test"] {
            let said = ask(&world, &bob, host).await;
            assert_eq!(
                (said.status, said.reason()),
                (StatusCode::FORBIDDEN, "email_unverified"),
                "{verified}: {said:?}"
            );
            assert!(said.body.contains("has not verified"), "{said:?}");
        }
        let said = ask(&world, &bob, "proven.example.test").await;
        assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "not_allowed"), "{verified}: {said:?}");
        // Apps get the address, but never as a user name.
        let said = ask(&world, &bob, APP).await;
        assert_eq!(
            (said.header("remote-user"), said.header("remote-email")),
            ("bob", "ceo@example.test"),
            "{verified}"
        );
        assert_eq!(said.header("x-authentik-username"), "bob", "{verified}");

        let log = world.gate.log();
        let line = log.lines().find(|line| line.contains("\"email_unverified\"")).unwrap_or_else(|| panic!("{log}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["app"], &line["subject"]), (&json!("board"), &json!("bob")), "{line}");
        assert_eq!(line["needs"], "users = [\"ceo@example.test\"]");
        for words in ["unverified_email", "subject", "verify"] {
            assert!(line["mend"].as_str().unwrap().contains(words), "{line}");
        }
        let counted = r#"doorward_auth_requests_total{app="board",edge="traefik",verdict="forbidden"} 1"#;
        assert!(world.gate.metrics().await.contains(counted));
    }
}

#[tokio::test]
async fn an_address_with_two_at_signs_is_of_no_domain() {
    for address in ["bob@evil.test@example.test", "\"bob@example.test\"@evil.test"] {
        let people = json!({ "bob": { "email": address, "email_verified": true } });
        let session = "cookie_domain = \"example.test\"";
        let world =
            WorldBuilder::with(BARE).session(session).tables(CEO).provider(json!({ "people": people })).start().await;
        let bob = world.signed_in("bob").await;
        assert_eq!(ask(&world, &bob, APP).await.status, StatusCode::OK);
        let said = ask(&world, &bob, "company.example.test").await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{address}: {said:?}");
    }
}

#[tokio::test]
async fn what_a_person_lacks_is_an_empty_header_in_place_of_the_client_s_own() {
    let people = json!({ "bob": { "groups": [], "email": "", "name": "" } });
    let world = WorldBuilder::with(BARE).provider(json!({ "people": people })).start().await;
    let bob = world.signed_in("bob").await;
    for dialect in DIALECTS {
        let lines = format!("{}{SCRIPT}Remote-Groups: admins\r\nX-authentik-groups: admins\r\n", cookies(&world, &bob));
        let original = OriginalRequest { method: "GET", host: APP, target: "/", lines: &lines };
        let said = raw::request(world.gate.port, &original.in_dialect(dialect)).await;
        assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, "bob"), "{dialect}: {said:?}");
        for name in ["remote-groups", "x-authentik-groups"] {
            assert!(said.headers.contains_key(name) && said.header(name).is_empty(), "{dialect}: {name}: {said:?}");
        }
    }
}

#[tokio::test]
async fn a_verified_address_matches_allow() {
    for verified in [json!(true), json!("True")] {
        let (world, bob) = with_bob("", verified.clone()).await;
        for host in ["board.example.test", "company.example.test", "claimed.example.test"] {
            assert_eq!(ask(&world, &bob, host).await.status, StatusCode::OK, "{verified}: {host}");
        }
        let said = ask(&world, &bob, "board.example.test").await;
        assert_eq!(said.header("x-mail"), "ceo@example.test");
    }
    let (world, bob) = with_bob("", json!(true)).await;
    assert_eq!(ask(&world, &bob, "proven.example.test").await.status, StatusCode::OK, "a boolean matches by its text");
}

#[tokio::test]
async fn unverified_addresses_can_be_dropped_or_trusted() {
    let (world, bob) = with_bob("unverified_email = \"drop\"", json!(false)).await;
    let said = ask(&world, &bob, "board.example.test").await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "not_allowed"), "{said:?}");
    let said = ask(&world, &bob, APP).await;
    assert_eq!((said.status, said.header("remote-email"), said.header("remote-user")), (StatusCode::OK, "", "bob"));
    let head = format!("GET /_doorward/session HTTP/1.1\r\nHost: {APP}\r\n{}{SCRIPT}", cookies(&world, &bob));
    let session = raw::request(world.gate.port, &head).await;
    assert!(!session.body.contains("ceo@"), "{session:?}");

    let (world, bob) = with_bob("unverified_email = \"trust\"", json!(false)).await;
    let said = ask(&world, &bob, "board.example.test").await;
    assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, "ceo@example.test"), "{said:?}");
}

#[tokio::test]
async fn the_refusal_of_an_unverified_address_says_so() {
    let (world, bob) = with_bob("", json!(false)).await;
    let lines = format!("{}{PAGE}", cookies(&world, &bob));
    let original = OriginalRequest { method: "GET", host: "board.example.test", target: "/", lines: &lines };
    let said = raw::request(world.gate.port, &original.in_dialect("traefik")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "email_unverified"));
    assert!(said.body.contains("has not verified your e-mail address"), "{said:?}");
    let id = said.header("doorward-request-id");
    assert!(said.body.contains(id) && world.gate.log().contains(id), "the page quotes what the log knows");
}
