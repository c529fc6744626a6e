//! Renewals with online and offline refresh tokens, with rotation and without, and what they bring.

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{AT_MOST, OFFLINE, ONLINE, TOKEN, gate_of, in_use, over, renewals, renewing, signed_in};
use crate::{
    postgres::ask,
    world::{Realm, Visitor, World},
};

/// Renews a session three times under the load of many tabs, none of which is refused, as is no refresh token.
async fn renewed_under_load(world: &World, who: &Visitor) {
    in_use(world, who, "three renewals", async |_| {
        for answer in join_all((0..20).map(|_| ask(world, &world.gate, who))).await {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}\n{}", world.gate.log());
        }
        (renewals(world, "renewed").await >= 3).then_some(())
    })
    .await;
    assert_eq!(
        (renewals(world, "rejected").await, renewals(world, "unavailable").await),
        (0, 0),
        "{}",
        world.gate.log()
    );
}

#[tokio::test]
async fn online_sessions_are_renewed_with_rotation_and_without() {
    for rotation in [false, true] {
        let realm = renewing(json!({ "revokeRefreshToken": rotation, "refreshTokenMaxReuse": 0 })).await;
        let world = gate_of(&realm, ONLINE).await;
        let alice = signed_in(&realm, &world, "alice").await;
        renewed_under_load(&world, &alice).await;
        // Refresh tokens come without `offline_access`, and nobody has an offline session.
        let client = realm.client().await;
        assert_eq!(realm.read(&format!("/clients/{client}/session-count")).await["count"], 1);
        assert_eq!(realm.read(&format!("/clients/{client}/offline-session-count")).await["count"], 0);
    }
}

#[tokio::test]
async fn offline_sessions_are_renewed_with_rotation_and_cost_the_single_sign_on() {
    let realm = renewing(json!({ "revokeRefreshToken": true, "refreshTokenMaxReuse": 0 })).await;
    let world = gate_of(&realm, OFFLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let client = realm.client().await;
    assert_eq!(realm.read(&format!("/clients/{client}/offline-session-count")).await["count"], 1);
    assert_eq!(realm.read(&format!("/clients/{client}/session-count")).await["count"], 0);
    renewed_under_load(&world, &alice).await;
    // What a browser has at Keycloak is gone with the first offline token: the next host asks for the password again.
    let elsewhere = alice.visit(&world.at("admin", "/")).await;
    realm.sign_in(&alice, &elsewhere, "alice").await.echo();
}

#[tokio::test]
async fn an_offline_session_ends_at_the_next_renewal_where_its_consent_is_revoked() {
    let realm = renewing(json!({})).await;
    let world = gate_of(&realm, OFFLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let person = realm.person("alice").await;
    realm.send(Method::DELETE, &format!("/users/{person}/consents/doorward"), &Value::Null).await;
    let took = over(&world, &alice).await;
    eprintln!("a revoked offline session is over after {took:?}, with tokens of {TOKEN} s");
    assert!(took.as_secs() <= AT_MOST, "{took:?}");
}

#[tokio::test]
async fn a_group_that_is_taken_or_given_is_followed_at_the_next_renewal() {
    let realm = renewing(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let membership = membership(&realm, "alice", "admins").await;
    for (method, groups) in [(Method::DELETE, "ops,staff"), (Method::PUT, "admins,ops,staff")] {
        realm.send(method.clone(), &membership, &Value::Null).await;
        let begun = std::time::Instant::now();
        in_use(&world, &alice, "her groups have changed", async |answer| {
            (answer.header("remote-groups") == groups).then_some(())
        })
        .await;
        eprintln!("{method} of a group followed after {:?}, with tokens of {TOKEN} s", begun.elapsed());
        assert!(begun.elapsed().as_secs() <= AT_MOST, "{:?}", begun.elapsed());
    }
}

/// Path of a person's membership of a group.
async fn membership(realm: &Realm, user: &str, group: &str) -> String {
    let (person, group) = (realm.person(user).await, realm.first(&format!("/groups?exact=true&search={group}")).await);
    format!("/users/{person}/groups/{}", group["id"].as_str().unwrap())
}
