//! Parked connections: their buffers are released between requests, and clients do not notice.

use super::*;

/// Timeouts with which a connection is parked as soon as it is idle.
const PARKING: Timeouts =
    Timeouts { first_request: Duration::from_millis(1), park: Duration::from_millis(1), ..ENDLESS };

fn parking(certificates: Option<Arc<Certificates>>) -> RunningListener {
    RunningListener::with(ListenerPlan { timeouts: PARKING, certificates, ..ListenerPlan::default() }, echo)
}

/// Connects and sends a request within the timeout of the first one, which is short.
async fn connect(listener: &RunningListener) -> TcpStream {
    loop {
        let mut stream = listener.connect().await;
        let asked = stream.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok();
        if asked && stream.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
            read_response(&mut stream, "]").await;
            return stream;
        }
    }
}

/// Pauses for long enough to be parked, or just not.
async fn pause(round: u64) {
    tokio::time::sleep(Duration::from_micros(round * 137 % 5_000)).await;
}

#[tokio::test]
async fn requests_are_answered_before_and_after_parking() {
    let listener = parking(None);
    let mut stream = connect(&listener).await;
    for round in 0..400 {
        pause(round).await;
        stream.write_all(format!("GET /{round}#x HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let response = read_response(&mut stream, "]").await;
        assert!(response.ends_with(&format!("[HTTP/1.1 GET /{round} 127.0.0.1 fragment]")), "{response}");
        assert!(!closes(&response), "{response}");
    }
}

#[tokio::test]
async fn pipelined_and_split_requests_survive_parking() {
    let listener = parking(None);
    let mut stream = connect(&listener).await;
    let text =
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        pause(at as u64).await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        let response = read_response(&mut stream, "POST /3 127.0.0.1]").await;
        assert!(response.contains("GET /1") && response.contains("GET /2"), "split at {at}: {response}");
        pause(at as u64 * 3).await;
    }
}

#[tokio::test]
async fn connections_over_tls_are_parked_too() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let listener = parking(Some(Arc::new(Certificates::load(settings).await.unwrap())));
    // The first request has a millisecond from the end of the handshake.
    let mut stream = loop {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, listener.connect().await).await.unwrap();
        let asked = stream.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok();
        let mut byte = [0; 1];
        if asked && stream.read(&mut byte).await.is_ok_and(|length| length > 0) {
            read_response(&mut stream, "]").await;
            break stream;
        }
    };
    for round in 0..200 {
        pause(round).await;
        stream.write_all(format!("GET /{round} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert!(read_response(&mut stream, "]").await.contains(&format!("GET /{round} ")));
    }
}

#[tokio::test]
async fn a_connection_with_a_request_in_flight_is_not_parked() {
    let listener =
        RunningListener::with(ListenerPlan { timeouts: PARKING, ..ListenerPlan::default() }, |peer, request: Parts| {
            Box::pin(async move {
                tokio::time::sleep(SHORT).await;
                echo(peer, request).await
            })
        });
    let mut stream = connect(&listener).await;
    for _ in 0..5 {
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_response(&mut stream, "]").await.contains("GET /slow"));
    }
}

#[tokio::test]
async fn a_parked_connection_still_has_deadlines() {
    let timeouts = Timeouts { idle: SHORT, ..PARKING };
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, echo);
    let mut stream = connect(&listener).await;
    assert_eq!(read_to_end(&mut stream).await, "", "waits for the end");

    let timeouts = Timeouts { slow_client: SHORT, ..PARKING };
    let listener = RunningListener::with(ListenerPlan { timeouts, ..ListenerPlan::default() }, echo);
    for part in ["G", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT"] {
        let mut stream = connect(&listener).await;
        tokio::time::sleep(SHORT).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        let response = read_to_end(&mut stream).await;
        assert!(response.is_empty() || response.contains("GET /2"), "waits for the end: {response}");
    }
}

#[tokio::test]
async fn draining_closes_parked_connections_without_a_reset_and_answers_resumed_ones() {
    let listener = parking(None);
    let (mut parked, mut resumed) = (connect(&listener).await, connect(&listener).await);
    tokio::time::sleep(SHORT).await;
    listener.drain.start_draining();
    resumed.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let response = read_to_end(&mut resumed).await;
    assert!(closes(&response) && response.contains("GET /last"), "{response}");
    listener.drain.shut_down_connections();
    let mut bytes = Vec::new();
    assert_eq!(parked.read_to_end(&mut bytes).await.unwrap(), 0, "no reset");
}

#[tokio::test]
async fn http_2_does_not_begin_on_a_parked_http_1_connection() {
    let listener = parking(None);
    let mut stream = connect(&listener).await;
    tokio::time::sleep(SHORT).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "", "no frames, and the end");
}
