//! Sign-in and sign-out in Chromium: cookies, redirects and pages in a real browser.

use serde_json::json;

use crate::world::{Browser, World};

#[tokio::test]
async fn alice_signs_in_sees_the_app_and_signs_out() {
    let world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let wanted = world.at("app", "/deep/link?x=1&y=%2F");
    browser.visit(&wanted).await;
    browser.click("#alice").await;
    let text = browser.arrives_at(&wanted).await;
    assert!(text.contains("\"remote-user\",\"alice\""), "{text}");

    browser.visit(&world.at("app", "/_doorward/sign_out")).await;
    browser.click("#yes").await;
    let text = browser.arrives_at(&world.at("app", "/_doorward/signed_out")).await;
    assert!(text.to_lowercase().contains("signed out"), "{text}");

    browser.visit(&wanted).await;
    let text = browser.arrives_at(&world.provider.issuer()).await;
    assert!(text.contains("alice"), "the provider asks again: {text}");
}

#[tokio::test]
async fn bob_sees_the_page_of_the_refusal() {
    let world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let wanted = world.at("admin", "/");
    browser.visit(&wanted).await;
    browser.click("#bob").await;
    let text = browser.arrives_at(&wanted).await;
    assert!(text.contains("bob"), "the page says who is signed in: {text}");
    assert_eq!(world.app.requests(), 0);
}

#[tokio::test]
async fn ten_tabs_are_opened_and_signed_in_in_any_order() {
    let world = World::new().await;
    let browser = Browser::open(&world, json!({})).await;
    let mut tabs = Vec::new();
    for number in 0..10 {
        let handle = browser.new_tab().await;
        browser.visit(&world.at("app", &format!("/tab/{number}"))).await;
        tabs.push((number, handle));
    }
    for (number, handle) in tabs.iter().cycle().skip(6).step_by(3).take(10) {
        browser.switch_to(handle).await;
        browser.click("#alice").await;
        let text = browser.arrives_at(&world.at("app", &format!("/tab/{number}"))).await;
        assert!(text.contains("\"remote-user\",\"alice\""), "tab {number}: {text}");
    }
}

#[tokio::test]
async fn a_browser_that_blocks_cookies_shows_an_explanation() {
    let world = World::new().await;
    let blocked = json!({ "profile.content_settings.exceptions.cookies": { "[*.]example.test,*": { "setting": 2 } } });
    let browser = Browser::open(&world, blocked).await;
    browser.visit(&world.at("app", "/")).await;
    browser.click("#alice").await;
    let text = browser.arrives_at(&world.at("app", "/_doorward/callback")).await;
    assert!(text.to_lowercase().contains("cookie"), "{text}");
    assert_eq!(world.app.requests(), 0);
}
