//! Peers that nobody trusts: what they can hold, for how long, and who gives way.

use tokio::net::TcpSocket;

use super::{
    frames::{self, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM},
    *,
};
use crate::edge::{DOORWARD_REASON, Reason};

impl Running {
    /// Connects from another address than the edge's.
    async fn stranger(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

async fn exchange(stream: &mut TcpStream, target: &str) -> String {
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    answer(stream, "]").await
}

/// Whether the other side has ended it, without waiting.
fn is_open(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn refuse(_: IpAddr, _: Parts) -> Ready<Response> {
    let mut response = say("[no]");
    *response.status_mut() = StatusCode::FORBIDDEN;
    let reason = http::HeaderValue::from_static(Reason::UntrustedPeer.code());
    response.headers_mut().insert(DOORWARD_REASON.clone(), reason);
    ready(response)
}

fn shares(places: usize, strangers: usize, each: usize) -> Shares {
    Shares { places, strangers, each, handshakes: strangers, handshakes_each: each }
}

#[tokio::test]
async fn a_refused_stranger_keeps_no_place() {
    let running = Running::with(Plan::default(), refuse);
    let mut stranger = running.stranger(2).await;
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = rest(&mut stranger).await;
    assert!(closes(&said) && said.ends_with("[no]"), "{said}");

    let (mut client, closed) = running.h2(running.stranger(2).await).await;
    assert_eq!(ask(&mut client, "http://a/").await.0, StatusCode::FORBIDDEN);
    closed.raised().await;

    let mut edge = running.connect().await;
    for target in ["/1", "/2"] {
        assert!(!closes(&exchange(&mut edge, target).await), "an edge asks on");
    }
}

#[tokio::test]
async fn a_stranger_over_http_2_who_ignores_that_it_has_to_go_is_cut() {
    let strangers = Patience { idle: SHORT, ..ENDLESS };
    let running = Running::with(Plan { strangers, ..Plan::default() }, refuse);
    let mut frames = Frames::open(running.stranger(2).await, 0).await;
    let header = frames::header("GET", "a", "/", &[]);
    // Its window stays shut, and it never says that it has seen that it is to go.
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &header).await;
    assert!(frames.until(GOAWAY).await.is_some());
    frames.send(HEADERS, END_HEADERS | END_STREAM, 3, &header).await;
    while frames.next().await.is_some() {}
}

#[tokio::test]
async fn a_stranger_that_stays_idle_is_closed_and_an_edge_is_kept() {
    let strangers = Patience { first_request: SHORT, rest: SHORT, idle: SHORT, ..ENDLESS };
    let running = Running::with(Plan { strangers, ..Plan::default() }, echo);
    let (mut edge, mut stranger) = (running.connect().await, running.stranger(2).await);
    exchange(&mut edge, "/1").await;
    exchange(&mut stranger, "/1").await;
    assert_eq!(rest(&mut stranger).await, "", "waits for the end");
    let (mut client, closed) = running.h2(running.stranger(2).await).await;
    ask(&mut client, "http://a/").await;
    closed.raised().await;
    assert!(exchange(&mut edge, "/2").await.contains("/2"));
}

#[tokio::test]
async fn a_stranger_who_waits_for_an_answer_is_not_idle() {
    let strangers = Patience { first_request: SHORT, rest: SHORT, idle: SHORT, ..ENDLESS };
    let running = Running::with(Plan { strangers, ..Plan::default() }, |peer, request: Parts| {
        Box::pin(async move {
            tokio::time::sleep(SHORT * 10).await;
            echo(peer, request).await
        })
    });
    let (mut client, _) = running.h2(running.stranger(2).await).await;
    let mut stranger = running.stranger(2).await;
    let (over_2, over_1) = tokio::join!(ask(&mut client, "http://a/slow"), exchange(&mut stranger, "/slow"));
    assert!(over_2.2.contains("/slow") && over_1.contains("/slow"), "{over_2:?} {over_1}");
}

#[tokio::test]
async fn where_strangers_have_their_share_the_quietest_gives_way() {
    let running = Running::with(Plan { shares: shares(100, 3, 3), ..Plan::default() }, echo);
    let mut edge = running.connect().await;
    exchange(&mut edge, "/1").await;
    let mut all = Vec::new();
    for last in 2..5 {
        let mut stranger = running.stranger(last).await;
        exchange(&mut stranger, "/1").await;
        all.push(stranger);
    }
    // The first to come is not the one that has been quiet for longest.
    exchange(&mut all[0], "/2").await;
    let mut newcomer = running.stranger(5).await;
    exchange(&mut newcomer, "/1").await;
    assert_eq!(rest(&mut all[1]).await, "", "gives way");
    for (stranger, target) in [(0, "/3"), (2, "/3")] {
        exchange(&mut all[stranger], target).await;
    }
    exchange(&mut newcomer, "/2").await;
    exchange(&mut edge, "/2").await;
}

#[tokio::test]
async fn one_stranger_has_a_part_of_the_share_and_gives_way_to_itself() {
    let running = Running::with(Plan { shares: shares(100, 10, 2), ..Plan::default() }, echo);
    let mut other = running.stranger(3).await;
    exchange(&mut other, "/1").await;
    let mut own = Vec::new();
    for _ in 0..3 {
        let mut stranger = running.stranger(2).await;
        exchange(&mut stranger, "/1").await;
        own.push(stranger);
    }
    assert_eq!(rest(&mut own[0]).await, "", "gives way");
    exchange(&mut other, "/2").await;
    exchange(&mut own[1], "/2").await;
}

#[tokio::test]
async fn on_a_full_listener_strangers_give_way_to_edges() {
    let running = Running::with(Plan { shares: shares(4, 4, 4), ..Plan::default() }, echo);
    let mut strangers = Vec::new();
    for last in [2, 2, 3, 3] {
        strangers.push(running.stranger(last).await);
    }
    let mut edges = Vec::new();
    for _ in 0..3 {
        let mut edge = running.connect().await;
        exchange(&mut edge, "/1").await;
        edges.push(edge);
    }
    for edge in &mut edges {
        exchange(edge, "/2").await;
    }
    assert_eq!(rest(&mut strangers[0]).await, "", "gives way");
}

#[tokio::test]
async fn a_listener_at_which_nobody_is_told_from_anybody_else_serves_whoever_comes_last() {
    let trusts_nobody = Plan { shares: Shares::alike(3), ..Plan::default() };
    let running = Running::with(trusts_nobody, echo);
    let mut quiet = Vec::new();
    for _ in 0..3 {
        quiet.push(running.stranger(2).await);
    }
    for round in 0..20 {
        let mut probe = running.stranger(3).await;
        assert!(exchange(&mut probe, "/-/health/live").await.contains("live"), "round {round}");
        quiet.push(probe);
    }
}

#[tokio::test]
async fn a_stranger_has_few_streams_and_an_edge_many() {
    for (last, streams, refused) in [(2, 17, true), (2, 16, false), (1, 200, false)] {
        let running = Running::with(Plan::default(), |_, _| pending::<Response>());
        let mut frames = Frames::open(running.stranger(last).await, 0).await;
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
async fn an_answer_that_nobody_takes_is_given_up() {
    let patience = Patience { stream: SHORT, ..ENDLESS };
    let page = "x".repeat(10_000) + "]";
    for last in [1, 2] {
        let page = page.clone();
        let plan = Plan { patience, strangers: patience, ..Plan::default() };
        let running = Running::with(plan, move |_, _| ready(say(page.clone())));
        // Shut, open for a byte, for a piece, and for all but the last byte.
        for window in [0, 1, 5_000, 10_000] {
            let mut frames = Frames::open(running.stranger(last).await, window).await;
            for stream in [1, 3, 5] {
                frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &frames::header("GET", "a", "/", &[])).await;
            }
            for _ in 0..3 {
                let given_up = frames.until(RST_STREAM).await.unwrap();
                assert!([1, 3, 5].contains(&given_up.stream), "{given_up:?}");
            }
        }
        // Whoever takes it gets all of it.
        let (mut client, _) = running.h2(running.stranger(last).await).await;
        assert_eq!(ask(&mut client, "http://a/").await.2.len(), 10_001);
    }
}

#[tokio::test]
async fn the_handshake_of_a_stranger_that_does_not_go_on_gives_way() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, connector) = tls_files(directory.path(), &["http/1.1"]);
    let certificates = Some(Arc::new(Certificates::load(settings).await.unwrap()));
    let shares = Shares { handshakes: 2, handshakes_each: 2, ..shares(100, 50, 50) };
    let running = Running::with(Plan { shares, certificates, ..Plan::default() }, echo);
    let mut edge = running.connect().await;
    edge.write_all(b"\x16\x03\x01").await.unwrap();
    let mut silent = Vec::new();
    for last in [2, 3] {
        silent.push(running.stranger(last).await);
    }
    let name = || ServerName::try_from("localhost").unwrap();
    let mut served = connector.connect(name(), running.stranger(4).await).await.unwrap();
    assert_eq!(rest(&mut silent[0]).await, "", "gives way");
    served.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut served, "]").await;
    assert!(is_open(&edge), "an edge has its own time");
    let text = running.metrics.print();
    for line in ["doorward_tls_handshakes_total{result=\"ok\"} 1", "doorward_tls_handshakes_total{result=\"failed\"} 1"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn open_connections_are_counted() {
    let running = Running::echoing();
    let seen = |many: u32| {
        let line = format!("doorward_connections{{listener=\"edges\"}} {many}\n");
        let text = running.metrics.print();
        assert!(text.contains(&line), "{line}{text}");
    };
    seen(0);
    let (mut edge, mut stranger) = (running.connect().await, running.stranger(2).await);
    exchange(&mut edge, "/1").await;
    exchange(&mut stranger, "/1").await;
    seen(2);
    drop((edge, stranger));
    running.stop.raise();
    running.ended.raised().await;
    seen(0);
}
