//! New signing keys under live sessions.

use std::time::Instant;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ONLINE, gate_of, renewals, renewed, renewing, signed_in};
use crate::world::{POLL_INTERVAL, Realm, TIMEOUT, Visitor, World};

/// Adds a key that is preferred to those before it.
async fn add_key(realm: &Realm, provider: &str, priority: u32) {
    let key = json!({
        "name": provider,
        "providerId": provider,
        "providerType": "org.keycloak.keys.KeyProvider",
        "parentId": realm.read("").await["id"],
        "config": { "priority": [priority.to_string()] },
    });
    realm.send(Method::POST, "/components", &key).await;
}

/// Has Keycloak sign the gate's ID tokens with this algorithm.
async fn sign_with(realm: &Realm, algorithm: &str) {
    realm.amend(|client| client["attributes"]["id.token.signed.response.alg"] = json!(algorithm)).await;
}

/// Renews a session twice and signs somebody in, with the keys as they are now.
async fn goes_on(realm: &Realm, world: &World, alice: &Visitor) {
    let before = renewals(world, "renewed").await;
    renewed(world, alice, before + 2).await;
    let bob = world.visitor();
    let form = bob.visit(&world.at("app", "/")).await;
    let mut answer = realm.sign_in(&bob, &form, "bob").await;
    let deadline = Instant::now() + TIMEOUT;
    // New keys are asked for every ten seconds at most, and these come faster.
    while answer.status == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < deadline {
        tokio::time::sleep(POLL_INTERVAL * 20).await;
        answer = bob.visit(&world.at("app", "/")).await;
    }
    answer.echo();
    assert_eq!(
        (renewals(world, "rejected").await, renewals(world, "unavailable").await),
        (0, 0),
        "{}",
        world.gate.log()
    );
}

#[tokio::test]
async fn sessions_go_on_under_new_keys_and_other_algorithms() {
    let realm = renewing(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let old = realm.first("/components?type=org.keycloak.keys.KeyProvider&name=rsa-generated").await;
    add_key(&realm, "rsa-generated", 200).await;
    goes_on(&realm, &world, &alice).await;
    // The first key goes, as once all that it signed has expired.
    realm.send(Method::DELETE, &format!("/components/{}", old["id"].as_str().unwrap()), &Value::Null).await;
    for (algorithm, provider) in [("ES256", "ecdsa-generated"), ("EdDSA", "eddsa-generated")] {
        add_key(&realm, provider, 300).await;
        sign_with(&realm, algorithm).await;
        goes_on(&realm, &world, &alice).await;
    }
}
