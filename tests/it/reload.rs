//! Reloads of the configuration (contract C2): however the file changes, the change applies to the next request on any
//! connection.

mod effects;
mod people;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::StatusCode;
use tokio::task::JoinSet;

use crate::{
    postgres::EDGE,
    world::{
        POLL_INTERVAL, Signal, TIMEOUT, Visitor, World, WorldBuilder, eventually,
        raw::{PersistentConnection, RawResponse},
    },
};

const APPLIED: &str = r#"doorward_config_reloads_total{result="applied"}"#;
const SUCCESSFUL: &str = "doorward_config_last_reload_successful";
const REFUSED: &str = r#"doorward_config_reloads_total{result="refused"}"#;

const APP: &str = "app.example.test";

/// A rule of the app `rules`, and its replacement.
const OPEN: &str = "path = \"/health\"\naccess = \"public\"";
const CLOSED: &str = "path = \"/health\"\naccess = \"deny\"";

async fn world() -> World {
    WorldBuilder::with(EDGE).start().await
}

fn cookies(world: &World, visitor: &Visitor) -> String {
    visitor.cookies(&world.at("app", "/").parse().unwrap())
}

/// Replaces `from`, which has to be in the configuration.
fn with(config: &str, from: &str, to: &str) -> String {
    assert!(config.contains(from), "{from} is not in {config}");
    config.replace(from, to)
}

/// Repeats a subrequest on the same connection until its response has this status.
async fn until(
    kept: &mut PersistentConnection,
    host: &str,
    target: &str,
    cookies: &str,
    status: StatusCode,
) -> RawResponse {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let said = kept.ask(host, target, cookies).await;
        if said.status == status {
            return said;
        }
        assert!(Instant::now() < deadline, "never {status}: {said:?}");
        // A real gate: polled, with a bound.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until so many reloads have been applied.
async fn applied(world: &World, many: u64) {
    let count = async || (world.gate.metric(APPLIED).await? >= many).then_some(());
    eventually(&format!("{many} changes are in force"), count).await;
}

/// Replaces a file atomically by renaming.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Replaces the configuration as a Kubernetes volume does: behind a link to a folder that is swapped.
fn swap(folder: &Path, generation: &str, text: &str) {
    fs::create_dir(folder.join(generation)).unwrap();
    fs::write(folder.join(generation).join("doorward.toml"), text).unwrap();
    symlink(generation, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_change_reaches_the_next_request_however_it_arrives() {
    let world = world().await;
    let path = world.gate.path().to_owned();
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let (open, closed) = (world.config(), with(&world.config(), OPEN, CLOSED));
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::OK).await;

    // Written in place, as an editor may do.
    world.gate.configure(&closed);
    let said = until(&mut kept, "rules.example.test", "/health", "", StatusCode::FORBIDDEN).await;
    assert_eq!(said.reason(), "rule_denied");

    // Replaced by renaming.
    replace(&path, &open);
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::OK).await;

    // A Kubernetes volume: first only the path changes, then the content.
    let volume = world.dir().join("volume");
    fs::create_dir(&volume).unwrap();
    swap(&volume, "..1", &open);
    symlink("..data/doorward.toml", volume.join("doorward.toml")).unwrap();
    symlink(volume.join("doorward.toml"), path.with_extension("link")).unwrap();
    fs::rename(path.with_extension("link"), &path).unwrap();
    swap(&volume, "..2", &closed);
    fs::remove_dir_all(volume.join("..1")).unwrap();
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::FORBIDDEN).await;
    assert_eq!(world.gate.metric(REFUSED).await, Some(0));
    let log = world.gate.log();
    assert!(log.contains("configuration reloaded") && log.contains("apps[2].rules[0].access"), "{log}");
}

#[tokio::test]
async fn an_invalid_change_is_refused_and_logged_once_with_all_its_errors() {
    let mut world = world().await;
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let hash = |metrics: String| {
        let line = metrics.lines().find(|line| line.starts_with("doorward_config_info{")).map(ToOwned::to_owned);
        line.expect("the hash is shown")
    };
    let before = hash(world.gate.metrics().await);
    let wrong =
        with(&with(&world.config(), OPEN, CLOSED), "[session]", "[session]\nlifetime = \"0s\"\nlifetme = \"1h\"");
    world.gate.configure(&wrong);
    eventually("it is refused", async || (world.gate.metric(REFUSED).await == Some(1)).then_some(())).await;
    assert_eq!(world.gate.metric(SUCCESSFUL).await, Some(0));
    let line = |part: &str| wrong.lines().position(|line| line.starts_with(part)).unwrap() + 1;
    let log = world.gate.log();
    for reason in [
        format!("{}:{}: session.lifetime: a duration of nothing", world.gate.path().display(), line("lifetime")),
        format!("{}:{}: session.lifetme: there is no such key", world.gate.path().display(), line("lifetme")),
        "did you mean `lifetime`?".to_owned(),
    ] {
        assert!(log.contains(&reason), "{reason} in {log}");
    }
    // Logged again on SIGHUP, but not by polling.
    world.gate.signal(Signal::HangUp);
    eventually("it is refused again", async || (world.gate.metric(REFUSED).await == Some(2)).then_some(())).await;
    assert_eq!(hash(world.gate.metrics().await), before);
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::OK).await;

    // Mended back to what is in force.
    world.gate.configure(&world.config());
    eventually("all is well again", async || (world.gate.metric(SUCCESSFUL).await == Some(1)).then_some(())).await;
    eventually("the log says so", async || world.gate.log().contains("the configuration is valid again").then_some(()))
        .await;

    fs::remove_file(world.gate.path()).unwrap();
    eventually("no file is a mistake too", async || (world.gate.metric(REFUSED).await == Some(3)).then_some(())).await;
    world.gate.configure(&with(&world.config(), OPEN, CLOSED));
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::FORBIDDEN).await;
    assert_eq!(world.gate.metric(REFUSED).await, Some(3));
    assert_eq!(world.gate.metric(APPLIED).await, Some(1));
    let after = hash(world.gate.metrics().await);
    assert_ne!(after, before);
    assert!(world.gate.command(&["check"]).contains(after.split('"').nth(1).unwrap()), "it is the hash of the file");
}

#[tokio::test]
async fn keys_that_need_a_restart_are_logged_and_the_rest_applies() {
    let world = world().await;
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let management = format!("management = \"127.0.0.1:{}\"", world.gate.management);
    let config = with(&world.config(), &management, "management = \"127.0.0.1:1\"\nshutdown_grace = \"7s\"");
    let config = with(&config, OPEN, CLOSED);
    world.gate.configure(&format!("{config}\n[log]\nformat = \"text\"\n"));
    until(&mut kept, "rules.example.test", "/health", "", StatusCode::FORBIDDEN).await;
    let line = eventually("the log says what needs a restart", async || {
        world.gate.log().lines().find(|line| line.contains("need a restart")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("server.management, server.shutdown_grace, log.format"), "{line}");
    assert!(line.starts_with('{'), "the form of the lines stays: {line}");
    applied(&world, 1).await;
}

#[tokio::test]
async fn fifty_reloads_under_load_lose_no_request() {
    let mut world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let (stop, port) = (Arc::new(AtomicBool::new(false)), world.gate.port);
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (stop, alice) = (Arc::clone(&stop), alice.clone());
        load.spawn(async move {
            let (mut kept, mut requests) = (PersistentConnection::open(port).await, 0);
            while !stop.load(Ordering::Relaxed) {
                let said = kept.ask(APP, "/", &alice).await;
                assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, "alice"), "{said:?}");
                let public = kept.ask("rules.example.test", "/health", "").await;
                assert_eq!(public.status, StatusCode::OK, "{public:?}");
                requests += 1;
            }
            requests
        });
    }
    for change in 1..=50 {
        let own = format!("headers = [\"remote\", {{ \"X-Change\" = \"{change}\" }}]");
        let config = with(&world.config(), "headers = [\"remote\", \"authentik\"]", &own);
        let secrets = format!("secrets = [\"secret number {change}, which is long enough\", ");
        let config = with(&config, "secrets = [", &secrets);
        replace(world.gate.path(), &config);
        world.gate.signal(Signal::HangUp);
        applied(&world, change).await;
    }
    let said = PersistentConnection::open(port).await.ask(APP, "/", &alice).await;
    assert_eq!((said.header("x-change"), said.headers.contains_key("x-authentik-username")), ("50", false), "{said:?}");
    stop.store(true, Ordering::Relaxed);
    for requests in load.join_all().await {
        assert!(requests > 50, "there was a load");
    }
    assert_eq!(world.gate.metric(REFUSED).await, Some(0));
}
