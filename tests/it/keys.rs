//! Rotation of the provider's signing keys, and logout tokens with unknown keys (contract C9, C18).

use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, ask},
    world::{Answer, RequestMode, Visitor, World, WorldBuilder, eventually},
};

/// Least interval between two fetches for an unknown key. The gate counts whole seconds.
const BETWEEN_FETCHES: Duration = Duration::from_secs(9);

/// Returns the times of the requests for the provider's keys, in its milliseconds.
async fn fetches(world: &World) -> Vec<u64> {
    let counters = world.provider.control("grants").await;
    counters["keys"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect()
}

/// Returns a logout token that is valid except for its unknown key.
fn made_up(world: &World, number: usize) -> String {
    let issuer = world.provider.issuer();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let head = part(json!({ "alg": "RS256", "typ": "logout+jwt", "kid": format!("made-up-{number}") }));
    let claims = part(json!({
        "iss": issuer, "aud": "doorward", "iat": now, "exp": now + 120, "jti": format!("notice-{number}"), "sid": "sid",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    }));
    format!("{head}.{claims}.{}", BASE64URL_NOPAD.encode(&[7; 256]))
}

/// Sends a logout token to the gate, as the provider does over the direct route.
async fn notify(world: &World, token: &str) -> Answer {
    let visitor = Visitor::new(world.dir());
    let url = format!("http://127.0.0.1:{}/_doorward/backchannel_logout", world.gate.port);
    let mut request = visitor.request(RequestMode::Fetch, &url);
    *request.method_mut() = Method::POST;
    let host = world.at("app", "").split_once("://").unwrap().1.parse().unwrap();
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    *request.body_mut() = Full::from(format!("logout_token={token}"));
    visitor.send(request).await
}

/// Sends made-up tokens as fast as the gate accepts them.
async fn flood(world: &World, tokens: std::ops::Range<usize>) {
    let refused = stream::iter(tokens).map(|number| async move { notify(world, &made_up(world, number)).await });
    let answers: Vec<_> = refused.buffer_unordered(16).collect().await;
    for answer in answers {
        assert_eq!((answer.status, answer.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch_in_ten_seconds_and_harms_nobody() {
    const MANY: usize = 500;
    let world = WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    let begun = Instant::now();
    let before = fetches(&world).await.len();
    let mut sent = 0;
    // The keys change meanwhile: her renewal has a fetch of its own.
    let mut rotated = None;
    while begun.elapsed() < 2 * BETWEEN_FETCHES || sent < 4 * MANY {
        flood(&world, sent..sent + MANY).await;
        sent += MANY;
        let answer = ask(&world, &world.gate, &alice).await;
        assert_eq!(
            (answer.status, answer.header("remote-user")),
            (StatusCode::OK, "alice"),
            "after {sent}: {answer:?}"
        );
        if rotated.is_none() {
            world.provider.control("rotate").await;
            world.provider.control("groups?user=alice&groups=staff").await;
            rotated = Some(world.provider.refreshes().await);
        }
    }
    let fetched = fetches(&world).await.split_off(before);
    let most = begun.elapsed().as_secs() / BETWEEN_FETCHES.as_secs() + 2;
    assert!(!fetched.is_empty() && fetched.len() as u64 <= most, "{sent} tokens, {fetched:?}");
    let is_soon = |pair: &&[u64]| u128::from(pair[1] - pair[0]) < BETWEEN_FETCHES.as_millis();
    let soon = fetched.windows(2).filter(is_soon).count();
    assert!(soon <= 2, "more than the one of the renewal, which may fall between two others: {fetched:?}");
    eprintln!("{sent} tokens with unknown keys in {:?}: {} fetches", begun.elapsed(), fetched.len());
    eventually("her renewals are verified again, and rules apply", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (answer.header("remote-groups") == "staff").then_some(())
    })
    .await;
    assert!(world.provider.refreshes().await > rotated.unwrap());
    assert_eq!(world.signed_in("bob").await.visit(&world.at("app", "/")).await.echo().target, "/");
}

#[tokio::test]
async fn a_key_that_the_provider_changed_is_believed_at_once() {
    let world = WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    world.provider.control("rotate").await;
    let before = fetches(&world).await.len();
    // A new sign-in with the new key; the old one is not published any more.
    world.signed_in("bob").await;
    assert_eq!(fetches(&world).await.len(), before + 1);
    // An existing session is renewed with it.
    world.provider.control("groups?user=alice&groups=staff").await;
    eventually("alice has her new groups", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (answer.header("remote-groups") == "staff").then_some(())
    })
    .await;
    assert_eq!(fetches(&world).await.len(), before + 1);
}
