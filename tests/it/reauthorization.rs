//! Reauthorization: a page that is opened late takes the browser past the provider once more, without a prompt (contract
//! C18a).

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, refused, replica},
    world::{Answer, Gate, RequestMode, TRAEFIK, Visitor, World, WorldBuilder, database::Database, eventually},
};

/// `session.reauthorize` of most tests. Ages are counted in whole seconds, so that the states begin up to a second later.
const LIMIT: Duration = Duration::from_secs(4);

const ENDED: &str = "doorward_logouts_total{kind=\"provider\"}";

fn reauthorizing() -> WorldBuilder {
    WorldBuilder::with(TRAEFIK).session("reauthorize = \"4s\"")
}

/// Returns `true` for a redirect past the provider that prompts for nothing.
fn is_silent(answer: &Answer) -> bool {
    let is_silent = answer.location().is_some_and(|to| to.contains("prompt=none"));
    assert_eq!(is_silent, answer.reason() == "reauthorize", "{answer:?}");
    is_silent
}

/// Opens a page until it is sent past the provider, which begins a trip.
async fn until_due(world: &World, who: &Visitor, host: &str) -> Answer {
    eventually("the page is due", async || {
        let answer = who.open(&world.at(host, "/")).await;
        if is_silent(&answer) {
            return Some(answer);
        }
        answer.echo();
        None
    })
    .await
}

/// A browser that has the session of `who`, and is signed out at the provider.
fn signed_out_at_the_provider(world: &World, who: &Visitor) -> Visitor {
    let other = world.visitor();
    let app = world.at("app", "/");
    for cookie in who.cookies(&app.parse().unwrap()).split("; ") {
        other.keep(&app, &format!("{cookie}; Path=/; Secure"));
    }
    other
}

#[track_caller]
fn assert_ended(answer: &Answer) {
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
}

#[tokio::test]
async fn a_late_page_comes_back_with_the_same_session_and_what_the_provider_says_now() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let (app, place) = (world.at("app", "/x?y=%20z"), world.at("app", "/").parse().unwrap());
    let session = |cookies: String| {
        cookies.split("; ").find(|cookie| cookie.starts_with("__Host-doorward=")).map(ToOwned::to_owned).unwrap()
    };
    let before = session(alice.cookies(&place));
    world.provider.control("groups?user=alice&groups=latecomers").await;
    until_due(&world, &alice, "app").await;
    // A script does not wait.
    assert_eq!(alice.fetch(&app).await.echo().values_as("remote-groups"), ["admins,staff"]);
    let page = alice.visit(&app).await;
    assert_eq!((page.url.as_str(), page.trail.len()), (app.as_str(), 4), "{:#?}", page.trail);
    assert_eq!(page.echo().values_as("remote-groups"), ["latecomers"]);
    assert!(page.trail.iter().any(|url| url.contains("id_token_hint=")), "{:#?}", page.trail);
    assert_eq!(session(alice.cookies(&place)), before, "the same session goes on");
    alice.open(&app).await.echo();
    let count = |result: &str| format!("doorward_logins_total{{provider=\"neighbour\",result=\"{result}\"}}");
    assert_eq!(world.gate.metric(&count("reauthorized")).await, Some(1));
    assert_eq!(world.gate.metric(&count("succeeded")).await, Some(1));
    assert_eq!(world.gate.metric(ENDED).await, Some(0));
}

#[tokio::test]
async fn a_refusal_of_the_provider_ends_the_session_at_once_and_sign_in_begins() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let at_work = signed_out_at_the_provider(&world, &alice);
    let page = at_work.follow(until_due(&world, &at_work, "app").await).await;
    assert!(page.text().contains("Who are you?"), "{page:?}");
    let to_provider = page.trail.iter().filter(|url| url.contains("code_challenge=")).collect::<Vec<_>>();
    let silent = to_provider.iter().map(|url| url.contains("prompt=none")).collect::<Vec<_>>();
    assert_eq!(silent, [true, false], "{:#?}", page.trail);
    assert_ended(&alice.fetch(&world.at("app", "/")).await);
    assert_eq!(world.gate.metric(ENDED).await, Some(1));
    assert!(world.gate.log().contains("login_required"), "the log says why");

    // The answer once more, as after going back: it ends no session that was made since.
    let callback = page.trail.iter().find(|url| url.contains("error=login_required")).unwrap();
    at_work.keep(&world.provider.issuer(), "user=alice; Path=/");
    at_work.visit(&world.at("app", "/")).await.echo();
    at_work.visit(callback).await;
    at_work.fetch(&world.at("app", "/")).await.echo();
    assert_eq!(world.gate.metric(ENDED).await, Some(1));
}

#[tokio::test]
async fn a_trip_that_does_not_come_back_is_tried_once_more_and_then_the_session_ends() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let first = until_due(&world, &alice, "app").await;
    let page = world.at("app", "/");
    assert!(is_silent(&alice.open(&page).await), "the second trip");
    alice.fetch(&page).await.echo();
    let third = alice.open(&page).await;
    assert_eq!((third.status, third.reason()), (StatusCode::FOUND, "session_ended"), "{third:?}");
    assert!(!is_silent(&third));
    assert_ended(&alice.fetch(&page).await);
    assert_eq!(world.gate.metric(ENDED).await, Some(1));
    // A trip that comes back all the same finds no session, and is a sign-in.
    alice.follow(first).await.echo();
}

#[tokio::test]
async fn tabs_that_are_opened_together_lose_no_trip() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let mut tabs = vec![until_due(&world, &alice, "app").await];
    for tab in 0..4 {
        let answer = alice.open(&world.at("app", &format!("/tab/{tab}"))).await;
        assert!(is_silent(&answer), "{answer:?}");
        tabs.push(answer);
    }
    for tab in tabs {
        alice.follow(tab).await.echo();
    }
    assert_eq!(world.gate.metric(ENDED).await, Some(0));
}

#[tokio::test]
async fn nothing_but_a_page_travels_and_nothing_is_served_after_twice_the_time() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let begun = Instant::now();
    let app = world.at("app", "/");
    let prefetch = alice.clone().with("sec-purpose", "prefetch;prerender");
    let frame = alice.clone().with("sec-fetch-dest", "iframe");
    let refused = eventually("twice the time is over", async || {
        let answers = [alice.fetch(&app).await, prefetch.open(&app).await, frame.open(&app).await];
        let over = answers.iter().filter(|answer| answer.status != StatusCode::OK).cloned().collect::<Vec<_>>();
        (over.len() == 3).then_some(over)
    })
    .await;
    assert!(begun.elapsed() > (LIMIT * 2).saturating_sub(Duration::from_secs(1)), "{:?}", begun.elapsed());
    for answer in &refused {
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "reauthorize"), "{answer:?}");
    }
    let [fetched, prefetched, framed] = refused.as_slice() else { panic!("three answers: {refused:?}") };
    assert!(framed.text().contains("target=\"_blank\""), "a frame has a link that opens a tab: {framed:?}");
    for answer in [fetched, prefetched] {
        assert_eq!(answer.json()["error"], json!("login_required"));
        assert_eq!(answer.json()["login_url"], json!(world.at("app", "/_doorward/start")));
    }
    let session = alice.fetch(&world.at("app", "/_doorward/session")).await;
    assert_eq!((session.status, session.reason()), (StatusCode::UNAUTHORIZED, "reauthorize"), "{session:?}");
    // A page brings it all back.
    alice.visit(&app).await.echo();
    alice.fetch(&app).await.echo();
    assert_eq!(world.gate.metric(ENDED).await, Some(0));
}

#[tokio::test]
async fn a_provider_that_is_away_ends_no_session_and_keeps_no_page() {
    let world = reauthorizing().start().await;
    let alice = world.signed_in("alice").await;
    let app = world.at("app", "/");
    until_due(&world, &alice, "app").await;
    // It goes away with the browser at its door, which the gate finds out when the trip is missed.
    world.provider.control("away?is=yes").await;
    alice.open(&app).await.echo();
    let away_since = Instant::now();
    while away_since.elapsed() < LIMIT * 3 {
        alice.open(&app).await.echo();
        alice.fetch(&app).await.echo();
        // A real gate: polled, with a bound.
        tokio::time::sleep(crate::world::POLL_INTERVAL).await;
    }
    world.provider.control("away?is=no").await;
    let trip = until_due(&world, &alice, "app").await;
    alice.follow(trip).await.echo();
    assert_eq!(world.gate.metric(ENDED).await, Some(0));
}

/// Sends the subrequest for a page to a gate as Traefik would.
async fn page_at(world: &World, gate: &Gate, who: &Visitor) -> Answer {
    let place: url::Url = world.at("app", "/").parse().unwrap();
    let own = Visitor::new(world.dir());
    let url = format!("http://127.0.0.1:{}/_doorward/auth/traefik", gate.port);
    let mut request = own.request(RequestMode::Page, &url);
    for (name, value) in [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", place.host_str().unwrap()),
        ("x-forwarded-uri", "/"),
        ("cookie", &who.cookies(&place)),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    own.send(request).await
}

#[tokio::test]
async fn replicas_know_of_each_others_trips_and_of_what_came_of_them() {
    let world =
        WorldBuilder::with(EDGE).session("reauthorize = \"4s\"").store(&Database::shared().create()).start().await;
    let other = replica(&world).await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    for who in [&alice, &bob] {
        assert_eq!(page_at(&world, &other, who).await.status, StatusCode::OK);
    }
    let trip = until_due(&world, &alice, "app").await;
    until_due(&world, &bob, "app").await;
    alice.follow(trip).await.echo();
    assert_eq!(page_at(&world, &other, &alice).await.status, StatusCode::OK, "it was authorized a moment ago");
    assert!(is_silent(&page_at(&world, &other, &bob).await), "the second trip");
    let third = page_at(&world, &world.gate, &bob).await;
    assert_eq!((third.status, third.reason()), (StatusCode::FOUND, "session_ended"), "{third:?}");
    refused(&world, &[&world.gate, &other], &bob).await;
}

#[tokio::test]
async fn an_app_may_reauthorize_alone_and_a_reload_reaches_sessions_that_exist() {
    let world = WorldBuilder::with(TRAEFIK).start().await;
    let alice = world.signed_in("alice").await;
    alice.visit(&world.at("rules", "/")).await.echo();
    let hosts = "hosts = [\"rules.example.test\"]";
    world.gate.configure(&world.config().replacen(hosts, &format!("{hosts}\nreauthorize = \"1s\""), 1));
    let trip = until_due(&world, &alice, "rules").await;
    alice.open(&world.at("app", "/")).await.echo();
    // Nobody has to sign in there, so nobody is sent away.
    alice.open(&world.at("rules", "/open/x")).await.echo();
    alice.follow(trip).await.echo();
    world.gate.configure(&world.config());
    eventually("it is off", async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        (alice.open(&world.at("rules", "/")).await.status == StatusCode::OK).then_some(())
    })
    .await;
}
