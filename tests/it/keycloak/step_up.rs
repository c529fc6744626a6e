//! Keycloak with two levels of authentication: a password, and a one-time code on top (`docs/step-up.md`).

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::ONLINE;
use crate::{
    postgres::EDGE,
    world::{Answer, Realm, Visitor, World, WorldBuilder, eventually},
};

/// The secret of carol's codes.
const SECRET: &str = "the-secret-of-carols-one-time-codes";
/// Rules of the app `rules`.
const RULES: &str = r#"
[[apps.rules]]
path = { prefix = "/gold/" }
allow = { acr = ["gold"] }

[[apps.rules]]
path = { prefix = "/recent/" }
allow = { max_age = "20s" }
"#;

/// The one-time code of this moment (RFC 6238).
fn code() -> String {
    let counter = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 30;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&counter.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[digest.len() - 1] & 0xf);
    let number = u32::from_be_bytes(digest[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// A realm in which `silver` is a password and `gold` a one-time code on top, with somebody who has both.
async fn two_levels() -> Realm {
    let realm = Realm::with(json!({ "otpPolicyCodeReusable": true, "otpPolicyAlgorithm": "HmacSHA256" })).await;
    let flow = |alias: &str| json!({ "alias": alias, "providerId": "basic-flow", "topLevel": true, "builtIn": false });
    realm.send(Method::POST, "/authentication/flows", &flow("levels")).await;
    let add = async |parent: &str, what: &str, body: Value| {
        realm.send(Method::POST, &format!("/authentication/flows/{parent}/executions/{what}"), &body).await;
    };
    let below = |alias: &str| json!({ "alias": alias, "type": "basic-flow", "provider": "registration-page-form", "description": "" });
    add("levels", "execution", json!({ "provider": "auth-cookie" })).await;
    add("levels", "flow", below("level-forms")).await;
    for (flow, authenticator) in [("level-one", "auth-username-password-form"), ("level-two", "auth-otp-form")] {
        add("level-forms", "flow", below(flow)).await;
        add(flow, "execution", json!({ "provider": "conditional-level-of-authentication" })).await;
        add(flow, "execution", json!({ "provider": authenticator })).await;
    }
    let executions = realm.read("/authentication/flows/levels/executions").await;
    let mut level = 0;
    for execution in executions.as_array().unwrap() {
        let mut execution = execution.clone();
        let (name, provider) = (execution["displayName"].clone(), execution["providerId"].clone());
        execution["requirement"] = json!(match (name.as_str(), provider.as_str()) {
            (_, Some("auth-cookie")) | (Some("level-forms"), _) => "ALTERNATIVE",
            (Some("level-one" | "level-two"), _) => "CONDITIONAL",
            _ => "REQUIRED",
        });
        realm.send(Method::PUT, "/authentication/flows/levels/executions", &execution).await;
        if provider == json!("conditional-level-of-authentication") {
            level += 1;
            let config = json!({ "loa-condition-level": level.to_string(), "loa-max-age": "36000" });
            let path = format!("/authentication/executions/{}/config", execution["id"].as_str().unwrap());
            realm.send(Method::POST, &path, &json!({ "alias": format!("level {level}"), "config": config })).await;
        }
    }
    assert_eq!(level, 2, "{executions:#}");
    let attributes = json!({ "acr.loa.map": json!({ "silver": 1, "gold": 2 }).to_string() });
    realm.send(Method::PUT, "", &json!({ "browserFlow": "levels", "attributes": attributes })).await;
    let otp = json!({ "subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA256" });
    let carol = json!({
        "username": "carol",
        "enabled": true,
        "email": "carol@example.test",
        "emailVerified": true,
        "firstName": "Carol",
        "lastName": "Clark",
        "credentials": [
            { "type": "password", "value": "the password of carol" },
            {
                "type": "otp",
                "secretData": json!({ "value": SECRET }).to_string(),
                "credentialData": otp.to_string(),
            },
        ],
    });
    realm.send(Method::POST, "/users", &carol).await;
    realm
}

async fn world_of(realm: &Realm) -> World {
    let world = WorldBuilder::with(EDGE).tables(RULES).registered(realm.registration(ONLINE)).start().await;
    realm.register(&world).await;
    let callbacks = [world.at("rules", "/_doorward/callback")];
    realm.amend(|client| client["redirectUris"] = json!(callbacks)).await;
    world
}

/// Enters a one-time code into Keycloak's page for it, and follows redirects.
async fn enter(who: &Visitor, page: &Answer, code: &str) -> Answer {
    assert!(page.text().contains("kc-otp-login-form"), "not the page for a code: {page:?}\n{}", page.text());
    who.submit(page, &[("otp", code)]).await
}

/// Enters codes until one is taken: none is taken twice, and the next one is there within half a minute.
async fn enter_valid(who: &Visitor, page: &Answer) -> Answer {
    let mut page = page.clone();
    for _ in 0..60 {
        page = enter(who, &page, &code()).await;
        if !page.text().contains("kc-otp-login-form") {
            return page;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("no code is taken: {}", page.text());
}

fn session(world: &World, who: &Visitor) -> String {
    let cookies = who.cookies(&Url::parse(&world.at("rules", "/")).unwrap());
    cookies.split("; ").find(|cookie| cookie.contains("doorward=")).map(ToOwned::to_owned).unwrap_or_default()
}

#[tokio::test]
async fn a_page_that_needs_a_second_factor_asks_for_it_and_is_there_afterwards() {
    let realm = two_levels().await;
    let world = world_of(&realm).await;
    let carol = world.visitor();
    let form = carol.visit(&world.at("rules", "/")).await;
    realm.sign_in(&carol, &form, "carol").await.echo();
    let before = session(&world, &carol);
    let fetched = carol.fetch(&world.at("rules", "/gold/x")).await;
    assert_eq!((fetched.status, fetched.reason()), (StatusCode::UNAUTHORIZED, "step_up"), "{fetched:?}");

    let asks = carol.visit(&world.at("rules", "/gold/x?y=%2F&&z")).await;
    // A wrong code stays Keycloak's affair.
    let asks = enter(&carol, &asks, "000000").await;
    let page = enter_valid(&carol, &asks).await;
    assert_eq!(page.url, world.at("rules", "/gold/x?y=%2F&&z"), "{:#?}", page.trail);
    assert_eq!(page.echo().values_as("Remote-User"), ["carol"]);
    assert_ne!(session(&world, &carol), before, "a new session");
    carol.fetch(&world.at("rules", "/gold/x")).await.echo();

    // A first sign-in is asked for both at once.
    let again = world.visitor();
    let form = again.visit(&world.at("rules", "/gold/")).await;
    let asks = realm.sign_in(&again, &form, "carol").await;
    enter_valid(&again, &asks).await.echo();
}

#[tokio::test]
async fn whoever_has_no_second_factor_or_cancels_stays_signed_in_and_is_told() {
    let realm = two_levels().await;
    let world = world_of(&realm).await;
    let carol = world.visitor();
    let form = carol.visit(&world.at("rules", "/")).await;
    realm.sign_in(&carol, &form, "carol").await.echo();
    let asks = carol.visit(&world.at("rules", "/gold/")).await;
    assert!(asks.text().contains("kc-otp-login-form"), "{}", asks.text());
    // Back without the code, as after a click on "cancel" at a provider that has one.
    let asked = asks.trail.iter().find(|url| url.contains("code_challenge=")).unwrap();
    let state = Url::parse(asked).unwrap().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let callback = world.at("rules", &format!("/_doorward/callback?error=access_denied&state={state}"));
    let refused = carol.visit(&callback).await;
    assert_eq!((refused.status, refused.reason()), (StatusCode::FORBIDDEN, "step_up"), "{refused:?}");
    assert!(refused.text().contains("gold"), "{}", refused.text());
    carol.fetch(&world.at("rules", "/")).await.echo();

    // A realm that does not know the level lets people through with what they have.
    realm.send(Method::PUT, "", &json!({ "browserFlow": "browser", "attributes": { "acr.loa.map": "{}" } })).await;
    let alice = world.visitor();
    let form = alice.visit(&world.at("rules", "/")).await;
    realm.sign_in(&alice, &form, "alice").await.echo();
    // It asks for the password again, which is all that it can do.
    let form = alice.visit(&world.at("rules", "/gold/")).await;
    let refused = alice.submit(&form, &[("password", "the password of alice")]).await;
    assert_eq!((refused.status, refused.reason()), (StatusCode::FORBIDDEN, "step_up"), "{refused:?}");
    let trips = form.trail.iter().chain(&refused.trail).filter(|url| url.contains("code_challenge=")).count();
    assert_eq!(trips, 1, "{:#?}", refused.trail);
    alice.fetch(&world.at("rules", "/")).await.echo();
}

#[tokio::test]
async fn an_old_proof_is_renewed_by_the_password() {
    let realm = Realm::with(json!({})).await;
    let world = world_of(&realm).await;
    let alice = world.visitor();
    let form = alice.visit(&world.at("rules", "/recent/")).await;
    realm.sign_in(&alice, &form, "alice").await.echo();
    let old = eventually("the proof is old", async || {
        let answer = alice.fetch(&world.at("rules", "/recent/")).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert!(old.header("www-authenticate").contains("max_age=\"20\""), "{old:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let form = alice.visit(&world.at("rules", "/recent/x")).await;
    assert!(form.text().contains("kc-form-login"), "Keycloak asks for the password again: {form:?}");
    let page = alice.submit(&form, &[("password", "the password of alice")]).await;
    assert_eq!(page.echo().target, "/recent/x");
}
