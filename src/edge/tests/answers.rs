//! Answers, edge by edge.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use crate::edge::{Admission, Body, Edge, Framing, Reason, Redirect, Refusal, Response, Verdict, write, write_direct};

/// Status, header lines in alphabetical order, body.
fn shown(response: Response) -> String {
    let (parts, body) = response.into_parts();
    let mut lines: Vec<_> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    let mut body = Box::pin(body);
    let poll = std::future::Future::poll(
        std::pin::pin!(BodyExt::collect(&mut body)).as_mut(),
        &mut std::task::Context::from_waker(std::task::Waker::noop()),
    );
    let std::task::Poll::Ready(Ok(content)) = poll else { panic!("a whole body is there at once") };
    let content = String::from_utf8(content.to_bytes().to_vec()).unwrap();
    format!("{}\n{}\n\n{content}", parts.status.as_u16(), lines.join("\n"))
}

fn identity() -> HeaderMap {
    HeaderMap::from_iter(
        [("remote-user", "ann"), ("remote-groups", ""), ("content-length", "0")]
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))),
    )
}

fn redirect() -> Verdict {
    Verdict::Redirect(Redirect {
        reason: Reason::NoSession,
        location: HeaderValue::from_static("https://auth.example/authorize?x=1"),
        cookies: vec![HeaderValue::from_static("a=1"), HeaderValue::from_static("b=2")],
    })
}

fn refusal(status: u16, body: Body) -> Refusal {
    Refusal { status: StatusCode::from_u16(status).unwrap(), reason: Reason::NoSession, body, headers: Vec::new() }
}

fn html() -> Body {
    Body::Html(Bytes::from_static(b"<p>"), HeaderValue::from_static("default-src 'none'"), Framing::Denied)
}

fn json() -> Body {
    Body::Json(Bytes::from_static(b"{}"))
}

#[test]
fn letting_in_is_exactly_the_identity_headers_and_an_empty_body() {
    for edge in Edge::ALL {
        let response = write(*edge, Verdict::Allow(Admission::grant(identity())), "id");
        let status = if *edge == Edge::OAuth2Proxy { 202 } else { 200 };
        let expected = format!("{status}\ncontent-length: 0\nremote-groups: \nremote-user: ann\n\n");
        assert_eq!(shown(response), expected, "{edge:?}");
    }
}

#[test]
fn an_admission_needs_no_more_room_than_its_headers() {
    let headers = identity();
    let before = headers.capacity();
    let response = write(Edge::Traefik, Verdict::Allow(Admission::grant(headers)), "id");
    assert_eq!(response.headers().capacity(), before);
}

#[test]
fn a_sign_in_is_a_302_and_at_nginx_a_401_with_the_same_headers() {
    let lines = "cache-control: no-store\ndoorward-reason: no_session\ndoorward-request-id: id\n\
                 location: https://auth.example/authorize?x=1\nset-cookie: a=1\nset-cookie: b=2\n\n";
    for (edge, status) in [(Edge::Traefik, 302), (Edge::Caddy, 302), (Edge::Envoy, 302), (Edge::Nginx, 401)] {
        assert_eq!(shown(write(edge, redirect(), "id")), format!("{status}\n{lines}"), "{edge:?}");
    }
    assert_eq!(shown(write_direct(redirect(), "id")), format!("302\n{lines}"));
    let no_way = "401\ncache-control: no-store\ndoorward-reason: no_session\ndoorward-request-id: id\nwww-authenticate: Bearer\n\n";
    assert_eq!(shown(write(Edge::OAuth2Proxy, redirect(), "id")), no_way);
}

#[test]
fn a_refusal_says_why_and_how_to_do_better() {
    let frame = "doorward-reason: no_session\ndoorward-request-id: id\n";
    let safe = "referrer-policy: no-referrer\n";
    let sniff = "x-content-type-options: nosniff\n";
    for (refused, elsewhere, nginx) in [
        (
            refusal(401, json()),
            format!(
                "401\ncache-control: no-store\ncontent-type: application/json\n{frame}{safe}www-authenticate: Bearer\n{sniff}\n{{}}"
            ),
            format!("401\ncache-control: no-store\n{frame}www-authenticate: Bearer\n\n"),
        ),
        (
            refusal(403, html()),
            format!(
                "403\ncache-control: no-store\ncontent-security-policy: default-src 'none'\n\
                 content-type: text/html; charset=utf-8\n{frame}{safe}{sniff}x-frame-options: DENY\n\n<p>"
            ),
            format!("403\ncache-control: no-store\n{frame}\n"),
        ),
        (
            Refusal {
                headers: vec![
                    (header::RETRY_AFTER, HeaderValue::from_static("5")),
                    (header::LOCATION, HeaderValue::from_static("/elsewhere")),
                    (header::CACHE_CONTROL, HeaderValue::from_static("public")),
                ],
                ..refusal(503, Body::Empty)
            },
            format!("503\ncache-control: no-store\n{frame}location: /elsewhere\nretry-after: 5\n\n"),
            format!("503\ncache-control: no-store\n{frame}retry-after: 5\n\n"),
        ),
        (
            Refusal {
                headers: vec![(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))],
                ..refusal(401, Body::Empty)
            },
            format!("401\ncache-control: no-store\n{frame}www-authenticate: Bearer error=\"invalid_token\"\n\n"),
            format!("401\ncache-control: no-store\n{frame}www-authenticate: Bearer error=\"invalid_token\"\n\n"),
        ),
    ] {
        for edge in Edge::ALL {
            let again = Refusal { body: refused.body.clone(), headers: refused.headers.clone(), ..refused };
            let expected = if matches!(edge, Edge::Nginx | Edge::OAuth2Proxy) { &nginx } else { &elsewhere };
            assert_eq!(&shown(write(*edge, Verdict::Refuse(again), "id")), expected, "{edge:?}");
        }
    }
}

#[test]
fn a_refusal_is_a_refusal_whatever_status_it_was_given() {
    for status in 100..=599 {
        for edge in Edge::ALL {
            let response = write(*edge, Verdict::Refuse(refusal(status, html())), "id");
            let expected = if status < 400 || (status == 429 && matches!(edge, Edge::Nginx | Edge::OAuth2Proxy)) {
                403
            } else {
                status
            };
            assert_eq!(response.status().as_u16(), expected, "{edge:?}");
        }
    }
}

#[test]
fn over_a_direct_route_pages_are_pages_and_nothing_is_an_admission() {
    let page = shown(write_direct(Verdict::Refuse(refusal(200, html())), "id"));
    assert!(page.starts_with("200\ncache-control: no-store\n") && !page.contains("doorward-reason"), "{page}");

    let kept = Refusal {
        headers: vec![(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"))],
        ..refusal(200, Body::Asset(Bytes::from_static(b"x"), "text/css"))
    };
    let asset = shown(write_direct(Verdict::Refuse(kept), "id"));
    assert!(asset.contains("cache-control: public, max-age=31536000, immutable\ncontent-type: text/css\n"), "{asset}");
    assert!(!asset.contains("no-store"), "{asset}");

    let admission = write_direct(Verdict::Allow(Admission::grant(identity())), "id");
    assert_eq!(
        shown(admission),
        "500\ncache-control: no-store\ndoorward-reason: internal\ndoorward-request-id: id\n\n"
    );
}

#[test]
fn nginx_is_told_403_of_a_limit_because_it_makes_a_500_of_429() {
    let limited = || {
        let retry = (header::RETRY_AFTER, HeaderValue::from_static("7"));
        Verdict::Refuse(Refusal { reason: Reason::RateLimited, headers: vec![retry], ..refusal(429, json()) })
    };
    for edge in Edge::ALL {
        let response = write(*edge, limited(), "id");
        let status = if matches!(edge, Edge::Nginx | Edge::OAuth2Proxy) { 403 } else { 429 };
        assert_eq!(response.status().as_u16(), status, "{edge:?}");
        assert_eq!(response.headers()["doorward-reason"], "rate_limited", "{edge:?}");
        assert_eq!(response.headers()["retry-after"], "7", "{edge:?}");
    }
    assert_eq!(write_direct(limited(), "id").status().as_u16(), 429);
}
