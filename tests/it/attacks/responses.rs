//! Responses to edges: only 200 allows a request, and every refusal has a reason.

use http::StatusCode;

use super::{APP, PAGE, RULES, SCRIPT, bare, cookies, direct, subrequests::get};
use crate::world::raw::{self, DIALECTS, OriginalRequest};

#[tokio::test]
async fn letting_in_is_200_with_every_identity_header_once_and_nothing_else() {
    let world = bare().await;
    let bob = cookies(&world, &world.signed_in("bob").await);
    for dialect in DIALECTS {
        for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
            for line in [
                "",
                "Range: bytes=0-0\r\n",
                "If-None-Match: *\r\n",
                "Expect: 100-continue\r\nContent-Length: 9\r\n",
                "Remote-Groups: admins\r\n",
            ] {
                let lines = format!("{bob}{line}");
                let said = raw::request(
                    world.gate.port,
                    &OriginalRequest { method, host: APP, target: "/", lines: &lines }.in_dialect(dialect),
                )
                .await;
                assert_eq!((said.status, said.body.as_str()), (StatusCode::OK, ""), "{dialect}: {method}: {line}");
                assert_eq!(said.cookies(), [""; 0], "{said:?}");
                for (name, value) in [
                    ("content-length", "0"),
                    ("remote-user", "bob"),
                    ("remote-groups", "staff"),
                    ("x-authentik-groups", "staff"),
                    ("x-authentik-entitlements", ""),
                    ("x-authentik-jwt", ""),
                    ("x-authentik-meta-app", "app"),
                ] {
                    assert!(said.headers.contains_key(name), "{dialect}: {method}: {name} is missing: {said:?}");
                    assert_eq!(said.header(name), value, "{dialect}: {method}: {name}");
                }
            }
        }
        let said = raw::request(
            world.gate.port,
            &get(RULES, "/health", &format!("{bob}Remote-User: evil\r\n")).in_dialect(dialect),
        )
        .await;
        for name in ["remote-user", "remote-email", "remote-name", "remote-groups"] {
            assert!(said.headers.contains_key(name), "{dialect}: {said:?}");
            assert_eq!(said.header(name), "", "{dialect}: a public path has no identity");
        }
    }
}

#[tokio::test]
async fn every_other_answer_has_a_reason_and_is_not_stored() {
    let world = bare().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut heads = Vec::new();
    for dialect in DIALECTS {
        for lines in [PAGE, SCRIPT, "", &format!("{alice}{PAGE}")] {
            for method in ["GET", "HEAD", "POST", "PUT", "get"] {
                for (host, target) in [
                    (APP, "/_doorward/session"),
                    (RULES, "/never/x"),
                    ("nobody.example.test", "/"),
                    (RULES, "/never/%2e%2e"),
                    (APP, "/_doorward/sign_out"),
                ] {
                    heads.push(OriginalRequest { method, host, target, lines }.in_dialect(dialect));
                }
            }
            heads.push(direct("GET", &format!("/auth/{dialect}"), lines));
        }
    }
    for page in [
        "/start",
        "/callback",
        "/sign_out",
        "/session",
        "/static/none.css",
        "/none",
        "",
        "/auth/",
        "/auth/traefik/",
        "//auth/traefik",
        "/reset",
        "/signed_out",
    ] {
        for (method, lines) in [("GET", SCRIPT), ("PUT", PAGE), ("DELETE", ""), ("OPTIONS", SCRIPT), ("POST", SCRIPT)] {
            if (method, page) != ("GET", "/signed_out") {
                heads.push(direct(method, page, lines));
            }
        }
    }
    heads.extend(
        ["/", "/metrics", "/-/health/live", "/_doorwardx/ping", "/x/../_doorward/ping"]
            .map(|target| format!("GET {target} HTTP/1.1\r\nHost: {APP}\r\n")),
    );
    for head in heads {
        let said = raw::request(world.gate.port, &head).await;
        assert!(!said.status.is_success(), "{head}: {said:?}");
        assert_eq!(said.header("cache-control"), "no-store", "{head}: {said:?}");
        let is_code =
            |code: &str| !code.is_empty() && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        assert!(is_code(said.reason()), "{head}: {said:?}");
        assert_eq!(said.header("doorward-request-id").len(), 16, "{head}: {said:?}");
    }
}
