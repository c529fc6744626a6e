//! Every way to end a session: here, at Keycloak, and by an administrator.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{AT_MOST, ONLINE, TOKEN, gate_of, over, renewing, signed_in};
use crate::{
    postgres::{ask, refused},
    world::{Realm, World},
};

#[tokio::test]
async fn a_sign_out_at_keycloak_ends_the_session_at_once_and_no_other() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    hear_of_sign_outs(&realm, &world).await;
    let (alice, elsewhere) = (signed_in(&realm, &world, "alice").await, signed_in(&realm, &world, "alice").await);
    let asked = alice.visit(&format!("{}/protocol/openid-connect/logout", realm.issuer())).await;
    let begun = std::time::Instant::now();
    alice.submit(&asked, &[("confirmLogout", "Logout")]).await;
    refused(&world, &[&world.gate], &alice).await;
    eprintln!("a sign-out at Keycloak is heard of after {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert_eq!(ask(&world, &world.gate, &elsewhere).await.status, StatusCode::OK);
    assert_eq!(world.gate.metric("doorward_logouts_total{kind=\"backchannel\"}").await, Some(1));

    // An administrator ends all that she has.
    let person = realm.person("alice").await;
    realm.send(Method::POST, &format!("/users/{person}/logout"), &Value::Null).await;
    refused(&world, &[&world.gate], &elsewhere).await;
    assert_eq!(world.gate.metric("doorward_logouts_total{kind=\"backchannel\"}").await, Some(2));
}

#[tokio::test]
async fn a_sign_out_here_signs_out_at_keycloak() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let page = alice.visit(&world.at("app", "/_doorward/sign_out")).await;
    assert!(page.url.starts_with(&world.at("app", "/_doorward/signed_out")), "{:#?}", page.trail);
    assert!(page.trail.iter().any(|url| url.starts_with(&realm.issuer())), "{:#?}", page.trail);
    // Keycloak asks who it is again.
    let form = alice.visit(&world.at("app", "/")).await;
    realm.sign_in(&alice, &form, "bob").await.echo();
}

#[tokio::test]
async fn without_back_channel_logout_what_an_administrator_ends_is_over_at_the_next_renewal() {
    let realm = renewing(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let (alice, bob) = (signed_in(&realm, &world, "alice").await, signed_in(&realm, &world, "bob").await);
    let client = realm.client().await;
    let sessions = realm.read(&format!("/clients/{client}/user-sessions")).await;
    let of_alice = sessions.as_array().unwrap().iter().find(|session| session["username"] == "alice").unwrap();
    realm.send(Method::DELETE, &format!("/sessions/{}", of_alice["id"].as_str().unwrap()), &Value::Null).await;
    let took = over(&world, &alice).await;
    eprintln!("an ended session is over after {took:?}, with tokens of {TOKEN} s");
    assert!(took.as_secs() <= AT_MOST, "{took:?}");
    assert_eq!(ask(&world, &world.gate, &bob).await.status, StatusCode::OK);

    // Disabling a person is not a sign-out.
    let person = realm.person("bob").await;
    realm.send(Method::PUT, &format!("/users/{person}"), &json!({ "enabled": false })).await;
    let took = over(&world, &bob).await;
    eprintln!("a disabled person is out after {took:?}, with tokens of {TOKEN} s");
    assert!(took.as_secs() <= AT_MOST, "{took:?}");
    let form = bob.visit(&world.at("app", "/")).await;
    let page = realm.sign_in(&bob, &form, "bob").await;
    assert!(page.text().contains("Account is disabled"), "{page:?}");
}

/// Registers the gate's address for logout tokens, over the direct route.
async fn hear_of_sign_outs(realm: &Realm, world: &World) {
    let address = format!("http://app.example.test:{}/_doorward/backchannel_logout", world.gate.port);
    realm.amend(|client| client["attributes"]["backchannel.logout.url"] = json!(address)).await;
}
