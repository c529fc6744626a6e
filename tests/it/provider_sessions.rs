//! The provider's own session: a renewal that has lost its `sid` ends the session here, and so does a sign-out at any of the
//! apps (contract C18a).

use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask},
    world::{Signal, TRAEFIK, Visitor, World, WorldBuilder, eventually},
};

const KEEPS_SID: &str = "doorward_provider_keeps_sid{provider=\"neighbour\"}";

/// Plans a world whose provider puts `sid` into ID tokens, and whose sessions are renewed every few seconds.
fn renewing() -> WorldBuilder {
    WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "backchannel_logout": true, "access_token_ttl": 4, "tls": true }))
}

/// Uses a session until it was renewed so many times more.
async fn renewed(world: &World, who: &Visitor, times: u64) {
    let before = world.provider.refreshes().await;
    eventually("the session is renewed", async || {
        assert_eq!(ask(world, &world.gate, who).await.status, StatusCode::OK);
        (world.provider.refreshes().await >= before + times).then_some(())
    })
    .await;
}

/// Uses a session until it is refused.
async fn ended(world: &World, who: &Visitor) {
    let answer = eventually("the session has ended", async || {
        let answer = ask(world, &world.gate, who).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
}

#[tokio::test]
async fn a_renewal_without_its_sid_ends_the_session_once_the_provider_was_seen_to_keep_it() {
    let mut world = renewing().start().await;
    assert_eq!(world.gate.metric(KEEPS_SID).await, None);
    assert!(world.gate.metrics().await.contains("# TYPE doorward_provider_keeps_sid gauge"));
    let alice = world.signed_in("alice").await;
    world.provider.control("sid?is=dropped").await;
    renewed(&world, &alice, 1).await;
    eventually("a renewal without it was seen", async || (world.gate.metric(KEEPS_SID).await == Some(0)).then_some(()))
        .await;
    renewed(&world, &alice, 1).await;
    world.provider.control("sid?is=kept").await;
    renewed(&world, &alice, 1).await;
    eventually("a renewal with it was seen", async || (world.gate.metric(KEEPS_SID).await == Some(1)).then_some(()))
        .await;
    let revocations = world.provider.control("grants").await["revocations"].as_u64().unwrap();
    // What was seen of this session outlives the process.
    world.gate.restart(Signal::Term).await;
    assert_eq!(world.gate.metric(KEEPS_SID).await, None);
    world.provider.control("sid?is=dropped").await;
    ended(&world, &alice).await;
    assert_eq!(world.gate.metric("doorward_logouts_total{kind=\"provider\"}").await, Some(1));
    assert_eq!(world.gate.metric(KEEPS_SID).await, Some(1));
    eventually("the tokens that came are revoked", async || {
        (world.provider.control("grants").await["revocations"].as_u64().unwrap() > revocations).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_configuration_says_whether_renewals_keep_the_sid() {
    let world = renewing().start().await;
    let secret = "client_secret = ";
    let fixed = |keeps: bool| {
        world.gate.configure(&world.config().replacen(secret, &format!("renewals_keep_sid = {keeps}\n{secret}"), 1));
    };
    let alice = world.signed_in("alice").await;
    fixed(false);
    eventually("it is in force", async || (world.gate.metric(KEEPS_SID).await == Some(0)).then_some(())).await;
    renewed(&world, &alice, 1).await;
    world.provider.control("sid?is=dropped").await;
    renewed(&world, &alice, 2).await;
    fixed(true);
    ended(&world, &alice).await;
    assert_eq!(world.gate.metric(KEEPS_SID).await, Some(1));
}

#[tokio::test]
async fn signing_out_at_one_app_ends_the_sessions_of_the_same_session_at_the_provider() {
    let world = WorldBuilder::with(TRAEFIK).provider(json!({ "backchannel_logout": true })).start().await;
    let (alice, at_home, bob) =
        (world.signed_in("alice").await, world.signed_in("alice").await, world.signed_in("bob").await);
    for who in [&alice, &at_home, &bob] {
        who.visit(&world.at("rules", "/")).await.echo();
    }
    alice.visit(&world.at("admin", "/")).await.echo();
    // The provider is not told, so that it cannot tell the gate.
    let leaves = alice.open(&world.at("app", "/_doorward/sign_out")).await;
    assert!(leaves.location().unwrap().starts_with(&world.provider.issuer()), "{leaves:?}");
    for host in ["rules", "admin"] {
        let answer = alice.fetch(&world.at(host, "/")).await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{host}: {answer:?}");
        // A page says so too, on its way to sign in.
        let page = alice.open(&world.at(host, "/")).await;
        assert_eq!((page.status, page.reason()), (StatusCode::FOUND, "session_ended"), "{host}: {page:?}");
    }
    assert_eq!(alice.fetch(&world.at("app", "/")).await.status, StatusCode::UNAUTHORIZED);
    for who in [&at_home, &bob] {
        who.fetch(&world.at("app", "/")).await.echo();
        who.fetch(&world.at("rules", "/")).await.echo();
    }
    assert_eq!(world.gate.metric("doorward_logouts_total{kind=\"user\"}").await, Some(3));
}
