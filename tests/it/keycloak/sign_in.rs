//! Sign-in by Keycloak's form, the groups that it tells, and two tabs at once.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{ONLINE, gate_of, signed_in};
use crate::{
    postgres::ask,
    world::{ModAuthOpenidc, Realm, eventually},
};

#[tokio::test]
async fn a_person_signs_in_by_the_form_and_is_at_the_page_with_name_address_and_groups() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let alice = world.visitor();
    let form = alice.visit(&world.at("app", "/a/page?x=1&y=%2F")).await;
    // A wrong password stays Keycloak's affair.
    let refused = alice.submit(&form, &[("username", "alice"), ("password", "a guess")]).await;
    assert!(refused.url.starts_with(&realm.issuer()), "{:#?}", refused.trail);
    let page = realm.sign_in(&alice, &refused, "alice").await.echo();
    assert_eq!(page.target, "/a/page?x=1&y=%2F");
    assert_eq!(page.values_as("Remote-User"), ["alice"]);
    assert_eq!(page.values_as("Remote-Email"), ["alice@example.test"]);
    assert_eq!(page.values_as("Remote-Name"), ["Alice %C3%85ngstr%C3%B6m"]);
    let mut groups: Vec<_> = page.values_as("Remote-Groups")[0].split(',').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["admins", "ops", "staff"]);

    // Single sign-on: another host asks nothing, and its rule by group lets in.
    assert_eq!(alice.visit(&world.at("admin", "/")).await.echo().values_as("Remote-User"), ["alice"]);
    let bob = signed_in(&realm, &world, "bob").await;
    let closed = bob.visit(&world.at("admin", "/")).await;
    assert_eq!((closed.status, closed.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{closed:?}");
}

#[tokio::test]
async fn groups_told_by_their_path_are_matched_by_their_path() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let client = realm.client().await;
    let mappers = format!("/clients/{client}/protocol-mappers/models");
    let mut mapper = realm.first(&mappers).await;
    mapper["config"]["full.path"] = json!("true");
    realm.send(Method::PUT, &format!("{mappers}/{}", mapper["id"].as_str().unwrap()), &mapper).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let answer = ask(&world, &world.gate, &alice).await;
    let mut groups: Vec<_> = answer.header("remote-groups").split(',').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["/admins", "/staff", "/team/ops"]);
    // The name alone is another group.
    let closed = alice.visit(&world.at("admin", "/")).await;
    assert_eq!((closed.status, closed.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{closed:?}");
    let by_path = world.config().replace("groups = [\"admins\"]", "groups = [\"/team/ops\"]");
    world.gate.configure(&by_path);
    eventually("the rule names the path", async || {
        let answer = alice.visit(&world.at("admin", "/")).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_relying_party_of_the_realm_is_told_the_same_and_asks_nothing() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let host = ("other.example.test".to_owned(), realm.issuer());
    let other = ModAuthOpenidc::start(world.dir(), world.app.port, &[host]).await;
    let callbacks = [world.at("app", "/_doorward/callback"), other.at("other.example.test", "/callback")];
    realm.amend(|client| client["redirectUris"] = json!(callbacks)).await;
    let alice = signed_in(&realm, &world, "alice").await;
    let at_gate = alice.visit(&world.at("app", "/")).await.echo();
    let at_other = alice.visit(&other.at("other.example.test", "/")).await.echo();
    for (header, claim) in [
        ("X-authentik-uid", "OIDC_CLAIM_sub"),
        ("X-authentik-username", "OIDC_CLAIM_preferred_username"),
        ("X-authentik-email", "OIDC_CLAIM_email"),
    ] {
        assert_eq!(at_gate.values_as(header), at_other.values_as(claim), "{claim}");
    }
    assert_eq!(at_gate.values_as("Remote-Groups"), at_other.values_as("OIDC_CLAIM_groups"));
}

#[tokio::test]
async fn two_tabs_that_wait_for_the_same_person_both_end_at_their_page() {
    let realm = Realm::with(json!({})).await;
    let world = gate_of(&realm, ONLINE).await;
    let tab = world.visitor();
    let other_tab = tab.clone();
    let first = tab.visit(&world.at("app", "/first")).await;
    let second = other_tab.visit(&world.at("app", "/second")).await;
    for (tab, form, target) in [(&tab, &first, "/first"), (&other_tab, &second, "/second")] {
        let page = realm.sign_in(tab, form, "alice").await;
        assert_eq!(page.echo().target, target, "{:#?}", page.trail);
    }
}

#[tokio::test]
async fn a_tab_whose_form_has_expired_ends_at_its_page_too() {
    /// Lifetime of Keycloak's forms, in seconds: the longest of the three.
    const FORM: u64 = 5;
    let lifespans = ["accessCodeLifespan", "accessCodeLifespanLogin", "accessCodeLifespanUserAction"];
    let realm = Realm::with(lifespans.map(|name| (name, FORM)).into_iter().collect()).await;
    let world = gate_of(&realm, ONLINE).await;
    let tab = world.visitor();
    let other_tab = tab.clone();
    let first = tab.visit(&world.at("app", "/first")).await;
    let second = other_tab.visit(&world.at("app", "/second")).await;
    // Keycloak's clock, which nothing moves.
    tokio::time::sleep(Duration::from_secs(FORM + 1)).await;
    // The last that was opened begins anew.
    let mut page = realm.sign_in(&other_tab, &second, "alice").await;
    while page.text().contains("kc-form-login") {
        page = realm.sign_in(&other_tab, &page, "alice").await;
    }
    assert_eq!(page.echo().target, "/second", "{:#?}", page.trail);
    // The other is too late: she is signed in already, and Keycloak asks its client to try again.
    let page = realm.sign_in(&tab, &first, "alice").await;
    assert!(page.trail.iter().any(|url| url.contains("authentication_expired")), "{:#?}", page.trail);
    assert_eq!(page.echo().target, "/first", "{:#?}", page.trail);
}
