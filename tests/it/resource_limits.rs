//! Resource limits under attack, while signed-in people send requests: none of these is refused, and their latency hardly
//! changes.
//!
//! The edge is at 127.0.0.1, attackers are at other addresses of 127.0.0.0/24.

#[path = "../../src/server/tests/frames.rs"]
pub(crate) mod frames;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use self::frames::{CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS};
use crate::world::{
    EdgeKind, World, WorldBuilder, eventually, get,
    raw::{self, OriginalRequest, PersistentConnection},
};

const APP: &str = "app.example.test";
const ROUNDS: usize = 5;
/// Concurrent connections of people, and the requests of each in a round.
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 40;
/// Difference in latency that a busy machine may cause, in microseconds.
const TOLERANCE_MICROS: f64 = 150_000.0;
/// Connections of an attack.
const HELD: usize = 400;

/// Connections of an attack, closed when this is dropped.
#[derive(Default)]
struct HeldConnections {
    streams: Vec<TcpStream>,
    readers: JoinSet<()>,
}

impl HeldConnections {
    /// Keeps a connection open and reads from it, but never sends a `WINDOW_UPDATE`.
    fn hold(&mut self, mut frames: Frames) {
        self.readers.spawn(async move {
            while frames.next().await.is_some() {}
            std::future::pending::<()>().await;
        });
    }
}

async fn world() -> World {
    WorldBuilder::with(EdgeKind::Nginx).server("trusted_proxies = [\"127.0.0.1/32\"]").start().await
}

/// Connects to a port from an address of 127.0.0.0/24; `last` 1 is the edge's.
async fn from(last: usize, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap()), 0).into()).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

/// Returns a subrequest of Traefik for a public path.
fn subrequest() -> String {
    let original = OriginalRequest { method: "GET", host: APP, target: "/", lines: "" };
    original.in_dialect("traefik") + "\r\n"
}

/// Returns the header block of a back-channel logout request.
fn logout_form_header() -> Vec<u8> {
    let lines = [("content-type", "application/x-www-form-urlencoded"), ("content-length", "2000")];
    frames::header("POST", APP, "/_doorward/backchannel_logout", &lines)
}

/// Opens streams whose bodies never arrive.
async fn half_forms(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    for last in [1, 1, 1, 1, 1, 1, 1, 1] {
        let mut frames = Frames::open(from(last, world.gate.port).await, 65_535).await;
        let block = logout_form_header();
        let all: Vec<u8> =
            (0..1_100_u32).flat_map(|stream| frames::frame(HEADERS, END_HEADERS, stream * 2 + 1, &block)).collect();
        let _strangers_are_cut = frames.stream.write_all(&all).await;
        press.hold(frames);
    }
    press
}

/// Keeps every slot for forms occupied: in the time that a form may take, more incomplete ones begin than there are slots.
async fn ever_more_half_forms(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    for last in [1, 1, 1, 1, 2] {
        let frames = Frames::open(from(last, world.gate.port).await, 65_535).await;
        let (mut read, mut write) = frames.stream.into_split();
        press.readers.spawn(async move { drop(tokio::io::copy(&mut read, &mut tokio::io::sink()).await) });
        press.readers.spawn(async move {
            let block = logout_form_header();
            let mut stream = 1;
            loop {
                for _ in 0..12 {
                    let _gone = write.write_all(&frames::frame(HEADERS, END_HEADERS, stream, &block)).await;
                    stream += 2;
                }
                // The pace of the load; the gate is a real process.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    press
}

/// Opens connections from untrusted addresses that are refused and stay open.
async fn refused(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    for number in 0..HELD {
        let mut stream = from(2 + number % 8, world.gate.port).await;
        stream.write_all(subrequest().as_bytes()).await.unwrap();
        press.streams.push(stream);
    }
    press
}

/// Opens connections that send nothing.
async fn silent(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    for number in 0..HELD {
        press.streams.push(from(2 + number % 200, world.gate.port).await);
    }
    press
}

/// Opens connections, one of them an edge's, that request pages and never read them.
async fn closed_windows(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    let block =
        frames::header("GET", APP, "/_doorward/nothing", &[("accept", "text/html"), ("sec-fetch-mode", "navigate")]);
    for last in [1, 2, 3, 4] {
        let mut frames = Frames::open(from(last, world.gate.port).await, 0).await;
        let all: Vec<u8> = (0..1_000_u32)
            .flat_map(|stream| frames::frame(HEADERS, END_HEADERS | END_STREAM, stream * 2 + 1, &block))
            .collect();
        let _strangers_are_cut = frames.stream.write_all(&all).await;
        press.hold(frames);
    }
    press
}

/// Floods of cheap frames: PING, SETTINGS, streams that are reset at once (rapid reset), endless CONTINUATION.
async fn floods(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    let block = frames::header("GET", APP, "/_doorward/ping", &[]);
    let reset: Vec<u8> = (0..2_000_u32)
        .flat_map(|stream| {
            let id = stream * 2 + 1;
            let headers = frames::frame(HEADERS, END_HEADERS | END_STREAM, id, &block);
            [headers, frames::frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    let begun = frames::frame(HEADERS, END_STREAM, 1, &block);
    let endless =
        [begun, frames::frame(CONTINUATION, 0, 1, &frames::header("a", "b", "c", &[])).repeat(5_000)].concat();
    for (last, flood) in [
        (2, frames::frame(PING, 0, 0, b"12345678").repeat(5_000)),
        (3, frames::frame(SETTINGS, 0, 0, &[]).repeat(5_000)),
        (4, reset),
        (5, endless),
    ] {
        let mut frames = Frames::open(from(last, world.gate.port).await, 65_535).await;
        let _cut_in_the_midst = frames.stream.write_all(&flood).await;
        press.hold(frames);
    }
    press
}

/// Sends requests that begin sign-ins, complete them, or bring cookies that nobody made, from ever more networks and from one.
async fn sign_ins(world: &World) -> HeldConnections {
    let mut press = HeldConnections::default();
    let page = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
    let made_up = format!("Cookie: __Host-doorward={}; doorward={0}\r\n", "A".repeat(66));
    for (attack, from_one) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
        let (mut read, mut write) = from(1, world.gate.port).await.into_split();
        press.readers.spawn(async move { drop(tokio::io::copy(&mut read, &mut tokio::io::sink()).await) });
        let made_up = made_up.clone();
        press.readers.spawn(async move {
            for number in 0_u32.. {
                let [a, b, c, _] = (if from_one { 0 } else { number * 8 }).to_be_bytes();
                let client =
                    format!("X-Forwarded-For: 2001:db8:{attack}:{:x}::1\r\n", u32::from_be_bytes([0, a, b, c]));
                let request = match attack {
                    0 => subrequest().replace("\r\n\r\n", &format!("\r\n{client}{page}\r\n")),
                    1 => format!(
                        "GET /_doorward/callback?code=x&state={number} HTTP/1.1\r\nHost: {APP}\r\n{client}{page}\r\n"
                    ),
                    _ => subrequest().replace("\r\n\r\n", &format!("\r\n{client}{made_up}\r\n")),
                };
                let _gone = write.write_all(request.as_bytes()).await;
                // The pace of the load; the gate is a real process.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    press
}

/// Sends [`REQUESTS`] on each connection, none of which may be refused, and returns the 99th percentile of the latency in
/// microseconds.
async fn ask(lines: &mut [PersistentConnection], cookies: &str) -> f64 {
    let each = lines.iter_mut().map(async |line| {
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            let said = line.ask(APP, "/", cookies).await;
            assert_eq!(said.status, StatusCode::OK, "{said:?}");
            times.push(begun.elapsed());
        }
        times
    });
    let mut times: Vec<Duration> = join_all(each).await.concat();
    times.sort();
    times[times.len() * 99 / 100].as_secs_f64() * 1e6
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Measures with and without an attack in turns, and asserts that latencies hardly differ and that health checks are answered
/// meanwhile.
async fn measure_under_attack(world: &World, what: &str, press: impl AsyncFn(&World) -> HeldConnections) {
    let cookies = world.signed_in("alice").await.cookies(&world.at("app", "/").parse().unwrap());
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(PersistentConnection::open(world.gate.port).await);
    }
    ask(&mut lines, &cookies).await;
    let (mut quiet, mut pressed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(ask(&mut lines, &cookies).await);
        let held = press(world).await;
        // Only open connections are measured, not the cost of opening them.
        ask(&mut lines, &cookies).await;
        pressed.push(ask(&mut lines, &cookies).await);
        probe(world, what).await;
        drop(held);
    }
    let (quiet, pressed) = (median(quiet), median(pressed));
    eprintln!("{what}: p99 {quiet:.0} µs in quiet, {pressed:.0} µs pressed");
    assert!(pressed <= quiet * 2.0 + TOLERANCE_MICROS, "{what}: {quiet:.0} µs in quiet, {pressed:.0} µs pressed");
}

/// Asserts that at least one of three health checks with a timeout of one second succeeds, as a supervisor would demand.
async fn probe(world: &World, what: &str) {
    let live = world.gate.management_url("/-/health/live");
    for _ in 0..3 {
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), get(&live)).await {
            return assert_eq!(answer.status, StatusCode::OK, "{what}");
        }
    }
    panic!("{what}: no health check is answered");
}

/// Returns the number of open connections at the gate's port.
async fn open(world: &World) -> u64 {
    world.gate.metric("doorward_connections{listener=\"edges\"}").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_forms_take_no_place_of_checks_or_sign_ins() {
    let world = world().await;
    measure_under_attack(&world, "half forms", ever_more_half_forms).await;
    let held = half_forms(&world).await;
    // A new sign-in is not in the cache.
    world.signed_in("bob").await;
    let form = |kind: &str, length: usize| {
        format!(
            "POST /_doorward/backchannel_logout HTTP/1.1\r\nHost: {APP}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        )
    };
    let urlencoded = "application/x-www-form-urlencoded";
    for (head, host) in [(form("text/plain", 2_000), APP), (form(urlencoded, 32_769), APP)] {
        let said = raw::request(world.gate.port, &head).await;
        assert_eq!(
            (said.status, said.reason()),
            (StatusCode::BAD_REQUEST, "bad_request"),
            "{host}: nothing is waited for"
        );
    }
    let said = raw::request(world.gate.port, &form(urlencoded, 2_000).replace(APP, "nobody.test")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "unknown_host"));
    let whole = format!("{}Connection: close\r\n\r\nlogout_token=x.y.z", form(urlencoded, 18));
    let said = raw::send(world.gate.port, whole.as_bytes()).await;
    assert_eq!((said.status, said.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "it was read: {said:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_are_refused_or_silent_take_no_place_of_edges() {
    let world = world().await;
    measure_under_attack(&world, "refused connections", refused).await;
    measure_under_attack(&world, "silent connections", silent).await;
    let before = open(&world).await;
    let held = [refused(&world).await, silent(&world).await];
    eventually("no connection of the attack is left", async || (open(&world).await <= before).then_some(())).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_and_made_up_cookies_of_a_crowd_and_of_one_hold_nobody_up() {
    let limits = "[limits]\nsign_in = { per_minute = 60, burst = 20 }\ncallback = { per_minute = 60, burst = 20 }";
    let plan = WorldBuilder::with(EdgeKind::Nginx).server("trusted_proxies = [\"127.0.0.1/32\"]").tables(limits);
    let world = plan.start().await;
    measure_under_attack(&world, "sign-ins of strangers", sign_ins).await;
    let limited = world.gate.metric(r#"doorward_refusals_total{app="app",reason="rate_limited"}"#).await.unwrap();
    assert!(limited > 0, "the one waits");
    world.signed_in("bob").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_stay_shut_and_floods_of_frames_hold_nobody_up() {
    let world = world().await;
    measure_under_attack(&world, "closed windows", closed_windows).await;
    measure_under_attack(&world, "floods of frames", floods).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_management_listener_health_is_told() {
    let world = world().await;
    measure_under_attack(&world, "idle watchers", async |world: &World| {
        let mut press = HeldConnections::default();
        for number in 0..HELD {
            let mut stream = from(2 + number % 8, world.gate.management).await;
            if number % 2 == 0 {
                stream.write_all(b"GET /-/health/live HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            }
            press.streams.push(stream);
        }
        press
    })
    .await;
}

#[tokio::test]
async fn an_edge_that_is_trusted_no_more_loses_its_idle_connections() {
    let world = world().await;
    let mut stream = from(1, world.gate.port).await;
    stream.write_all(subrequest().as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await.unwrap();
    let changed = world.config().replace("127.0.0.1/32", "192.0.2.0/24");
    world.gate.configure(&changed);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("\r\n\r\n"), "the answer before, and the end");
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_to_the_hard_limit_and_logged() {
    let world = world().await;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    assert_eq!(world.gate.metric("process_max_fds").await.unwrap().to_string(), hard);
    let log = world.gate.log();
    assert!(log.contains(&format!("\"files\":{hard}")) && log.contains("\"connections\":"), "{log}");
    let (method, page) = (Method::GET, "/_doorward/ping");
    let said = raw::request(world.gate.port, &format!("{method} {page} HTTP/1.1\r\nHost: {APP}\r\n")).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
}
