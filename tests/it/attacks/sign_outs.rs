//! Forced sign-outs from other sites, and requests that name sessions that do not exist.

use http::StatusCode;

use super::{APP, PAGE, SCRIPT, bare, cookies, direct};
use crate::world::{
    World,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

/// Returns headers on the origin of a request, each with `true` if the person has to confirm.
fn origins() -> Vec<(String, bool)> {
    let site = |site: &str| format!("Sec-Fetch-Site: {site}\r\n");
    let mut origins = vec![
        (String::new(), false),
        (site("same-origin"), false),
        (site("none"), false),
        (site("same-site"), true),
        (site("cross-site"), true),
        (site("something-new"), true),
        (site("Same-Origin"), true),
        (format!("{}{}", site("same-origin"), site("cross-site")), true),
        // Fetch metadata takes precedence over the origin.
        (format!("{}Referer: https://mail.example/\r\n", site("none")), false),
        (format!("{}Origin: https://{APP}\r\n", site("same-site")), true),
        (format!("Origin: https://{APP}\r\n"), false),
        (format!("Origin: https://{}\r\n", APP.to_uppercase()), false),
        (format!("Origin: https://{APP}:443\r\n"), false),
        (format!("Referer: https://{APP}/a/page?x=1\r\n"), false),
        (format!("Origin: https://{APP}\r\nReferer: https://evil.test/\r\n"), true),
        (format!("Referer: http://{APP}/\r\n"), true),
    ];
    for foreign in [
        "https://evil.test",
        "https://admin.example.test",
        "https://example.test",
        "https://app.example.test:8443",
        "http://app.example.test",
        "https://app.example.test.evil.test",
        "https://app.example.test@evil.test",
        "null",
        "",
        "app.example.test",
        "about:blank",
        "android-app://com.example",
    ] {
        origins.push((format!("Origin: {foreign}\r\n"), true));
        origins.push((format!("Referer: {foreign}\r\n"), true));
    }
    origins
}

#[tokio::test]
async fn only_the_gates_own_origin_signs_anybody_out_without_asking() {
    let world = bare().await;
    for page in ["/sign_out", "/reset"] {
        for (lines, must_confirm) in origins() {
            let asked = |lines: &str, cookie: &str| direct("GET", page, &format!("{cookie}{PAGE}{lines}"));
            if must_confirm {
                let alice = world.signed_in("alice").await;
                let said = raw::request(world.gate.port, &asked(&lines, &cookies(&world, &alice))).await;
                confirms(&said, page, StatusCode::OK, &lines);
                alice.fetch(&world.at("app", "/")).await.echo();
            } else {
                let said = raw::request(world.gate.port, &asked(&lines, "")).await;
                assert!(!said.body.contains("<form"), "{page} {lines}: {said:?}");
            }
        }
    }
}

#[track_caller]
fn confirms(said: &RawResponse, page: &str, status: StatusCode, lines: &str) {
    assert_eq!(said.status, status, "{page} {lines}: {said:?}");
    assert_eq!(said.cookies(), [""; 0], "{page} {lines}");
    let form = format!("<form class=\"actions\" method=\"post\" action=\"https://{APP}/_doorward{page}\">");
    assert!(said.body.contains(&form), "{page} {lines}: {said:?}");
    assert!(said.body.contains("<meta name=\"referrer\" content=\"same-origin\">"), "the form sends its origin");
}

#[tokio::test]
async fn the_form_that_asks_works_through_a_middleware_and_directly_for_old_browsers_too() {
    let world = bare().await;
    let own = format!("Origin: https://{APP}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    for browser in [
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nAccept: text/html\r\n",
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
    ] {
        for page in ["/sign_out", "/reset"] {
            for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != "nginx").chain(["direct"]) {
                let alice = world.signed_in("alice").await;
                let ask = async |method: &str, lines: &str| {
                    let lines = format!("{}{lines}", cookies(&world, &alice));
                    let target = format!("/_doorward{page}");
                    let asked = OriginalRequest { method, host: APP, target: &target, lines: &lines };
                    let head =
                        if dialect == "direct" { direct(method, page, &lines) } else { asked.in_dialect(dialect) };
                    raw::request(world.gate.port, &head).await
                };
                let status = if dialect == "direct" { StatusCode::OK } else { StatusCode::FORBIDDEN };
                let said = ask("GET", &format!("{PAGE}Sec-Fetch-Site: same-site\r\n")).await;
                confirms(&said, page, status, dialect);
                let said = ask("POST", &format!("{browser}{own}Content-Length: 0\r\n")).await;
                assert!(!said.cookies().is_empty(), "{dialect} {page} {browser}: {said:?}");
                let answer = alice.fetch(&world.at("app", "/")).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{dialect} {page}: {answer:?}");
            }
        }
    }
}

/// Returns the number of calls of a store operation.
async fn work(world: &World, operation: &str) -> u64 {
    let series = format!("doorward_store_duration_seconds_count{{operation=\"{operation}\"}}");
    world.gate.metric(&series).await.unwrap_or_default()
}

#[tokio::test]
async fn a_stranger_who_names_sessions_costs_the_store_no_write_and_one_read_a_name() {
    let world = bare().await;
    let alice = world.signed_in("alice").await;
    let issuer = world.provider.issuer();
    let notify = async |query: &str, lines: &str| {
        raw::request(world.gate.port, &direct("GET", &format!("/frontchannel_logout{query}"), lines)).await
    };
    let (deleted, loaded) = (work(&world, "delete").await, work(&world, "load").await);
    let long = "s".repeat(256);
    for query in [
        String::new(),
        format!("?iss={issuer}"),
        "?sid=anything".to_owned(),
        "?iss=https://evil.test&sid=anything".to_owned(),
        format!("?iss={issuer}/&sid=anything"),
        format!("?iss={issuer}&sid="),
        format!("?iss={issuer}&sid={long}"),
        format!("?iss={issuer}&sid=a%00b"),
        format!("?iss={issuer}&sid=a%0ab"),
        format!("?iss={issuer}&sid=%1b[31m"),
        format!("?iss={issuer}&sid=%ff"),
        format!("?iss={issuer}&sid=a&sid=b"),
    ] {
        let said = notify(&query, PAGE).await;
        assert_eq!((said.status, said.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "{query}: {said:?}");
    }
    assert_eq!((work(&world, "delete").await, work(&world, "load").await), (deleted, loaded), "none reached the store");

    for _ in 0..20 {
        for sid in ["unknown-1", "unknown-2", "unknown-3"] {
            let said = notify(&format!("?iss={issuer}&sid={sid}"), PAGE).await;
            assert_eq!(said.status, StatusCode::OK, "that there is none is nothing to tell: {said:?}");
        }
    }
    assert_eq!(work(&world, "delete").await, deleted, "nothing is deleted where nothing is");
    assert_eq!(work(&world, "load").await - loaded, 3, "one read for each name");
    assert_eq!(world.gate.metric("doorward_store_up{backend=\"sqlite\"}").await, Some(1));
    let gate_log = world.gate.log();
    assert!(!gate_log.contains("through the browser"), "nobody was signed out: {gate_log}");
    let lines = format!("{}{SCRIPT}", cookies(&world, &alice));
    let said = raw::request(world.gate.port, &direct("GET", "/session", &lines)).await;
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
}
