//! Revocation of refresh tokens at a sign-out (RFC 7009), for which no request waits.

use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask},
    world::{TRAEFIK, Visitor, World, WorldBuilder, eventually},
};

/// Starts a world whose provider has a revocation endpoint: over TLS only, as the RFC demands.
async fn forgetting() -> World {
    WorldBuilder::with(TRAEFIK).provider(json!({ "tls": true })).start().await
}

/// Signs a visitor out of the gate only, not at the provider.
async fn sign_out(world: &World, who: &Visitor) {
    let answer = who.open(&world.at("app", "/_doorward/sign_out")).await;
    assert!(answer.header("location").starts_with(&world.provider.issuer()), "{answer:?}");
    let refused = who.fetch(&world.at("app", "/")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
}

/// Returns `true` if a revocation had this result.
async fn requests(world: &World, result: &str) -> bool {
    let series = "doorward_provider_requests_total{endpoint=\"revocation\",provider=\"neighbour\"";
    world.gate.metrics().await.contains(&format!("{series},result=\"{result}\"}} 1\n"))
}

#[tokio::test]
async fn a_sign_out_revokes_the_refresh_token() {
    let world = forgetting().await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    assert_eq!(world.provider.redeemable("alice").await, 1);
    sign_out(&world, &alice).await;
    eventually("the provider has forgotten it", async || (world.provider.redeemable("alice").await == 0).then_some(()))
        .await;
    eventually("it is counted", async || requests(&world, "ok").await.then_some(())).await;
    assert_eq!(world.provider.redeemable("bob").await, 1, "his is his own");
    bob.fetch(&world.at("app", "/")).await.echo();
    assert!(!world.gate.log().contains("not revoked"), "{}", world.gate.log());
}

#[tokio::test]
async fn a_failed_revocation_delays_no_sign_out() {
    const SAID: &str = "a refresh token was not revoked and ends by itself";
    for sin in ["broken?status=503", "slow?seconds=60"] {
        let world = forgetting().await;
        let alice = world.signed_in("alice").await;
        world.provider.control(&format!("{sin}&at=/token/revocation")).await;
        sign_out(&world, &alice).await;
        if sin.starts_with("slow") {
            assert!(!world.gate.log().contains(SAID), "she is signed out before the timeout");
        }
        eventually("it is logged", async || world.gate.log().contains(SAID).then_some(())).await;
        assert!(requests(&world, "unavailable").await, "{sin}");
        // The next one is revoked again.
        world.provider.control("broken?status=0&at=/token/revocation").await;
        world.provider.control("slow?seconds=0&at=/token/revocation").await;
        let bob = world.signed_in("bob").await;
        sign_out(&world, &bob).await;
        eventually("it is forgotten", async || (world.provider.redeemable("bob").await == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_arrives_after_the_end_of_its_session_is_revoked() {
    let world = WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "tls": true, "access_token_ttl": 6 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    world.provider.control("slow?seconds=4").await;
    eventually("the provider has renewed it, and holds its answer back", async || {
        assert_eq!(ask(&world, &world.gate, &alice).await.status, StatusCode::OK);
        (world.provider.refreshes().await > 0).then_some(())
    })
    .await;
    // Revoked by an operator, of which the provider is not notified.
    assert_eq!(world.gate.command(&["sessions", "revoke", "--user", "alice"]), "ended 1 session\n");
    assert_eq!(world.provider.redeemable("alice").await, 1, "the one that is on its way");
    eventually("it is forgotten", async || (world.provider.redeemable("alice").await == 0).then_some(())).await;
    assert!(requests(&world, "ok").await);
}
