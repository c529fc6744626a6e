//! Session cookies: made up, hidden, old, replayed and cleared.

use futures_util::future::join_all;
use http::StatusCode;

use super::{APP, BARE, PAGE, SCRIPT, bare, cookies, direct};
use crate::world::{
    Gate, Visitor, World, WorldBuilder,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

const SESSION: &str = "__Host-doorward";

async fn at_the_app(world: &World, lines: &str) -> RawResponse {
    raw::request(
        world.gate.port,
        &OriginalRequest { method: "GET", host: APP, target: "/", lines }.in_dialect("traefik"),
    )
    .await
}

/// Returns the value of a browser's session cookie.
fn session(world: &World, visitor: &Visitor) -> String {
    let all = visitor.cookies(&world.at("app", "/").parse().unwrap());
    let prefix = format!("{SESSION}=");
    all.split("; ").find_map(|cookie| cookie.strip_prefix(&prefix)).expect("a session").to_owned()
}

#[tokio::test]
async fn a_made_up_cookie_is_nobody_and_changes_nothing() {
    let world = bare().await;
    let good = session(&world, &world.signed_in("alice").await);
    let (id, tag) = good.split_at(43);
    let other = session(&world, &world.signed_in("bob").await);
    for value in [
        String::new(),
        "garbage".to_owned(),
        "\"\"".to_owned(),
        "%00".to_owned(),
        "=".repeat(64),
        "A".repeat(64),
        "A".repeat(8192),
        format!("\"{good}\""),
        format!("{good}="),
        format!("{good},x"),
        good.to_lowercase(),
        good[..63].to_owned(),
        format!("{id}{}", &other[43..]),
        format!("{}{tag}", &other[..43]),
        format!("{good}{good}"),
    ] {
        for dialect in DIALECTS {
            let lines = format!("{SCRIPT}Cookie: {SESSION}={value}\r\n");
            let said = raw::request(
                world.gate.port,
                &OriginalRequest { method: "GET", host: APP, target: "/", lines: &lines }.in_dialect(dialect),
            )
            .await;
            assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect}: {value}");
            assert_eq!(said.cookies(), [""; 0], "{dialect}: {value}");
        }
    }
    for lines in [
        format!("Cookie: {SESSION}_chunks=99999999; {SESSION}_0=x\r\n"),
        format!("Cookie: {}={good}\r\n", SESSION.to_uppercase()),
        format!("Cookie: doorward={good}\r\n"),
        format!("Cookie: x{SESSION}={good}\r\n"),
        format!("Cookie: a=\"; b=c\", {SESSION}={good}\r\n"),
        format!("Authorization: Bearer {good}\r\n"),
    ] {
        let said = at_the_app(&world, &format!("{SCRIPT}{lines}")).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{lines}: {said:?}");
    }
}

#[tokio::test]
async fn a_good_cookie_is_found_and_ended_behind_any_number_of_made_up_ones() {
    let world = bare().await;
    let alice = world.signed_in("alice").await;
    let good = session(&world, &alice);
    let fake = format!("{SESSION}={}; ", "A".repeat(64));
    let hidden = format!("Cookie: {}{SESSION}=x; {SESSION}={good}\r\n", fake.repeat(700));
    assert!(hidden.len() > 50_000);
    assert_eq!(at_the_app(&world, &format!("{SCRIPT}{hidden}")).await.status, StatusCode::OK);
    let in_two_lines = format!("Cookie: {fake}\r\nCookie: {SESSION}={good}\r\n");
    assert_eq!(at_the_app(&world, &format!("{SCRIPT}{in_two_lines}")).await.status, StatusCode::OK);

    let said = raw::request(world.gate.port, &direct("GET", "/sign_out", &format!("{PAGE}{hidden}"))).await;
    assert!(said.header("location").starts_with(&world.provider.issuer()), "{said:?}");
    let said = at_the_app(&world, &format!("{SCRIPT}Cookie: {SESSION}={good}\r\n")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{said:?}");
}

#[tokio::test]
async fn a_copied_cookie_is_worth_nothing_after_the_next_sign_in_the_sign_out_or_the_reset() {
    let world = bare().await;
    for page in ["/start", "/sign_out", "/reset"] {
        let alice = world.signed_in("alice").await;
        let copied = format!("{SCRIPT}Cookie: {SESSION}={}\r\n", session(&world, &alice));
        assert_eq!(at_the_app(&world, &copied).await.status, StatusCode::OK);
        alice.visit(&world.at("app", &format!("/_doorward{page}"))).await;
        let said = at_the_app(&world, &copied).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{page}: {said:?}");
    }
}

#[tokio::test]
async fn a_cookie_is_cleared_with_everything_that_it_was_set_with() {
    for settings in ["", "cookie_domain = \"example.test\"\nlegacy_cookies = [\"__Secure-old*\"]"] {
        let world = WorldBuilder::with(BARE).session(settings).start().await;
        let alice = world.person("alice");
        let callback = alice.up_to_the_callback(&world.at("app", "/")).await;
        let set = alice.open(&callback).await;
        let mut reset = alice.request(crate::world::RequestMode::Page, &world.at("app", "/_doorward/reset"));
        reset.headers_mut().insert("cookie", "__Secure-old_1=x; young=y".parse().unwrap());
        let cleared = alice.send(reset).await;
        let lines = |answer: &crate::world::Answer| -> Vec<String> {
            answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned()).collect()
        };
        let (set, cleared) = (lines(&set), lines(&cleared));
        assert_eq!(set.len(), 2, "{set:?}");
        for line in &set {
            let (cookie, attributes) = line.split_once('=').unwrap();
            let attributes: Vec<_> = attributes.split("; ").skip(1).filter(|one| !one.starts_with("Max-Age")).collect();
            let removal = cleared.iter().find(|line| line.starts_with(&format!("{cookie}=;"))).expect(cookie);
            assert!(attributes.contains(&"Secure") && removal.contains("Max-Age=0"), "{removal}");
            for attribute in attributes {
                assert!(removal.split("; ").any(|one| one == attribute), "{removal} lacks {attribute}");
            }
        }
        let foreign: Vec<_> = cleared.iter().filter(|line| line.contains("old_1")).collect();
        assert_eq!(foreign.len(), if settings.is_empty() { 0 } else { 2 }, "{cleared:?}");
        assert!(foreign.iter().all(|line| line.split("; ").any(|one| one == "Secure")), "{foreign:?}");
        assert!(!cleared.iter().any(|line| line.contains("young")), "{cleared:?}");
    }
}

#[tokio::test]
async fn forty_people_who_sign_in_at_once_are_each_themselves() {
    let world = bare().await;
    let world = &world;
    join_all((0..40).map(async |number| {
        let user = if number % 2 == 0 { "alice" } else { "bob" };
        let person = world.person(user);
        let target = format!("/mine/{number}");
        let echo = person.visit(&world.at("app", &target)).await.echo();
        assert_eq!((echo.values_as("Remote-User"), echo.target.as_str()), (vec![user], target.as_str()));
        let session = person.fetch(&world.at("app", "/_doorward/session")).await.json();
        assert_eq!(session["user"], user);
    }))
    .await;
}

#[tokio::test]
async fn a_callback_needs_the_browser_the_host_and_the_state_that_it_began_with() {
    let world = bare().await;
    let mallory = world.person("bob");
    let callback = mallory.up_to_the_callback(&world.at("app", "/trap")).await;
    let query = callback.split_once("/_doorward/callback").unwrap().1;
    let victim = world.visitor();
    victim.open(&world.at("app", "/")).await;
    let (mallorys, victims) = (cookies(&world, &mallory), cookies(&world, &victim));
    let at = |host: &str, query: &str, lines: &str| {
        format!("GET /_doorward/callback{query} HTTP/1.1\r\nHost: {host}\r\n{PAGE}{lines}")
    };
    for (head, what) in [
        (at(APP, query, &victims), "in another browser"),
        (at(APP, query, ""), "in no browser at all"),
        (at("admin.example.test", query, &mallorys), "on another host"),
        (at("app.example.test", &query.replacen("state=", "state=A", 1), &mallorys), "with another state"),
        (at(APP, &format!("{query}&code=x"), &mallorys), "with two codes"),
        (at(APP, &format!("{query}&state=x"), &mallorys), "with two states"),
    ] {
        let said = raw::request(world.gate.port, &head).await;
        assert!(!said.cookies().iter().any(|line| line.starts_with(&format!("{SESSION}="))), "{what}: {said:?}");
        assert!(said.header("location").starts_with(&world.provider.issuer()), "sign-in begins again {what}: {said:?}");
    }
}

#[tokio::test]
async fn replicas_without_a_shared_store_end_the_redirects_with_a_page() {
    let world = bare().await;
    let mut other = Gate::new(world.dir());
    let config = world
        .config()
        .replace(&world.gate.port.to_string(), &other.port.to_string())
        .replace(&world.gate.management.to_string(), &other.management.to_string())
        .replace("sessions.db", "another.db");
    other.configure(&config);
    other.start().await;

    // The browser's callbacks reach one replica, its pages the other.
    let alice = world.person("alice");
    let page = world.at("app", "/");
    let host = page.trim_start_matches("https://").trim_end_matches('/').to_owned();
    for _round in 0..6 {
        let lines = format!("{PAGE}{}", cookies(&world, &alice));
        let asked = OriginalRequest { method: "GET", host: &host, target: "/", lines: &lines }.in_dialect("traefik");
        let said = raw::request(other.port, &asked).await;
        if said.reason() == "sign_in_loop" {
            assert_eq!(said.status, StatusCode::FORBIDDEN);
            return;
        }
        said.cookies().iter().for_each(|line| alice.keep(&page, line));
        let mut next = said.header("location").to_owned();
        while !next.starts_with(&world.at("app", "/_doorward/callback")) {
            next = alice.open(&next).await.location().expect("the provider knows her");
        }
        assert_eq!(alice.open(&next).await.reason(), "signed_in");
    }
    panic!("round and round");
}
