//! Whole gate in this process.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    thread::sleep,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

use super::BoundApp;
use crate::{
    config::{self, Config, ConfigFile, Environment},
    shutdown,
};

const WORKERS: usize = 2;
/// Longest wait on a machine that is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(30);

fn config() -> Config {
    let text = "server = { listen = '127.0.0.1:0', management = '127.0.0.1:0', shutdown_grace = '1s' }\n\
                session.secrets = ['0123456789abcdef0123456789abcdef']\n\
                store.url = 'memory:'\n\
                [[providers]]\nname = 'nowhere'\nissuer = 'http://127.0.0.1:9/'\nclient_id = 'test'\n";
    let source = ConfigFile { path: "doorward.toml".into(), text: text.to_owned() };
    config::load_from(Some(&source), &Environment::new()).unwrap()
}

/// Sends a request on a connection of its own.
fn request(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

fn read_to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Waits until it holds: other threads and sockets work in real time.
fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TIMEOUT, "timed out");
        sleep(Duration::from_millis(5));
    }
}

fn is_ready(management: SocketAddr) -> bool {
    read_to_end(request(management, "/-/health/ready")).starts_with("HTTP/1.1 200")
}

/// Blocks the workers of a runtime until it is dropped.
struct Blocked(Arc<Barrier>);

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// Blocks every worker of a runtime, and returns once they all wait.
fn block(runtime: &Runtime) -> Blocked {
    let [all_are_here, go_on] = [(); 2].map(|()| Arc::new(Barrier::new(WORKERS + 1)));
    for _ in 0..WORKERS {
        let [here, on] = [&all_are_here, &go_on].map(Arc::clone);
        runtime.spawn(async move {
            here.wait();
            on.wait();
        });
    }
    all_are_here.wait();
    Blocked(go_on)
}

#[test]
fn metrics_and_health_are_answered_while_every_worker_is_blocked() {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let app = runtime.block_on(BoundApp::build(config())).unwrap();
    let ((gate, management), stop) = (app.addresses(), shutdown::Signal::default());
    let running = runtime.spawn(app.run(stop.clone()));
    until(|| is_ready(management));
    let blocked = block(&runtime);
    let mut unanswered = request(gate, "/_doorward/ping");
    for (path, part) in [
        ("/metrics", "doorward_build_info"),
        ("/-/health/live", "\"live\""),
        ("/-/health/ready", "\"ready\""),
        ("/metrics", "doorward_sessions_cached"),
    ] {
        let response = read_to_end(request(management, path));
        assert!(response.starts_with("HTTP/1.1 200") && response.contains(part), "{response}");
    }
    unanswered.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let waiting = unanswered.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(waiting, ErrorKind::WouldBlock | ErrorKind::TimedOut), "the workers are not blocked: {waiting}");
    drop(blocked);
    unanswered.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert!(read_to_end(unanswered).starts_with("HTTP/1.1 204"));
    stop.raise();
    runtime.block_on(running).unwrap().unwrap();
    assert!(TcpStream::connect(management).is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_dropped_gate_releases_its_addresses() {
    let app = BoundApp::build(config()).await.unwrap();
    let (gate, management) = app.addresses();
    {
        let running = app.run(shutdown::Signal::default());
        tokio::pin!(running);
        let ready = tokio::task::spawn_blocking(move || until(|| is_ready(management)));
        tokio::select! { _ = &mut running => panic!("it ended by itself"), ready = ready => ready.unwrap() }
    }
    // Asynchronously, so that the tasks of this thread's runtime can go on.
    let closed = async || {
        for address in [gate, management] {
            while TcpStream::connect(address).is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, closed()).await.unwrap();
}
