//! Connections that give back what they do not need between requests, and what nobody may notice of it.

use super::*;

/// Rests at the first moment at which nothing is said.
const DROWSY: Patience =
    Patience { first_request: Duration::from_millis(1), rest: Duration::from_millis(1), ..ENDLESS };

fn drowsy(certificates: Option<Arc<Certificates>>) -> Running {
    Running::with(Plan { patience: DROWSY, certificates, ..Plan::default() }, echo)
}

/// Connects and asks before the first request is due, which is soon.
async fn connect(running: &Running) -> TcpStream {
    loop {
        let mut stream = running.connect().await;
        let asked = stream.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok();
        if asked && stream.peek(&mut [0]).await.is_ok_and(|length| length > 0) {
            answer(&mut stream, "]").await;
            return stream;
        }
    }
}

/// Long enough to rest, or just not.
async fn pause(round: u64) {
    tokio::time::sleep(Duration::from_micros(round * 137 % 5_000)).await;
}

#[tokio::test]
async fn requests_are_answered_before_and_after_every_rest() {
    let running = drowsy(None);
    let mut stream = connect(&running).await;
    for round in 0..400 {
        pause(round).await;
        stream.write_all(format!("GET /{round}#x HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let said = answer(&mut stream, "]").await;
        assert!(said.ends_with(&format!("[HTTP/1.1 GET /{round} 127.0.0.1 fragment]")), "{said}");
        assert!(!closes(&said), "{said}");
    }
}

#[tokio::test]
async fn requests_that_come_together_or_cut_anywhere_outlast_a_rest() {
    let running = drowsy(None);
    let mut stream = connect(&running).await;
    let text =
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 1..text.len() {
        let (head, tail) = text.split_at(at);
        stream.write_all(head.as_bytes()).await.unwrap();
        pause(at as u64).await;
        stream.write_all(tail.as_bytes()).await.unwrap();
        let said = answer(&mut stream, "POST /3 127.0.0.1]").await;
        assert!(said.contains("GET /1") && said.contains("GET /2"), "cut at {at}: {said}");
        pause(at as u64 * 3).await;
    }
}

#[tokio::test]
async fn over_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let running = drowsy(Some(Arc::new(Certificates::load(settings).await.unwrap())));
    // The first request has a millisecond from the end of the handshake.
    let mut stream = loop {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, running.connect().await).await.unwrap();
        let asked = stream.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.is_ok();
        let mut byte = [0; 1];
        if asked && stream.read(&mut byte).await.is_ok_and(|length| length > 0) {
            answer(&mut stream, "]").await;
            break stream;
        }
    };
    for round in 0..200 {
        pause(round).await;
        stream.write_all(format!("GET /{round} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert!(answer(&mut stream, "]").await.contains(&format!("GET /{round} ")));
    }
}

#[tokio::test]
async fn an_answer_that_takes_its_time_is_given() {
    let running = Running::with(Plan { patience: DROWSY, ..Plan::default() }, |peer, request: Parts| {
        Box::pin(async move {
            tokio::time::sleep(SHORT).await;
            echo(peer, request).await
        })
    });
    let mut stream = connect(&running).await;
    for _ in 0..5 {
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(answer(&mut stream, "]").await.contains("GET /slow"));
    }
}

#[tokio::test]
async fn what_rests_is_still_bounded() {
    let patience = Patience { idle: SHORT, ..DROWSY };
    let running = Running::with(Plan { patience, ..Plan::default() }, echo);
    let mut stream = connect(&running).await;
    assert_eq!(rest(&mut stream).await, "", "waits for the end");

    let patience = Patience { header: SHORT, ..DROWSY };
    let running = Running::with(Plan { patience, ..Plan::default() }, echo);
    for part in ["G", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT"] {
        let mut stream = connect(&running).await;
        tokio::time::sleep(SHORT).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.is_empty() || said.contains("GET /2"), "waits for the cut: {said}");
    }
}

#[tokio::test]
async fn a_server_that_drains_ends_what_rests_politely_and_answers_what_wakes() {
    let running = drowsy(None);
    let (mut resting, mut waking) = (connect(&running).await, connect(&running).await);
    tokio::time::sleep(SHORT).await;
    running.drain.begin();
    waking.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut waking).await;
    assert!(closes(&said) && said.contains("GET /last"), "{said}");
    running.drain.finish();
    let mut bytes = Vec::new();
    assert_eq!(resting.read_to_end(&mut bytes).await.unwrap(), 0, "no reset");
}

#[tokio::test]
async fn http_2_does_not_begin_in_the_midst_of_http_1() {
    let running = drowsy(None);
    let mut stream = connect(&running).await;
    tokio::time::sleep(SHORT).await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert_eq!(rest(&mut stream).await, "", "no frames, and the end");
}
