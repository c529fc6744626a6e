//! Rotation of the sealing secret: the old one is removed, and nobody has to sign in again.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, ask, refused, replica},
    world::{Gate, Signal, Visitor, World, WorldBuilder, database::Database, eventually},
};

const OLD: &str = "\"the first secret of one test, which is long enough\"";
const NEW: &str = "\"the second secret of the same test, which is also long\"";

fn rotated(config: &str, secrets: &str) -> String {
    let rotated = config.replace(&format!("secrets = [{OLD}]"), &format!("secrets = [{secrets}]"));
    assert_ne!(rotated, config);
    rotated
}

/// Returns the status of the rotation from `doorward check`.
fn checked(gate: &Gate) -> Value {
    let report: Value = serde_json::from_str(&gate.command(&["check", "--format", "json"])).unwrap();
    report["rotation"].clone()
}

async fn known_to(world: &World, gates: [&Gate; 2], alice: &Visitor) {
    for gate in gates {
        assert_eq!(ask(world, gate, alice).await.header("remote-user"), "alice");
    }
}

#[tokio::test]
async fn a_secret_is_rotated_and_dropped_and_nobody_has_to_sign_in_again() {
    for store in [Some(Database::shared().create()), None] {
        let plan = WorldBuilder::with(EDGE);
        let mut world = match &store {
            Some(url) => plan.store(url).start().await,
            None => plan.start().await,
        };
        let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
        assert_eq!(checked(&world.gate), Value::Null, "nothing is under way");

        world.gate.configure(&rotated(&world.config(), &format!("{NEW}, {OLD}")));
        // Two rows, and cookies of the old secret.
        assert_eq!(checked(&world.gate), json!({ "older": 3, "unknown": 0 }));
        world.gate.restart(Signal::Term).await;
        assert_eq!(ask(&world, &world.gate, &alice).await.header("remote-user"), "alice");
        eventually("all rows are sealed by the new secret", async || {
            let metrics = world.gate.metrics().await;
            let left = |secret, many| format!("doorward_session_rows_to_reseal{{secret=\"{secret}\"}} {many}\n");
            (metrics.contains(&left("older", 0)) && metrics.contains(&left("unknown", 0))).then_some(())
        })
        .await;
        assert_eq!(checked(&world.gate), json!({ "older": 0, "unknown": 0 }));
        assert!(world.gate.command(&["check"]).contains("the others can be dropped"));

        world.gate.configure(&rotated(&world.config(), NEW));
        world.gate.restart(Signal::Kill).await;
        for (person, name) in [(&alice, "alice"), (&bob, "bob")] {
            assert_eq!(ask(&world, &world.gate, person).await.header("remote-user"), name);
        }
        let stolen = alice.copied_cookies();
        alice.visit(&world.at("app", "/_doorward/sign_out")).await;
        refused(&world, &[&world.gate], &stolen).await;
        assert_eq!(ask(&world, &world.gate, &bob).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn replicas_are_rotated_one_after_the_other_and_serve_each_other_s_sessions_throughout() {
    let world = WorldBuilder::with(EDGE).store(&Database::shared().create()).start().await;
    let alice = world.signed_in("alice").await;
    let (mut one, mut other) = (replica(&world).await, replica(&world).await);
    // The new secret opens before it seals, so that replicas updated later can read the rows of the others.
    for secrets in [format!("{OLD}, {NEW}"), format!("{NEW}, {OLD}"), NEW.to_owned()] {
        one.configure(&rotated(&world.config_of(&one), &secrets));
        one.restart(Signal::Term).await;
        known_to(&world, [&one, &other], &alice).await;
        // With an empty cache it has to read the rows of the other replica.
        other.restart(Signal::Kill).await;
        known_to(&world, [&one, &other], &alice).await;
        other.configure(&rotated(&world.config_of(&other), &secrets));
        other.restart(Signal::Kill).await;
        known_to(&world, [&one, &other], &alice).await;
        eventually("all rows are sealed by the first secret", async || {
            (checked(&one) == json!({ "older": 0, "unknown": 0 }) || checked(&one).is_null()).then_some(())
        })
        .await;
    }
}
