//! Failures on the way back from the provider, in Chromium: every browser recovers without clearing cookies by hand
//! (contract C13, lesson L17).

use std::time::Duration;

use serde_json::json;

use crate::world::{Browser, Signal, TRAEFIK, World, WorldBuilder, eventually};

/// Waits until the browser is in the app, signed in.
async fn is_in(browser: &Browser, url: &str, user: &str) {
    let text = browser.arrives_at(url).await;
    assert!(text.contains(&format!("\"remote-user\",\"{user}\"")), "at {}: {text}", browser.url().await);
}

#[tokio::test]
async fn expired_replayed_foreign_and_truncated_callbacks_lead_to_the_page() {
    let mut world = WorldBuilder::with(TRAEFIK).provider(json!({ "code_ttl": 1 })).start().await;
    let browser = Browser::open(&world, json!({})).await;
    let wanted = world.at("app", "/wanted?x=1");

    // The gate is unavailable when the browser comes back, and when it is available again the code has expired.
    browser.visit(&wanted).await;
    browser.arrives_at(&world.provider.issuer()).await;
    world.gate.signal(Signal::Kill);
    world.gate.exited().await;
    browser.click("#bob").await;
    browser.arrives_at(&world.at("app", "/_doorward/callback")).await;
    let expired = browser.url().await;
    // Real time, because the provider's lifetime of a code, 1 s, is.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.gate.start().await;
    browser.visit(&expired).await;
    is_in(&browser, &wanted, "bob").await;
    assert!(world.gate.log().contains("code refused"), "it began again: {}", world.gate.log());

    // Repeated, as with the back button; then another person's callback.
    browser.visit(&expired).await;
    is_in(&browser, &wanted, "bob").await;
    let foreign = world.person("alice").up_to_the_callback(&world.at("app", "/hers")).await;
    browser.visit(&foreign).await;
    is_in(&browser, &world.at("app", "/hers"), "bob").await;

    // Without a session as well, complete or truncated.
    let cut = foreign.get(..foreign.len() / 2).unwrap();
    for (callback, target) in [(foreign.as_str(), "/hers"), (cut, "/")] {
        browser.visit(&world.at("app", "/_doorward/reset")).await;
        browser.visit(callback).await;
        is_in(&browser, &world.at("app", target), "bob").await;
    }
}

#[tokio::test]
async fn an_error_of_the_provider_is_shown_with_a_way_to_retry() {
    let world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let wanted = world.at("app", "/wanted");
    for (error, words) in [
        ("access_denied", "did not grant access"),
        ("login_required", "sign in there"),
        ("temporarily_unavailable", "Nobody can sign in until it is back"),
    ] {
        world.provider.control(&format!("says?error={error}")).await;
        browser.visit(&wanted).await;
        let text = browser.arrives_at(&world.at("app", "/_doorward/callback")).await;
        assert!(text.contains(words), "{error}: {text}");
        assert!(!text.contains("because"), "what stands in an address is nothing to repeat: {text}");
        world.provider.control("says?error=").await;
        browser.click("a.button").await;
        let text = browser.arrives_at(&world.provider.issuer()).await;
        assert!(text.contains("alice"), "{error}: {text}");
    }
    browser.click("#alice").await;
    is_in(&browser, &wanted, "alice").await;
}

#[tokio::test]
async fn a_secret_that_was_changed_costs_one_more_sign_in_and_no_loop() {
    let mut world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let change = async |world: &mut World, number: u32| {
        let secret = format!("secret number {number} of one test, which is long enough");
        let config = world.config().replace("the first secret of one test, which is long enough", &secret);
        world.gate.configure(&config);
        world.gate.restart(Signal::Term).await;
    };
    // During a sign-in: a cookie sealed with the old secret cannot be opened any more.
    browser.visit(&world.at("app", "/wanted")).await;
    browser.arrives_at(&world.provider.issuer()).await;
    change(&mut world, 2).await;
    browser.click("#alice").await;
    is_in(&browser, &world.at("app", "/"), "alice").await;
    // Signed in: the old cookie is invalid.
    change(&mut world, 3).await;
    browser.visit(&world.at("app", "/wanted")).await;
    is_in(&browser, &world.at("app", "/wanted"), "alice").await;
    browser.visit(&world.at("app", "/again")).await;
    is_in(&browser, &world.at("app", "/again"), "alice").await;
    eventually("one sign-in is counted", async || {
        let series = "doorward_logins_total{provider=\"neighbour\",result=\"succeeded\"} 1\n";
        world.gate.metrics().await.contains(series).then_some(())
    })
    .await;
}
