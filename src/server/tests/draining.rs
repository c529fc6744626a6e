//! Graceful shutdown of a server with open connections.

use super::*;

#[tokio::test]
async fn graceful_shutdown_finishes_requests_in_flight_and_closes() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, on) = (Arc::clone(&arrived), Arc::clone(&go));
    let listener = RunningListener::with(ListenerPlan::default(), move |_, _| {
        let (here, on) = (Arc::clone(&here), Arc::clone(&on));
        async move {
            here.notify_one();
            on.notified().await;
            respond("[done]")
        }
    });
    let mut stream = listener.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    arrived.notified().await;
    listener.drain.shut_down_connections();
    go.notify_one();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.ends_with("[done]"), "{said}");
}

#[tokio::test]
async fn a_draining_server_still_accepts_and_sends_connection_close() {
    let listener = RunningListener::echoing();
    let mut before = listener.connect().await;
    before.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(!closes(&answer(&mut before, "]").await));
    listener.stop.raise();
    while listener.drain.phase() < Phase::Draining {
        tokio::task::yield_now().await;
    }
    let said = listener.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(closes(&said) && said.ends_with(']'), "{said}");
    before.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut before).await;
    assert!(closes(&said) && said.contains("GET /3"), "{said}");
}

#[tokio::test]
async fn draining_closes_idle_connections_of_both_versions_and_then_the_server() {
    let listener =
        RunningListener::with(ListenerPlan { grace: Duration::from_secs(1), ..ListenerPlan::default() }, echo);
    let mut kept = listener.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut kept, "]").await;
    let (mut client, closed) = listener.h2(listener.connect().await).await;
    ask(&mut client, "http://a/").await;
    listener.stop.raise();
    assert_eq!(rest(&mut kept).await, "");
    drop(kept);
    closed.raised().await;
    assert!(client.send_request(Request::get("http://a/").body(Empty::new()).unwrap()).await.is_err());
    listener.ended.raised().await;
    assert!(TcpStream::connect(listener.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_client_that_was_accepted_last_is_still_answered() {
    let listener = RunningListener::echoing();
    let mut stream = listener.connect().await;
    // Accepted, and not yet asked anything.
    while listener.drain.phase() != Phase::Accepting {
        tokio::task::yield_now().await;
    }
    listener.drain.shut_down_connections();
    stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.contains("GET /last"), "{said}");
}

#[tokio::test]
async fn after_the_grace_period_connections_are_aborted() {
    let listener =
        RunningListener::with(ListenerPlan { grace: SHORT, ..ListenerPlan::default() }, |_, _| pending::<Response>());
    let mut stream = listener.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut client, _) = listener.h2(listener.connect().await).await;
    let asked = client.send_request(Request::get("http://a/").body(Empty::new()).unwrap());
    let (said, asked, ()) = tokio::join!(rest(&mut stream), asked, async {
        listener.stop.raise();
        listener.ended.raised().await;
    });
    assert_eq!(said, "");
    assert!(asked.is_err());
    listener.tasks.joined().await;
}
