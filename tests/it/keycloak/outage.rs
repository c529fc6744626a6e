//! A Keycloak that is stopped and comes back.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use super::{ONLINE, TOKEN, gate_of, in_use, renewals, renewed, signed_in};
use crate::world::Realm;

#[tokio::test]
async fn sessions_go_on_while_keycloak_restarts_and_are_renewed_afterwards() {
    let mut realm = Realm::alone(json!({ "accessTokenLifespan": TOKEN, "revokeRefreshToken": true })).await;
    let world = gate_of(&realm, ONLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    renewed(&world, &alice, 1).await;
    realm.stop_keycloak();
    let stopped = Instant::now();
    in_use(&world, &alice, "her access token has ended", async |_| {
        (stopped.elapsed() > Duration::from_secs(TOKEN + 1)).then_some(())
    })
    .await;
    let newcomer = world.visitor().visit(&world.at("app", "/")).await;
    assert_eq!((newcomer.status, newcomer.reason()), (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"));
    realm.start_keycloak().await;
    let before = renewals(&world, "renewed").await;
    let begun = Instant::now();
    renewed(&world, &alice, before + 1).await;
    eprintln!("renewed {:?} after Keycloak was back", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(renewals(&world, "rejected").await, 0, "{}", world.gate.log());
    signed_in(&realm, &world, "bob").await;
}
