//! Callbacks that are late, repeated, or another person's: none of them leaves a browser stuck.

use crate::world::{Answer, EdgeKind, TRAEFIK, World, WorldBuilder};

#[tokio::test]
async fn a_callback_that_is_opened_again_leads_to_the_page() {
    let world = World::new().await;
    let alice = world.person("alice");
    let callback = alice.up_to_the_callback(&world.at("app", "/wanted?x=1")).await;
    assert_eq!(alice.visit(&callback).await.echo().target, "/wanted?x=1");
    // As by the back button, a restored tab or a second click.
    for _ in 0..2 {
        let answer = alice.visit(&callback).await;
        assert_eq!(answer.echo().values_as("Remote-User"), ["alice"], "{:#?}", answer.trail);
    }
}

#[tokio::test]
async fn somebody_elses_callback_signs_nobody_in_as_somebody_else() {
    for kind in [TRAEFIK, EdgeKind::Caddy] {
        let world = WorldBuilder::with(kind).start().await;
        let callback = world.person("alice").up_to_the_callback(&world.at("app", "/wanted")).await;
        let bob = world.person("bob");
        let answer = bob.visit(&callback).await;
        assert_eq!(answer.echo().values_as("Remote-User"), ["bob"], "{kind:?}: {:#?}", answer.trail);
        // The same during a sign-in of his own.
        let callback = world.person("alice").up_to_the_callback(&world.at("app", "/wanted")).await;
        let other = world.person("bob");
        other.open(&world.at("app", "/mine")).await;
        let answer = other.visit(&callback).await;
        assert_eq!(answer.echo().values_as("Remote-User"), ["bob"], "{kind:?}: {:#?}", answer.trail);
    }
}

#[tokio::test]
async fn an_invalid_callback_begins_the_sign_in_again() {
    let world = World::new().await;
    for query in ["", "?code=x", "?state=x", "?code=x&state=garbage", "?code=x&state=%00", "?code=&state=&iss="] {
        let answer = world.person("alice").visit(&world.at("app", &format!("/_doorward/callback{query}"))).await;
        assert_eq!(answer.echo().values_as("Remote-User"), ["alice"], "{query}: {:#?}", answer.trail);
    }
}

/// Returns a callback of the provider with an error in place of the code.
fn with_error(callback: &str, error: &str) -> String {
    let (address, query) = callback.split_once('?').unwrap();
    let state = query.split('&').find(|pair| pair.starts_with("state=")).unwrap();
    format!("{address}?error={error}&error_description=authentication_expired&{state}")
}

#[tokio::test]
async fn an_error_in_one_tab_leads_a_browser_on_that_has_signed_in_in_another() {
    let world = World::new().await;
    let alice = world.person("alice");
    let mut callbacks = Vec::new();
    for tab in 0..5 {
        callbacks.push(alice.up_to_the_callback(&world.at("app", &format!("/tab/{tab}"))).await);
    }
    let first = callbacks.remove(0);
    assert_eq!(alice.visit(&first).await.echo().target, "/tab/0");
    let errors = ["temporarily_unavailable", "access_denied", "login_required", "made_up"];
    for (tab, (callback, error)) in (1..).zip(callbacks.iter().zip(errors)) {
        let answer = alice.visit(&with_error(callback, error)).await;
        assert_eq!(answer.echo().target, format!("/tab/{tab}"), "{error}: {:#?}", answer.trail);
        // As authentik has it, behind a second question mark.
        let second = with_error(callback, error).replace("callback?", "callback?X-authentik-auth-callback=true?");
        assert_eq!(alice.visit(&second).await.echo().target, format!("/tab/{tab}"), "{error}");
    }
    // A code that cannot be redeemed: the provider is away.
    let callback = alice.up_to_the_callback(&world.at("app", "/_doorward/start?rd=%2Ftab%2F9")).await;
    world.provider.control("away?is=yes").await;
    assert_eq!(alice.visit(&callback).await.echo().target, "/tab/9");
}

#[tokio::test]
async fn an_error_that_a_retry_mends_begins_again_at_most_three_times() {
    let world = World::new().await;
    for error in ["temporarily_unavailable", "server_error", "login_required", "interaction_required"] {
        let alice = world.person("alice");
        let callback = alice.up_to_the_callback(&world.at("app", "/wanted")).await;
        let answer = alice.visit(&with_error(&callback, error)).await;
        assert_eq!(answer.echo().target, "/wanted", "{error}: {:#?}", answer.trail);

        world.provider.control(&format!("says?error={error}")).await;
        let answer = world.person("alice").visit(&world.at("app", "/wanted")).await;
        let rounds = answer.trail.iter().filter(|url| url.contains("/_doorward/callback?")).count();
        assert_eq!(rounds, 4, "{error}: once and three times again: {:#?}", answer.trail);
        let expected = if error.ends_with("required") { "sign_in_failed" } else { "provider_unavailable" };
        assert_eq!(answer.reason(), expected, "{answer:?}");
        world.provider.control("says?error=").await;
    }
    for error in ["access_denied", "invalid_scope", "unauthorized_client", "made_up"] {
        let alice = world.person("alice");
        let callback = alice.up_to_the_callback(&world.at("app", "/wanted")).await;
        let answer = alice.visit(&with_error(&callback, error)).await;
        assert_eq!((answer.reason(), answer.trail.len()), ("sign_in_failed", 1), "{error}: {answer:?}");
    }
}

#[tokio::test]
async fn a_browser_without_cookies_gets_an_explanation_after_a_few_rounds() {
    let world = World::new().await;
    let answer: Answer = world.person("alice").blocking_cookies().visit(&world.at("app", "/")).await;
    assert_eq!(answer.reason(), "sign_in_loop", "{answer:?}");
    assert!(answer.status.is_client_error() || answer.status.is_success(), "{answer:?}");
    assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
    let text = answer.text();
    assert!(text.to_lowercase().contains("cookie"), "{text}");
    assert!(text.contains(answer.header("doorward-request-id")), "{text}");
    let rounds = answer.trail.iter().filter(|url| url.contains("/_doorward/callback?")).count();
    assert!((1..=4).contains(&rounds), "{rounds} rounds: {:#?}", answer.trail);
    assert_eq!(world.app.requests(), 0);
}
