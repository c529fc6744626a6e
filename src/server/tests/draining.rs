//! The end of a server, for those who are connected.

use super::*;

#[tokio::test]
async fn while_draining_answers_ask_to_close_and_what_is_in_hand_is_finished() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, on) = (Arc::clone(&arrived), Arc::clone(&go));
    let running = Running::with(Plan::default(), move |_, _| {
        let (here, on) = (Arc::clone(&here), Arc::clone(&on));
        async move {
            here.notify_one();
            on.notified().await;
            say("[done]")
        }
    });
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    arrived.notified().await;
    running.drain.finish();
    go.notify_one();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.ends_with("[done]"), "{said}");
}

#[tokio::test]
async fn a_draining_server_still_accepts_and_asks_to_close() {
    let running = Running::echoing();
    let mut before = running.connect().await;
    before.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(!closes(&answer(&mut before, "]").await));
    running.stop.raise();
    while running.drain.phase() < Phase::Draining {
        tokio::task::yield_now().await;
    }
    let said = running.tell("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(closes(&said) && said.ends_with(']'), "{said}");
    before.write_all(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut before).await;
    assert!(closes(&said) && said.contains("GET /3"), "{said}");
}

#[tokio::test]
async fn draining_ends_idle_connections_of_both_versions_and_then_the_server() {
    let running = Running::with(Plan { grace: Duration::from_secs(1), ..Plan::default() }, echo);
    let mut kept = running.connect().await;
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut kept, "]").await;
    let (mut client, closed) = running.h2(running.connect().await).await;
    ask(&mut client, "http://a/").await;
    running.stop.raise();
    assert_eq!(rest(&mut kept).await, "");
    drop(kept);
    closed.raised().await;
    assert!(client.send_request(Request::get("http://a/").body(Empty::new()).unwrap()).await.is_err());
    running.ended.raised().await;
    assert!(TcpStream::connect(running.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_client_that_was_let_in_last_is_still_answered() {
    let running = Running::echoing();
    let mut stream = running.connect().await;
    // Wait until it is being served: a byte of its request is enough.
    while running.drain.phase() != Phase::Accepting {
        tokio::task::yield_now().await;
    }
    running.drain.finish();
    stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(closes(&said) && said.contains("GET /last"), "{said}");
}

#[tokio::test]
async fn after_the_grace_whoever_is_left_is_dropped() {
    let running = Running::with(Plan { grace: SHORT, ..Plan::default() }, |_, _| pending::<Response>());
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut client, _) = running.h2(running.connect().await).await;
    let asked = client.send_request(Request::get("http://a/").body(Empty::new()).unwrap());
    let (said, asked, ()) = tokio::join!(rest(&mut stream), asked, async {
        running.stop.raise();
        running.ended.raised().await;
    });
    assert_eq!(said, "");
    assert!(asked.is_err());
    running.tasks.joined().await;
}
