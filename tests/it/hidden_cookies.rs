//! `session.hide_cookies`: apps do not see the gate's cookies, and see their own as the browser sent them (contract C7a).

use http::{StatusCode, header};

use crate::world::{
    Answer, EDGES, EdgeKind, RequestMode, TRAEFIK, World, WorldBuilder,
    raw::{self, DIALECTS, OriginalRequest},
};

const SESSION: &str = "__Host-doorward";
const LOGIN: &str = "__Host-doorward_login";

/// Cookies of the app in forms that an edge must not normalise; `OURS` stands for those of the gate.
const SENT: &str = r#"first="x y"; OURS; x__Host-doorward=ends; bare; LOGIN; __Host-doorward2=begins; json={"a":1,"b":[2]}; __Host-doorward_login_2=z; p=%7B{http.request.host}$host"#;
const KEPT: &str = r#"first="x y"; x__Host-doorward=ends; bare; __Host-doorward2=begins; json={"a":1,"b":[2]}; __Host-doorward_login_2=z; p=%7B{http.request.host}$host"#;

/// Starts a world that hides cookies, and returns the cookies of a signed-in browser.
async fn hiding(kind: EdgeKind) -> (World, String, String) {
    let world = WorldBuilder::with(kind).session("hide_cookies = true").start().await;
    let alice = world.signed_in("alice").await;
    let all = alice.cookies(&world.at("app", "/").parse().unwrap());
    let of = |name: &str| {
        let named = |cookie: &&str| cookie.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        all.split("; ").find(named).unwrap_or_else(|| panic!("{name}: {all}")).to_owned()
    };
    let (session, login) = (of(SESSION), of(LOGIN));
    (world, session, login)
}

/// Fetches a URL as a script with exactly these `Cookie` headers.
async fn ask(world: &World, url: &str, lines: &[&str]) -> Answer {
    // A browser with an empty jar.
    let visitor = world.visitor();
    let mut request = visitor.request(RequestMode::Fetch, url);
    for line in lines {
        request.headers_mut().append(header::COOKIE, line.parse().unwrap());
    }
    visitor.send(request).await
}

async fn hidden(kind: EdgeKind) {
    let (world, session, login) = hiding(kind).await;
    let world = &world;
    let app = &world.at("app", "/x?y=1");
    let sent = SENT.replace("OURS", &session).replace("LOGIN", &login);
    let echo = ask(world, app, &[&sent]).await.echo();
    assert_eq!((echo.values_as("Cookie"), echo.values_as("Remote-User")), (vec![KEPT], vec!["alice"]));
    assert_eq!(echo.target, "/x?y=1");

    for path in ["/health", "/open/x"] {
        let echo = ask(world, &world.at("rules", path), &[&sent]).await.echo();
        assert_eq!(
            (echo.values_as("Cookie"), echo.values_as("Remote-User").concat()),
            (vec![KEPT], String::new()),
            "{path}"
        );
    }

    let nothing = |answer: &Answer| answer.echo().values_as("Cookie").concat().is_empty();
    assert!(nothing(&ask(world, app, &[&format!("{session}; {login}")]).await));
    assert!(nothing(&ask(world, &world.at("rules", "/health"), &[]).await));
    for lines in [["a=1; b=2", session.as_str(), "c=3"], [session.as_str(), "a=1; b=2", "c=3"]] {
        let answer = ask(world, app, &lines).await;
        assert_eq!(answer.echo().values_as("Cookie"), ["a=1; b=2; c=3"], "{lines:?}");
    }

    // Exactly as much as the limit allows.
    let long = format!("long={}", "x".repeat((32 << 10) - 5));
    let echo = ask(world, app, &[&session, &long]).await.echo();
    assert!(echo.values_as("Cookie") == [long.as_str()], "{}", echo.values_as("Cookie").concat().len());
    let seen = world.app.requests();
    let answer = ask(world, app, &[&session, &format!("{long}x")]).await;
    let status = match kind {
        // nginx turns any other status into a 500.
        EdgeKind::Nginx => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    };
    assert_eq!((answer.status, answer.reason()), (status, "headers_too_large"));
    assert_eq!(world.app.requests(), seen, "no request reached the app");
}

#[tokio::test]
async fn the_app_s_cookies_arrive_byte_for_byte_and_ours_never_through_traefik() {
    hidden(TRAEFIK).await;
}

#[tokio::test]
async fn the_app_s_cookies_arrive_byte_for_byte_and_ours_never_through_nginx() {
    hidden(EdgeKind::Nginx).await;
}

#[tokio::test]
async fn the_app_s_cookies_arrive_byte_for_byte_and_ours_never_through_caddy() {
    hidden(EdgeKind::Caddy).await;
}

#[tokio::test]
async fn the_app_s_cookies_arrive_byte_for_byte_and_ours_never_through_envoy() {
    hidden(EdgeKind::Envoy).await;
}

#[tokio::test]
async fn the_app_s_cookies_arrive_byte_for_byte_and_ours_never_through_haproxy() {
    hidden(EdgeKind::HaProxy).await;
}

#[tokio::test]
async fn with_the_files_as_they_are_and_nothing_hidden_cookies_arrive_as_they_were_sent() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let cookies = "a=1; __Host-doorward=made-up; b=2";
        let echo = ask(&world, &world.at("rules", "/health"), &[cookies]).await.echo();
        assert_eq!(echo.values_as("Cookie"), [cookies], "{kind:?}");
    }
}

#[tokio::test]
async fn every_allowed_answer_has_the_cookie_header_if_configured_and_none_otherwise() {
    for (settings, is_on) in [("", false), ("hide_cookies = true", true)] {
        let world = WorldBuilder::with(EdgeKind::Nginx).session(settings).start().await;
        let alice = world.signed_in("alice").await;
        let all = alice.cookies(&world.at("app", "/").parse().unwrap());
        for dialect in DIALECTS {
            for (host, target) in [("app", "/"), ("rules", "/health"), ("rules", "/open/x")] {
                let host = format!("{host}.example.test");
                let subrequest =
                    |lines: &str| OriginalRequest { method: "GET", host: &host, target, lines }.in_dialect(dialect);
                // A hit of the cache, and a miss: the first cookie of the name is made up.
                for first in ["", "__Host-doorward=x; "] {
                    let said = raw::request(world.gate.port, &subrequest(&format!("Cookie: {first}{all}\r\n"))).await;
                    assert_eq!(said.status, StatusCode::OK, "{dialect} {target}: {said:?}");
                    let expected = is_on.then_some("app=1");
                    assert_eq!(
                        said.headers.get("cookie").map(|line| line.to_str().unwrap()),
                        expected,
                        "{dialect} {target}"
                    );
                }
            }
        }
        let refused =
            OriginalRequest { method: "GET", host: "app.example.test", target: "/", lines: "Cookie: a=1\r\n" };
        let said = raw::request(world.gate.port, &refused.in_dialect("traefik")).await;
        assert!(said.status == StatusCode::UNAUTHORIZED && !said.headers.contains_key("cookie"), "{said:?}");
    }
}
