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
    let response = read_to_end(&mut stream).await;
    assert!(closes(&response) && response.ends_with("[done]"), "{response}");
}

#[tokio::test]
async fn a_draining_server_still_accepts_and_sends_connection_close() {
    let listener = RunningListener::echoing();
    let mut before = listener.connect().await;
    before.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(!closes(&read_response(&mut before, "]").await));
    listener.stop.raise();
    while listener.drain.phase() < Phase::Draining {
        tokio::task::yield_now().await;
    }
    let response = listener.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(closes(&response) && response.ends_with(']'), "{response}");
    before.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let response = read_to_end(&mut before).await;
    assert!(closes(&response) && response.contains("GET /3"), "{response}");
}

#[tokio::test]
async fn draining_closes_idle_connections_of_both_versions_and_then_the_server() {
    let listener =
        RunningListener::with(ListenerPlan { grace: Duration::from_secs(1), ..ListenerPlan::default() }, echo);
    let mut kept = listener.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut kept, "]").await;
    let (mut client, closed) = listener.h2(listener.connect().await).await;
    ask(&mut client, "http://a/").await;
    listener.stop.raise();
    assert_eq!(read_to_end(&mut kept).await, "");
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
    // Accepted, and without a request yet.
    while listener.drain.phase() != Phase::Accepting {
        tokio::task::yield_now().await;
    }
    listener.drain.shut_down_connections();
    stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let response = read_to_end(&mut stream).await;
    assert!(closes(&response) && response.contains("GET /last"), "{response}");
}

#[tokio::test]
async fn after_the_grace_period_connections_are_aborted() {
    let listener = RunningListener::with(ListenerPlan { grace: SHORT, ..ListenerPlan::default() }, |_, _| {
        pending::<ServerResponse>()
    });
    let mut stream = listener.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut client, _) = listener.h2(listener.connect().await).await;
    let asked = client.send_request(Request::get("http://a/").body(Empty::new()).unwrap());
    let (response, asked, ()) = tokio::join!(read_to_end(&mut stream), asked, async {
        listener.stop.raise();
        listener.ended.raised().await;
    });
    assert_eq!(response, "");
    assert!(asked.is_err());
    listener.tasks.joined().await;
}
