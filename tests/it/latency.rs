//! Constant renewals delay no request: the latencies of a gate that renews, compared with those of one that does not, measured
//! in turns.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use hdrhistogram::Histogram;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    postgres::EDGE,
    world::{Visitor, World, WorldBuilder, eventually},
};

/// Delay of the provider's response to a renewal.
const RENEWAL_TIME: Duration = Duration::from_secs(3);
const SESSIONS: usize = 24;
/// Renewals of each session.
const ROUNDS: u64 = 2;
/// Interval between two requests of a session.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);

/// A persistent connection to a gate, as an edge has, for the requests of one session.
struct MeasuredConnection {
    sender: http1::SendRequest<Empty<Bytes>>,
    host: String,
    cookie: String,
}

impl MeasuredConnection {
    async fn to(world: &World, who: &Visitor) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", world.gate.port)).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        crate::world::spawn(async { drop(connection.await) });
        let app = world.at("app", "");
        let host = app.split_once("://").unwrap().1.to_owned();
        Self { sender, host, cookie: who.cookies(&app.parse().unwrap()) }
    }

    /// Sends a request and records its latency.
    async fn ask(&mut self, times: &mut Histogram<u64>) {
        let request = Request::get("/_doorward/auth/traefik")
            .header("host", "gate")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-host", &self.host)
            .header("x-forwarded-uri", "/")
            .header("cookie", &self.cookie)
            .body(Empty::new())
            .unwrap();
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await.unwrap();
        times.record(u64::try_from(begun.elapsed().as_micros()).unwrap()).unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        answer.into_body().collect().await.unwrap();
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

/// Starts a world with sessions that are all in use.
async fn inhabited(plan: WorldBuilder) -> (World, Vec<MeasuredConnection>) {
    let world = plan.start().await;
    let mut people = Vec::new();
    for _ in 0..SESSIONS {
        people.push(world.signed_in("alice").await);
    }
    // Opened at the end, because idle connections are closed.
    let lines = join_all(people.iter().map(|who| MeasuredConnection::to(&world, who))).await;
    (world, lines)
}

/// Sends requests in turns until `over`.
async fn in_turns(
    mut calm: MeasuredConnection,
    mut busy: MeasuredConnection,
    over: &AtomicBool,
) -> [Histogram<u64>; 2] {
    let mut times = [histogram(), histogram()];
    while !over.load(Ordering::Relaxed) {
        calm.ask(&mut times[0]).await;
        busy.ask(&mut times[1]).await;
        // The pace of the load; the gates are real processes.
        tokio::time::sleep(REQUEST_INTERVAL).await;
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_sessions_are_renewed_all_the_time_no_request_waits_for_a_renewal() {
    // Due in the second half of a token's lifetime: early enough for the provider's slow response.
    let renewing =
        WorldBuilder::with(EDGE).session("renew_before = \"6s\"").provider(json!({ "access_token_ttl": 12 }));
    let both = join(Box::pin(inhabited(WorldBuilder::with(EDGE))), Box::pin(inhabited(renewing)));
    let ((calm, calm_lines), (busy, busy_lines)) = both.await;
    busy.provider.control(&format!("slow?seconds={}", RENEWAL_TIME.as_secs())).await;
    let over = AtomicBool::new(false);
    let asking = join_all(calm_lines.into_iter().zip(busy_lines).map(|(calm, busy)| in_turns(calm, busy, &over)));
    let renewed = async {
        eventually("every session was renewed again and again", async || {
            (busy.provider.refreshes().await >= ROUNDS * SESSIONS as u64).then_some(())
        })
        .await;
        over.store(true, Ordering::Relaxed);
    };
    let (all, ()) = join(asking, renewed).await;
    let mut times = [histogram(), histogram()];
    for one in all {
        for (sum, part) in times.iter_mut().zip(one) {
            sum.add(part).unwrap();
        }
    }
    report(&times);

    for (world, renewals) in [(&calm, false), (&busy, true)] {
        let metrics = world.gate.metrics().await;
        for none in [
            "doorward_renewal_waits_total{provider=\"neighbour\"} 0\n",
            "doorward_renewals_total{provider=\"neighbour\",result=\"rejected\"} 0\n",
            "doorward_renewals_total{provider=\"neighbour\",result=\"unavailable\"} 0\n",
            "doorward_session_stale_served_total 0\n",
        ] {
            assert!(metrics.contains(none), "{none}{metrics}");
        }
        let nothing = "doorward_renewals_total{provider=\"neighbour\",result=\"renewed\"} 0\n";
        assert_eq!(metrics.contains(nothing), !renewals, "{metrics}");
    }
    let slowest = Duration::from_micros(times[1].max());
    assert!(slowest < RENEWAL_TIME, "a request took as long as a renewal: {slowest:?}");
}

/// Prints both histograms and the difference.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a test")]
fn report([calm, busy]: &[Histogram<u64>; 2]) {
    let quantile = |times: &Histogram<u64>, q: f64| times.value_at_quantile(q).max(1) as f64;
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        let (without, with) = (quantile(calm, q), quantile(busy, q));
        eprintln!("{name}: {without} µs without renewals, {with} µs with, ratio {:.2}", with / without);
    }
    eprintln!("{} requests each; slowest {} µs without, {} µs with", calm.len(), calm.max(), busy.max());
}
