//! Untrusted peers: what they can hold, for how long, and which of them are evicted.

use tokio::net::TcpSocket;

use super::{
    frames::{self, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM},
    *,
};
use crate::edge::{DOORWARD_REASON, Reason};

impl RunningListener {
    /// Connects from another address than the edge's.
    async fn untrusted(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

async fn exchange(stream: &mut TcpStream, target: &str) -> String {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    read_response(stream, "]").await
}

/// Returns `true` if the server has not closed a connection, without waiting.
fn is_open(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn refuse(_: IpAddr, _: Parts) -> Ready<ServerResponse> {
    let mut response = respond("[no]");
    *response.status_mut() = StatusCode::FORBIDDEN;
    let reason = http::HeaderValue::from_static(Reason::UntrustedPeer.code());
    response.headers_mut().insert(DOORWARD_REASON.clone(), reason);
    ready(response)
}

fn limits(total: usize, untrusted: usize, untrusted_each: usize) -> ConnectionLimits {
    ConnectionLimits { total, untrusted, untrusted_each, handshakes: untrusted, handshakes_each: untrusted_each }
}

#[tokio::test]
async fn a_refused_untrusted_peer_keeps_no_connection() {
    let listener = RunningListener::with(ListenerPlan::default(), refuse);
    let mut untrusted = listener.untrusted(2).await;
    untrusted.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let response = read_to_end(&mut untrusted).await;
    assert!(closes(&response) && response.ends_with("[no]"), "{response}");

    let (mut client, closed) = listener.h2(listener.untrusted(2).await).await;
    assert_eq!(ask(&mut client, "http://a/").await.0, StatusCode::FORBIDDEN);
    closed.raised().await;

    let mut edge = listener.connect().await;
    for target in ["/1", "/2"] {
        assert!(!closes(&exchange(&mut edge, target).await), "an edge asks on");
    }
}

#[tokio::test]
async fn an_untrusted_peer_over_http_2_that_ignores_goaway_is_aborted() {
    let untrusted = Timeouts { idle: SHORT, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { untrusted, ..ListenerPlan::default() }, refuse);
    let mut frames = Frames::open(listener.untrusted(2).await, 0).await;
    let header = frames::header("GET", "a", "/", &[]);
    // Its window stays shut, and it ignores the GOAWAY.
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &header).await;
    assert!(frames.until(GOAWAY).await.is_some());
    frames.send(HEADERS, END_HEADERS | END_STREAM, 3, &header).await;
    while frames.next().await.is_some() {}
}

#[tokio::test]
async fn an_idle_untrusted_peer_is_closed_and_an_edge_is_kept() {
    let untrusted = Timeouts { first_request: SHORT, park: SHORT, idle: SHORT, ..ENDLESS };
    let listener = RunningListener::with(ListenerPlan { untrusted, ..ListenerPlan::default() }, echo);
    let (mut edge, mut untrusted) = (listener.connect().await, listener.untrusted(2).await);
    exchange(&mut edge, "/1").await;
    exchange(&mut untrusted, "/1").await;
    assert_eq!(read_to_end(&mut untrusted).await, "", "waits for the end");
    let (mut client, closed) = listener.h2(listener.untrusted(2).await).await;
    ask(&mut client, "http://a/").await;
    closed.raised().await;
    assert!(exchange(&mut edge, "/2").await.contains("/2"));
}

#[tokio::test]
async fn an_untrusted_peer_that_waits_for_a_response_is_not_idle() {
    let untrusted = Timeouts { first_request: SHORT, park: SHORT, idle: SHORT, ..ENDLESS };
    let listener =
        RunningListener::with(ListenerPlan { untrusted, ..ListenerPlan::default() }, |peer, request: Parts| {
            Box::pin(async move {
                tokio::time::sleep(SHORT * 10).await;
                echo(peer, request).await
            })
        });
    let (mut client, _) = listener.h2(listener.untrusted(2).await).await;
    let mut untrusted = listener.untrusted(2).await;
    let (over_2, over_1) = tokio::join!(ask(&mut client, "http://a/slow"), exchange(&mut untrusted, "/slow"));
    assert!(over_2.2.contains("/slow") && over_1.contains("/slow"), "{over_2:?} {over_1}");
}

#[tokio::test]
async fn beyond_the_share_of_untrusted_peers_the_least_recently_active_is_evicted() {
    let listener = RunningListener::with(ListenerPlan { limits: limits(100, 3, 3), ..ListenerPlan::default() }, echo);
    let mut edge = listener.connect().await;
    exchange(&mut edge, "/1").await;
    let mut all = Vec::new();
    for last in 2..5 {
        let mut untrusted = listener.untrusted(last).await;
        exchange(&mut untrusted, "/1").await;
        all.push(untrusted);
    }
    // The first to come is not the least recently active.
    exchange(&mut all[0], "/2").await;
    let mut newcomer = listener.untrusted(5).await;
    exchange(&mut newcomer, "/1").await;
    assert_eq!(read_to_end(&mut all[1]).await, "", "evicted");
    for (untrusted, target) in [(0, "/3"), (2, "/3")] {
        exchange(&mut all[untrusted], target).await;
    }
    exchange(&mut newcomer, "/2").await;
    exchange(&mut edge, "/2").await;
}

#[tokio::test]
async fn one_untrusted_peer_has_a_part_of_the_share_and_evicts_itself() {
    let listener = RunningListener::with(ListenerPlan { limits: limits(100, 10, 2), ..ListenerPlan::default() }, echo);
    let mut other = listener.untrusted(3).await;
    exchange(&mut other, "/1").await;
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut untrusted = listener.untrusted(2).await;
        exchange(&mut untrusted, "/1").await;
        own.push(untrusted);
    }
    assert_eq!(read_to_end(&mut own[0]).await, "", "evicted");
    exchange(&mut other, "/2").await;
    exchange(&mut own[1], "/2").await;
}

#[tokio::test]
async fn on_a_full_listener_untrusted_peers_are_evicted_for_edges() {
    let listener = RunningListener::with(ListenerPlan { limits: limits(4, 4, 4), ..ListenerPlan::default() }, echo);
    let mut untrusted = Vec::new();
    for last in [2, 2, 3, 3] {
        untrusted.push(listener.untrusted(last).await);
    }
    let mut edges = Vec::new();
    for _ in 0..3 {
        let mut edge = listener.connect().await;
        exchange(&mut edge, "/1").await;
        edges.push(edge);
    }
    for edge in &mut edges {
        exchange(edge, "/2").await;
    }
    assert_eq!(read_to_end(&mut untrusted[0]).await, "", "evicted");
}

#[tokio::test]
async fn a_listener_that_treats_all_peers_alike_serves_the_newest_connection() {
    let uniform = ListenerPlan { limits: ConnectionLimits::uniform(3), ..ListenerPlan::default() };
    let listener = RunningListener::with(uniform, echo);
    let mut quiet = Vec::new();
    for _ in 0..3 {
        quiet.push(listener.untrusted(2).await);
    }
    for round in 0..20 {
        let mut probe = listener.untrusted(3).await;
        assert!(exchange(&mut probe, "/-/health/live").await.contains("live"), "round {round}");
        quiet.push(probe);
    }
}

#[tokio::test]
async fn an_untrusted_peer_has_few_streams_and_an_edge_many() {
    for (last, streams, refused) in [(2, 17, true), (2, 16, false), (1, 200, false)] {
        let listener = RunningListener::with(ListenerPlan::default(), |_, _| pending::<ServerResponse>());
        let mut frames = Frames::open(listener.untrusted(last).await, 0).await;
        let header = frames::header("GET", "a", "/", &[]);
        for stream in 0..streams {
            frames.send(HEADERS, END_HEADERS | END_STREAM, stream * 2 + 1, &header).await;
        }
        frames.send(frames::PING, 0, 0, b"12345678").await;
        let mut seen = Vec::new();
        while !seen.contains(&frames::PING) {
            seen.push(frames.next().await.unwrap().kind);
        }
        assert_eq!(seen.contains(&RST_STREAM), refused, "{streams} streams: {seen:?}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_given_up() {
    let timeouts = Timeouts { stream: SHORT, ..ENDLESS };
    let page = "x".repeat(10_000) + "]";
    for last in [1, 2] {
        let page = page.clone();
        let plan = ListenerPlan { timeouts, untrusted: timeouts, ..ListenerPlan::default() };
        let listener = RunningListener::with(plan, move |_, _| ready(respond(page.clone())));
        // Shut, open for a byte, for a piece, and for all but the last byte.
        for window in [0, 1, 5_000, 10_000] {
            let mut frames = Frames::open(listener.untrusted(last).await, window).await;
            for stream in [1, 3, 5] {
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &frames::header("GET", "a", "/", &[])).await;
            }
            for _ in 0..3 {
                let given_up = frames.until(RST_STREAM).await.unwrap();
                assert!([1, 3, 5].contains(&given_up.stream), "{given_up:?}");
            }
        }
        // A client that takes it gets all of it.
        let (mut client, _) = listener.h2(listener.untrusted(last).await).await;
        assert_eq!(ask(&mut client, "http://a/").await.2.len(), 10_001);
    }
}

#[tokio::test]
async fn a_stalled_handshake_of_an_untrusted_peer_is_evicted() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let limits = ConnectionLimits { handshakes: 2, handshakes_each: 2, ..limits(100, 50, 50) };
    let listener = RunningListener::with(ListenerPlan { limits, certificates, ..ListenerPlan::default() }, echo);
    let mut edge = listener.connect().await;
    edge.write_all(b"\x16\x03\x01").await.unwrap();
    let mut silent = Vec::new();
    for last in [2, 3] {
        silent.push(listener.untrusted(last).await);
    }
    let name = || ServerName::try_from("localhost").unwrap();
    let mut served = connector.connect(name(), listener.untrusted(4).await).await.unwrap();
    assert_eq!(read_to_end(&mut silent[0]).await, "", "evicted");
    served.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_response(&mut served, "]").await;
    assert!(is_open(&edge), "an edge has its own time");
    let text = listener.metrics.print();
    for line in ["doorward_tls_handshakes_total{result=\"ok\"} 1", "doorward_tls_handshakes_total{result=\"failed\"} 1"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn open_connections_are_counted() {
    let listener = RunningListener::echoing();
    let seen = |many: u32| {
        let line = format!("doorward_connections{{listener=\"edges\"}} {many}\n");
        let text = listener.metrics.print();
        assert!(text.contains(&line), "{line}{text}");
    };
    seen(0);
    let (mut edge, mut untrusted) = (listener.connect().await, listener.untrusted(2).await);
    exchange(&mut edge, "/1").await;
    exchange(&mut untrusted, "/1").await;
    seen(2);
    drop((edge, untrusted));
    listener.stop.raise();
    listener.ended.raised().await;
    seen(0);
}
