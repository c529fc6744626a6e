//! An unavailable provider, restarts of the gate and expiry, as people notice them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::world::{Answer, EdgeKind, PageRouting, Signal, TRAEFIK, Transport, World, WorldBuilder, eventually};

#[tokio::test]
async fn while_the_provider_is_away_known_sessions_go_on_and_a_sign_in_under_way_is_told() {
    let mut world = World::new().await;
    let alice = world.signed_in("alice").await;
    let url = world.at("app", "/");
    let bob = world.person("bob");
    let callback = bob.up_to_the_callback(&url).await;
    world.provider.stop().await;
    shows_provider_unavailable(&bob.open(&callback).await);
    eventually("the metric shows it", async || {
        alice.fetch(&url).await.echo();
        world.gate.metrics().await.contains("doorward_provider_up{provider=\"neighbour\"} 0").then_some(())
    })
    .await;

    // It comes back with other keys and without its state.
    world.start_provider().await;
    let answer = eventually("bob can sign in", async || {
        let answer = bob.visit(&url).await;
        (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    assert_eq!(answer.echo().values_as("Remote-User"), ["bob"], "{:#?}", answer.trail);
    alice.fetch(&url).await.echo();
}

fn shows_provider_unavailable(page: &Answer) {
    assert_eq!((page.status, page.reason()), (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"), "{page:?}");
    assert!(!page.header("retry-after").is_empty(), "{page:?}");
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
}

#[tokio::test]
async fn the_gate_starts_without_the_provider_and_signs_people_in_when_it_comes() {
    let mut world = WorldBuilder::with(TRAEFIK).without_provider().await;
    let url = world.at("app", "/page");
    let answer = world.visitor().open(&url).await;
    assert_eq!(
        (answer.status, answer.reason()),
        (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"),
        "{answer:?}"
    );
    world.start_provider().await;
    let alice = world.person("alice");
    eventually("a visitor can sign in", async || alice.open(&url).await.status.is_redirection().then_some(())).await;
    assert_eq!(alice.visit(&url).await.echo().target, "/page");
}

#[tokio::test]
async fn a_restart_loses_no_session_however_the_gate_ended() {
    let mut world = World::new().await;
    let people = [world.signed_in("alice").await, world.signed_in("bob").await];
    for signal in [Signal::Term, Signal::Kill] {
        world.gate.restart(signal).await;
        for person in &people {
            // Traefik may still have a connection to the old process: it retries by itself.
            person.fetch(&world.at("app", "/")).await.echo();
        }
    }
}

#[tokio::test]
async fn a_sign_in_that_was_under_way_survives_a_restart() {
    let mut world = World::new().await;
    let alice = world.person("alice");
    let begun = alice.open(&world.at("app", "/wanted")).await;
    world.gate.restart(Signal::Kill).await;
    assert_eq!(alice.follow(begun).await.echo().target, "/wanted");
}

#[tokio::test]
async fn a_session_ends_with_its_lifetime_and_a_page_begins_a_new_one() {
    let world = WorldBuilder::with(TRAEFIK).session("lifetime = \"2s\"").start().await;
    let alice = world.signed_in("alice").await;
    let url = world.at("app", "/");
    let ended = eventually("the session ends", async || {
        let answer = alice.fetch(&url).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((ended.status, ended.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{ended:?}");
    assert_eq!(alice.visit(&url).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn no_request_fails_while_the_gate_stops() {
    let mut world = WorldBuilder::with(EdgeKind::Traefik {
        entry: Transport::Tls,
        gate: Transport::Plain,
        pages: PageRouting::Routed,
    })
    .start()
    .await;
    let alice = world.signed_in("alice").await;
    let cookie = alice.cookies(&world.at("app", "/").parse().unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let answered: Vec<_> = (0..8).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let clients: Vec<_> = answered
        .iter()
        .map(|answered| {
            let (cookie, over, answered) = (cookie.clone(), Arc::clone(&over), Arc::clone(answered));
            let host = world.at("app", "").split_once("://").unwrap().1.to_owned();
            let address = format!("127.0.0.1:{}", world.gate.port);
            std::thread::spawn(move || send_until_refused(&address, &host, &cookie, &over, &answered))
        })
        .collect();
    eventually("there is load", async || answered.iter().all(|many| many.load(Ordering::Relaxed) > 20).then_some(()))
        .await;
    world.gate.signal(Signal::Term);
    let status = world.gate.exited().await;
    over.store(true, Ordering::Relaxed);
    assert!(status.success(), "{status}");
    for client in clients {
        client.join().unwrap().unwrap_or_else(|error| panic!("a request was lost: {error}"));
    }
}

/// Sends requests over persistent connections, as an edge does, until connections are refused. A refused connection is no
/// failure: the edge uses another replica. A request without a response is one.
fn send_until_refused(
    address: &str,
    host: &str,
    cookie: &str,
    over: &AtomicBool,
    answered: &AtomicUsize,
) -> Result<(), String> {
    let question = || {
        Request::get("/_doorward/auth/traefik")
            .header("host", address)
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-host", host)
            .header("x-forwarded-uri", "/")
            .header("cookie", cookie)
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while !over.load(Ordering::Relaxed) {
            let Ok(stream) = TcpStream::connect(address).await else { return Ok(()) };
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            let before = answered.load(Ordering::Relaxed);
            let (result, _) = tokio::join!(send_until_connection_close(sender, question, answered), connection);
            // Accepted by the system and still in the backlog when the listener closed: never seen by the gate.
            let waiting = answered.load(Ordering::Relaxed) == before;
            if result.is_err() && !(waiting && TcpStream::connect(address).await.is_err()) {
                return result;
            }
        }
        Ok(())
    })
}

async fn send_until_connection_close(
    mut sender: http1::SendRequest<Empty<Bytes>>,
    question: impl Fn() -> Request<Empty<Bytes>>,
    answered: &AtomicUsize,
) -> Result<(), String> {
    loop {
        let answer = sender.send_request(question()).await.map_err(|error| format!("{error:?}"))?;
        if answer.status() != StatusCode::OK {
            return Err(answer.status().to_string());
        }
        let last = answer.headers().get("connection").is_some_and(|value| value == "close");
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        answered.fetch_add(1, Ordering::Relaxed);
        if last {
            return Ok(());
        }
        // The pace of the load; the gate is a real process.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_new_visitor_is_told_that_the_provider_is_away_and_not_sent_there() {
    let mut world = World::new().await;
    // The provider's metadata is known by now.
    world.signed_in("bob").await;
    world.provider.stop().await;
    let url = world.at("app", "/");
    let page = eventually("a new visitor sees the page", async || {
        let answer = world.visitor().open(&url).await;
        (!answer.status.is_redirection()).then_some(answer)
    })
    .await;
    shows_provider_unavailable(&page);
    world.start_provider().await;
    let alice = world.person("alice");
    eventually("a visitor can sign in again", async || alice.open(&url).await.status.is_redirection().then_some(()))
        .await;
    assert_eq!(alice.visit(&url).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn a_session_is_renewed_in_the_background_and_carries_new_groups() {
    let world = WorldBuilder::with(TRAEFIK)
        .session("renew_before = \"2s\"")
        .provider(serde_json::json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let bob = world.signed_in("bob").await;
    let steer = format!("{}/test/groups?user=bob&groups=staff,admins", world.provider.issuer());
    bob.fetch(&steer).await;
    let url = world.at("app", "/");
    eventually("bob is among the admins", async || {
        let echo = bob.fetch(&url).await.echo();
        (echo.values_as("Remote-Groups") == ["staff,admins"]).then_some(())
    })
    .await;
    let grants = bob.fetch(&format!("{}/test/grants", world.provider.issuer())).await.json();
    assert_eq!(grants["authorization_code"], 1);
    assert!(grants["refresh_token"].as_u64().is_some_and(|many| many >= 1), "{grants}");
}
