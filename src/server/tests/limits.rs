//! Slow clients (slowloris), idle ones, and limits on connections and requests.

use super::*;

#[tokio::test]
async fn a_client_that_sends_nothing_or_dribbles_is_aborted_and_an_idle_one_is_kept() {
    let timeouts = Timeouts { first_request: SHORT, slow_client: SHORT, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, echo);
    let mut kept = listener.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut kept, "]").await;

    let mut silent = listener.connect().await;
    assert_eq!(read_to_end(&mut silent).await, "", "waits for the abort");
    let mut slow = listener.connect().await;
    slow.write_all(b"GET /2 HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(read_to_end(&mut slow).await, "", "waits for the abort");
    let mut later_slow = listener.connect().await;
    later_slow.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut later_slow, "]").await;
    later_slow.write_all(b"GET /4 HT").await.unwrap();
    assert_eq!(read_to_end(&mut later_slow).await, "", "waits for the abort");

    kept.write_all(b"GET /5 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_response(&mut kept, "]").await.contains("GET /5"));
}

#[tokio::test]
async fn a_header_in_two_parts_is_no_reason_to_abort() {
    let timeouts = Timeouts { first_request: SHORT, slow_client: LONG, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, echo);
    let mut slow = listener.connect().await;
    slow.write_all(b"GET /1 HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(read_to_end(&mut listener.connect().await).await, "", "waits for longer than the first request may");
    slow.write_all(b"st: a\r\n\r\n").await.unwrap();
    assert!(read_response(&mut slow, "]").await.contains("GET /1"));
}

#[tokio::test]
async fn a_client_that_takes_no_responses_is_aborted() {
    let timeouts = Timeouts { slow_client: SHORT, ..ENDLESS };
    let large = Bytes::from(vec![b'x'; 32 << 20]);
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, move |_, _| {
        ready(respond(large.clone()))
    });
    let mut stream = listener.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // No connection is left only once the client that does not read was aborted.
    listener.stop.raise();
    listener.ended.raised().await;
    assert!(read_to_end(&mut stream).await.len() < 32 << 20);
}

#[tokio::test]
async fn connections_that_stay_idle_too_long_are_closed() {
    let timeouts = Timeouts { first_request: SHORT, park: SHORT, idle: SHORT, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, echo);
    let mut stream = listener.connect().await;
    stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with(']'));
    let (mut client, closed) = listener.h2(listener.connect().await).await;
    ask(&mut client, "http://a/").await;
    closed.raised().await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_shed_with_503() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, on) = (Arc::clone(&arrived), Arc::clone(&go));
    let slow = service_fn(move |()| {
        let (here, on) = (Arc::clone(&here), Arc::clone(&on));
        async move {
            here.notify_one();
            on.notified().await;
            Ok::<_, Infallible>(respond("[done]"))
        }
    });
    let limited = bounded(RequestBounds { concurrency: 1, timeout: LONG }, slow);
    let listener = RunningListener::with(ListenerPlan::default(), move |_, _| {
        let answered = limited.clone().oneshot(());
        async move {
            answered.await.unwrap_or_else(|_| {
                let mut refusal = respond("[shed]");
                *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                refusal
            })
        }
    });
    let mut first = listener.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    arrived.notified().await;
    let response = listener.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 503 ") && response.ends_with("[shed]"), "{response}");
    go.notify_one();
    assert!(read_response(&mut first, "]").await.ends_with("[done]"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_others_end() {
    let listener =
        RunningListener::with(ListenerPlan { limits: ConnectionLimits::of(1), ..ListenerPlan::default() }, echo);
    let mut first = listener.connect().await;
    first.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut first, "]").await;
    let mut second = listener.connect().await;
    second.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    first.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut first, "]").await;
    let early = second.try_read(&mut [0; 1]);
    assert!(early.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "served beside the first");
    drop(first);
    assert!(read_response(&mut second, "]").await.contains("GET /2"));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_without_a_response_and_no_other() {
    let listener = RunningListener::with(ListenerPlan::default(), |peer, request: Parts| async move {
        assert_ne!(request.uri.path(), "/panic");
        echo(peer, request).await
    });
    let mut other = listener.connect().await;
    other.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut other, "]").await;
    assert_eq!(listener.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    let (mut client, _) = listener.h2(listener.connect().await).await;
    assert!(client.send_request(Request::get("http://a/panic").body(Empty::new()).unwrap()).await.is_err());
    assert_eq!(ask(&mut client, "http://a/2").await.0, StatusCode::OK, "nor another request beside it");
    other.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut other, "]").await;
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_is_aborted() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = tls_files(directory.path(), &[]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let timeouts = Timeouts { tls_handshake: SHORT, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { timeouts, certificates, ..ListenerPlan::default() }, echo);
    assert_eq!(listener.send("\x16\x03\x01").await, "");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let settings =
        |listen, management| Settings { listen, management, proxy_listen: None, tls: None, shutdown_grace: LONG };
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let server = Server::bind(settings(any, any)).await.unwrap();
    let (in_use, _) = server.addresses();
    for (settings, key) in [(settings(in_use, any), "server.listen"), (settings(any, in_use), "server.management")] {
        let Err(error) = Server::bind(settings).await else { panic!("bound twice") };
        assert!(matches!(error, Error::Bind { key: at, .. } if at == key), "{error}");
    }
}
