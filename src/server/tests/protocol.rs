//! HTTP on a connection: versions, methods, headers, bodies, targets.

use super::*;
use crate::flow::CompatSettings;

#[tokio::test]
async fn an_http_1_1_connection_is_kept() {
    let mut stream = RunningListener::echoing().connect().await;
    for target in ["/one", "/two?x=1", "/three"] {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let response = read_response(&mut stream, "]").await;
        assert!(response.ends_with(&format!("[HTTP/1.1 GET {target} 127.0.0.1]")), "{response}");
        assert!(!closes(&response), "{response}");
    }
}

#[tokio::test]
async fn an_http_1_0_connection_is_answered_and_closed() {
    let response = RunningListener::echoing().send("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(
        response.starts_with("HTTP/1.0 200 OK\r\n") && response.ends_with("[HTTP/1.0 GET /old 127.0.0.1]"),
        "{response}"
    );
}

#[tokio::test]
async fn connection_close_is_honoured() {
    let response = RunningListener::echoing()
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-Host\r\n\r\n")
        .await;
    assert!(closes(&response), "{response}");
}

#[tokio::test]
async fn http_2_in_clear_text_works_with_prior_knowledge() {
    let listener = RunningListener::echoing();
    let (mut client, _) = listener.h2(listener.connect().await).await;
    let (one, two) = (client.clone().send_request(Request::get("http://a/1").body(Empty::new()).unwrap()), async {
        ask(&mut client, "http://a/2").await
    });
    let (one, (_, version, two)) = tokio::join!(one, two);
    assert_eq!(one.unwrap().status(), StatusCode::OK);
    assert_eq!((version, two.as_str()), (Version::HTTP_2, "[HTTP/2.0 GET http://a/2 127.0.0.1]"));
}

#[tokio::test]
async fn any_method_is_answered_and_head_without_a_body() {
    let listener = RunningListener::echoing();
    for method in ["POST", "OPTIONS", "PROPFIND", "FOOBAR", "TRACE"] {
        let response = listener.send(&format!("{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(response.starts_with("HTTP/1.1 200") && response.contains(&format!(" {method} /x ")), "{response}");
    }
    let response = listener.send("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("\r\n\r\n"), "{response}");
    let response = listener.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(response.contains(" OPTIONS * "), "{response}");
}

#[tokio::test]
async fn a_body_is_never_waited_for() {
    let listener = RunningListener::echoing();
    for head in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\nExpect: 100-continue\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this",
    ] {
        let mut stream = listener.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let response = read_to_end(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{head}: {response}");
        assert!(closes(&response), "the next request could not be told from the body: {response}");
    }
}

#[tokio::test]
async fn a_form_is_read_whole_or_not_at_all() {
    let listener = RunningListener::reading(ListenerPlan::default(), |_, _, body| async {
        let forms = FormReader::new(1, FormTimeouts { total: LONG, between_reads: LONG });
        respond(format!("[{} bytes]", forms.read(body).await.unwrap().len()))
    });
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    for (length, read) in [(0, 0), (27, 27), (32 * 1024, 32 * 1024), (32 * 1024 + 1, 0)] {
        let body = "x".repeat(length);
        for request in [
            format!("{head}Content-Length: {length}\r\n\r\n{body}"),
            format!("{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n{body}"),
            format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n{}",
                if length > 0 { "0\r\n\r\n" } else { "" }
            ),
        ] {
            let response = listener.send(&request).await;
            assert!(response.contains(&format!("[{read} bytes]")), "{length}: {response}");
        }
    }
}

#[tokio::test]
async fn a_form_that_does_not_come_is_not_waited_for() {
    let listener = RunningListener::reading(ListenerPlan::default(), |_, _, body| async {
        let forms = FormReader::new(1, FormTimeouts { total: LONG, between_reads: SHORT });
        respond(format!("[{} bytes]", forms.read(body).await.unwrap().len()))
    });
    let mut stream = listener.connect().await;
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this").await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert!(response.contains("[0 bytes]") && closes(&response), "{response}");
}

#[tokio::test]
async fn lingering_close_saves_the_response_of_a_client_that_is_still_sending() {
    let mut stream = RunningListener::echoing().connect().await;
    let body = vec![b'x'; 4 << 20];
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n").await.unwrap();
    stream.write_all(&body).await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with(']'), "{response}");
}

#[tokio::test]
async fn a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let listener = RunningListener::echoing();
    let request = |size: usize| {
        let cookie = format!("Cookie: {}\r\n", "c".repeat(1_014)).repeat(size / 1_024);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{cookie}\r\n")
    };
    assert!(listener.send(&request(64 << 10)).await.starts_with("HTTP/1.1 200"));
    let response = listener.send(&request(256 << 10)).await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response:?}");
    assert!(response.contains("\r\ncache-control: no-store\r\ndoorward-reason: headers_too_large\r\n"), "{response:?}");
}

#[tokio::test]
async fn errors_of_hypers_own_have_a_reason_and_no_store() {
    let listener = RunningListener::echoing();
    let many = "a: b\r\n".repeat(200);
    for (request, status, reason) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431", "headers_too_large"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(66_000)), "414", "headers_too_large"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), "400", "bad_request"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), "400", "bad_request"),
        // Behind a good one, on the same connection.
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nG\x01T / HTTP/1.1\r\n\r\n".to_owned(), "400", "bad_request"),
    ] {
        let response = listener.send(&request).await;
        let marks = format!("\r\ncache-control: no-store\r\ndoorward-reason: {reason}\r\n");
        assert!(response.contains(&format!("HTTP/1.1 {status} ")), "{status}: {response:?}");
        assert_eq!(response.matches(&marks).count(), 1, "{status}: {response:?}");
    }
}

#[tokio::test]
async fn a_header_of_200_lines_is_read_on_any_request_of_a_connection() {
    let listener = RunningListener::echoing();
    let request =
        |path, lines: usize| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(lines - 1));
    let mut stream = listener.connect().await;
    for (path, lines) in [("/1", 1), ("/2", 101), ("/3", 200), ("/4", 1)] {
        stream.write_all(request(path, lines).as_bytes()).await.unwrap();
        assert!(read_response(&mut stream, "]").await.contains(&format!("GET {path} ")), "{lines} lines");
    }
    stream.write_all(request("/5", 201).as_bytes()).await.unwrap();
    let refused = read_to_end(&mut stream).await;
    assert!(
        refused.starts_with("HTTP/1.1 431 ") && refused.contains("doorward-reason: headers_too_large"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn many_header_lines_may_come_in_pieces_and_behind_other_requests() {
    let listener = RunningListener::echoing();
    let many = format!("GET /2#x HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(150));
    let pipelined = format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{many}GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for at in [1, 30, 60, 700, pipelined.len() - 20, pipelined.len() - 1] {
        let mut stream = listener.connect().await;
        let (head, tail) = pipelined.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(SHORT).await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        let mut responses = String::new();
        while !responses.contains("GET /3 ") {
            responses.push_str(&read_response(&mut stream, "]").await);
        }
        assert!(responses.contains("GET /2 127.0.0.1 fragment]"), "split at {at}: {responses:?}");
        assert_eq!(responses.matches("HTTP/1.1 200 OK").count(), 3, "split at {at}: {responses:?}");
    }
}

#[tokio::test]
async fn over_http_2_a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let listener = RunningListener::echoing();
    for (size, status) in [(63, StatusCode::OK), (512, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let (mut client, _) = listener.h2(listener.connect().await).await;
        let mut request = Request::get("http://a/");
        for _ in 0..size {
            request = request.header("cookie", "c".repeat(1_000));
        }
        let response = client.send_request(request.body(Empty::new()).unwrap()).await;
        match response {
            Ok(response) => assert_eq!(response.status(), status, "{size} KiB"),
            Err(error) => assert_ne!(status, StatusCode::OK, "{size} KiB: {error}"),
        }
    }
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let listener = RunningListener::echoing();
    for (request, status) in [
        ("hello\r\n\r\n", "400"),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
    ] {
        let response = listener.send(request).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {response:?}");
    }
}

#[tokio::test]
async fn targets_of_envoy_arrive_unchanged() {
    let listener = RunningListener::with(ListenerPlan::default(), |_, request: Parts| {
        ready(match route("/_doorward", CompatSettings::default(), &request.method, &request.uri) {
            Route::Authorize(edge, _, target) => respond(format!("[{} {target}]", edge.label())),
            Route::Endpoint(..) | Route::ProtectedResource | Route::NoSuchEdge | Route::NotFound => {
                respond("[not routed]")
            }
        })
    });
    for (line, expected) in [
        ("/_doorward/auth/envoy/../../../ping", "envoy /../../../ping"),
        ("/_doorward/auth/envoy//x/%2e%2e/;/%2F?a=b?c", "envoy //x/%2e%2e/;/%2F?a=b?c"),
        ("/_doorward/auth/envoy/a\\b", "envoy /a\\b"),
        ("http://app.example.com/_doorward/auth/envoy/x?y", "envoy /x?y"),
        ("/x/../_doorward/auth/envoy/x", "not routed"),
    ] {
        let response = listener.send(&format!("GET {line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(response.ends_with(&format!("[{expected}]")), "{line}: {response}");
    }
}

#[tokio::test]
async fn a_fragment_in_the_target_is_not_dropped_in_silence() {
    let listener = RunningListener::echoing();
    let request = |target| format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\nCookie: a#b\r\n\r\n");
    let mut stream = listener.connect().await;
    for (target, marked) in [("/a", false), ("/a#/../admin", true), ("/b", false), ("/b?x#", true), ("/%23", false)] {
        stream.write_all(request(target).as_bytes()).await.unwrap();
        let response = read_response(&mut stream, "]").await;
        assert_eq!(response.contains(" fragment]"), marked, "{target}: {response}");
    }
    // Split anywhere, also between the bytes that end the line.
    let text = request("/a#b");
    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        assert!(read_response(&mut stream, "]").await.contains(" fragment]"), "split at {at}");
        stream.write_all(request("/a").as_bytes()).await.unwrap();
        assert!(!read_response(&mut stream, "]").await.contains(" fragment]"), "split at {at}");
    }
}

#[tokio::test]
async fn over_tls_the_client_chooses_the_version() {
    let directory = tempfile::tempdir().unwrap();
    for (offered, chosen) in
        [(vec!["h2", "http/1.1"], Some(b"h2".as_slice())), (vec!["http/1.1"], Some(b"http/1.1")), (vec![], None)]
    {
        let (settings, connector) = tls_files(directory.path(), &offered);
        let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
        let listener = RunningListener::with(ListenerPlan { certificates, ..ListenerPlan::default() }, echo);
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, listener.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let (mut client, _) = listener.h2(stream).await;
            assert_eq!(ask(&mut client, "https://localhost/").await.1, Version::HTTP_2);
        } else {
            stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(read_response(&mut stream, "]").await.contains("[HTTP/1.1 GET /1 127.0.0.1]"));
        }
    }
}

#[tokio::test]
async fn every_tls_connection_resumes_the_session_before() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let listener = RunningListener::with(ListenerPlan { certificates, ..ListenerPlan::default() }, echo);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, listener.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        // The ticket of the next one comes before the response.
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_response(&mut stream, "]").await;
    }
}

#[tokio::test]
async fn connect_opens_no_tunnel() {
    let listener = RunningListener::with(ListenerPlan::default(), |_, request: Parts| {
        assert_eq!(request.method, Method::CONNECT);
        let mut refusal = respond("");
        if route("", CompatSettings::default(), &request.method, &request.uri) == Route::NotFound {
            *refusal.status_mut() = StatusCode::NOT_FOUND;
        }
        ready(refusal)
    });
    let response = listener.send("CONNECT app:443 HTTP/1.1\r\nHost: app:443\r\nConnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
}
