//! Several cookie domains and providers at one gate: each host has the cookie of the longest domain that it is in and of its
//! app's provider, and no cookie of one is anybody at another (contract, section 8, and C14a).

use http::StatusCode;
use serde_json::json;

use crate::world::{
    CLIENT_SECRET, EdgeKind, Provider, Visitor, World, WorldBuilder, eventually,
    raw::{self, OriginalRequest, RawResponse},
};

/// Edge with the gate in clear text, so that raw requests can be sent to it.
const BARE: EdgeKind = EdgeKind::Nginx;

const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nAccept: text/html\r\n";
const SCRIPT: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";

/// Hosts by provider: two in each of two domains, of which one is inside another, and one each in none.
const FIRST: [&str; 6] = [
    "a.one.example.test",
    "x.one.example.test",
    "a.deep.one.example.test",
    "a.two.example.test",
    "two.example.test",
    "app.example.test",
];
const SECOND: [&str; 4] = ["b.one.example.test", "b.deep.one.example.test", "b.two.example.test", "c.example.test"];

/// Audience of a session, and its cookie's name.
fn expected(host: &str) -> (&str, &'static str) {
    let domains = ["deep.one.example.test", "one.example.test", "two.example.test"];
    let domain = domains.into_iter().find(|domain| host.ends_with(domain));
    match domain {
        None => (host, "__Host-doorward"),
        Some(domain) if FIRST.contains(&host) => (domain, "__Secure-doorward"),
        Some(domain) => (domain, "__Secure-doorward_second"),
    }
}

/// A gate with two providers and three domains.
struct Estate {
    world: World,
    second: Provider,
}

impl Estate {
    async fn start(session: &str) -> Self {
        let redirects = json!({ "redirect_uris": callbacks() });
        let domains = "cookie_domain = [\"one.example.test\", \"deep.one.example.test\", \"two.example.test\"]";
        let world = WorldBuilder::with(BARE)
            .session(&format!("{domains}\n{session}"))
            .provider(redirects.clone())
            .start()
            .await;
        let mut second = Provider::new(world.dir(), &[], &redirects);
        second.start().await;
        let provider = format!(
            "[[providers]]\nname = \"second\"\nissuer = \"{}\"\nclient_id = \"doorward\"\nclient_secret = \"{CLIENT_SECRET}\"\n\n[[apps]]\nname = \"app\"",
            second.issuer(),
        );
        let config = world.config().replace("[[apps]]\nname = \"app\"", &provider);
        let config = config.replace("hosts = [\"app.example.test\"]", &format!("hosts = {FIRST:?}"));
        let last = format!("[[apps]]\nname = \"last\"\nprovider = \"second\"\nhosts = {SECOND:?}\n");
        world.gate.configure(&format!("{config}\n{last}"));
        let estate = Self { world, second };
        eventually("the second provider is in force", async || {
            let said = estate.ask(SECOND[0], PAGE, "").await;
            said.header("location").starts_with(&estate.second.issuer()).then_some(())
        })
        .await;
        estate
    }

    async fn ask(&self, host: &str, lines: &str, cookies: &str) -> RawResponse {
        let lines = format!("{lines}Cookie: {cookies}\r\n");
        let question = OriginalRequest { method: "GET", host, target: "/", lines: &lines }.in_dialect("traefik");
        raw::request(self.world.gate.port, &question).await
    }

    async fn direct(&self, host: &str, page: &str, lines: &str, cookies: &str) -> RawResponse {
        let head = format!("GET /_doorward{page} HTTP/1.1\r\nHost: {host}\r\n{lines}Cookie: {cookies}\r\n");
        raw::request(self.world.gate.port, &head).await
    }

    /// Signs a browser in at a host, as alice at the first provider and as bob at the second, and returns the name and the
    /// value of the cookie that it is given.
    async fn sign_in(&self, browser: &Visitor, host: &str) -> (String, String) {
        let begun = self.direct(host, "/start", PAGE, &sent(browser, host)).await;
        keep(browser, host, &begun);
        // Both providers are on 127.0.0.1, and cookies know no ports.
        let user = if FIRST.contains(&host) { "alice" } else { "bob" };
        browser.keep(&self.world.provider.issuer(), &format!("user={user}; Path=/"));
        let callback = browser.up_to_the_callback(begun.header("location")).await;
        let query = callback.split_once("/_doorward/callback").unwrap().1;
        let done = self.direct(host, &format!("/callback{query}"), PAGE, &sent(browser, host)).await;
        assert_eq!(done.reason(), "signed_in", "{host}: {done:?}");
        keep(browser, host, &done);
        let session = done.cookies().into_iter().find(|line| !line.contains("_login=")).unwrap().to_owned();
        let (name, value) = session.split(';').next().unwrap().split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    }

    async fn user(&self, browser: &Visitor, host: &str) -> String {
        let said = self.direct(host, "/session", SCRIPT, &sent(browser, host)).await;
        let body: serde_json::Value = serde_json::from_str(&said.body).unwrap_or_default();
        body["user"].as_str().unwrap_or_default().to_owned()
    }
}

fn callbacks() -> Vec<String> {
    FIRST.iter().chain(&SECOND).map(|host| format!("https://{host}/_doorward/callback")).collect()
}

fn sent(browser: &Visitor, host: &str) -> String {
    browser.cookies(&format!("https://{host}/").parse().unwrap())
}

fn keep(browser: &Visitor, host: &str, answer: &RawResponse) {
    for line in answer.cookies() {
        browser.keep_or_refuse(&format!("https://{host}/"), line);
    }
}

#[tokio::test]
async fn no_cookie_of_one_host_domain_or_provider_opens_another_under_any_name() {
    let mut estate = Estate::start("").await;
    let hosts: Vec<_> = FIRST.into_iter().chain(SECOND).collect();
    let mut cookies = Vec::new();
    for host in &hosts {
        // A browser each, so that none of the sessions ends another.
        let (name, value) = estate.sign_in(&estate.world.visitor(), host).await;
        assert_eq!(name, expected(host).1, "{host}");
        cookies.push((*host, value));
    }
    let names = [
        "__Host-doorward",
        "__Secure-doorward",
        "__Secure-doorward_second",
        "__Secure-doorward_neighbour",
        "__Host-doorward_second",
        "doorward",
        "doorward_second",
        "__Secure-doorward_login",
    ];
    for round in ["in memory", "in the store"] {
        for (origin, value) in &cookies {
            for host in &hosts {
                for name in names {
                    let said = estate.ask(host, SCRIPT, &format!("{name}={value}")).await;
                    let is_its_own = expected(host) == expected(origin) && name == expected(host).1;
                    let status = if is_its_own { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                    assert_eq!(said.status, status, "{round}: {name} of {origin} at {host}: {said:?}");
                }
            }
        }
        estate.world.gate.restart(crate::world::Signal::Term).await;
    }
}

#[tokio::test]
async fn one_browser_has_a_session_at_each_provider_under_one_domain_and_ends_them_apart() {
    let estate = Estate::start("hide_cookies = true").await;
    let browser = estate.world.visitor();
    for host in ["a.one.example.test", "b.one.example.test"] {
        estate.sign_in(&browser, host).await;
    }
    let users = async |hosts: [&'static str; 3]| {
        let mut users = Vec::new();
        for host in hosts {
            users.push(estate.user(&browser, host).await);
        }
        users
    };
    let hosts = ["a.one.example.test", "x.one.example.test", "b.one.example.test"];
    assert_eq!(
        users(hosts).await,
        ["alice", "alice", "bob"],
        "signing in at the second does not sign out of the first"
    );

    // What one app sees is without the cookies of either.
    let all = format!("{}; own=1", sent(&browser, "x.one.example.test"));
    assert_eq!(all.matches("doorward").count(), 3, "{all}");
    let said = estate.ask("x.one.example.test", SCRIPT, &all).await;
    assert_eq!((said.status, said.header("cookie")), (StatusCode::OK, "own=1"));

    let host = "b.one.example.test";
    let said = estate.direct(host, "/sign_out", PAGE, &sent(&browser, host)).await;
    assert!(said.header("location").starts_with(&estate.second.issuer()), "at its own provider: {said:?}");
    let cleared: Vec<_> = said.cookies().iter().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(cleared, ["__Secure-doorward_second", "__Secure-doorward_login"]);
    keep(&browser, host, &said);
    assert_eq!(users(hosts).await, ["alice", "alice", ""]);

    // Reset ends and clears the sessions at both.
    estate.sign_in(&browser, host).await;
    let copied = sent(&browser, host);
    let said = estate.direct(host, "/reset", PAGE, &copied).await;
    let cleared: Vec<_> = said.cookies().iter().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(cleared, ["__Secure-doorward_second", "__Secure-doorward_login", "__Secure-doorward"]);
    for host in hosts {
        let said = estate.ask(host, SCRIPT, &copied).await;
        assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{host}");
    }
}

#[tokio::test]
async fn the_cookie_of_a_surrounding_domain_neither_hides_a_host_s_own_nor_counts_as_made_up() {
    let estate = Estate::start("").await;
    let browser = estate.world.visitor();
    let (outer, inner) = ("a.one.example.test", "a.deep.one.example.test");
    let (_, of_outer) = estate.sign_in(&browser, outer).await;
    let said = estate.ask(inner, SCRIPT, &sent(&browser, inner)).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "it belongs to the longest");
    let (_, of_inner) = estate.sign_in(&browser, inner).await;
    let forged = "doorward_session_lookups_total{result=\"forged\"}";
    let before = estate.world.gate.metric(forged).await.unwrap_or_default();
    for order in [[&of_outer, &of_inner], [&of_inner, &of_outer]] {
        let cookies = order.map(|value| format!("__Secure-doorward={value}")).join("; ");
        assert_eq!(estate.ask(inner, SCRIPT, &cookies).await.status, StatusCode::OK);
        let said = estate.ask(outer, SCRIPT, &format!("__Secure-doorward={of_outer}")).await;
        assert_eq!(said.status, StatusCode::OK, "signing in inside has not signed out around it");
    }
    let said = estate.ask(inner, SCRIPT, &format!("__Secure-doorward={of_outer}")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"));
    assert_eq!(estate.world.gate.metric(forged).await.unwrap_or_default(), before);
}
