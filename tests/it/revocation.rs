//! Whoever signs out has their refresh token forgotten by the provider (RFC 7009), and nobody waits for that.

use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask},
    world::{Plan, TRAEFIK, Visitor, World, eventually},
};

/// A world whose provider can be asked to forget: over TLS only, as the standard wants it.
async fn forgetting() -> World {
    Plan::with(TRAEFIK).provider(json!({ "tls": true })).start().await
}

/// Signs somebody out here and no further: at the provider they stay signed in.
async fn sign_out(world: &World, who: &Visitor) {
    let answer = who.open(&world.at("app", "/_doorward/sign_out")).await;
    assert!(answer.header("location").starts_with(&world.provider.issuer()), "{answer:?}");
    let refused = who.fetch(&world.at("app", "/")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
}

/// The requests to the revocation endpoint that ended so.
async fn requests(world: &World, result: &str) -> bool {
    let series = "doorward_provider_requests_total{endpoint=\"revocation\",provider=\"neighbour\"";
    world.gate.metrics().await.contains(&format!("{series},result=\"{result}\"}} 1\n"))
}

#[tokio::test]
async fn a_sign_out_leaves_no_refresh_token_that_anybody_could_redeem() {
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
async fn a_provider_that_will_not_forget_holds_up_no_sign_out() {
    const SAID: &str = "a refresh token was not revoked and ends by itself";
    for sin in ["broken?status=503", "slow?seconds=60"] {
        let world = forgetting().await;
        let alice = world.signed_in("alice").await;
        world.provider.steer(&format!("{sin}&at=/token/revocation")).await;
        sign_out(&world, &alice).await;
        if sin.starts_with("slow") {
            assert!(!world.gate.log().contains(SAID), "she is signed out before anybody gives up");
        }
        eventually("the log tells", async || world.gate.log().contains(SAID).then_some(())).await;
        assert!(requests(&world, "unavailable").await, "{sin}");
        // The next one is forgotten again.
        world.provider.steer("broken?status=0&at=/token/revocation").await;
        world.provider.steer("slow?seconds=0&at=/token/revocation").await;
        let bob = world.signed_in("bob").await;
        sign_out(&world, &bob).await;
        eventually("it is forgotten", async || (world.provider.redeemable("bob").await == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_when_its_session_is_over_is_forgotten() {
    let world = Plan::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "tls": true, "access_token_ttl": 6 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    world.provider.steer("slow?seconds=4").await;
    eventually("the provider has renewed it, and holds its answer back", async || {
        assert_eq!(ask(&world, &world.gate, &alice).await.status, StatusCode::OK);
        (world.provider.refreshes().await > 0).then_some(())
    })
    .await;
    // An operator's word, which the provider does not hear of.
    assert_eq!(world.gate.tell(&["sessions", "revoke", "--user", "alice"]), "ended 1 session\n");
    assert_eq!(world.provider.redeemable("alice").await, 1, "the one that is on its way");
    eventually("it is forgotten", async || (world.provider.redeemable("alice").await == 0).then_some(())).await;
    assert!(requests(&world, "ok").await);
}
