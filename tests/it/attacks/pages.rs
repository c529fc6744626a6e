//! The gate's own pages: their redirects and cookies, and the requests that may trigger them.

use http::{StatusCode, Uri};
use url::Url;

use super::{APP, BARE, PAGE, SCRIPT, bare, cookies, direct};
use crate::world::{
    World, WorldBuilder,
    raw::{self, DIALECTS, OriginalRequest, RawResponse},
};

const PAGES: [&str; 13] = [
    "/start",
    "/callback",
    "/callback?code=x&state=y",
    "/sign_out",
    "/signed_out",
    "/reset",
    "/session",
    "/ping",
    "/static/icon.svg",
    "/client.js",
    "/backchannel_logout",
    "/auth/traefik",
    "/",
];

#[tokio::test]
async fn inside_a_question_no_page_of_the_gate_lets_anybody_in() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    for dialect in DIALECTS {
        for page in PAGES {
            for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
                for lines in [
                    PAGE,
                    SCRIPT,
                    "Sec-Fetch-Site: cross-site\r\n",
                    "User-Agent: kube-probe/1.30\r\n",
                    &format!("{alice}{SCRIPT}"),
                ] {
                    let target = format!("/_doorward{page}");
                    let original = OriginalRequest { method, host: APP, target: &target, lines };
                    let said = raw::request(world.gate.port, &original.in_dialect(dialect)).await;
                    let refuses = said.status.is_redirection() || said.status.is_client_error();
                    assert!(refuses, "{dialect}: {method} {page}: {said:?}");
                    assert!(!said.headers.contains_key("remote-user"), "{dialect}: {method} {page}: {said:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_path_is_the_gate_s_own_only_if_every_server_reads_it_so() {
    let world = bare().await;
    for dialect in DIALECTS {
        for target in [
            "/_doorward/../",
            "/_doorward/%2e%2e/",
            "/_doorward//ping",
            "/_doorward/ping/..",
            "/_doorward%2fping",
            "/%5fdoorward/ping",
            "/_DOORWARD/ping",
            "/_doorward;/ping",
            "/_doorward/ping%00",
            "/x/_doorward/ping",
        ] {
            let original = OriginalRequest { method: "GET", host: APP, target, lines: SCRIPT };
            let said = raw::request(world.gate.port, &original.in_dialect(dialect)).await;
            assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{dialect}: {target}");
        }
    }
}

#[tokio::test]
async fn nobody_but_a_page_begins_a_sign_in_ends_a_session_or_is_given_a_cookie() {
    let world = bare().await;
    let alice = world.signed_in("alice").await;
    let cookie = cookies(&world, &alice);
    for page in ["/start", "/start?rd=/x", "/callback", "/callback?state=x&code=y", "/sign_out", "/reset"] {
        for lines in [
            SCRIPT,
            "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\nAccept: image/avif,*/*\r\n",
            "Sec-Fetch-Mode: websocket\r\n",
            "Accept: */*\r\nX-Requested-With: XMLHttpRequest\r\n",
            "Accept: application/json\r\n",
            // A link that the browser prefetches.
            "Sec-Fetch-Mode: navigate\r\nSec-Purpose: prefetch;prerender\r\nAccept: text/html\r\n",
        ] {
            let lines = format!("{cookie}{lines}");
            let question =
                OriginalRequest { method: "GET", host: APP, target: &format!("/_doorward{page}"), lines: &lines };
            for head in [direct("GET", page, &lines), direct("POST", page, &lines), question.in_dialect("traefik")] {
                let said = raw::request(world.gate.port, &head).await;
                assert!(said.status.is_client_error(), "{head}: {said:?}");
                assert_eq!(said.cookies(), [""; 0], "{head}");
                assert_eq!(said.header("clear-site-data"), "", "{head}");
            }
        }
    }
    alice.fetch(&world.at("app", "/")).await.echo();
    // A request without fetch metadata is accepted: these pages are not requested by accident.
    let said = raw::request(world.gate.port, &direct("GET", "/start", "Accept: */*\r\n")).await;
    assert_eq!(said.status, StatusCode::FOUND, "{said:?}");
}

#[tokio::test]
async fn another_site_reads_nothing_and_ends_nothing() {
    let world = bare().await;
    let alice = world.signed_in("alice").await;
    let cookie = cookies(&world, &alice);
    let foreign = format!("{cookie}Origin: https://evil.test\r\nSec-Fetch-Site: cross-site\r\n");
    for (method, page, lines) in [
        ("GET", "/session", SCRIPT),
        ("OPTIONS", "/session", "Access-Control-Request-Method: GET\r\n"),
        ("GET", "/sign_out", PAGE),
        ("GET", "/sign_out?rd=/", PAGE),
        ("POST", "/sign_out", PAGE),
        ("GET", "/reset", PAGE),
        ("POST", "/reset", PAGE),
        ("GET", "/sign_out", ""),
        ("GET", "/reset", "Sec-Fetch-Site: same-origin\r\n"),
    ] {
        let said = raw::request(world.gate.port, &direct(method, page, &format!("{foreign}{lines}"))).await;
        assert!(
            !said.headers.keys().any(|name| name.as_str().starts_with("access-control-")),
            "{method} {page}: {said:?}"
        );
        assert_eq!(said.cookies(), [""; 0], "{method} {page}");
        assert!(!said.status.is_redirection(), "{method} {page}: {said:?}");
        alice.fetch(&world.at("app", "/")).await.echo();
    }
    let said = raw::request(world.gate.port, &direct("GET", "/session", &foreign)).await;
    for word in ["token", "eyJ", "doorward"] {
        assert!(!said.body.contains(word), "/session gives {word} away: {said:?}");
    }
    let said = raw::request(world.gate.port, &direct("GET", "/sign_out", &foreign)).await;
    assert_eq!(said.header("x-frame-options"), "DENY", "no clickjacking: {said:?}");
}

#[tokio::test]
async fn nobody_is_sent_to_a_host_that_no_app_names() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let port = world.gate.port;
    for wire in targets() {
        // The return address shows at a callback of a signed-in browser.
        let begun = raw::request(port, &direct("GET", &format!("/start?rd={wire}"), PAGE)).await;
        let location =
            Url::parse(begun.header("location")).unwrap_or_else(|error| panic!("{wire}: {error}: {begun:?}"));
        assert!(location.as_str().starts_with(&world.provider.issuer()), "{wire}: {location}");
        let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let callback = direct("GET", &format!("/callback?code=x&state={state}"), &format!("{alice}{PAGE}"));
        let ended = raw::request(port, &callback).await;
        stays(&wire, &ended);
        assert_eq!((ended.status, ended.reason()), (StatusCode::FOUND, "signed_in"), "{wire}");

        for page in ["/sign_out?rd=", "/signed_out?state=", "/signed_out?rd=", "/reset?rd="] {
            stays(&wire, &raw::request(port, &direct("GET", &format!("{page}{wire}"), PAGE)).await);
        }
        let question = OriginalRequest {
            method: "GET",
            host: APP,
            target: &format!("/_doorward/sign_out?rd={wire}"),
            lines: PAGE,
        };
        stays(&wire, &raw::request(port, &question.in_dialect("traefik")).await);
    }
}

/// Returns redirect targets for `?rd=`: known attacks on other gates, and some for the hosts of this test.
fn targets() -> Vec<String> {
    let known = include_str!("../../fixtures/vectors/redirects.jsonl").lines().map(|line| {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        vector["wire"].as_str().unwrap().to_owned()
    });
    let own = [
        "https://badapp.example.test/",
        "https://app.example.test.evil.test/",
        "https://app.example.test@evil.test/",
        "https://app.example.test:8443/",
        "https://nobody.example.test/",
        "http://app.example.test/",
        "https%3A%2F%2Fevil.test%2F",
        "//app.example.test/",
        "/%5Cevil.test",
        "/%09/evil.test",
        "/&rd=https://evil.test/",
    ];
    // Without those that cannot be sent on a request line.
    let fits =
        |wire: &String| format!("/?rd={wire}").parse::<Uri>().is_ok_and(|uri| uri.to_string().ends_with(wire.as_str()));
    known.chain(own.map(ToOwned::to_owned)).filter(fits).collect()
}

/// Asserts that a browser would stay at the apps' hosts.
#[track_caller]
fn stays(wire: &str, said: &RawResponse) {
    assert!(!said.status.is_server_error(), "{wire}: {said:?}");
    let location = said.header("location");
    if location.is_empty() {
        return;
    }
    let to = Url::parse(location).unwrap_or_else(|error| panic!("{wire}: {error}: {location} is not absolute"));
    let own = [APP, "admin.example.test", "rules.example.test"];
    assert!(
        to.scheme() == "https" && own.contains(&to.host_str().unwrap()) && to.port().is_none(),
        "{wire} leads to {to}"
    );
    assert!(!to.path().starts_with("/_doorward"), "{wire} leads back to {to}");
}

#[tokio::test]
async fn a_direct_route_takes_the_host_from_no_other_header() {
    let world = bare().await;
    for line in [
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Host: rules.example.test",
        "X-Original-URL: https://evil.test/",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 8443",
        "X-Forwarded-Prefix: /evil",
        "Forwarded: host=evil.test;proto=http",
    ] {
        let said = raw::request(world.gate.port, &direct("GET", "/start", &format!("{PAGE}{line}\r\n"))).await;
        let location = Url::parse(said.header("location")).unwrap();
        let redirect = location.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert_eq!(redirect, format!("https://{APP}/_doorward/callback"), "{line}");
    }
    for (host, status, reason) in [
        ("Host: evil.test\r\n", StatusCode::FORBIDDEN, "unknown_host"),
        ("Host: app.example.test\r\nHost: app.example.test\r\n", StatusCode::BAD_REQUEST, "bad_request"),
        ("Host: app.example.test, evil.test\r\n", StatusCode::BAD_REQUEST, "bad_request"),
        ("Host: \"><script>\r\n", StatusCode::BAD_REQUEST, "bad_request"),
        ("", StatusCode::BAD_REQUEST, "bad_request"),
    ] {
        let said = raw::request(world.gate.port, &format!("GET /_doorward/start HTTP/1.1\r\n{host}{PAGE}")).await;
        assert_eq!((said.status, said.reason()), (status, reason), "{host}: {said:?}");
        assert!(!said.body.contains("<script>"), "{said:?}");
    }
}

#[tokio::test]
async fn what_a_client_writes_into_an_address_is_never_part_of_a_page() {
    let world = bare().await;
    for page in [
        "/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E&state=x",
        "/%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/start?rd=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/signed_out?state=%3Cscript%3Ealert(1)%3C/script%3E",
        "/sign_out?rd=javascript:alert(1)",
    ] {
        let said = raw::request(world.gate.port, &direct("GET", page, PAGE)).await;
        assert!(!said.body.contains("alert(1)"), "{page}: {said:?}");
        if said.header("content-type").starts_with("text/html") {
            assert!(said.header("content-security-policy").contains("default-src 'none'"), "{page}: {said:?}");
        }
    }
}

#[tokio::test]
async fn the_most_talkative_log_holds_no_secret() {
    for kind in [BARE, crate::world::TRAEFIK] {
        let world: World = WorldBuilder::with(kind).tables("[log]\nlevel = \"trace\"").start().await;
        let alice = world.person("alice");
        let callback = alice.up_to_the_callback(&world.at("app", "/")).await;
        alice.visit(&callback).await.echo();
        let mut secrets = vec![alice.cookies(&world.at("app", "/").parse().unwrap())];
        alice.visit(&callback).await.echo();
        world.visitor().open(&callback).await;
        let leaving = alice.open(&world.at("app", "/_doorward/sign_out")).await;
        secrets.extend([callback, leaving.location().unwrap()]);

        let log = world.gate.log();
        assert!(log.contains("DEBUG"), "{kind:?}: the log is at its most verbose");
        let values = secrets.iter().flat_map(|text| text.split(['?', '&', ';', ' ', '=']));
        for value in values.filter(|value| value.len() > 20 && !value.contains("://") && !value.contains("%3A")) {
            assert!(!log.contains(value), "{kind:?}: {value} is in the log");
        }
        for word in
            ["eyJ", "code=", "code_verifier", "id_token_hint", "the-secret-of-one-test", "first secret of one test"]
        {
            let line = log.lines().find(|line| line.contains(word));
            assert_eq!(line, None, "{kind:?}: {word} is in the log");
        }
    }
}
