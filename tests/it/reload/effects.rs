//! Effects of a reload: apps, headers, trusted proxies, the log.

use http::StatusCode;

use super::{APP, applied, cookies, until, with, world};
use crate::{
    postgres::EDGE,
    world::{RequestMode, Visitor, WorldBuilder, eventually, raw::PersistentConnection},
};

const NEW: &str = "new.example.test";

#[tokio::test]
async fn an_added_app_is_known_and_a_removed_one_is_not() {
    // One session for all hosts, including the new one.
    let world = WorldBuilder::with(EDGE).session("cookie_domain = \"example.test\"").start().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let said = kept.ask(NEW, "/", &alice).await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "unknown_host"));

    // In front of the others, so that all indices change.
    let new = format!("[[apps]]\nname = \"new\"\nhosts = [\"{NEW}\"]\n\n[[apps]]\nname = \"app\"");
    let added = with(&world.config(), "[[apps]]\nname = \"app\"", &new);
    world.gate.configure(&added);
    let said = until(&mut kept, NEW, "/", &alice, StatusCode::OK).await;
    assert_eq!(said.header("remote-user"), "alice");
    let counted = |app: &str, verdict: &str| {
        format!("doorward_auth_requests_total{{app=\"{app}\",edge=\"traefik\",verdict=\"{verdict}\"}}")
    };
    assert_eq!(world.gate.metric(&counted("new", "allow")).await, Some(1));
    let before = world.gate.metric(&counted("app", "allow")).await.unwrap();
    kept.ask(APP, "/", &alice).await;
    assert_eq!(world.gate.metric(&counted("app", "allow")).await, Some(before + 1));

    // A changed `allow` applies to the next request.
    world.gate.configure(&with(
        &added,
        &format!("\"{NEW}\"]"),
        &format!("\"{NEW}\"]\nallow = {{ groups = [\"nobody\"] }}"),
    ));
    let said = until(&mut kept, NEW, "/", &alice, StatusCode::FORBIDDEN).await;
    assert_eq!(said.reason(), "group_missing");

    world.gate.configure(&format!("{}\n[access]\ndefault = \"authenticated\"\n", world.config()));
    let said = until(&mut kept, NEW, "/", &alice, StatusCode::OK).await;
    assert_eq!(said.header("remote-user"), "alice", "a signed-in person");
    world.gate.configure(&world.config());
    let said = until(&mut kept, NEW, "/", &alice, StatusCode::FORBIDDEN).await;
    assert_eq!(said.reason(), "unknown_host");
}

#[tokio::test]
async fn an_existing_session_gets_the_headers_of_the_new_configuration() {
    let world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let said = kept.ask(APP, "/", &alice).await;
    assert_eq!((said.header("remote-user"), said.header("x-authentik-username")), ("alice", "alice"));
    for (change, (headers, name, value)) in [
        (r#"[{ "X-One" = "{claims.email}" }]"#, "x-one", "alice@example.test"),
        (r#"[{ "X-One" = "{claims.sub}" }]"#, "x-one", "alice"),
        (r#"[{ "X-Two" = "{claims.email}" }]"#, "x-two", "alice@example.test"),
        (r#"["remote"]"#, "remote-email", "alice@example.test"),
    ]
    .into_iter()
    .enumerate()
    {
        let own = format!("headers = {headers}");
        world.gate.configure(&with(&world.config(), "headers = [\"remote\", \"authentik\"]", &own));
        applied(&world, change as u64 + 1).await;
        let said = kept.ask(APP, "/", &alice).await;
        assert_eq!((said.status, said.header(name)), (StatusCode::OK, value), "{said:?}");
        let others = ["x-one", "x-two", "remote-user", "x-authentik-username"];
        let there: Vec<_> = others.into_iter().filter(|name| said.headers.contains_key(*name)).collect();
        let expected = if name == "remote-email" { "remote-user" } else { name };
        assert_eq!(there, [expected], "{said:?}");
    }
}

#[tokio::test]
async fn an_existing_session_has_the_tokens_that_an_app_is_passed_after_a_reload() {
    let world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let mut jwt = async || kept.ask(APP, "/", &alice).await.header("x-authentik-jwt").to_owned();
    assert_eq!(jwt().await, "", "none was requested");
    let headers = "headers = [\"remote\", \"authentik\"]";
    world.gate.configure(&with(&world.config(), headers, &format!("{headers}\npass_id_token = true")));
    applied(&world, 1).await;
    let passed = jwt().await;
    assert_eq!(passed.split('.').count(), 3, "{passed}");
    assert_eq!(jwt().await, passed);
    world.gate.configure(&world.config());
    applied(&world, 2).await;
    assert_eq!(jwt().await, "");
}

#[tokio::test]
async fn trusted_proxies_and_the_prefix_can_change() {
    let world = world().await;
    let mut kept = PersistentConnection::open(world.gate.port).await;
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::OK).await;
    let ping = |prefix: &str| format!("http://127.0.0.1:{}{prefix}/ping", world.gate.port);
    let status = async |url: String| {
        let visitor = Visitor::new(world.dir());
        visitor.send(visitor.request(RequestMode::Fetch, &url)).await.status
    };
    world.gate.configure(&with(
        &world.config(),
        "[server]",
        "[server]\nprefix = \"/elsewhere\"\ntrusted_proxies = [\"192.0.2.0/24\"]",
    ));
    eventually("the pages have moved", async || {
        (status(ping("/elsewhere")).await == StatusCode::NO_CONTENT).then_some(())
    })
    .await;
    assert_eq!(status(ping("/_doorward")).await, StatusCode::NOT_FOUND);
    world.gate.configure(&with(&world.config(), "[server]", "[server]\ntrusted_proxies = [\"192.0.2.0/24\"]"));
    // A proxy that is not trusted any more gets a response, and its connection is closed.
    let said = eventually("no proxy is trusted", async || {
        let said = PersistentConnection::open(world.gate.port).await.ask("rules.example.test", "/health", "").await;
        (said.status == StatusCode::FORBIDDEN).then_some(said)
    })
    .await;
    assert_eq!(said.reason(), "untrusted_peer");
    world.gate.configure(&world.config());
    eventually("the edge is trusted again", async || {
        let said = PersistentConnection::open(world.gate.port).await.ask("rules.example.test", "/health", "").await;
        (said.status == StatusCode::OK).then_some(())
    })
    .await;
    let mut kept = PersistentConnection::open(world.gate.port).await;
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::OK).await;
}

#[tokio::test]
async fn the_log_level_can_change() {
    let world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let detailed = |log: &str| log.lines().any(|line| line.contains("\"DEBUG\""));
    assert!(!detailed(&world.gate.log()));
    world.gate.configure(&format!("{}\n[log]\nlevel = \"debug\"\n", world.config()));
    applied(&world, 1).await;
    kept.ask("nobody.example.test", "/", &alice).await;
    assert!(detailed(&world.gate.log()), "{}", world.gate.log());
    world.gate.configure(&world.config());
    applied(&world, 2).await;
    let before = world.gate.log().len();
    kept.ask(APP, "/", &alice).await;
    kept.ask(APP, "/", "").await;
    assert_eq!(&world.gate.log()[before..], "");
}

#[tokio::test]
async fn the_brand_of_the_pages_can_change() {
    let world = world().await;
    let page = async || world.visitor().visit(&world.at("app", "/_doorward/signed_out")).await.text();
    assert!(!page().await.contains("The House"));
    world.gate.configure(&format!("{}\n[brand]\ntitle = \"The House\"\n", world.config()));
    applied(&world, 1).await;
    assert!(page().await.contains("The House"));
}
