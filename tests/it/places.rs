//! Everything that a stranger can press against, pressed while people who are signed in ask: nobody of them is refused, and hardly
//! anybody waits.
//!
//! The edge is at 127.0.0.1 and strangers are at the addresses beside it.

#[path = "../../src/server/tests/frames.rs"]
mod frames;

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
    Kind, Plan, World, eventually, get,
    raw::{self, Kept, Original},
};

const APP: &str = "app.example.test";
const ROUNDS: usize = 5;
/// People at once, and how often each asks in a round.
const LINES: usize = 8;
const ASKS: usize = 40;
/// Microseconds that a machine which is busy with other things may make of difference.
const FLOOR: f64 = 150_000.0;
/// Connections with which a bound is pressed.
const MANY: usize = 400;

/// What is held against the gate; given back when it is dropped.
#[derive(Default)]
struct Press {
    streams: Vec<TcpStream>,
    readers: JoinSet<()>,
}

impl Press {
    /// Keeps a connection open and takes whatever comes over it, but opens no window.
    fn hold(&mut self, mut frames: Frames) {
        self.readers.spawn(async move {
            while frames.next().await.is_some() {}
            std::future::pending::<()>().await;
        });
    }
}

async fn world() -> World {
    Plan::with(Kind::Nginx).server("trusted_proxies = [\"127.0.0.1/32\"]").start().await
}

/// Connects to a port from an address of 127.0.0.0/24; the edge's is 1.
async fn from(last: usize, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap()), 0).into()).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

/// A question as Traefik has it, for a path that is open to everybody.
fn question() -> String {
    let original = Original { method: "GET", host: APP, target: "/", lines: "" };
    original.as_told_by("traefik") + "\r\n"
}

/// The header of a form that a provider sends.
fn notice() -> Vec<u8> {
    let lines = [("content-type", "application/x-www-form-urlencoded"), ("content-length", "2000")];
    frames::header("POST", APP, "/_doorward/backchannel_logout", &lines)
}

/// Opens streams whose bodies do not come.
async fn half_forms(world: &World) -> Press {
    let mut press = Press::default();
    for last in [1, 1, 1, 1, 1, 1, 1, 1] {
        let mut frames = Frames::open(from(last, world.gate.port).await, 65_535).await;
        let block = notice();
        let all: Vec<u8> =
            (0..1_100_u32).flat_map(|stream| frames::frame(HEADERS, END_HEADERS, stream * 2 + 1, &block)).collect();
        let _strangers_are_cut = frames.stream.write_all(&all).await;
        press.hold(frames);
    }
    press
}

/// Keeps every place of a form taken: more half forms than there are places begin in each second that one may take.
async fn ever_more_half_forms(world: &World) -> Press {
    let mut press = Press::default();
    for last in [1, 1, 1, 1, 2] {
        let frames = Frames::open(from(last, world.gate.port).await, 65_535).await;
        let (mut read, mut write) = frames.stream.into_split();
        press.readers.spawn(async move { drop(tokio::io::copy(&mut read, &mut tokio::io::sink()).await) });
        press.readers.spawn(async move {
            let block = notice();
            let mut stream = 1;
            loop {
                for _ in 0..12 {
                    let _gone = write.write_all(&frames::frame(HEADERS, END_HEADERS, stream, &block)).await;
                    stream += 2;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    press
}

/// Strangers who are refused and stay.
async fn refused(world: &World) -> Press {
    let mut press = Press::default();
    for number in 0..MANY {
        let mut stream = from(2 + number % 8, world.gate.port).await;
        stream.write_all(question().as_bytes()).await.unwrap();
        press.streams.push(stream);
    }
    press
}

/// Strangers who say nothing.
async fn silent(world: &World) -> Press {
    let mut press = Press::default();
    for number in 0..MANY {
        press.streams.push(from(2 + number % 200, world.gate.port).await);
    }
    press
}

/// Strangers, and an edge, that ask for pages and take none.
async fn shut_windows(world: &World) -> Press {
    let mut press = Press::default();
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

/// Frames that cost more than they say: pings, settings, streams that are reset at once, headers that never end.
async fn floods(world: &World) -> Press {
    let mut press = Press::default();
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

/// Everybody asks so many times. How long 99 of 100 answers took at most, in microseconds; nobody may be refused.
async fn ask(lines: &mut [Kept], cookies: &str) -> f64 {
    let each = lines.iter_mut().map(async |line| {
        let mut times = Vec::with_capacity(ASKS);
        for _ in 0..ASKS {
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

/// Asks with and without pressure in turns, and sees that it makes no great difference and that health is told meanwhile.
async fn press_against(world: &World, what: &str, press: impl AsyncFn(&World) -> Press) {
    let cookies = world.signed_in("alice").await.cookies(&world.at("app", "/").parse().unwrap());
    let mut lines = Vec::new();
    for _ in 0..LINES {
        lines.push(Kept::open(world.gate.port).await);
    }
    ask(&mut lines, &cookies).await;
    let (mut quiet, mut pressed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(ask(&mut lines, &cookies).await);
        let held = press(world).await;
        // What it costs to open so many is not what it costs that they are there.
        ask(&mut lines, &cookies).await;
        pressed.push(ask(&mut lines, &cookies).await);
        probe(world, what).await;
        drop(held);
    }
    let (quiet, pressed) = (median(quiet), median(pressed));
    eprintln!("{what}: p99 {quiet:.0} µs in quiet, {pressed:.0} µs pressed");
    assert!(pressed <= quiet * 2.0 + FLOOR, "{what}: {quiet:.0} µs in quiet, {pressed:.0} µs pressed");
}

/// A probe of one second is answered, of three one at least, as whoever restarts the gate has it.
async fn probe(world: &World, what: &str) {
    let live = world.gate.management_url("/-/health/live");
    for _ in 0..3 {
        if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), get(&live)).await {
            return assert_eq!(answer.status, StatusCode::OK, "{what}");
        }
    }
    panic!("{what}: nobody is told that the gate lives");
}

/// Open connections at the gate's own port.
async fn open(world: &World) -> u64 {
    world.gate.number("doorward_connections{listener=\"edges\"}").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_forms_take_no_place_of_checks_or_sign_ins() {
    let world = world().await;
    press_against(&world, "half forms", ever_more_half_forms).await;
    let held = half_forms(&world).await;
    // Whoever signs in now has no session in memory.
    world.signed_in("bob").await;
    let form = |kind: &str, length: usize| {
        format!(
            "POST /_doorward/backchannel_logout HTTP/1.1\r\nHost: {APP}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        )
    };
    let urlencoded = "application/x-www-form-urlencoded";
    for (head, host) in [(form("text/plain", 2_000), APP), (form(urlencoded, 32_769), APP)] {
        let said = raw::tell(world.gate.port, &head).await;
        assert_eq!(
            (said.status, said.reason()),
            (StatusCode::BAD_REQUEST, "bad_request"),
            "{host}: nothing is waited for"
        );
    }
    let said = raw::tell(world.gate.port, &form(urlencoded, 2_000).replace(APP, "nobody.test")).await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "unknown_host"));
    let whole = format!("{}Connection: close\r\n\r\nlogout_token=x.y.z", form(urlencoded, 18));
    let said = raw::send(world.gate.port, whole.as_bytes()).await;
    assert_eq!((said.status, said.reason()), (StatusCode::BAD_REQUEST, "bad_request"), "it was read: {said:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_are_refused_or_silent_take_no_place_of_edges() {
    let world = world().await;
    press_against(&world, "refused strangers", refused).await;
    press_against(&world, "silent strangers", silent).await;
    let before = open(&world).await;
    let held = [refused(&world).await, silent(&world).await];
    eventually("strangers keep no place", async || (open(&world).await <= before).then_some(())).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_stay_shut_and_floods_of_frames_hold_nobody_up() {
    let world = world().await;
    press_against(&world, "shut windows", shut_windows).await;
    press_against(&world, "floods of frames", floods).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_management_listener_health_is_told() {
    let world = world().await;
    press_against(&world, "idle watchers", async |world: &World| {
        let mut press = Press::default();
        for number in 0..MANY {
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
    stream.write_all(question().as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).await.unwrap();
    let changed = world.config().replace("127.0.0.1/32", "192.0.2.0/24");
    world.gate.configure(&changed);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("\r\n\r\n"), "the answer before, and the end");
}

#[tokio::test]
async fn the_limit_of_open_files_is_what_the_system_allows_and_is_told() {
    let world = world().await;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    assert_eq!(world.gate.number("process_max_fds").await.unwrap().to_string(), hard);
    let log = world.gate.log();
    assert!(log.contains(&format!("\"files\":{hard}")) && log.contains("\"connections\":"), "{log}");
    let (method, page) = (Method::GET, "/_doorward/ping");
    let said = raw::tell(world.gate.port, &format!("{method} {page} HTTP/1.1\r\nHost: {APP}\r\n")).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
}
