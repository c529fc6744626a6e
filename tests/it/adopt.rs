//! Adoption of an old outpost's sessions: once for each host, through restarts and at all replicas, and not again once it is over.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, replica},
    world::{
        CLIENT_SECRET, Gate, Signal, TRAEFIK, World, WorldBuilder,
        database::Database,
        eventually,
        old_outpost::{COOKIE, OldMode, OldOutpost, signed},
        raw::{self, DIALECTS, OriginalRequest, RawResponse},
    },
};

const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nAccept: text/html\r\n";

fn section(outpost: &OldOutpost, lines: &str) -> String {
    format!("[adopt]\nurl = \"{}\"\n{lines}\n", outpost.url("traefik"))
}

async fn world(outpost: &OldOutpost, lines: &str) -> World {
    WorldBuilder::with(EDGE).tables(&section(outpost, lines)).start().await
}

fn cookie(value: &str) -> String {
    format!("{COOKIE}={value}")
}

async fn ask_in(dialect: &str, gate: &Gate, host: &str, target: &str, lines: &str) -> RawResponse {
    let host = format!("{host}.example.test");
    raw::request(gate.port, &OriginalRequest { method: "GET", host: &host, target, lines }.in_dialect(dialect)).await
}

async fn fetch(gate: &Gate, host: &str, cookies: &str) -> RawResponse {
    ask_in("traefik", gate, host, "/api?a=b", &format!("Cookie: {cookies}\r\n")).await
}

async fn page(gate: &Gate, host: &str, target: &str, cookies: &str) -> RawResponse {
    ask_in("traefik", gate, host, target, &format!("{PAGE}Cookie: {cookies}\r\n")).await
}

#[track_caller]
fn lets_in(said: &RawResponse, user: &str) {
    assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, user), "{said:?}");
    assert!(said.cookies().is_empty(), "{said:?}");
}

#[track_caller]
fn refuses(said: &RawResponse, status: StatusCode, reason: &str) {
    assert_eq!((said.status, said.reason()), (status, reason), "{said:?}");
    assert!(!said.cookies().iter().any(|line| line.contains(COOKIE)), "{said:?}");
}

async fn count(gate: &Gate, result: &str) -> u64 {
    gate.metric(&format!("doorward_adopted_total{{result=\"{result}\"}}")).await.unwrap()
}

fn listed(gate: &Gate) -> Value {
    serde_json::from_str(&gate.command(&["sessions", "list", "--format", "json"])).unwrap()
}

/// Waits until a gate refuses an adopted session.
async fn ended(gate: &Gate, cookies: &str) {
    let said = eventually("the session is over", async || {
        let said = fetch(gate, "app", cookies).await;
        (said.status != StatusCode::OK).then_some(said)
    })
    .await;
    refuses(&said, StatusCode::UNAUTHORIZED, "session_ended");
}

#[tokio::test]
async fn of_many_fetches_at_once_one_asks_and_all_pass_and_another_host_asks_once_more() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "").await;
    let (gate, sent) = (&world.gate, format!("theme=dark; {}; __Host-doorward=made-up", cookie("ann=1")));
    outpost.sign_in(&cookie("ann=1"), "ann", &[]);
    outpost.set(OldMode::Held);
    let many = join_all((0..20).map(|_| fetch(gate, "app", &sent)));
    let release = async {
        eventually("it is asked", async || (!outpost.asked().is_empty()).then_some(())).await;
        outpost.set(OldMode::Working);
    };
    let (fetched, ()) = tokio::join!(many, release);
    for said in &fetched {
        lets_in(said, "ann");
        assert_eq!((said.header("remote-groups"), said.header("x-authentik-uid")), ("staff,old", "subject of ann"));
    }
    let asked = outpost.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].target, "/outpost.goauthentik.io/auth/traefik");
    for (name, value) in [
        ("x-forwarded-host", "app.example.test"),
        ("x-forwarded-uri", "/api?a=b"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("cookie", cookie("ann=1").as_str()),
    ] {
        assert_eq!(asked[0].header(name), value, "{asked:?}");
    }
    for _ in 0..3 {
        lets_in(&fetch(gate, "rules", &sent).await, "ann");
        lets_in(&page(gate, "app", "/", &sent).await, "ann");
        // Its groups decide as everybody's do.
        refuses(&fetch(gate, "admin", &sent).await, StatusCode::FORBIDDEN, "group_missing");
    }
    assert_eq!(outpost.asked().len(), 3, "once for each host");
    assert_eq!(count(gate, "adopted").await, 3);
    let list = listed(gate);
    assert_eq!(list.as_array().unwrap().len(), 3, "{list}");
    assert!(list.as_array().unwrap().iter().all(|entry| entry["adopted"] == true && entry["user"] == "ann"), "{list}");
    let log = gate.log();
    assert!(log.contains("adopted a session of the old outpost") && log.contains("subject of ann"), "{log}");
    assert!(!log.contains("ann=1"), "no cookie is in the log");
}

#[tokio::test]
async fn the_old_outpost_is_asked_as_the_edge_that_its_address_names_and_answers_every_edge() {
    let outpost = OldOutpost::start().await;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    for (end, target, name, value) in [
        ("traefik", "/outpost.goauthentik.io/auth/traefik", "x-forwarded-uri", "/a?b"),
        ("caddy", "/outpost.goauthentik.io/auth/caddy", "x-forwarded-uri", "/a?b"),
        ("nginx", "/outpost.goauthentik.io/auth/nginx", "x-original-url", "https://app.example.test/a?b"),
        ("envoy", "/outpost.goauthentik.io/auth/envoy/a?b", "host", "app.example.test"),
    ] {
        let tables = format!("[adopt]\nurl = \"{}\"\n", outpost.url(end));
        let world = WorldBuilder::with(EDGE).tables(&tables).start().await;
        let before = outpost.asked().len();
        for dialect in DIALECTS {
            let said = ask_in(dialect, &world.gate, "app", "/a?b", &format!("Cookie: {}\r\n", cookie("ann"))).await;
            lets_in(&said, "ann");
        }
        let asked = outpost.asked().split_off(before);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!((asked[0].target.as_str(), asked[0].header(name)), (target, value), "{asked:?}");
    }
}

#[tokio::test]
async fn through_an_edge_a_browser_stays_signed_in_and_keeps_its_old_cookie_for_the_way_back() {
    let outpost = OldOutpost::start().await;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    let world = WorldBuilder::with(TRAEFIK).tables(&section(&outpost, "")).start().await;
    let (browser, app) = (world.visitor(), world.at("app", "/"));
    browser.keep(&app, &format!("{}; Path=/; Secure; HttpOnly", cookie("ann")));
    for answer in [browser.open(&app).await, browser.fetch(&world.at("app", "/api")).await] {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.echo().values_as("x-authentik-username"), ["ann"]);
    }
    let kept = browser.cookies(&app.parse().unwrap());
    assert!(kept.contains(&cookie("ann")) && !kept.contains("doorward"), "{kept}");
    // Without the section the same cookie is nothing, as before it was there.
    world.gate.configure(&world.config().replace("[adopt]", "#").replace("url = \"http://127", "# url = \"http://127"));
    eventually("it is off", async || {
        (browser.fetch(&world.at("app", "/api")).await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_adopted_session_outlives_the_old_outpost_and_the_gate_itself() {
    let outpost = OldOutpost::start().await;
    let mut world = world(&outpost, "").await;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    lets_in(&fetch(&world.gate, "app", &cookie("ann")).await, "ann");
    outpost.set(OldMode::Failing(502));
    lets_in(&fetch(&world.gate, "app", &cookie("ann")).await, "ann");
    world.gate.restart(Signal::Kill).await;
    lets_in(&fetch(&world.gate, "app", &cookie("ann")).await, "ann");
    lets_in(&page(&world.gate, "app", "/", &cookie("ann")).await, "ann");
    assert_eq!(outpost.asked().len(), 1);
}

#[tokio::test]
async fn replicas_share_an_adopted_session_and_none_adopts_it_again_once_it_is_revoked() {
    let outpost = OldOutpost::start().await;
    let store = Database::shared().create();
    let world = WorldBuilder::with(EDGE).store(&store).tables(&section(&outpost, "")).start().await;
    let mut other = replica(&world).await;
    for name in ["ann", "bob"] {
        outpost.sign_in(&cookie(name), name, &[]);
        // Both at once: whichever is first, there is one session.
        let sent = cookie(name);
        let (one, two) = tokio::join!(fetch(&world.gate, "app", &sent), fetch(&other, "app", &sent));
        lets_in(&one, name);
        lets_in(&two, name);
    }
    assert_eq!(listed(&world.gate).as_array().unwrap().len(), 2);
    let before = outpost.asked().len();
    assert_eq!(world.gate.command(&["sessions", "revoke", "--user", "ann"]), "ended 1 session\n");
    for gate in [&world.gate, &other] {
        ended(gate, &cookie("ann")).await;
        refuses(&page(gate, "app", "/", &cookie("ann")).await, StatusCode::FOUND, "session_ended");
        lets_in(&fetch(gate, "app", &cookie("bob")).await, "bob");
    }
    other.restart(Signal::Kill).await;
    refuses(&fetch(&other, "app", &cookie("ann")).await, StatusCode::UNAUTHORIZED, "session_ended");
    lets_in(&fetch(&other, "app", &cookie("bob")).await, "bob");
    assert_eq!(outpost.asked().len(), before, "nobody is asked about again");
}

#[tokio::test]
async fn after_its_lifetime_a_session_is_not_adopted_again_and_a_page_signs_in() {
    let outpost = OldOutpost::start().await;
    let mut world = world(&outpost, "lifetime = \"1h\"").await;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    lets_in(&fetch(&world.gate, "app", &cookie("ann")).await, "ann");
    world.gate.configure(&world.config().replace("lifetime = \"1h\"", "lifetime = \"1s\""));
    ended(&world.gate, &cookie("ann")).await;
    let said = page(&world.gate, "app", "/", &cookie("ann")).await;
    refuses(&said, StatusCode::FOUND, "session_ended");
    assert!(said.header("location").starts_with(&world.provider.issuer()), "{said:?}");
    world.gate.restart(Signal::Kill).await;
    refuses(&fetch(&world.gate, "app", &cookie("ann")).await, StatusCode::UNAUTHORIZED, "session_ended");
    assert_eq!((outpost.asked().len(), listed(&world.gate)), (1, json!([])));
}

#[tokio::test]
async fn made_up_cookies_store_nothing_and_take_nobody_else_s_questions() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "per_minute = 50").await;
    let gate = &world.gate;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    let from = |address: &str, cookies: &str| format!("X-Forwarded-For: {address}\r\nCookie: {cookies}\r\n");
    let inserts = "doorward_store_duration_seconds_count{operation=\"insert\"}";
    let before = gate.metric(inserts).await;
    for number in 0..60 {
        let said = ask_in("traefik", gate, "app", "/", &from("192.0.2.7", &cookie(&format!("made-up-{number}")))).await;
        assert_ne!(said.status, StatusCode::OK, "{said:?}");
    }
    // The same again: what is known costs no question.
    let said = ask_in("traefik", gate, "app", "/", &from("192.0.2.7", &cookie("made-up-0"))).await;
    refuses(&said, StatusCode::UNAUTHORIZED, "no_session");
    assert_eq!((outpost.asked().len(), count(gate, "refused").await), (30, 30));
    assert_eq!(count(gate, "limited").await, 30);
    assert_eq!((gate.metric(inserts).await, listed(gate)), (before, json!([])));
    // A page goes on to sign in, a program is told to come again.
    let lines = format!("{PAGE}{}", from("192.0.2.7", &cookie("made-up-99")));
    refuses(&ask_in("traefik", gate, "app", "/", &lines).await, StatusCode::FOUND, "no_session");
    let said = ask_in("traefik", gate, "app", "/", &from("192.0.2.7", &cookie("made-up-99"))).await;
    refuses(&said, StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable");
    assert!(!said.header("retry-after").is_empty(), "{said:?}");
    // Somebody of another network is adopted, and then passes from everywhere.
    for address in ["198.51.100.7", "192.0.2.7"] {
        lets_in(&ask_in("traefik", gate, "app", "/", &from(address, &cookie("ann"))).await, "ann");
    }
    // All networks together are limited as well.
    for number in 0..60 {
        let lines = from(&format!("203.0.113.{number}"), &cookie(&format!("spread-{number}")));
        assert_ne!(ask_in("traefik", gate, "app", "/", &lines).await.status, StatusCode::OK);
    }
    let asked = outpost.asked().len();
    assert!((50..=55).contains(&asked), "{asked} questions");
}

#[tokio::test]
async fn a_token_in_the_answer_has_to_be_this_client_s() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "").await;
    let gate = &world.gate;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = |name: &str, over: Value| {
        let mut claims = json!({
            "iss": world.provider.issuer(), "aud": "doorward", "exp": now + 600, "iat": now,
            "sub": format!("subject of {name}"), "sid": "the old session", "email_verified": true,
        });
        claims.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        claims
    };
    let wrong = [
        ("secret", signed(&claims("secret", json!({})), "another secret")),
        ("aud", signed(&claims("aud", json!({ "aud": "another" })), CLIENT_SECRET)),
        ("iss", signed(&claims("iss", json!({ "iss": "https://auth.example.test/" })), CLIENT_SECRET)),
        ("exp", signed(&claims("exp", json!({ "exp": now - 3_600 })), CLIENT_SECRET)),
        ("sub", signed(&claims("sub", json!({ "sub": "subject of ann" })), CLIENT_SECRET)),
        ("form", "no token".to_owned()),
    ];
    for (name, token) in &wrong {
        outpost.sign_in(&cookie(name), name, &[("x-authentik-jwt", token)]);
        refuses(&fetch(gate, "app", &cookie(name)).await, StatusCode::UNAUTHORIZED, "no_session");
    }
    assert_eq!((count(gate, "invalid").await, count(gate, "adopted").await), (6, 0));
    assert_eq!(listed(gate), json!([]));
    let token = signed(&claims("ann", json!({})), CLIENT_SECRET);
    outpost.sign_in(&cookie("ann"), "ann", &[("x-authentik-jwt", &token)]);
    lets_in(&fetch(gate, "app", &cookie("ann")).await, "ann");
    assert_eq!(listed(gate)[0]["sid"], "the old session");
    let log = gate.log();
    assert!(log.contains("is not believed") && !log.contains(&token[..40]), "{log}");
}

#[tokio::test]
async fn an_outpost_that_does_not_answer_signs_nobody_out() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "").await;
    let gate = &world.gate;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    for status in [500, 503, 429] {
        outpost.set(OldMode::Failing(status));
        let said = fetch(gate, "app", &cookie("ann")).await;
        refuses(&said, StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable");
        assert!(!said.header("retry-after").is_empty() && said.cookies().is_empty(), "{said:?}");
        refuses(&page(gate, "app", "/", &cookie("ann")).await, StatusCode::FOUND, "no_session");
        // Where nobody has to be signed in, nobody waits for it.
        let lines = format!("Cookie: {}\r\n", cookie("ann"));
        lets_in(&ask_in("traefik", gate, "rules", "/open/x", &lines).await, "");
    }
    assert_eq!(count(gate, "unavailable").await, 9);
    outpost.set(OldMode::Working);
    lets_in(&fetch(gate, "app", &cookie("ann")).await, "ann");
    lets_in(&ask_in("traefik", gate, "rules", "/open/x", &format!("Cookie: {}\r\n", cookie("ann"))).await, "ann");
}

#[tokio::test]
async fn nobody_is_asked_where_a_session_decides_nothing_or_there_is_one() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "").await;
    let gate = &world.gate;
    outpost.sign_in(&cookie("ann"), "ann", &[]);
    let lines = format!("Cookie: {}\r\n", cookie("ann"));
    lets_in(&ask_in("traefik", gate, "rules", "/health", &lines).await, "");
    refuses(&ask_in("traefik", gate, "rules", "/never/x", &lines).await, StatusCode::FORBIDDEN, "rule_denied");
    let alice = world.signed_in("alice").await;
    let own = alice.cookies(&world.at("app", "/").parse().unwrap());
    lets_in(&fetch(gate, "app", &format!("{own}; {}", cookie("ann"))).await, "alice");
    // A session that was ended here is not followed by one that nobody ended.
    gate.command(&["sessions", "revoke", "--user", "alice"]);
    ended(gate, &format!("{own}; {}", cookie("ann"))).await;
    for none in [cookie(&"x".repeat(9_000)), COOKIE.to_owned(), cookie(""), format!("x{}", cookie("ann"))] {
        refuses(&fetch(gate, "app", &none).await, StatusCode::UNAUTHORIZED, "no_session");
    }
    assert!(outpost.asked().is_empty(), "{:?}", outpost.asked());
}

#[tokio::test]
async fn who_signs_out_is_not_adopted_again_whatever_session_it_was() {
    let outpost = OldOutpost::start().await;
    let world = world(&outpost, "").await;
    let gate = &world.gate;
    let target = "/_doorward/sign_out";
    for name in ["adopted", "unseen", "full"] {
        outpost.sign_in(&cookie(name), name, &[]);
    }
    // An adopted session, and its cookie at a host where none was adopted yet.
    lets_in(&fetch(gate, "app", &cookie("adopted")).await, "adopted");
    let said = page(gate, "app", target, &cookie("adopted")).await;
    assert_eq!(said.reason(), "signed_out", "{said:?}");
    for host in ["app", "rules"] {
        let said = fetch(gate, host, &cookie("adopted")).await;
        refuses(&said, StatusCode::UNAUTHORIZED, "session_ended");
    }
    // One that would have been adopted by the next request.
    assert_eq!(page(gate, "app", target, &cookie("unseen")).await.reason(), "signed_out");
    refuses(&fetch(gate, "app", &cookie("unseen")).await, StatusCode::UNAUTHORIZED, "session_ended");
    // A full one that took the place of an adopted one.
    let browser = world.person("alice");
    browser.keep(&world.at("app", "/"), &format!("{}; Path=/; Secure", cookie("full")));
    let address = world.at("app", "/").parse().unwrap();
    lets_in(&fetch(gate, "app", &browser.cookies(&address)).await, "full");
    browser.visit(&world.at("app", "/_doorward/start?rd=%2F")).await.echo();
    lets_in(&fetch(gate, "app", &browser.cookies(&address)).await, "alice");
    refuses(&fetch(gate, "app", &cookie("full")).await, StatusCode::UNAUTHORIZED, "session_ended");
    browser.visit(&world.at("app", target)).await;
    refuses(&fetch(gate, "app", &browser.cookies(&address)).await, StatusCode::UNAUTHORIZED, "session_ended");
    assert_eq!(listed(gate), json!([]));
}
