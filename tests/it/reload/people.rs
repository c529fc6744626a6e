//! Effects of a reload on existing sessions and on sign-ins in progress.

use std::fs;

use http::StatusCode;

use super::{APP, REFUSED, Signal, applied, cookies, until, with, world};
use crate::world::{eventually, raw::PersistentConnection};

#[tokio::test]
async fn a_shorter_lifetime_ends_existing_sessions() {
    let world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    until(&mut kept, APP, "/", &alice, StatusCode::OK).await;
    world.gate.configure(&with(&world.config(), "[session]", "[session]\nlifetime = \"1s\""));
    let said = until(&mut kept, APP, "/", &alice, StatusCode::UNAUTHORIZED).await;
    assert_eq!(said.reason(), "session_ended");
}

#[tokio::test]
async fn sealing_secrets_are_rotated_under_existing_sessions() {
    const OLD: &str = "\"the first secret of one test, which is long enough\"";
    let mut world = world().await;
    let file = world.dir().join("secret");
    fs::write(&file, "the second secret of one test, which is long enough\n").unwrap();
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;

    let new = format!("{{ file = {file:?} }}");
    world.gate.configure(&with(&world.config(), OLD, &format!("{new}, {OLD}")));
    applied(&world, 1).await;
    assert_eq!(kept.ask(APP, "/", &alice).await.status, StatusCode::OK, "the old secret still opens");
    let bob = cookies(&world, &world.signed_in("bob").await);

    world.gate.configure(&with(&world.config(), OLD, &new));
    let said = until(&mut kept, APP, "/", &alice, StatusCode::UNAUTHORIZED).await;
    assert_eq!(said.reason(), "no_session", "the old secret is none any more");
    assert_eq!(kept.ask(APP, "/", &bob).await.header("remote-user"), "bob", "the new one sealed his");

    // Only the file of a secret changes.
    fs::write(&file, "the third secret of one test, which is long enough\n").unwrap();
    until(&mut kept, APP, "/", &bob, StatusCode::UNAUTHORIZED).await;
    assert!(world.gate.log().contains("session.secrets[0]"), "{}", world.gate.log());
    let carol = cookies(&world, &world.signed_in("alice").await);
    world.gate.restart(Signal::Term).await;
    let said = PersistentConnection::open(world.gate.port).await.ask(APP, "/", &carol).await;
    assert_eq!(said.status, StatusCode::OK, "what was sealed after the change is opened after a restart");
}

#[tokio::test]
async fn a_rotated_client_secret_is_used_without_a_restart() {
    let world = world().await;
    let file = world.dir().join("client-secret");
    fs::write(&file, "not the one that the provider knows").unwrap();
    let (before, rest) =
        world.config().split_once("client_secret = \"").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (right, rest) = rest.split_once('"').unwrap();
    world.gate.configure(&format!("{before}client_secret = {{ file = {file:?} }}{rest}"));
    applied(&world, 1).await;
    let failed = world.person("alice").visit(&world.at("app", "/")).await;
    assert_eq!((failed.status, failed.reason()), (StatusCode::FORBIDDEN, "sign_in_failed"), "{failed:?}");
    fs::write(&file, right).unwrap();
    applied(&world, 2).await;
    assert!(world.gate.log().contains("providers[0].client_secret"), "{}", world.gate.log());
    world.signed_in("alice").await;
}

#[tokio::test]
async fn a_secret_file_that_is_written_wrongly_is_refused_and_the_old_secret_stays() {
    let world = world().await;
    let file = world.dir().join("client-secret");
    let config = world.config();
    let (before, rest) = config.split_once("client_secret = \"").unwrap();
    let (right, rest) = rest.split_once('"').unwrap();
    fs::write(&file, format!("{right}\r\n\n")).unwrap();
    world.gate.configure(&format!("{before}client_secret = {{ file = {file:?} }}{rest}"));
    // Nothing has changed but where the secret is kept.
    world.signed_in("alice").await;
    for (turn, wrong) in (1..).zip([format!("\"{right}\""), format!("\u{feff}{right}"), "${hidden_secret}".to_owned()])
    {
        fs::write(&file, wrong).unwrap();
        eventually("it is refused", async || (world.gate.metric(REFUSED).await == Some(turn)).then_some(())).await;
        world.signed_in("alice").await;
    }
    let log = world.gate.log();
    let refusal = format!("the secret in {} has quotes around it", file.display());
    assert!(log.contains(&refusal) && !log.contains(right) && !log.contains("hidden_secret"), "{log}");
}

#[tokio::test]
async fn a_replaced_provider_ends_its_sessions() {
    let world = world().await;
    let alice = cookies(&world, &world.signed_in("alice").await);
    let mut kept = PersistentConnection::open(world.gate.port).await;
    let up = |name: &str| format!("doorward_provider_up{{provider=\"{name}\"}}");
    assert_eq!(world.gate.metric(&up("neighbour")).await, Some(1));
    world.gate.configure(&with(&world.config(), "name = \"neighbour\"", "name = \"elsewhere\""));
    let said = until(&mut kept, APP, "/", &alice, StatusCode::UNAUTHORIZED).await;
    assert_eq!(said.reason(), "no_session", "sessions of a removed provider are invalid");
    let is_up = async || (world.gate.metric(&up("elsewhere")).await == Some(1)).then_some(());
    eventually("the new provider is looked after", is_up).await;
    assert_eq!(world.gate.metric(&up("neighbour")).await, None, "the old one is not probed any more");
    world.signed_in("alice").await;
    let logins = r#"doorward_logins_total{provider="elsewhere",result="succeeded"}"#;
    assert_eq!(world.gate.metric(logins).await, Some(1));
}

#[tokio::test]
async fn a_sign_in_that_is_under_way_is_completed() {
    let world = world().await;
    let alice = world.person("alice");
    let callback = alice.up_to_the_callback(&world.at("app", "/deep?x=1")).await;
    world.gate.configure(&with(
        &world.config(),
        "[session]",
        "[brand]\ntitle = \"Changed\"\n[session]\nlifetime = \"1h\"",
    ));
    applied(&world, 1).await;
    let arrived = alice.visit(&callback).await;
    assert_eq!(arrived.echo().target, "/deep?x=1");
}
