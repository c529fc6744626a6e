//! Sessions are renewed silently, whoever asks, whatever becomes of the provider, the store or a replica (contract C18,
//! C20, lessons L13, L16, L26).

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask, refused, replica},
    world::{
        Gate, Plan, Signal, Visitor, World,
        database::{Database, name_in},
        eventually,
    },
};

/// A world in which access tokens last for so many seconds, and sessions are renewed two seconds before.
fn renewing(seconds: u32) -> Plan {
    Plan::with(EDGE).session("renew_before = \"2s\"").provider(json!({ "access_token_ttl": seconds }))
}

/// Two hundred at each replica at the same time, none of whom may be refused.
async fn storm(world: &World, gates: &[&Gate], who: &Visitor) {
    let answers = join_all((0..200).flat_map(|_| gates).map(|gate| ask(world, gate, who))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.header("remote-user")), (StatusCode::OK, "alice"), "{answer:?}");
    }
}

/// Asks one replica, which may not refuse, until `done`.
async fn in_use<T>(
    world: &World,
    gate: &Gate,
    who: &Visitor,
    what: &str,
    mut done: impl AsyncFnMut() -> Option<T>,
) -> T {
    let patience = std::time::Instant::now() + crate::world::PATIENCE;
    loop {
        let answer = ask(world, gate, who).await;
        assert_eq!(answer.status, StatusCode::OK, "until {what}: {answer:?}");
        if let Some(done) = done().await {
            return done;
        }
        assert!(std::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(crate::world::STEP).await;
    }
}

#[tokio::test]
async fn a_storm_at_three_replicas_costs_one_refresh_for_each_due_renewal() {
    const SLOW: u64 = 3;
    let world = renewing(4).store(&Database::shared().create()).start().await;
    let others = [replica(&world).await, replica(&world).await];
    let gates = [&world.gate, &others[0], &others[1]];
    let alice = world.signed_in("alice").await;
    let before = world.provider.asked().await;
    // Longer than what is left of the token when its renewal begins: it ends meanwhile, and everybody waits.
    world.provider.steer(&format!("slow?seconds={SLOW}")).await;
    for renewal in 1..=5 {
        eventually(&format!("renewal {renewal}"), async || {
            storm(&world, &gates, &alice).await;
            (world.provider.refreshes().await >= renewal).then_some(())
        })
        .await;
    }
    let told = world.provider.steer("grants").await;
    assert_eq!(told["refused"], 0, "no refresh token was used twice");
    let asked: Vec<_> = told["asked"].as_array().unwrap()[before..].iter().map(|at| at.as_u64().unwrap()).collect();
    for pair in asked.windows(2) {
        // The new token has to be given, and to be in its second half, before it is due.
        assert!(pair[1] - pair[0] > SLOW * 1_000 + 500, "two refreshes for one renewal: {asked:?}");
    }
    let mut renewed = 0;
    for gate in gates {
        renewed += count(gate, "renewed").await;
        assert_eq!(count(gate, "rejected").await + count(gate, "unavailable").await, 0);
    }
    assert!(renewed >= 5, "{renewed}");
}

/// How many renewals of a gate came out so.
async fn count(gate: &Gate, result: &str) -> u64 {
    let series = format!("doorward_renewals_total{{provider=\"neighbour\",result=\"{result}\"}} ");
    let metrics = gate.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}
