//! A single-page app in Chromium whose session ends: `client.js` takes it through sign-in and back.

use serde_json::json;

use crate::world::{Browser, World, eventually};

/// Page that shows its log, and how often it was opened in this tab.
const HEAD: &str = r#"<!doctype html><title>app</title><link rel="icon" href="data:,">
<script src="/_doorward/client.js" data-wrap></script>
<pre id="said"></pre><script>
  sessionStorage.opened = Number(sessionStorage.opened ?? 0) + 1;
  const say = (line) => { document.querySelector('#said').textContent += line + '\n'; };
  addEventListener('doorward:signed-out', (event) => say('signed out: ' + event.detail.reason));
</script>"#;

/// Opens a browser in which alice is at `target`, a page that consists of `HEAD` and `more`.
async fn opened(world: &World, target: &str, more: &str) -> Browser {
    world.app.set_page(&format!("{HEAD}{more}"));
    let browser = Browser::open(world, json!({})).await;
    browser.visit(&world.at("app", target)).await;
    browser.click("#alice").await;
    browser.arrives_at(&world.at("app", target)).await;
    browser
}

/// Ends the browser's session from another client.
async fn end_session(world: &World, browser: &Browser) {
    let elsewhere = world.visitor();
    let cookie = browser.cookie("__Host-doorward").await;
    elsewhere.keep(&world.at("app", "/"), &format!("{cookie}; Secure; Path=/"));
    let answer = elsewhere.open(&world.at("app", "/_doorward/sign_out")).await;
    assert!(answer.status.is_redirection(), "{answer:?}");
}

async fn says(browser: &Browser, words: &str) {
    eventually(&format!("the page says {words}"), async || browser.text().await.contains(words).then_some(())).await;
}

#[tokio::test]
async fn a_page_whose_session_ended_comes_back_signed_in_where_it_was() {
    for request in [
        "fetch('/api')",
        "fetch(new Request('/api', { method: 'POST', body: 'x' }))",
        "new Promise((done) => { const x = new XMLHttpRequest(); x.open('GET', '/api'); x.onload = done; x.send(); })",
        "doorward.check()",
        // Concurrent failures lead to one sign-in.
        "Promise.all(Array.from({ length: 20 }, (_, n) => fetch('/api/' + n)))",
    ] {
        let world = World::new().await;
        let target = "/single-page?x=1&y=%2F+%C3%A5#/deep/link?z=%20";
        let browser = opened(&world, target, "").await;
        assert_eq!(browser.run("return doorward.check()").await, json!(true));
        assert_eq!(browser.run("return fetch('/api').then((answer) => answer.status)").await, json!(200));
        let before = world.app.requests();
        end_session(&world, &browser).await;

        browser.run(&format!("{request}; return null")).await;
        eventually("the page was opened again", async || {
            (browser.run("return sessionStorage.opened").await == json!("2")).then_some(())
        })
        .await;
        assert_eq!(browser.url().await, world.at("app", target), "{request}");
        assert_eq!(browser.run("return fetch('/api').then((answer) => answer.status)").await, json!(200), "{request}");
        assert_eq!(world.app.opened(), 2, "{request}: one navigation");
        assert_eq!(world.app.requests(), before + 2, "{request}: what was refused never reached the app");
    }
}

#[tokio::test]
async fn a_page_that_stays_unauthorized_after_a_sign_in_gets_an_error_and_does_not_loop() {
    let world = World::new().await;
    // Without cookies every request is refused.
    let hopeless = "<script>fetch('/api', { credentials: 'omit' }).then((answer) => say(answer.status));</script>";
    let browser = opened(&world, "/single-page", hopeless).await;
    says(&browser, "signed out: no_session").await;
    says(&browser, "401").await;
    assert_eq!(browser.run("return sessionStorage.opened").await, json!("3"), "two trips, and no third");
    assert_eq!(world.app.opened(), 3);
    browser.run("return fetch('/api', { credentials: 'omit' }).then(() => null)").await;
    assert_eq!(world.app.opened(), 3);
}

#[tokio::test]
async fn an_app_may_ask_the_person_first() {
    let world = World::new().await;
    let polite = "<button id=in hidden>Sign in again</button><script>
      const button = document.querySelector('#in');
      addEventListener('doorward:session-lost', (event) => {
        event.preventDefault();
        button.hidden = false;
        button.onclick = event.detail.signIn;
      });
    </script>";
    let browser = opened(&world, "/single-page", polite).await;
    end_session(&world, &browser).await;
    assert_eq!(browser.run("return fetch('/api').then((answer) => answer.status)").await, json!(401));
    assert_eq!(world.app.opened(), 1, "it was not taken anywhere");
    browser.click("#in").await;
    eventually("the page was opened again", async || (world.app.opened() == 2).then_some(())).await;
    browser.arrives_at(&world.at("app", "/single-page")).await;
    assert_eq!(browser.run("return fetch('/api').then((answer) => answer.status)").await, json!(200));
}

/// Returns the code in docs/single-page-apps.md from these words to the end of its block.
fn advised(beginning: &str) -> &'static str {
    let text = include_str!("../../docs/single-page-apps.md");
    let block = text.split("```js\n").find(|block| block.starts_with(beginning));
    block.and_then(|block| block.split_once("```")).expect("the document has it").0
}

#[tokio::test]
async fn the_documented_code_for_event_sources_and_websockets_notices_a_lost_session() {
    for (beginning, opening) in [
        ("source.onerror", "const source = new EventSource('/events');"),
        ("socket.onclose", "const socket = new WebSocket('/socket');"),
    ] {
        let world = World::new().await;
        let script = format!("<script>const connect = () => {{ {opening}\n{} }};</script>", advised(beginning));
        let browser = opened(&world, "/single-page", &script).await;
        // The app serves neither. With a session that is no reason to sign in.
        let before = world.app.requests();
        browser.run("connect(); return null").await;
        eventually("the app was asked", async || (world.app.requests() > before).then_some(())).await;
        assert_eq!(browser.run("return doorward.check()").await, json!(true));
        assert_eq!(world.app.opened(), 1, "{beginning}");
        end_session(&world, &browser).await;
        browser.run("connect(); return null").await;
        eventually("the page was opened again", async || (world.app.opened() == 2).then_some(())).await;
        browser.arrives_at(&world.at("app", "/single-page")).await;
        assert_eq!(browser.run("return doorward.check()").await, json!(true), "{beginning}");
    }
}

#[tokio::test]
async fn a_401_of_the_app_itself_is_left_to_the_app() {
    let world = World::new().await;
    let browser = opened(&world, "/single-page", "").await;
    assert_eq!(browser.run("return fetch('/forbidden').then((answer) => answer.status)").await, json!(401));
    let lost = browser.run("return fetch('http://127.0.0.1:1/').catch(() => 'unreachable')").await;
    assert_eq!(lost, json!("unreachable"), "other origins are left alone as well");
    assert_eq!(world.app.opened(), 1);
}
