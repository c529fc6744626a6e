//! What is said on a connection: versions, methods, headers, bodies, targets.

use super::*;

#[tokio::test]
async fn an_http_1_1_connection_is_kept() {
    let mut stream = Running::echoing().connect().await;
    for target in ["/one", "/two?x=1", "/three"] {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let said = answer(&mut stream, "]").await;
        assert!(said.ends_with(&format!("[HTTP/1.1 GET {target} 127.0.0.1]")), "{said}");
        assert!(!closes(&said), "{said}");
    }
}

#[tokio::test]
async fn an_http_1_0_connection_is_answered_and_closed() {
    let said = Running::echoing().tell("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.0 200 OK\r\n") && said.ends_with("[HTTP/1.0 GET /old 127.0.0.1]"), "{said}");
}

#[tokio::test]
async fn a_wish_to_close_is_honoured() {
    let said =
        Running::echoing().tell("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-Host\r\n\r\n").await;
    assert!(closes(&said), "{said}");
}

#[tokio::test]
async fn http_2_is_spoken_in_clear_with_prior_knowledge() {
    let running = Running::echoing();
    let (mut client, _) = running.h2(running.connect().await).await;
    let (one, two) = (client.clone().send_request(Request::get("http://a/1").body(Empty::new()).unwrap()), async {
        ask(&mut client, "http://a/2").await
    });
    let (one, (_, version, two)) = tokio::join!(one, two);
    assert_eq!(one.unwrap().status(), StatusCode::OK);
    assert_eq!((version, two.as_str()), (Version::HTTP_2, "[HTTP/2.0 GET http://a/2 127.0.0.1]"));
}

#[tokio::test]
async fn any_method_is_answered_and_head_without_a_body() {
    let running = Running::echoing();
    for method in ["POST", "OPTIONS", "PROPFIND", "FOOBAR", "TRACE"] {
        let said = running.tell(&format!("{method} /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.contains(&format!(" {method} /x ")), "{said}");
    }
    let said = running.tell("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("\r\n\r\n"), "{said}");
    let said = running.tell("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.contains(" OPTIONS * "), "{said}");
}

#[tokio::test]
async fn a_body_is_never_waited_for() {
    let running = Running::echoing();
    for head in [
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n",
        "HEAD /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\nExpect: 100-continue\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this",
    ] {
        let mut stream = running.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{head}: {said}");
        assert!(closes(&said), "the next request could not be told from the body: {said}");
    }
}

#[tokio::test]
async fn a_form_is_read_whole_or_not_at_all() {
    let running = Running::reading(Plan::default(), |_, _, body| async {
        let forms = Forms::new(1, Pace { whole: LONG, more: LONG });
        say(format!("[{} bytes]", forms.read(body).await.unwrap().len()))
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
            let said = running.tell(&request).await;
            assert!(said.contains(&format!("[{read} bytes]")), "{length}: {said}");
        }
    }
}

#[tokio::test]
async fn a_form_that_does_not_come_is_not_waited_for() {
    let running = Running::reading(Plan::default(), |_, _, body| async {
        let forms = Forms::new(1, Pace { whole: LONG, more: SHORT });
        say(format!("[{} bytes]", forms.read(body).await.unwrap().len()))
    });
    let mut stream = running.connect().await;
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nonly this").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.contains("[0 bytes]") && closes(&said), "{said}");
}

#[tokio::test]
async fn an_answer_is_not_lost_to_a_client_that_is_still_sending() {
    let mut stream = Running::echoing().connect().await;
    let body = vec![b'x'; 4 << 20];
    stream.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n").await.unwrap();
    stream.write_all(&body).await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(']'), "{said}");
}

#[tokio::test]
async fn a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let running = Running::echoing();
    let request = |size: usize| {
        let cookie = format!("Cookie: {}\r\n", "c".repeat(1_014)).repeat(size / 1_024);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{cookie}\r\n")
    };
    assert!(running.tell(&request(64 << 10)).await.starts_with("HTTP/1.1 200"));
    let said = running.tell(&request(256 << 10)).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said:?}");
    assert!(said.contains("\r\ncache-control: no-store\r\ndoorward-reason: headers_too_large\r\n"), "{said:?}");
}

#[tokio::test]
async fn what_hyper_refuses_by_itself_says_why_and_is_not_kept_by_a_cache() {
    let running = Running::echoing();
    let many = "a: b\r\n".repeat(101);
    for (request, status, reason) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431", "headers_too_large"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(66_000)), "414", "headers_too_large"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), "400", "bad_request"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned(), "400", "bad_request"),
        // Behind a good one, on the same connection.
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nG\x01T / HTTP/1.1\r\n\r\n".to_owned(), "400", "bad_request"),
    ] {
        let said = running.tell(&request).await;
        let marks = format!("\r\ncache-control: no-store\r\ndoorward-reason: {reason}\r\n");
        assert!(said.contains(&format!("HTTP/1.1 {status} ")), "{status}: {said:?}");
        assert_eq!(said.matches(&marks).count(), 1, "{status}: {said:?}");
    }
}

#[tokio::test]
async fn over_http_2_a_header_of_64_kib_is_read_and_a_much_longer_one_refused() {
    let running = Running::echoing();
    for (size, status) in [(63, StatusCode::OK), (256, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let (mut client, _) = running.h2(running.connect().await).await;
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
async fn nonsense_is_refused() {
    let running = Running::echoing();
    for (request, status) in [
        ("hello\r\n\r\n", "400"),
        ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
    ] {
        let said = running.tell(request).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {said:?}");
    }
}

#[tokio::test]
async fn envoys_targets_arrive_as_they_are() {
    let running = Running::with(Plan::default(), |_, request: Parts| {
        ready(match route("/_doorward", &request.method, &request.uri) {
            Route::Authorize(edge, target) => say(format!("[{} {target}]", edge.label())),
            Route::OwnPage(_) | Route::Nothing => say("[not asked]"),
        })
    });
    for (line, expected) in [
        ("/_doorward/auth/envoy/../../../ping", "envoy /../../../ping"),
        ("/_doorward/auth/envoy//x/%2e%2e/;/%2F?a=b?c", "envoy //x/%2e%2e/;/%2F?a=b?c"),
        ("/_doorward/auth/envoy/a\\b", "envoy /a\\b"),
        ("http://app.example.com/_doorward/auth/envoy/x?y", "envoy /x?y"),
        ("/x/../_doorward/auth/envoy/x", "not asked"),
    ] {
        let said = running.tell(&format!("GET {line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(said.ends_with(&format!("[{expected}]")), "{line}: {said}");
    }
}

#[tokio::test]
async fn what_follows_a_hash_is_not_dropped_in_silence() {
    let running = Running::echoing();
    let request = |target| format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\nCookie: a#b\r\n\r\n");
    let mut stream = running.connect().await;
    for (target, marked) in [("/a", false), ("/a#/../admin", true), ("/b", false), ("/b?x#", true), ("/%23", false)] {
        stream.write_all(request(target).as_bytes()).await.unwrap();
        let said = answer(&mut stream, "]").await;
        assert_eq!(said.contains(" fragment]"), marked, "{target}: {said}");
    }
    // Cut anywhere, also between the bytes that end the line.
    let text = request("/a#b");
    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        assert!(answer(&mut stream, "]").await.contains(" fragment]"), "cut at {at}");
        stream.write_all(request("/a").as_bytes()).await.unwrap();
        assert!(!answer(&mut stream, "]").await.contains(" fragment]"), "cut at {at}");
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
        let running = Running::with(Plan { certificates, ..Plan::default() }, echo);
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, running.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            let (mut client, _) = running.h2(stream).await;
            assert_eq!(ask(&mut client, "https://localhost/").await.1, Version::HTTP_2);
        } else {
            stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(answer(&mut stream, "]").await.contains("[HTTP/1.1 GET /1 127.0.0.1]"));
        }
    }
}

#[tokio::test]
async fn every_connection_over_tls_resumes_from_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let running = Running::with(Plan { certificates, ..Plan::default() }, echo);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, running.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
        // What the next one resumes from comes before the answer.
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        answer(&mut stream, "]").await;
    }
}

#[tokio::test]
async fn a_tunnel_is_not_opened() {
    let running = Running::with(Plan::default(), |_, request: Parts| {
        assert_eq!(request.method, Method::CONNECT);
        let mut refusal = say("");
        if route("", &request.method, &request.uri) == Route::Nothing {
            *refusal.status_mut() = StatusCode::NOT_FOUND;
        }
        ready(refusal)
    });
    let said = running.tell("CONNECT app:443 HTTP/1.1\r\nHost: app:443\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
}
